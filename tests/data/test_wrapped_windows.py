from dataclasses import replace

import pytest
import torch

from stemdist.data.windows import TensorWindows, materialise
from stemdist.data.wrapped_windows import MovedWindows
from stemdist.forecast import fresh_forecaster


@pytest.fixture
def windows() -> TensorWindows:
    draws = torch.Generator().manual_seed(0)
    y = torch.randn(4, 6, 5, generator=draws)
    return TensorWindows(
        x=torch.randn(4, 3, 5, 2, generator=draws),
        y=y,
        mask=(y > 0).float(),
        weight=torch.rand(5, generator=draws),
        targets=2,
        given_profile=torch.randn(5, 6, generator=draws),
        pointwise=True,
    )


def test_moved_windows_are_the_windows(windows):
    moved = MovedWindows(source=windows, device="cpu")
    sizes = ("lookback", "horizon", "rows", "n_targets", "n_locations", "n_features", "pointwise")
    assert [getattr(moved, name) for name in sizes] == [3, 3, 6, 2, 5, 2, True]
    assert len(moved) == 4
    index, locations = torch.tensor([2, 0]), torch.tensor([4, 1, 3])
    for one, other in (
        (materialise(moved, index, locations), materialise(windows, index, locations)),
        (materialise(moved, index), materialise(windows, index)),
    ):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)
        assert torch.equal(one.mask, other.mask)
        assert torch.equal(one.weight, other.weight)
        assert torch.equal(one.profile, other.profile)
    assert torch.equal(moved.inputs(index, locations), windows.inputs(index, locations))


def test_whatever_is_asked_of_moved_windows_lies_on_the_device(windows):
    moved = MovedWindows(source=windows, device="meta")
    asked = moved.batch(torch.tensor([1]), torch.tensor([0]))
    everything = [*asked, moved.inputs(torch.tensor([1])), moved.location_weight, moved.profile]
    assert {part.device.type for part in everything} == {"meta"}
    assert windows.x.device.type == "cpu"


def test_a_fresh_forecaster_lies_where_its_windows_do(windows):
    for source in (windows.to("meta"), MovedWindows(source=windows, device="meta"), windows):
        weights = fresh_forecaster("mlp", source, 0).parameters()
        where = source.location_weight.device.type
        assert {weight.device.type for weight in weights} == {where}


@pytest.mark.parametrize("profile", [True, False])
def test_windows_move_with_all_their_tensors(windows, profile):
    windows = windows if profile else replace(windows, given_profile=None)
    moved = windows.to("meta")
    parts = [moved.x, moved.y, moved.mask, moved.weight, moved.profile]
    assert {part.device.type for part in parts} == {"meta"}
    assert (moved.targets, moved.pointwise) == (2, True)
    assert (moved.given_profile is None) == (not profile)
    assert torch.equal(windows.to("cpu").x, windows.x)

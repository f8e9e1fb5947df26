"""Windows against slow loops and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from stemdist.data import SeriesWindows, TensorWindows, materialise
from stemdist.data.gaps import window_starts
from stemdist.data.windows import evenly_spaced, gather_cells, target_rows
from stemdist.errors import InputError

STEPS, LOCATIONS = 20, 4


@pytest.fixture
def source():
    generator = torch.Generator().manual_seed(0)
    return SeriesWindows(
        values=torch.randn(STEPS, LOCATIONS, 2, generator=generator),
        observed=torch.rand(STEPS, LOCATIONS, 1, generator=generator) < 0.7,
        calendar=torch.randn(STEPS, 2, generator=generator),
        static=torch.randn(LOCATIONS, 1, generator=generator),
        starts=window_starts(2, 19, 3, 2, np.array([9])),
        lookback=3,
        horizon=2,
    )


def slow_window(source, number):
    start = int(source.starts[number])
    x = torch.empty(source.lookback, LOCATIONS, 5)
    y, mask = torch.zeros(2, source.horizon, LOCATIONS)
    for lag in range(source.lookback):
        for location in range(LOCATIONS):
            x[lag, location, :2] = source.values[start + lag, location]
            x[lag, location, 2:4] = source.calendar[start + lag]
            x[lag, location, 4] = source.static[location, 0]
    for lead in range(source.horizon):
        for location in range(LOCATIONS):
            step = start + source.lookback + lead
            if source.observed[step, location]:
                y[lead, location] = source.values[step, location, 0]
                mask[lead, location] = 1
    return x, y, mask


# --- batches -------------------------------------------------------------------------------------


def test_batch_equals_a_slow_loop(source):
    index = torch.tensor([5, 0, 3])
    x, y, mask = source.batch(index)
    for row, number in enumerate(index):
        for ours, slow in zip((x, y, mask), slow_window(source, number), strict=True):
            assert ours[row].equal(slow)
    assert source.inputs(index).equal(x)
    assert x.shape[-1] == source.n_features


@pytest.mark.parametrize("locations_first", [False, True])
def test_batch_at_some_locations(source, locations_first):
    if locations_first:  # in memory, as files of (location, time) are
        turned = source.values.transpose(0, 1).contiguous().transpose(0, 1)
        source = replace(source, values=turned)
    assert source.values.is_contiguous() is not locations_first
    index, locations = torch.tensor([1, 4]), torch.tensor([3, 1])
    x, y, mask = source.batch(index)
    part = source.batch(index, locations)
    assert part.x.equal(x[:, :, locations])
    assert part.y.equal(y[:, :, locations])
    assert part.mask.equal(mask[:, :, locations])


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 1), (6, 4, 3), (6, 4, 0)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bool])
def test_cells_are_those_of_plain_indexing(shape, kind, turned):
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 2, shape, generator=generator).to(kind)
    if turned:
        values = values.transpose(0, 1).contiguous().transpose(0, 1)
    locations = torch.tensor([3, 0, 0])
    for rows in (torch.tensor([5, 0]), torch.tensor([[1, 2, 2], [5, 4, 0]])):
        cells = gather_cells(values, rows, locations)
        assert cells.dtype == kind
        assert cells.equal(values[rows[..., None], locations])


def test_mean_window_is_the_mean_of_all_batches(source):
    everything = source.inputs(torch.arange(len(source)))
    mean = everything.mean(0).transpose(0, 1)
    torch.testing.assert_close(source.mean_window(), mean)
    torch.testing.assert_close(source.profile, mean.flatten(1))


def test_mean_window_of_more_windows_than_one_block():
    values = torch.randn(700, 2, 1)
    windows = SeriesWindows(
        values=values,
        observed=torch.ones(700, 2, 1, dtype=torch.bool),
        calendar=torch.zeros(700, 0),
        static=torch.zeros(2, 0),
        starts=torch.arange(690),
        lookback=2,
        horizon=1,
    )
    expected = torch.stack([values[:690].mean(0), values[1:691].mean(0)], dim=1)
    torch.testing.assert_close(windows.mean_window(), expected)


def test_the_series_is_never_copied(source):
    taken = source.take(torch.tensor([0, 2]))
    assert taken.starts.tolist() == source.starts[[0, 2]].tolist()
    for name in ("values", "observed", "calendar", "static"):
        assert getattr(taken, name).data_ptr() == getattr(source, name).data_ptr()


def test_materialise(source):
    index, locations = torch.tensor([2, 0]), torch.tensor([1, 3])
    copied = materialise(source, index, locations)
    for ours, theirs in zip(
        copied.batch(torch.arange(2)), source.batch(index, locations), strict=True
    ):
        assert ours.equal(theirs)
    assert copied.profile.equal(source.profile[locations])
    assert copied.location_weight.equal(torch.ones(2))
    again = materialise(copied, torch.tensor([1]), torch.tensor([0]))
    assert again.x.equal(copied.x[1:, :, :1])
    assert again.profile.equal(copied.profile[:1])


def test_tensor_windows():
    x, y = torch.randn(5, 3, 2, 1), torch.randn(5, 4, 2)
    windows = TensorWindows(x=x, y=y, mask=torch.ones_like(y), weight=torch.ones(2))
    assert (len(windows), windows.lookback, windows.horizon) == (5, 3, 4)
    assert (windows.n_locations, windows.n_features) == (2, 1)
    torch.testing.assert_close(windows.mean_window(), x.mean(0).transpose(0, 1))
    part = windows.batch(torch.tensor([4, 1]), torch.tensor([1]))
    assert part.x.equal(x[[4, 1]][:, :, [1]])
    assert part.y.equal(y[[4, 1]][:, :, [1]])
    with pytest.raises(InputError, match=r"x \(5, 3, 2, 1\), y \(4, 4, 2\).*do not belong"):
        TensorWindows(x=x, y=y[1:], mask=y[1:], weight=torch.ones(2))
    with pytest.raises(InputError, match=r"mask \(5, 3, 2\) and weight \(2,\) do not belong"):
        TensorWindows(x=x, y=y, mask=y[:, 1:], weight=torch.ones(2))
    with pytest.raises(InputError, match=r"weight \(3,\) do not belong"):
        TensorWindows(x=x, y=y, mask=y, weight=torch.ones(3))
    with pytest.raises(InputError, match="do not belong together"):
        TensorWindows(x=x, y=y[:, :, :1], mask=y[:, :, :1], weight=torch.ones(2))
    with pytest.raises(InputError, match="y has 4 rows, which is no multiple of targets=3"):
        TensorWindows(x=x, y=y, mask=y, weight=torch.ones(2), targets=3)
    with pytest.raises(InputError, match="targets is 0"):
        TensorWindows(x=x, y=y, mask=y, weight=torch.ones(2), targets=0)


def test_tensor_windows_of_two_targets():
    x, y = torch.arange(24.0).view(2, 3, 2, 2), torch.arange(16.0).view(2, 4, 2)
    profile = torch.arange(12.0).view(2, 6)
    windows = TensorWindows(
        x=x, y=y, mask=y, weight=torch.tensor([0.5, 1.5]), targets=2, given_profile=profile
    )
    assert (windows.n_targets, windows.horizon, windows.rows) == (2, 2, 4)
    assert windows.location_weight.tolist() == [0.5, 1.5]
    assert windows.mean_window().tolist() == profile.view(2, 3, 2).tolist()
    assert windows.inputs(torch.tensor([1])).tolist() == x[1:].tolist()
    assert windows.inputs(torch.tensor([1]), torch.tensor([1])).equal(x[1:, :, 1:])
    x, y, mask = windows.batch(torch.tensor([1]))
    assert mask.equal(y)
    assert y.tolist() == [[[8, 9], [10, 11], [12, 13], [14, 15]]]
    moved = windows.to("cpu")
    assert moved.targets == 2
    assert moved.mask.equal(windows.mask)


def test_rows_are_the_steps_of_one_target_after_the_other():
    y = torch.tensor([[[[1.0, 10.0]], [[2.0, 20.0]]]])  # (B, L_out, N, C)
    assert target_rows(y).tolist() == [[[1.0], [2.0], [10.0], [20.0]]]
    windows = SeriesWindows(
        values=torch.arange(12.0).view(4, 1, 3),
        observed=torch.tensor([[[True, True]]] * 3 + [[[True, False]]]),
        calendar=torch.zeros(4, 0),
        static=torch.zeros(1, 0),
        starts=torch.tensor([0]),
        lookback=2,
        horizon=2,
        weight=torch.tensor([2.0]),
    )
    x, y, mask = windows.batch(torch.tensor([0]))
    assert x.tolist() == [[[[0, 1, 2]], [[3, 4, 5]]]]
    assert y.tolist() == [[[6], [9], [7], [0]]]
    assert mask.tolist() == [[[1], [1], [1], [0]]]
    assert (windows.n_targets, windows.rows, windows.n_features) == (2, 4, 3)
    assert windows.location_weight.tolist() == [2.0]
    assert windows.pointwise is False


def test_copies_keep_what_is_known_of_the_windows(source):
    y = torch.ones(2, 4, 3)
    windows = TensorWindows(
        x=torch.randn(2, 3, 3, 1),
        y=y,
        mask=y,
        weight=torch.tensor([0.5, 1.0, 1.5]),
        targets=2,
        pointwise=True,
    )
    copied = materialise(windows, torch.tensor([1]), torch.tensor([2, 0]))
    assert (copied.targets, copied.pointwise) == (2, True)
    assert copied.weight.tolist() == [1.5, 0.5]
    assert copied.given_profile.equal(windows.profile[[2, 0]])
    everywhere = materialise(windows, torch.tensor([1]))
    assert everywhere.weight.tolist() == [0.5, 1.0, 1.5]
    assert everywhere.given_profile.equal(windows.profile)
    assert materialise(source, torch.tensor([0])).pointwise is False


def test_evenly_spaced():
    assert evenly_spaced(9, 3).tolist() == [0, 4, 8]
    assert evenly_spaced(5, 2).tolist() == [0, 4]
    assert evenly_spaced(4, 9).tolist() == [0, 1, 2, 3]
    assert evenly_spaced(7, 1).tolist() == [0]
    assert evenly_spaced(7, 1).dtype == torch.int64
    assert evenly_spaced(12, 4).tolist() == [0, 4, 7, 11]  # 3.67 and 7.33 are rounded


def test_features_of_the_calendar_alone_or_static_alone(source):
    plain = source.inputs(torch.tensor([0]))
    for part, kept in (("static", [0, 1, 2, 3]), ("calendar", [0, 1, 4])):
        other = replace(source, **{part: getattr(source, part)[:, :0]})
        assert other.inputs(torch.tensor([0])).equal(plain[..., kept])
        assert other.n_features == len(kept)
        profile = source.profile.view(LOCATIONS, 3, 5)[..., kept]
        torch.testing.assert_close(other.mean_window(), profile)


def test_windows_are_a_torch_dataset(source):
    x, y, mask = source[5]
    whole = source.batch(torch.arange(len(source)))
    assert x.shape == whole.x.shape[1:]
    assert torch.equal(x, whole.x[5])
    assert torch.equal(y, whole.y[5])
    assert torch.equal(mask, whole.mask[5])
    assert torch.equal(source[-1].y, whole.y[-1])
    batches = list(DataLoader(source, batch_size=3))
    assert torch.equal(torch.cat([batch.x for batch in batches]), whole.x)
    with pytest.raises(IndexError, match="are not among"):
        source[len(source)]

"""Teachers of single series: what the model sees, and how its answers come back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stemdist.data.scaling import Scaler
from stemdist.data.windows import TensorWindows
from stemdist.errors import InputError
from stemdist.students.teachers.series import SeriesTeacher, unrolled


class Drift(SeriesTeacher):
    """Continues with the last value plus 10 per step; its tokens are pairs of the context."""

    states = ("tokens",)

    @classmethod
    def load(cls, argument, device="cpu"):
        return cls(name=argument, device=device)

    def __init__(self, **options):
        model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).double()
        super().__init__(model, **options)
        self.seen = []

    def continue_series(self, context, horizon):
        self.seen.append(context)
        torch.rand(3)  # as libraries do
        steps = 10 * torch.arange(1.0, horizon + 1)
        return context[:, -1:] + steps, context.unflatten(1, (-1, 2))


class Silent(Drift):
    states = ()


@pytest.fixture
def two_targets(training_set_of):
    """Return 2 windows of 4 steps at 3 locations: value = 100 c + 10 n + step, window adds 1000."""
    window, step, n, c = torch.meshgrid(
        *(torch.arange(float(size)) for size in (2, 4, 3, 3)), indexing="ij"
    )
    physical = 1000 * window + 100 * c + 10 * n + step
    scaler = Scaler(mean=(5.0, -7.0, 1.0), scale=(2.0, 4.0, 9.0))
    source = TensorWindows(
        x=scaler.scale_features(physical),
        y=torch.zeros(2, 4, 3),
        mask=torch.ones(2, 4, 3),
        weight=torch.ones(3),
        targets=2,
    )
    return training_set_of(source, scaler)


def test_the_model_sees_each_target_in_physical_units(two_targets):
    teacher, data = Drift(name="drift"), two_targets
    teacher.answer(data, torch.tensor([1]))
    (seen,) = teacher.seen
    assert seen.dtype == torch.float32
    assert seen.shape == (6, 4)  # one window, 3 locations, 2 targets; the third feature is none
    expected = [[1000 + 100 * c + 10 * n + s for s in range(4)] for n in range(3) for c in range(2)]
    torch.testing.assert_close(seen, torch.tensor(expected, dtype=torch.float32))


def test_answers_come_back_as_rows_in_scaled_units(two_targets):
    forecast, states = Drift(name="drift").answer(two_targets, torch.tensor([1, 0]), ["tokens"])
    assert forecast.shape == (2, 4, 3)
    # Window 0, location 2, target 1: last value 123, then 133 and 143; mean -7, scale 4.
    torch.testing.assert_close(forecast[1, 2:, 2], torch.tensor([35.0, 37.5]))
    # Window 1, location 0, target 0: 1003, then 1013 and 1023; mean 5, scale 2.
    torch.testing.assert_close(forecast[0, :2, 0], torch.tensor([504.0, 509.0]))
    tokens = states["tokens"]
    assert tokens.shape == (2, 3, 2, 2)  # of target 0 only
    torch.testing.assert_close(tokens[0, 1], torch.tensor([[1010.0, 1011.0], [1012.0, 1013.0]]))


@pytest.mark.parametrize("block", [1, 4, 5, 100])
def test_blocks_are_bounded_and_change_nothing(block, two_targets):
    teacher, data = Drift(name="drift", block_series=block), two_targets
    forecast, states = teacher.answer(data, torch.arange(2), ["tokens"])
    whole, whole_states = Drift(name="drift").answer(data, torch.arange(2), ["tokens"])
    assert max(len(context) for context in teacher.seen) == min(block, 12)
    assert torch.equal(forecast, whole)
    assert torch.equal(states["tokens"], whole_states["tokens"])


def test_the_model_is_frozen_and_random_numbers_are_left_alone(two_targets):
    teacher = Drift(name="drift")
    assert not teacher.model.training
    assert all(not weight.requires_grad for weight in teacher.model.parameters())
    assert all(weight.dtype == torch.float32 for weight in teacher.model.parameters())
    before = torch.get_rng_state()
    teacher.answer(two_targets, torch.arange(2))
    assert torch.equal(torch.get_rng_state(), before)


def test_states_that_are_not_shown(two_targets):
    with pytest.raises(InputError, match=r"'silent' cannot show its tokens; .* only forecasts"):
        Silent(name="silent").answer(two_targets, torch.arange(2), ["tokens"])
    with pytest.raises(InputError, match=r"cannot show its latent; hidden .* show: tokens"):
        Drift(name="drift").answer(two_targets, torch.arange(2), ["latent"])


def test_values_that_are_not_finite(two_targets):
    teacher = Drift(name="drift")
    teacher.continue_series = lambda context, horizon: (context[:, :2] / 0.0, None)
    with pytest.raises(InputError, match="'drift' returned values that are not finite"):
        teacher.answer(two_targets, torch.arange(2))


def test_wrong_device():
    with pytest.raises(InputError, match="unknown device 'gpu': this machine has cpu"):
        Drift(name="drift", device="gpu")


def test_wrong_block():
    with pytest.raises(InputError, match="block_series is 0: it must be a whole number"):
        Drift(name="drift", block_series=0)


def test_identity_is_of_weights_and_settings():
    first, second = Drift(name="a"), Drift(name="b")
    assert first.identity != second.identity
    second.model.load_state_dict(first.model.state_dict())
    del second.identity  # hashed once
    assert first.identity == second.identity

    class Set(Drift):
        settings = {"top_k": 1}  # noqa: RUF012

    third = Set(name="a")
    third.model.load_state_dict(first.model.state_dict())
    assert third.identity != first.identity


def test_unrolling_cuts_contexts_and_forecasts():
    asked = []

    def doubled(context, wanted):
        asked.append((context.tolist(), wanted))
        return 2 * context[:, -1:].repeat(1, 2), context

    forecast, states = unrolled(doubled, torch.tensor([[9.0, 1.0, 3.0]]), 5, longest=2)
    assert forecast.tolist() == [[6.0, 6.0, 12.0, 12.0, 24.0]]
    assert asked == [([[1.0, 3.0]], 5), ([[6.0, 6.0]], 3), ([[12.0, 12.0]], 1)]
    assert states.tolist() == [[1.0, 3.0]]

"""Reversible normalisation: numbers by hand, several targets, flat windows."""

from __future__ import annotations

import pytest
import torch

from stemdist.errors import InputError
from stemdist.forecast.layers.reversible_norm import ReversibleNorm


def test_numbers_by_hand():
    x = torch.tensor([[[[1.0, 7.0]], [[5.0, 7.0]]]])  # one window, two steps, one location
    normed, statistics = ReversibleNorm(2, floor=0.0).normalise(x)
    assert statistics.mean.item() == 3.0
    assert statistics.scale.item() == 2.0
    assert normed[0, :, 0].tolist() == [[-1.0, 7.0], [1.0, 7.0]]  # the context is left alone


def test_restore_undoes_normalise():
    x = torch.randn(3, 6, 4, 2, dtype=torch.float64)
    norm = ReversibleNorm(2)
    normed, statistics = norm.normalise(x)
    torch.testing.assert_close(norm.restore(normed[..., 0], statistics), x[..., 0])


def test_without_scales_only_the_mean_is_taken_away():
    x = torch.tensor([[[[1.0, 7.0]], [[5.0, 7.0]]]])
    norm = ReversibleNorm(2, scales=False)
    normed, statistics = norm.normalise(x)
    assert normed[0, :, 0].tolist() == [[-2.0, 7.0], [2.0, 7.0]]
    assert norm.restore(torch.tensor([[[10.0]]]), statistics).item() == 13.0


def test_each_output_gets_the_statistics_of_its_target():
    x = torch.randn(3, 6, 4, 3, dtype=torch.float64)
    norm = ReversibleNorm(3, n_outputs=4, n_targets=2)  # two quantiles of two targets
    normed, statistics = norm.normalise(x)
    rows = [normed[..., target] for target in (0, 1, 0, 1)]
    restored = norm.restore(torch.cat(rows, dim=1), statistics)
    expected = torch.cat([x[..., target] for target in (0, 1, 0, 1)], dim=1)
    torch.testing.assert_close(restored, expected)
    assert torch.equal(normed[..., 2], x[..., 2])


def test_a_flat_window_stays_finite_to_second_order():
    x = torch.full((1, 6, 1, 1), 3.0, dtype=torch.float64, requires_grad=True)
    normed, statistics = ReversibleNorm(1, floor=0.01).normalise(x)
    assert not normed.any()
    assert statistics.mean.item() == 3.0
    (slope,) = torch.autograd.grad(normed.square().sum() + normed[0, 0].sum(), x, create_graph=True)
    (curve,) = torch.autograd.grad(slope.square().sum(), x)
    # The gradient of one normalised step is (1 - 1 / 6) / floor.
    torch.testing.assert_close(slope[0, 0].item(), 5 / 6 / 0.01)
    assert torch.isfinite(curve).all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"n_features": 1, "n_targets": 2}, "n_targets is 2 but there are 1 features"),
        ({"n_features": 2, "n_targets": 0}, "n_targets is 0: it must be a whole number"),
        (
            {"n_features": 2, "n_targets": 2, "n_outputs": 3},
            "n_outputs is 3: it must be a multiple of the 2 targets",
        ),
    ],
)
def test_wrong_shapes(shape, message):
    with pytest.raises(InputError, match=message):
        ReversibleNorm(**shape)

"""What errors are measured against, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr

from stemdist.errors import InputError
from stemdist.evaluate.metrics import targets
from stemdist.evaluate.metrics.targets import (
    BEAUFORT,
    TargetSummary,
    area_weights,
    double,
    known_edges,
    per_location,
    persistence_scale,
    ratio,
)


def block(*values):
    """(B, 1, 2) targets, all valid."""
    y = np.array(values, dtype=float).reshape(-1, 1, 2)
    return y, np.ones_like(y)


def test_summary_of_blocks():
    # 1 3 | 5 7 5 9: mean 5, squares of deviations 16 4 0 4 0 16
    summary = TargetSummary.of([block(1, 3), block(5, 7, 5, 9)], quantiles=(0.2, 0.5))
    assert summary.mean == pytest.approx(5)
    assert summary.spread == pytest.approx(math.sqrt(40 / 6))
    assert summary.edges == pytest.approx((3, 5))


def test_default_edges_are_five_quantiles():
    y = np.arange(21.0).reshape(21, 1, 1)
    assert TargetSummary.of([(y, np.ones_like(y))]).edges == pytest.approx((1, 5, 10, 15, 19))


def test_no_edges_where_no_quantiles_are_asked_for():
    assert TargetSummary.of([block(1, 3)], quantiles=()).edges == ()


def test_given_edges_replace_quantiles():
    assert TargetSummary.of([block(1, 3)], edges=(2.5,)).edges == (2.5,)


def test_weights_of_locations_and_blocks_without_a_target():
    y, mask = block(1, 5, 3, 9)
    nothing = (np.full_like(y, np.nan), np.zeros_like(mask))
    weight = np.array([1.5, 0.5])
    # 1 and 3 count three times as often as 5 and 9: mean 13/4, squares (3 * (81 + 1) + 49 + 529)/16
    for blocks in (
        [nothing, (y, mask)],
        [(y, mask), nothing],
        [(y[:1], mask[:1]), nothing, (y[1:], mask[1:])],
    ):
        summary = TargetSummary.of(blocks, weight=weight, quantiles=(0.5,))
        assert summary.mean == pytest.approx(26 / 8)
        assert summary.spread == pytest.approx(math.sqrt((3 * (81 + 1) + 49 + 529) / 16 / 8))
        assert summary.edges == (4.0,)  # strata are of the values, whatever their weight


def test_masked_targets_are_not_read():
    y, mask = block(1, np.nan, 3, 1e9)
    mask[:, :, 1] = 0
    assert TargetSummary.of([(y, mask)], quantiles=(0.5,)) == TargetSummary(
        mean=2.0, spread=1.0, edges=(2.0,)
    )


def test_far_from_zero_no_digits_are_lost():
    summary = TargetSummary.of([block(1e8 + 1, 1e8 + 3), block(1e8 + 5, 1e8 + 7)])
    assert summary.mean - 1e8 == pytest.approx(4, abs=1e-6)
    assert summary.spread == pytest.approx(math.sqrt(5), abs=1e-6)


def test_long_streams_are_thinned_evenly(monkeypatch):
    monkeypatch.setattr(targets, "MOST_QUANTILE_VALUES", 4)
    sample = targets._Sample()
    sample.add(np.arange(4.0))
    assert [part.tolist() for part in sample.parts] == [[0, 1, 2, 3]]  # as many as may stay
    sample.add(np.arange(4.0, 8.0))
    assert np.concatenate(sample.parts).tolist() == [0, 2, 4, 6]
    assert sample.stride == 2
    sample.add(np.arange(8.0, 12.0))
    assert np.concatenate(sample.parts).tolist() == [0, 4, 8]
    assert sample.stride == 4
    assert sample.quantiles((0.5, 0.75)) == (4.0, 6.0)
    sample.add(np.arange(12.0, 44.0))  # 12 16 20 ...: thinned as often as it takes
    assert np.concatenate(sample.parts).tolist() == [0, 16, 32]


def test_nothing_is_observed():
    y, mask = block(1, 3)
    with pytest.raises(InputError, match="no target of the evaluated part is observed"):
        TargetSummary.of([(y, 0 * mask)])


@pytest.mark.parametrize(
    ("name", "attrs"),
    [
        ("WIND_SPEED", {"units": "m/s"}),
        ("ff", {"standard_name": "wind_speed", "units": "m s-1"}),
        ("ff", {"long_name": "Wind Speed at 10 m", "units": "metre second-1"}),
    ],
)
def test_wind_speed_is_known_by_any_of_its_names(name, attrs):
    assert known_edges(xr.DataArray(0.0, name=name, attrs=attrs)) == BEAUFORT


def test_wind_speed_is_a_word_of_its_own():
    for name in ("wind_speedup", "downwind_speed"):
        assert known_edges(xr.DataArray(0.0, name=name, attrs={"units": "m/s"})) == ()


def test_persistence_scale_of_observed_pairs_only():
    series = np.array([[0.0, 1.0, 7.0], [2.0, 9.0, 0.0], [8.0, 3.0, 7.0], [7.0, 4.0, 0.0]])
    seen = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 1], [1, 1, 0]])
    # changes 2 6 1; only 3 -> 4; no pair
    scale = persistence_scale(series, seen)
    assert scale[:2].tolist() == [3.0, 1.0]
    assert scale[2].isnan()
    # 0 -> 8 and 2 -> 7; 1 -> 3; 7 -> 7, which does not change
    scale = persistence_scale(series, seen, season_steps=2)
    assert scale[:2].tolist() == [6.5, 2.0]
    assert scale[2].isnan()
    with pytest.raises(InputError, match="season_steps"):
        persistence_scale(series, seen, season_steps=0)


def test_area_weights_by_hand():
    assert area_weights(np.array([60.0, -60.0, 0.0])).tolist() == pytest.approx([0.75, 0.75, 1.5])
    poles = area_weights(np.array([0.0, 90.0, 90.0000001]))  # the cosine of the last is below 0
    assert poles.tolist() == pytest.approx([3.0, 0.0, 0.0])
    assert (poles >= 0).all()


def test_ratio():
    found = ratio(torch.tensor([3.0, 1.0, 1.0, 0.0]), torch.tensor([0.5, 0.0, -1.0, 2.0]))
    assert found.isnan().tolist() == [False, True, True, False]
    assert found[[0, 3]].tolist() == [6.0, 0.0]


def test_double():
    given = torch.tensor([0.1], requires_grad=True)
    assert double(given).dtype == torch.float64
    assert not double(given).requires_grad
    assert double(np.float32([1])).dtype == torch.float64


def test_numbers_of_each_location():
    numbers = per_location("weight", None, 2, 1.5)
    assert numbers.tolist() == [1.5, 1.5]
    assert numbers.dtype == torch.float64
    assert per_location("weight", np.float32([2, 3]), 2, 1.0).tolist() == [2, 3]
    message = r"scale has shape \(1,\): one number for each of the 2 locations is needed"
    with pytest.raises(InputError, match=message):
        per_location("scale", np.ones(1), 2, 1.0)

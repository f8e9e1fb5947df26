"""Scaling by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stemdist.data import Scaler
from stemdist.errors import InputError


def test_missing_entries_do_not_count():
    values = np.array([[[1.0, 5.0]], [[np.nan, 7.0]], [[3.0, np.nan]]], dtype=np.float32)
    scaler = Scaler.fit(values, ("a", "b"))
    assert scaler == Scaler(mean=(2.0, 6.0), scale=(1.0, 1.0))
    scaled = scaler.transform(values)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled[:, 0], [[-1, -1], [np.nan, 1], [1, np.nan]])


def test_inverses():
    scaler = Scaler(mean=(280.0, -3.0), scale=(4.0, 0.5))
    values = torch.tensor([[281.0, -2.0], [272.0, -4.0]])
    scaled = scaler.scale_features(values)
    assert scaled.tolist() == [[0.25, 2.0], [-2.0, -2.0]]
    assert scaler.inverse_features(scaled).equal(values)
    assert scaler.inverse(scaled[:, 1], feature=1).equal(values[:, 1])
    assert scaler.scale_targets(values[:, :1]).equal(scaled[:, :1])
    assert scaler.transform(values.numpy()).tolist() == scaled.tolist()


def test_large_offsets_lose_no_precision():
    values = 1e5 + np.random.default_rng(0).normal(size=(2000, 3, 1)).astype(np.float32)
    scaler = Scaler.fit(values.astype(np.float32), ("pressure",))
    exact = values.astype(np.float32).astype(np.float64)
    assert scaler.mean[0] == pytest.approx(exact.mean(), rel=1e-12)
    assert scaler.scale[0] == pytest.approx(exact.std(), rel=1e-5)


def test_nothing_to_scale():
    with pytest.raises(InputError, match="'b' has no observed value in the training part"):
        Scaler.fit(np.array([[[1.0, np.nan]], [[2.0, np.nan]]]), ("a", "b"))
    for constant in (0.0, 281.15):
        with pytest.raises(InputError, match=r"'a' is constant .* nothing to forecast"):
            Scaler.fit(np.full((9, 2, 1), constant, dtype=np.float32), ("a",))
    with pytest.raises(InputError, match="every scale above 0"):
        Scaler(mean=(1.0,), scale=(0.0,))
    with pytest.raises(InputError, match="one of each per feature"):
        Scaler(mean=(1.0, 2.0), scale=(1.0,))


def test_constant_is_relative_to_the_level():
    for level, spread in ((0.0, 1e-20), (1e6, 1.0)):
        values = np.array([level - spread, level + spread]).reshape(2, 1, 1)
        assert Scaler.fit(values, ("a",)).scale[0] == pytest.approx(spread)
    nearly = np.array([1e6 - 0.05, 1e6 + 0.05]).reshape(2, 1, 1)  # below 1e-7 of the level
    for sign in (1, -1):
        with pytest.raises(InputError, match=r"'a' is constant \(-?1e\+06\) in the training part"):
            Scaler.fit(sign * nearly, ("a",))


def test_spread_of_more_steps_than_one_block():
    values = np.zeros((600, 1, 1), dtype=np.float32)
    values[0], values[255], values[256], values[599] = 3.0, -3.0, 5.0, -5.0
    values[300] = np.nan
    scaler = Scaler.fit(values, ("a",))
    assert scaler.mean == (0.0,)
    assert scaler.scale[0] == pytest.approx(np.sqrt((9 + 9 + 25 + 25) / 599))


def test_squares_that_single_precision_cannot_hold():
    values = np.array([1e30, 3e30], dtype=np.float32).reshape(2, 1, 1)
    assert Scaler.fit(values, ("a",)).scale[0] == pytest.approx(1e30, rel=1e-6)


def test_rows_of_two_targets():
    scaler = Scaler(mean=(280.0, -3.0, 7.0), scale=(4.0, 0.5, 9.0))
    rows = torch.tensor(
        [[[1.0, 2.0], [0.0, -1.0], [2.0, 0.0], [4.0, -2.0]]]
    )  # 2 x 2 steps, 2 places
    physical = [[[284.0, 288.0], [280.0, 276.0], [-2.0, -3.0], [-1.0, -4.0]]]
    assert scaler.inverse_targets(rows, 2).tolist() == physical
    assert scaler.scale_targets(torch.tensor(physical), 2).equal(rows)
    assert scaler.inverse_targets(rows)[0, 3].tolist() == [296.0, 272.0]
    assert scaler.scale_targets(torch.full((1, 1, 1), 288.0)).tolist() == [[[2.0]]]
    assert scaler.inverse(torch.tensor([1.0])).tolist() == [284.0]


def test_scales_are_finite():
    for scale in (np.inf, -1.0, np.nan):
        with pytest.raises(InputError, match="every scale above 0 and finite"):
            Scaler(mean=(1.0,), scale=(scale,))


LOCATIONS = Scaler(mean=((10.0, 20.0), 1.0), scale=((2.0, 4.0), 0.5))
"""Two locations; the second feature is scaled alike at both."""


def test_locations_are_scaled_by_their_own_statistics():
    nan = np.nan
    values = np.array([[1.0, 5.0, nan, 7.0], [3.0, nan, nan, 7.0], [5.0, 9.0, nan, 7.0]])
    found = Scaler(mean=(5.0,), scale=(2.5,)).per_location([values.astype(np.float32)])
    assert found.mean[0] == (3.0, 7.0, 5.0, 7.0)  # the third is never observed
    assert found.scale[0] == pytest.approx((np.sqrt(8 / 3), 2.0, 2.5, 2.5))  # the last is constant
    assert found.n_locations == 4
    assert Scaler(mean=(5.0,), scale=(2.5,)).n_locations is None


def test_inverses_of_locations():
    x = torch.tensor([[[12.0, 1.5], [20.0, 0.5]]])  # (B, N, F)
    scaled = LOCATIONS.scale_features(x)
    assert scaled.tolist() == [[[1.0, 1.0], [0.0, -1.0]]]
    assert LOCATIONS.inverse_features(scaled).equal(x)
    assert LOCATIONS.transform(x.numpy()).tolist() == scaled.tolist()
    assert LOCATIONS.inverse(torch.ones(3, 2)).tolist() == [[12.0, 24.0]] * 3
    assert LOCATIONS.inverse(torch.ones(3, 2), feature=1).tolist() == [[1.5, 1.5]] * 3
    rows = torch.ones(5, 6, 2)  # two targets, three steps, two locations
    physical = LOCATIONS.inverse_targets(rows, n_targets=2)
    assert physical[0].tolist() == [[12.0, 24.0]] * 3 + [[1.5, 1.5]] * 3
    assert LOCATIONS.scale_targets(physical, n_targets=2).equal(rows)


def test_chosen_locations_and_groups():
    assert LOCATIONS.at(np.array([False, True])).mean == ((20.0,), 1.0)
    assert LOCATIONS.at(torch.tensor([1, 0])).scale == ((4.0, 2.0), 0.5)
    assert LOCATIONS.reduced(lambda each: each.mean(1, keepdim=True)).mean == ((15.0,), 1.0)
    plain = Scaler(mean=(1.0,), scale=(2.0,))
    assert plain.at(np.array([5])) is plain
    assert LOCATIONS.moved((1.0, 1.0)).mean == ((9.0, 19.0), 0.0)


def test_equal_scalers():
    assert LOCATIONS.equals(LOCATIONS.at(torch.arange(2)))
    assert not LOCATIONS.equals(LOCATIONS.at(torch.tensor([1, 0])))
    assert not LOCATIONS.equals(Scaler(mean=(10.0, 1.0), scale=(2.0, 0.5)))
    assert not LOCATIONS.equals(LOCATIONS.moved((1e-3, 0.0)), rtol=1e-6)
    assert LOCATIONS.equals(LOCATIONS.moved((1e-3, 0.0)), rtol=1e-3)


def test_statistics_of_locations_must_be_of_as_many():
    with pytest.raises(InputError, match="one of each per feature"):
        Scaler(mean=((1.0, 2.0),), scale=((1.0,),))
    with pytest.raises(InputError, match="every scale above 0"):
        Scaler(mean=((1.0, 2.0),), scale=((1.0, 0.0),))

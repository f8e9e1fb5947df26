from __future__ import annotations

import numpy as np
import pytest
import torch

from stemdist.data.windows import SeriesWindows
from stemdist.errors import InputError
from stemdist.forecast.baselines import Climatology, persistence, window_mean


def windows() -> SeriesWindows:
    # Location 0 counts up; location 1 is 10 except at step 1, and is missing at steps 2 and 3.
    values = torch.tensor([[0.0, 10], [1, 20], [2, 20], [3, 20], [4, 10], [5, 10], [6, 10]])
    observed = torch.ones(7, 2, dtype=torch.bool)
    observed[2:4, 1] = False
    return SeriesWindows(
        values=values[..., None],
        observed=observed[..., None],
        calendar=torch.zeros(7, 0),
        static=torch.zeros(2, 0),
        starts=torch.tensor([0, 1, 2]),
        lookback=3,
        horizon=2,
    )


def test_persistence_repeats_the_last_observed_value():
    forecast = persistence(windows(), torch.tensor([0, 1]))
    assert forecast.tolist() == [[[2, 20], [2, 20]], [[3, 20], [3, 20]]]


def test_window_mean_leaves_missing_values_out():
    forecast = window_mean(windows(), torch.tensor([0, 2]))
    assert forecast.tolist() == [[[1, 15], [1, 15]], [[3, 10], [3, 10]]]


def test_a_window_without_any_observation_forecasts_the_training_mean():
    series = windows()
    series.observed[:, 1] = False
    for baseline in (persistence, window_mean):
        assert baseline(series, torch.tensor([0]))[0, :, 1].tolist() == [0, 0]


def test_climatology_by_hand_reads_the_training_part_only():
    series = windows()
    climatology = Climatology.fit(
        series.values.numpy(), series.observed.numpy(), slots=[0, 1, 0, 1, 0, 1, 0], end=4
    )
    # Slot 0: mean of 0 and 2; 10 alone. Slot 1: mean of 1 and 3; 20 alone.
    assert climatology.by_slot[..., 0].tolist() == [[1, 10], [2, 20]]
    forecast = climatology(series, torch.tensor([1]))  # steps 4 and 5
    assert forecast.tolist() == [[[1, 10], [2, 20]]]
    assert forecast.dtype == series.values.dtype


def test_an_unseen_slot_takes_the_location_mean():
    values = np.array([[1.0, 5.0], [3.0, 5.0], [0.0, 0.0]])
    observed = np.array([[True, False], [True, False], [True, True]])
    climatology = Climatology.fit(values, observed, slots=[0, 0, 1], end=2)
    assert climatology.by_slot.tolist() == [[2, 0], [2, 0]]


def test_season_of_three_years_is_recovered():
    step = np.arange(3 * 365 * 2)
    slots, days = step % 2, step // 2 % 365
    season = np.cos(2 * np.pi * days / 365)
    values = (slots * 4.0 + season)[:, None]
    climatology = Climatology.fit(
        values, np.ones_like(values, bool), slots=slots, end=len(step), days=days
    )
    # A mean over 31 days shrinks the yearly cosine by 1 % (sin(31 pi / 365) / (31 sin(pi / 365))).
    np.testing.assert_allclose(climatology.at(step)[:, 0], slots * 4 + 0.988 * season, atol=0.02)


@pytest.mark.parametrize(
    ("slots", "end", "days", "message"),
    [
        ([0, 1], 3, None, "3 steps was given 2 slots, 0 days of year"),
        ([0, 1, 0], 4, None, "and a training part of 4 steps"),
        ([0, 1, 0], 3, [0], "1 days of year"),
        ([0, -1, 0], 3, None, "slots count from 0"),
        ([0, 1, 0], 3, [1, 2, 366], "days of year from 0 to 365"),
        ([0, 1, 0], 0, None, "end is 0"),
    ],
)
def test_wrong_steps(slots, end, days, message):
    values = np.zeros((3, 1))
    with pytest.raises(InputError, match=message):
        Climatology.fit(values, values == 0, slots=slots, end=end, days=days)

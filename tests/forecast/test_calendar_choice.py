"""Calendar features are kept where they help, by a check that agrees with real training."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from stemdist.data import canonical_series
from stemdist.data.calendar import fitting_calendar
from stemdist.data.windows import SeriesWindows
from stemdist.forecast import ForecastTask, TaskSettings, predict_windows
from stemdist.forecast.calendar_choice import (
    _columns,
    _error_of_means,
    _kept,
    chosen_calendar,
)
from stemdist.forecast.closed_form import fit_linear, moments_of

HOURS = 24 * 7 * 10


def hourly(signal, missing: float = 0.0) -> xr.Dataset:
    time = pd.date_range("2024-01-01", periods=HOURS, freq="h")
    random = np.random.default_rng(0)
    values = signal(time)[:, None] + random.normal(0, 0.3, size=(HOURS, 3))
    values[random.random(values.shape) < missing] = np.nan
    return canonical_series(xr.Dataset({"v": (("time", "station"), values)}, {"time": time}))


def rush(time):
    return 3.0 * np.isin(time.hour, [8, 17])


def weekend(time):
    return 3.0 * ((time.day_of_week >= 5) & (time.hour == 12))


def settings(**options) -> TaskSettings:
    return TaskSettings(lookback=3, horizon=6, neighbour_context=False, **options)


def test_the_rules_by_hand():
    day = 86400.0
    assert fitting_calendar(3600, 6.9 * day) == ()
    assert fitting_calendar(3600, 7 * day) == ("time_of_day",)
    assert fitting_calendar(3600, 28 * day) == ("time_of_day", "day_of_week")
    assert fitting_calendar(day, 730 * day) == ("day_of_week", "day_of_year")
    assert fitting_calendar(day, 730 * day, "noleap") == ("day_of_year",)
    assert fitting_calendar(30 * day, 7300 * day) == ("day_of_year",)
    assert fitting_calendar(365 * day, 7300 * day) == ()


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_what_helps_is_kept(missing):
    task = ForecastTask.from_series(hourly(rush, missing), settings(calendar=("auto",)))
    assert task.settings.calendar == ("time_of_day",)
    assert task.feature_names == ("v", "time_of_day_sin", "time_of_day_cos")
    assert task.train.calendar.shape[1] == 2


def test_noise_needs_no_calendar():
    task = ForecastTask.from_series(
        hourly(lambda t: np.zeros(len(t))), settings(calendar=("auto",))
    )
    assert task.settings.calendar == ()
    assert len(task.scaler.mean) == 1


def test_a_chosen_calendar_equals_a_given_one():
    series = hourly(rush)
    chosen = ForecastTask.from_series(series, settings(calendar=("auto",)))
    given = ForecastTask.from_series(series, settings(calendar=("time_of_day",)))
    assert chosen.content_hash == given.content_hash


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_errors_from_moments_are_those_of_the_forecaster(missing):
    task = ForecastTask.from_series(hourly(weekend, missing), settings(calendar=("time_of_day",)))
    validation = task.validation
    index = torch.arange(len(validation))
    fitted = fit_linear(task.train)
    forecast = predict_windows(fitted, validation, task.graph, task.train.profile, index=index)
    _, y, mask = validation.batch(index)
    expected = ((forecast - y).square() * mask).sum() / mask.sum()
    learned, tested = moments_of(task.train), moments_of(validation)
    assert tested.squared_error(*learned.solve(1e-3)) == pytest.approx(float(expected), rel=1e-4)


def test_leaving_a_feature_out_is_never_having_had_it():
    series = hourly(rush)
    both = settings(calendar=("time_of_day", "day_of_week"))
    one = settings(calendar=("day_of_week",))
    wide, narrow = (ForecastTask.from_series(series, each).train for each in (both, one))
    kept = _kept(_columns(both, wide), ("day_of_week",))
    left = moments_of(wide).only(kept).solve(1e-3)
    right = moments_of(narrow).solve(1e-3)
    for mine, theirs in zip(left, right, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_without_validation_all_candidates_stay():
    task = ForecastTask.from_series(hourly(rush), settings(calendar=("time_of_day",)))
    assert chosen_calendar(task.settings, task.train, None).calendar == ("time_of_day",)


def test_what_only_means_can_tell_is_kept():
    """At noon half of the places are busy on working days only, the other half on the others."""
    time = pd.date_range("2024-01-01", periods=HOURS, freq="h")
    free = np.asarray(time.day_of_week) >= 5
    noon = np.asarray(time.hour == 12).astype(float)
    sides = np.stack([noon * free, noon * ~free], axis=1)
    noise = np.random.default_rng(0).normal(0, 0.1, size=(HOURS, 4))
    values = 3.0 * np.concatenate([sides, sides], axis=1) + noise
    series = canonical_series(xr.Dataset({"v": (("time", "station"), values)}, {"time": time}))
    task = ForecastTask.from_series(series, settings(calendar=("auto",)))
    assert task.settings.calendar == ("time_of_day", "day_of_week")


def test_means_of_slots_by_hand():
    values = torch.tensor([1.0, 5.0] * 6).view(12, 1, 1)
    part = SeriesWindows(
        values=values,
        observed=torch.ones(12, 1, 1, dtype=torch.bool),
        calendar=torch.tensor([0.0, 1.0] * 6)[:, None],
        static=torch.zeros(1, 0),
        starts=torch.arange(6),
        lookback=1,
        horizon=2,
    )
    later = part.take(torch.tensor([4, 5]))  # targets at the steps 5, 6 and 7: 5, 1 and 5
    assert _error_of_means(part, later, [0]) == 0.0
    # of the targets at steps 1 to 7 four are 5 and three are 1: the mean is 23 / 7
    expected = (2 * (5 - 23 / 7) ** 2 + (1 - 23 / 7) ** 2) / 3
    assert _error_of_means(part, later, []) == pytest.approx(expected)
    few = part.take(torch.tensor([0]))  # two steps cannot show two slots twice
    assert _error_of_means(few, later, [0]) == float("inf")

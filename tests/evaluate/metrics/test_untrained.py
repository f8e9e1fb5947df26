"""Baselines that cost nothing, and the sentence where one of them wins."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stemdist.data import canonical_series
from stemdist.evaluate.metrics.baselines import fitting_baselines
from stemdist.evaluate.metrics.untrained import better_untrained, untrained_errors
from stemdist.forecast import ForecastTask, TaskSettings


def task_of(periods: int, freq: str, signal) -> ForecastTask:
    time = pd.date_range("2024-01-01", periods=periods, freq=freq)
    values = np.stack([signal(time), signal(time) + 10.0], axis=1)
    raw = xr.Dataset({"v": (("time", "station"), values)}, {"time": time})
    settings = TaskSettings(lookback=2, horizon=3, neighbour_context=False)
    return ForecastTask.from_series(canonical_series(raw), settings)


def test_a_daily_cycle_is_known_from_its_mean_by_time_of_day():
    task = task_of(24 * 50, "h", lambda t: np.sin(2 * np.pi * t.hour / 24.0) + t.hour % 5)
    errors = untrained_errors(task, task.validation, "rmse")
    assert errors["climatology"] == pytest.approx(0.0, abs=1e-4)
    assert errors["mean by day of week and time"] == pytest.approx(0.0, abs=1e-4)
    assert errors["mean of the location"] > 1.0
    assert list(errors.values()) == sorted(errors.values())


def test_a_weekly_cycle_needs_the_day_of_the_week():
    task = task_of(24 * 50, "h", lambda t: 1.0 * ((t.day_of_week == 6) & (t.hour > 11)))
    errors = untrained_errors(task, task.validation, "rmse")
    assert errors["mean by day of week and time"] == pytest.approx(0.0, abs=1e-4)
    assert errors["climatology"] > 0.1


def test_means_are_those_a_series_is_long_enough_for():
    daily = task_of(40, "D", lambda t: t.day_of_year % 7.0)
    means = {"mean of the location", "mean by time of day"}
    assert not means & set(fitting_baselines(daily))
    years = task_of(5 * 365, "D", lambda t: np.cos(2 * np.pi * t.day_of_year / 365.25))
    errors = untrained_errors(years, years.validation, "rmse")
    assert errors["climatology"] < 0.1
    assert errors["mean of the location"] > 0.5


def test_the_sentence():
    errors = {"persistence": 0.5, "mean by time of day": 0.45}
    assert better_untrained(errors, 0.45, "it") is None
    sentence = better_untrained(errors, 0.61, "the forecaster")
    assert sentence.startswith(
        "The mean by time of day (0.45) is better than the forecaster (0.61)"
    )
    assert "--calendar" in sentence

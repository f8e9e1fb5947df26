"""A small task, teachers that are barely trained, and settings that take a second."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from stemdist.data import canonical_series, simulate
from stemdist.forecast import (
    ForecastTask,
    TaskSettings,
    TrainingSet,
    TrainingSettings,
    fit_forecaster,
)
from stemdist.students import ForecasterTeacher, StudentSettings

QUICK = TrainingSettings(updates=6, validate_every=3, batch_windows=4)
SMALL = {
    "patchtst": {"hidden": 8, "feed_forward": 8, "heads": 2, "layers": 2, "patch": 4, "stride": 4},
    "mtgnn": {"residual_channels": 4, "conv_channels": 4, "skip_channels": 6, "end_channels": 8},
    "spectral-evolution": {"channels": 4, "hidden": 8, "layers": 1, "heads": 2},
    "unet": {"channels": 4},
    **{name: {"hidden": 8} for name in ("lstm", "gru", "rnn", "binned-rnn", "mlp")},
    "cnn": {"channels": 8},
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Draw the same numbers in every run."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def task() -> ForecastTask:
    """A grid of 4 x 4 points, hours of 12 days; a few values missing."""
    raw = simulate("weather-sim", days=12, n_lat=4, n_lon=4)
    random = np.random.default_rng(0)
    raw["t2m"] = raw["t2m"].where(random.random(raw["t2m"].shape) > 0.02)
    series = canonical_series(raw)
    return ForecastTask.from_series(
        series, TaskSettings(lookback=12, horizon=12, calendar=("time_of_day",))
    )


@pytest.fixture(scope="session")
def data(task) -> TrainingSet:
    """The training windows of the task."""
    return TrainingSet.of_task(task)


@pytest.fixture(scope="session")
def two_targets() -> ForecastTask:
    """Two variables at one location, forecast together."""
    hours = np.arange(200)
    waves = {
        name: ("time", np.sin(2 * np.pi * (hours + shift) / 24) * size + size)
        for name, shift, size in (("a", 0, 1.0), ("b", 6, 10.0))
    }
    raw = xr.Dataset(waves, {"time": pd.date_range("2020-01-01", periods=200, freq="h")})
    series = canonical_series(raw, variables=["a", "b"])
    settings = TaskSettings(lookback=8, horizon=4, targets=("a", "b"), neighbour_context=False)
    return ForecastTask.from_series(series, settings)


@pytest.fixture(scope="session")
def make_teacher(task):
    """Return a function that trains a small teacher, once for each name and seed."""
    made = {}

    def make(name: str = "gru", seed: int = 0, on: ForecastTask | None = None, **options):
        key = (name, seed, id(on), str(options))
        if key not in made:
            options = {**SMALL.get(name, {}), **options}
            training = replace(QUICK, seed=seed)
            made[key] = fit_forecaster(on or task, name, training, options=options)
        return ForecasterTeacher(made[key])

    return make


@pytest.fixture(scope="session")
def quick():
    """Return a function that makes quick settings of a recipe with a small student."""

    def make(recipe: str = "soft-labels", **changes) -> StudentSettings:
        settings = StudentSettings.of(recipe, training=QUICK, teacher_training=QUICK, **changes)
        options = {**SMALL.get(settings.student, {}), **settings.student_options}
        return replace(settings, student_options=options)

    return make

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stemdist.distill import DistillSettings, starting_point
from stemdist.distill.pipeline import problem_of
from stemdist.forecast import ForecastTask, TaskSettings, TrainingSettings


@pytest.fixture(scope="session")
def task() -> ForecastTask:
    """12 locations in 3 groups of daily waves, 10 days of hours, a few values missing."""
    random = np.random.default_rng(0)
    hours = np.arange(240)
    phase = np.repeat([0.0, 2.0, 4.0], 4) + random.normal(0, 0.1, 12)
    values = 20 + 5 * np.sin(2 * np.pi * hours[:, None] / 24 + phase)
    values += random.normal(0, 0.3, values.shape)
    values[random.random(values.shape) < 0.02] = np.nan
    series = xr.Dataset(
        {"t": (("time", "location"), values.astype(np.float32), {"units": "degC"})},
        {"time": pd.date_range("2020-01-01", periods=240, freq="h"), "location": np.arange(12)},
        {"target": "t", "source_name": "waves.nc"},
    )
    return ForecastTask.from_series(
        series, TaskSettings(lookback=6, horizon=3, calendar=("time_of_day",))
    )


@pytest.fixture(scope="session")
def quick() -> DistillSettings:
    """Settings that take a second."""
    return DistillSettings(
        time_ratio=0.1,
        clusters=4,
        expert_training=TrainingSettings(updates=30, validate_every=15),
        expert_seeds=1,
        extra_experts=0,
        judging=TrainingSettings(updates=20),
        judge_seeds=1,
        synthesizer_options={
            "iterations": 2,
            "patience": 3,
            "final_surrogates": ("gru", "patchtst"),
            "final_iterations": 2,
            "steps": 2,
            "updates": 1,
            "networks": 2,
            "batch_windows": 16,
        },
    )


@pytest.fixture(scope="session")
def make_problem(task, quick):
    """Return a function that makes the problem of the quick settings, with changes.

    Tests give it other windows than the task's, which need not be in its range.
    """

    def make(**changes):
        settings = replace(quick, **{"judges": ("linear",), **changes})
        return replace(problem_of(task, settings, starting_point(task, settings)), within=None)

    return make

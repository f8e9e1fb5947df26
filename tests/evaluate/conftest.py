"""A small real task, and a distilled set for it."""

from __future__ import annotations

import pytest
import torch

from stemdist.data import canonical_series, simulate
from stemdist.distill.pipeline import distill
from stemdist.distill.settings import DistillSettings
from stemdist.evaluate import EvaluationSettings, evaluate
from stemdist.forecast import ForecastTask, TaskSettings, TrainingSettings


@pytest.fixture(scope="session")
def series():
    raw = simulate("traffic-sim", n_sensors=8, days=2)
    return canonical_series(raw, variables=["speed"]).isel(time=slice(0, None, 2))


@pytest.fixture(scope="session")
def task_of():
    settings = TaskSettings(lookback=6, horizon=3)
    return lambda series: ForecastTask.from_series(series, settings)


@pytest.fixture(scope="session")
def task(series, task_of):
    return task_of(series)


@pytest.fixture(scope="session")
def experts_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("experts")


@pytest.fixture(scope="session")
def distilled(task, experts_folder):
    with torch.random.fork_rng():
        return distill(
            task,
            DistillSettings(
                clusters=3,
                experts=("linear",),
                expert_seeds=1,
                extra_experts=0,
                expert_training=TrainingSettings(updates=30),
                judges=("linear",),
                judging=TrainingSettings(updates=5),
                judge_seeds=1,
                synthesizer="selection",
            ),
            work=experts_folder,
        )


@pytest.fixture(scope="session")
def small():
    return EvaluationSettings(
        forecasters=("linear", "mlp"),
        seeds=2,
        learning_rates=(5e-3, 1e-4),
        updates=12,
        batch_windows=8,
        validate_every=6,
        validation_windows=16,
        options={"mlp": {"hidden": 8}},
    )


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="session")
def evaluation(distilled, task, small, results, experts_folder):
    return evaluate(distilled, task, small, results=results, experts=experts_folder / "experts")

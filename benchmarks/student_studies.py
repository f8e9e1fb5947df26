"""The studies of students.py: their form, error measures, and those of long series and graphs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import stemdist
from stemdist import ForecastTask, GraphSettings, TaskSettings, TrainingSettings
from stemdist.distill import DistilledSet, DistillSettings, distill
from stemdist.forecast import TrainingSet
from stemdist.forecast.task_options import settings_for
from stemdist.students import Term


@dataclass(frozen=True, kw_only=True)
class Study:
    """One data set, its teacher, and the students that are compared.

    Parameters
    ----------
    name : str
        Of the data set.
    task : ForecastTask
        The data.
    teacher : str
        Forecaster to train.
    teacher_options, teacher_training
        Its hyper-parameters and training settings.
    students : list of (title or method, student, options, changes)
        Every student is compared with the method ``undistilled``; changes are those of the
        settings of the method, e.g. other terms.
    training : TrainingSettings
        Of the students; the learning rate is chosen from ``rates``.
    measure : callable
        Returns the errors of a forecast (M, R, N), given truth and mask.
    rates : tuple of float
        Learning rates that are tried.
    data : TrainingSet, optional
        What students learn from; the training part of the task by default.
    """

    name: str
    task: ForecastTask
    teacher: str
    teacher_options: dict[str, Any]
    teacher_training: TrainingSettings
    students: Sequence[tuple[str, str, dict[str, Any], dict[str, Any]]]
    training: TrainingSettings
    measure: Callable[[Study, Tensor, Tensor, Tensor], dict[str, float]]
    rates: tuple[float, ...] = (2e-3, 8e-3)
    data: TrainingSet | None = None


def errors_of(study: Study, forecast: Tensor, truth: Tensor, mask: Tensor) -> dict[str, float]:
    """Return errors in scaled units, and those of the last quarter of the horizon."""
    wrong = (forecast - truth) * mask
    quarter = wrong.shape[1] // 4
    mean = (truth * mask).sum(dtype=torch.float64) / mask.sum(dtype=torch.float64)
    spread = ((truth - mean) * mask).square().sum(dtype=torch.float64)
    return {
        "mse": _mean(wrong.square(), mask),
        "mae": _mean(wrong.abs(), mask),
        "last_quarter_mse": _mean(wrong[:, -quarter:].square(), mask[:, -quarter:]),
        "relative_rmse": float((wrong.square().sum(dtype=torch.float64) / spread).sqrt()),
    }


def _mean(errors: Tensor, mask: Tensor) -> float:
    return float(errors.sum(dtype=torch.float64) / mask.sum(dtype=torch.float64))


TEACHERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "patchtst": (
        {"hidden": 16, "heads": 4, "feed_forward": 128, "layers": 3, "dropout": 0.3},
        {"updates": 1200, "learning_rate": 2.5e-4},
    ),
    "itransformer": (
        {"hidden": 256, "heads": 8, "feed_forward": 256, "layers": 2, "dropout": 0.1},
        {"updates": 600, "learning_rate": 5e-4},
    ),
    "tsmixer": ({"hidden": 16, "dropout": 0.3}, {"updates": 600, "learning_rate": 1e-3}),
    "dlinear": ({}, {"updates": 800, "learning_rate": 1e-3}),
}
"""Options and training of the teachers; those of PatchTST are the paper's for ETT."""


LONG: dict[str, tuple[str, dict[str, Any]]] = {
    "ETTh1": ("ETTh1.csv", {"recipe": "etth1-long-horizon"}),
    "ETTh2": ("ETTh2.csv", {"recipe": "etth2-long-horizon"}),
    "pjm": ("pjm_load_2013_2018.nc", {}),
    "beijing": ("beijing_air_quality_2013_2017.nc", {"variables": ["PM2_5"]}),
}
"""Hourly files of a few long series, and how they are opened."""


def long_horizon_task(name: str, lookback: int, horizon: int = 96) -> ForecastTask:
    """Return long series with the protocol of published long-horizon results."""
    file, how = LONG[name]
    series = stemdist.open_series(Path(os.environ["STEMDIST_DATA"]) / file, **how)
    steps = {"lookback": lookback, "horizon": horizon, "reach_back": True}
    alike = {"scaling": "location", "neighbour_context": False, "calendar": ()}
    return ForecastTask.from_series(series, settings_for(series, {**steps, **alike}))


def timedistill_study(
    name: str, lookback: int, teacher: str, horizon: int = 96, wide: bool = False
) -> Study:
    """Return TimeDistill with one teacher, a student of 16 columns and ``wide`` the paper's."""
    options, training = TEACHERS[teacher]
    if teacher in ("patchtst", "itransformer"):
        options = {**options, "reversible": True}
    if teacher != "dlinear":
        options = {**options, "location_encoder": "none"}
    small = {"hidden": 16, "level": "reversible"}
    chosen = {"teacher_weight": (0.0, 0.25, 1.0)}
    papers = ("timedistill", "decomposition-mlp", {**small, "hidden": 512}, {})
    return Study(
        name=f"{name}, {lookback} to {horizon} hours, teacher {teacher}",
        task=long_horizon_task(name, lookback, horizon),
        teacher=teacher,
        teacher_options=options,
        teacher_training=TrainingSettings(**training, validate_every=50, validation_windows=600),
        students=[
            ("timedistill", "decomposition-mlp", small, {}),
            ("timedistill, weight by validation", "decomposition-mlp", small, chosen),
            *([papers] if wide else []),
        ],
        training=TrainingSettings(updates=600, batch_windows=32, validate_every=50),
        measure=errors_of,
    )


def distilts_study(name: str, lookback: int) -> Study:
    """Return DistilTS with PatchTST as teacher: its two students and its variants."""
    base = timedistill_study(name, lookback, "patchtst")
    tokens = {"hidden": 64, "layers": 1, "reversible": True, "location_encoder": "none"}
    equal = {"terms": (Term(weight=0.5),)}
    return replace(
        base,
        name=f"{name}, {lookback} to 96 hours, DistilTS",
        students=[
            ("distilts", "itransformer", tokens, {}),
            ("distilts-linear, equal weights of all steps", "itransformer", tokens, equal),
            ("distilts-linear", "dlinear", {}, {}),
            ("distilts-linear, equal weights of all steps", "dlinear", {}, equal),
            ("distilts-frequency", "dlinear", {}, {}),
            ("distilts-trend", "dlinear", {}, {}),
        ],
    )


def los_loop_study() -> Study:
    """Return Los-loop with the time of day: perceptrons with a graph network as teacher."""
    path = Path(os.environ["STEMDIST_DATA"]) / "los_speed.csv"
    settings = TaskSettings(
        calendar=("time_of_day",), graph=GraphSettings(method="correlation", neighbours=8)
    )
    task = ForecastTask.from_series(stemdist.open_series(path, recipe="los-loop"), settings)
    return Study(
        name="Los-loop",
        task=task,
        teacher="stnorm",
        teacher_options={},
        teacher_training=TrainingSettings(
            updates=800, batch_windows=16, learning_rate=5e-3, validate_every=100
        ),
        students=[
            ("soft-labels", "mlp", {}, {}),
            ("hints", "mlp", {}, {}),
            ("easyst", "bottleneck-mlp", {}, {}),
        ],
        training=TrainingSettings(updates=800, batch_windows=32, validate_every=50),
        measure=errors_of,
    )


def tiny_study(output: Path) -> Study:
    """Return Los-loop distilled to 10 % of windows x 10 % of locations, with small students."""
    whole = los_loop_study()
    path = output / "los-loop.distilled.nc"
    if not path.exists():
        distill(whole.task, DistillSettings(), progress=None).save(path)
    return replace(
        whole,
        name="Los-loop distilled, 10 % x 10 %",
        data=DistilledSet.load(path).training_set(),
        students=[
            ("soft-labels", "mlp", {"hidden": 16}, {}),
            ("soft-labels", "linear", {}, {}),
            ("soft-labels", "gru", {"hidden": 16}, {}),
        ],
    )

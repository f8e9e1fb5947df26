"""The studies of students.py: data sets, teachers, students and error measures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import xarray as xr
from torch import Tensor

import stemdist
from stemdist import ForecastTask, GraphSettings, TaskSettings, TrainingSettings
from stemdist.data import canonical_series
from stemdist.data.simulate import make_simulation
from stemdist.distill import DistilledSet, DistillSettings, distill
from stemdist.forecast import TrainingSet
from stemdist.students import Term
from stemdist.students.spectral_views import split_bands

Terms = tuple[Term, ...]


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
    students : list of (title or method, student, options, terms)
        Every student is compared with the method ``undistilled``; terms replace those of the
        method.
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
    students: Sequence[tuple[str, str, dict[str, Any], Terms | None]]
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


def band_errors(study: Study, forecast: Tensor, truth: Tensor, mask: Tensor) -> dict[str, float]:
    """Return also the error of high and of low spatial frequencies (cut at 0.25)."""
    height, width = (study.task.graph.cell.amax(0) + 1).tolist()
    images = (forecast - truth).view(*forecast.shape[:2], height, width)
    bands = zip(("high_mse", "low_mse"), split_bands(images, 0.25), strict=True)
    return {
        **errors_of(study, forecast, truth, mask),
        **{name: float(band.square().mean(dtype=torch.float64)) for name, band in bands},
    }


def _mean(errors: Tensor, mask: Tensor) -> float:
    return float(errors.sum(dtype=torch.float64) / mask.sum(dtype=torch.float64))


def ett_study(name: str, lookback: int, updates: int) -> Study:
    """Return ETTh1 or ETTh2: 12, 4 and 4 months, every variable z-scored by its training part."""
    path = Path(os.environ["STEMDIST_DATA"]) / f"{name}.csv"
    table = pd.read_csv(path, index_col=0, parse_dates=True).iloc[: 20 * 30 * 24]
    train = table.iloc[: 12 * 30 * 24]
    scaled = ((table - train.mean()) / train.std(ddof=0)).astype("float32")
    raw = xr.Dataset(
        {"z": (("time", "location"), scaled.values)},
        {"time": table.index.values, "location": list(table.columns)},
    )
    settings = TaskSettings(lookback=lookback, horizon=96, neighbour_context=False)
    task = ForecastTask.from_series(canonical_series(raw, variables=["z"]), settings)
    small = {"hidden": 16, "level": "reversible"}
    forecasts = tuple((Term(weight=0.5, horizon_tau=tau),) for tau in (1.0, 0.0))
    # Longer patches of longer windows keep the number of tokens, and the teacher 130 times larger.
    more = {"hidden": 320, "feed_forward": 640, "patch": 32, "stride": 16}
    return Study(
        name=f"{name}, {lookback} to 96 hours",
        task=task,
        teacher="patchtst",
        teacher_options={
            "hidden": 256,
            "feed_forward": 512,
            "layers": 3,
            "heads": 8,
            "dropout": 0.2,
            "reversible": True,
            "location_encoder": "none",
            **(more if lookback > 500 else {}),
        },
        teacher_training=TrainingSettings(
            updates=updates, batch_windows=8, learning_rate=3e-4, validate_every=50
        ),
        students=[
            ("timedistill", "decomposition-mlp", small, None),
            ("soft-labels, larger weights for later steps", "dlinear", {}, forecasts[0]),
            ("soft-labels, equal weights", "dlinear", {}, forecasts[1]),
            # The tokens of longer windows take tens of gigabytes and minutes per run.
            *([("distilts", "dlinear", {}, None)] if lookback < 500 else []),
        ],
        training=TrainingSettings(updates=600, batch_windows=32, validate_every=50),
        measure=errors_of,
    )


def navier_stokes_study(
    viscosity: float, size: int, trajectories: int, updates: int, output: Path
) -> Study:
    """Return stirred turbulence, 10 frames from 10; it is simulated once."""
    simulation = make_simulation(
        "navier-stokes",
        trajectories=trajectories,
        size=size,
        viscosity=viscosity,
        initial_scale=6.086,
    )
    path = output / f"navier-stokes-{viscosity:g}-{size}-{trajectories}.nc"
    if not path.exists():
        simulation.write(path)
    settings = TaskSettings(lookback=10, horizon=10, neighbour_context=False)
    task = ForecastTask.from_series(stemdist.open_series(path), settings)
    return Study(
        name=f"Navier-Stokes {size} x {size}, viscosity {viscosity:g}",
        task=task,
        teacher="spectral-evolution",
        teacher_options={},
        teacher_training=TrainingSettings(
            updates=updates, batch_windows=4, learning_rate=2e-3, validate_every=50
        ),
        students=[
            ("sdkd", "unet", {"channels": 8}, None),
            ("sdkd", "resnet", {"hidden": 32}, None),
            ("sdkd", "image-mixer", {"hidden": 32}, None),
        ],
        training=TrainingSettings(updates=updates, batch_windows=4, validate_every=50),
        measure=band_errors,
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
            ("soft-labels", "mlp", {}, None),
            ("hints", "mlp", {}, None),
            ("easyst", "bottleneck-mlp", {}, None),
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
            ("soft-labels", "mlp", {"hidden": 16}, None),
            ("soft-labels", "linear", {}, None),
            ("soft-labels", "gru", {"hidden": 16}, None),
        ],
    )

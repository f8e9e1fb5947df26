"""Forecasters, how they are trained, and their forecasts as xarray."""

from __future__ import annotations

from stemdist.forecast.base import FORECASTERS, Forecaster, make_forecaster
from stemdist.forecast.fit import (
    fit_forecaster,
    fit_once,
    fit_windows,
    fresh_forecaster,
    held_out,
    shape_of,
)
from stemdist.forecast.fitted import FittedForecaster, save_weights
from stemdist.forecast.locations import Locations
from stemdist.forecast.losses import weighted_mean
from stemdist.forecast.objective import Objective, Update
from stemdist.forecast.predict import mean_error, predict_windows
from stemdist.forecast.task import ForecastTask
from stemdist.forecast.task_options import TaskOptions, task_settings
from stemdist.forecast.task_settings import TaskSettings
from stemdist.forecast.train import TrainingResult, train_forecaster
from stemdist.forecast.training_set import TrainingSet
from stemdist.forecast.training_settings import TrainingSettings

__all__ = [
    "FORECASTERS",
    "FittedForecaster",
    "ForecastTask",
    "Forecaster",
    "Locations",
    "Objective",
    "TaskOptions",
    "TaskSettings",
    "TrainingResult",
    "TrainingSet",
    "TrainingSettings",
    "Update",
    "fit_forecaster",
    "fit_once",
    "fit_windows",
    "fresh_forecaster",
    "held_out",
    "make_forecaster",
    "mean_error",
    "predict_windows",
    "save_weights",
    "shape_of",
    "task_settings",
    "train_forecaster",
    "weighted_mean",
]

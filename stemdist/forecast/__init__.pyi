from .base import FORECASTERS, Forecaster, make_forecaster
from .callbacks import Callback
from .fit import (
    fit_forecaster,
    fit_once,
    fit_windows,
    fresh_forecaster,
    held_out,
    shape_of,
)
from .fitted import FittedForecaster
from .locations import Locations
from .losses import weighted_mean
from .objective import Objective, Update
from .predict import mean_error, predict_windows
from .saved import save_weights
from .task import ForecastTask
from .task_options import TaskOptions, settings_for
from .task_settings import TaskSettings
from .train import TrainingResult, train_forecaster
from .training_set import TrainingSet
from .training_settings import TrainingSettings

__all__ = [
    "FORECASTERS",
    "Callback",
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
    "settings_for",
    "shape_of",
    "train_forecaster",
    "weighted_mean",
]

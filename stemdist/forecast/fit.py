"""Training a forecaster on all the data of a task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from stemdist.forecast.base import make_forecaster
from stemdist.forecast.fitted import FittedForecaster
from stemdist.forecast.locations import Locations
from stemdist.forecast.task import ForecastTask
from stemdist.forecast.train import TrainingSettings, train_forecaster


def fit_forecaster(
    task: ForecastTask,
    forecaster: str = "mlp",
    training: TrainingSettings | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    checkpoint: str | Path | None = None,
    device: str | torch.device = "cpu",
    progress: bool | None = False,
) -> FittedForecaster:
    """Train a forecaster on the training part of a task; its validation part chooses the weights.

    Parameters
    ----------
    task : ForecastTask
        The data. Without a validation part the last weights are kept.
    forecaster : str
        Registered name.
    training : TrainingSettings, optional
        Defaults are used without it.
    options : mapping, optional
        Hyper-parameters of the forecaster.
    checkpoint, device, progress
        As in :func:`~stemdist.forecast.train_forecaster`.

    Raises
    ------
    InputError
        If a name or option is unknown.

    Examples
    --------
    >>> from stemdist.data import canonical_series, simulate
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=3, n_lon=4))
    >>> task = ForecastTask.from_series(series)
    >>> fit_forecaster(task, "linear", TrainingSettings(updates=2)).record["updates"]
    2
    """
    training = training or TrainingSettings()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        module = make_forecaster(
            forecaster,
            lookback=task.settings.lookback,
            horizon=task.settings.horizon,
            n_features=len(task.feature_names),
            **(options or {}),
        )
    held_out = None
    if "validation" in task.windows:
        held_out = (task.validation, task.graph, task.train.profile)
    result = train_forecaster(
        module,
        task.train,
        task.graph,
        training,
        validation=held_out,
        checkpoint=checkpoint,
        device=device,
        progress=progress,
    )
    return FittedForecaster(
        name=forecaster,
        forecaster=module,
        settings=task.settings,
        scaler=task.scaler,
        variables=tuple(map(str, task.series.data_vars)),
        units=str(task.series[task.target_name].attrs.get("units", "1")),
        locations=Locations.of_task(task),
        record={
            "trained_on": "full",
            "source_name": str(task.series.attrs.get("source_name", "")),
            "updates": result.updates,
            "seconds": result.seconds,
            "validation_mse": result.best_validation_mse if held_out else None,
            "history": result.history.to_dict("records"),
        },
    )

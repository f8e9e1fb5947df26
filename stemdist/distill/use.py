"""Training an ordinary forecaster on a distilled set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from stemdist.distill.distilled import DistilledSet
from stemdist.errors import InputError
from stemdist.forecast import (
    FittedForecaster,
    ForecastTask,
    TrainingSettings,
    make_forecaster,
    train_forecaster,
)


def train_on_distilled(
    distilled: DistilledSet,
    forecaster: str = "mlp",
    training: TrainingSettings | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    validation: ForecastTask | None = None,
    checkpoint: str | Path | None = None,
    device: str | torch.device = "cpu",
    progress: bool | None = False,
) -> FittedForecaster:
    """Train a forecaster on the synthetic windows, for use at every real location.

    Parameters
    ----------
    distilled : DistilledSet
        The training set.
    forecaster : str
        Registered name.
    training : TrainingSettings, optional
        Defaults are used without it.
    options : mapping, optional
        Hyper-parameters of the forecaster.
    validation : ForecastTask, optional
        Real data whose validation part chooses the final weights; without it the last ones
        are kept.
    checkpoint, device, progress
        As in :func:`~stemdist.forecast.train_forecaster`.

    Raises
    ------
    InputError
        If a name or option is unknown, or ``validation`` has other features.
    """
    training = training or TrainingSettings()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        module = make_forecaster(
            forecaster,
            lookback=distilled.settings.lookback,
            horizon=distilled.settings.horizon,
            n_features=len(distilled.feature_names),
            **(options or {}),
        )
    real = None
    if validation is not None:
        if validation.feature_names != distilled.feature_names:
            raise InputError(
                f"the validation data have the features {validation.feature_names}, the distilled "
                f"set {distilled.feature_names}: prepare them with the distilled set's settings"
            )
        real = (validation.validation, validation.graph, validation.train.profile)
    result = train_forecaster(
        module,
        distilled.windows,
        distilled.cluster_graph,
        training,
        validation=real,
        checkpoint=checkpoint,
        device=device,
        progress=progress,
    )
    record = {
        "trained_on": "distilled",
        "source_name": distilled.record.get("source_name", ""),
        "updates": result.updates,
        "seconds": result.seconds,
        "validation_mse": result.history["validation_mse"].min() if real else None,
        "history": result.history.to_dict("records"),
    }
    return FittedForecaster(
        name=forecaster,
        forecaster=module,
        settings=distilled.settings,
        scaler=distilled.scaler,
        variables=distilled.variables,
        units=distilled.units,
        locations=distilled.locations,
        record=record,
    )

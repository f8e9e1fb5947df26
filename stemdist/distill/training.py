"""Training an ordinary forecaster on a distilled set."""

from __future__ import annotations

from typing import Any

from stemdist.distill.distilled import DistilledSet
from stemdist.forecast import (
    FittedForecaster,
    ForecastTask,
    TrainingSettings,
    fit_windows,
    held_out,
)


def train_on_distilled(
    distilled: DistilledSet,
    forecaster: str = "mlp",
    training: TrainingSettings | None = None,
    *,
    validation: ForecastTask | None = None,
    **how: Any,
) -> FittedForecaster:
    """Train a forecaster on the synthetic windows, for forecasts at every real location.

    Parameters
    ----------
    distilled : DistilledSet
        The training set.
    forecaster : str
        Registered name.
    training : TrainingSettings, optional
        Defaults are used without it.
    validation : ForecastTask, optional
        Real data whose validation part chooses the final weights; without it the last ones
        are kept.
    **how
        ``options``, ``checkpoint``, ``callbacks``, ``device`` and ``progress`` of
        :func:`~stemdist.forecast.fit_windows`.

    Raises
    ------
    InputError
        If a name or option is unknown, or ``validation`` has other features.
    """
    if validation is not None:
        distilled.check_features(validation)
    training = training or TrainingSettings()
    given = distilled.training_set()
    module, result = fit_windows(
        forecaster, given.source, given.graph, training, validation=held_out(validation), **how
    )
    return given.fitted(forecaster, module, result, training.quantiles)

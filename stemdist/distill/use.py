"""Training an ordinary forecaster on a distilled set."""

from __future__ import annotations

from typing import Any

from stemdist.distill.distilled import DistilledSet
from stemdist.errors import InputError
from stemdist.forecast import (
    FittedForecaster,
    ForecastTask,
    TrainingSettings,
    fit_windows,
    training_record,
)


def train_on_distilled(
    distilled: DistilledSet,
    forecaster: str = "mlp",
    training: TrainingSettings | None = None,
    *,
    validation: ForecastTask | None = None,
    **how: Any,
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
    validation : ForecastTask, optional
        Real data whose validation part chooses the final weights; without it the last ones
        are kept.
    **how
        ``options``, ``checkpoint``, ``device`` and ``progress`` of
        :func:`~stemdist.forecast.fit_windows`.

    Raises
    ------
    InputError
        If a name or option is unknown, or ``validation`` has other features.
    """
    held_out = None
    if validation is not None:
        if validation.feature_names != distilled.feature_names:
            raise InputError(
                f"the validation data have the features {validation.feature_names}, the distilled "
                f"set {distilled.feature_names}: prepare them with the distilled set's settings"
            )
        held_out = (validation.validation, validation.graph, validation.train.profile)
    training = training or TrainingSettings()
    module, result = fit_windows(
        forecaster,
        distilled.windows,
        distilled.cluster_graph,
        training,
        validation=held_out,
        **how,
    )
    return FittedForecaster(
        name=forecaster,
        forecaster=module,
        settings=distilled.settings,
        scaler=distilled.scaler,
        quantiles=training.quantiles,
        variables=distilled.variables,
        units=distilled.units,
        locations=distilled.locations,
        record=training_record("distilled", str(distilled.record.get("source_name", "")), result),
    )

"""From a forecaster's name and windows to a trained module, and to one ready for new data."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stemdist.data.windows import WindowSource
from stemdist.errors import DamagedError, InputError
from stemdist.files import hash_of, locked, recovered
from stemdist.forecast.base import Forecaster, make_forecaster
from stemdist.forecast.callbacks import Callback
from stemdist.forecast.fitted import FittedForecaster
from stemdist.forecast.objective import Objective
from stemdist.forecast.task import ForecastTask
from stemdist.forecast.train import TrainingResult, train_forecaster
from stemdist.forecast.training_set import TrainingSet
from stemdist.forecast.training_settings import TrainingSettings

if TYPE_CHECKING:
    from torch_geometric.data import Data

log = logging.getLogger(__name__)


def shape_of(source: WindowSource, quantiles: Sequence[float] = ()) -> dict[str, int]:
    """Return what :func:`make_forecaster` needs: the sizes of windows and the number of outputs."""
    return {
        "lookback": source.lookback,
        "horizon": source.horizon,
        "n_features": source.n_features,
        "n_outputs": source.n_targets * max(1, len(quantiles)),
        "n_targets": source.n_targets,
    }


def fresh_forecaster(
    name: str,
    source: WindowSource,
    seed: int,
    options: Mapping[str, Any] | None = None,
    quantiles: Sequence[float] = (),
) -> Forecaster:
    """Build an untrained forecaster for the windows of ``source``.

    Parameters
    ----------
    name : str
        Registered name of the forecaster.
    source : WindowSource
        Gives L_in, L_out, F, the number of targets, and the device.
    seed : int
        The initial weights depend on it alone; the global random state is left as it was.
    options : mapping, optional
        Hyper-parameters of the forecaster.
    quantiles : sequence of float, optional
        Levels to forecast instead of one number.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        forecaster = make_forecaster(name, **shape_of(source, quantiles), **(options or {}))
    return forecaster.to(source.location_weight.device)


def fit_windows(
    name: str,
    source: WindowSource,
    graph: Data,
    training: TrainingSettings,
    *,
    options: Mapping[str, Any] | None = None,
    objective: Objective | None = None,
    validation: tuple[WindowSource, Data, Tensor] | None = None,
    checkpoint: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    device: str | torch.device = "cpu",
    progress: bool | None = False,
) -> tuple[Forecaster, TrainingResult]:
    """Build a forecaster from the training seed and train it on any windows.

    Parameters
    ----------
    name : str
        Registered name of the forecaster.
    source, graph, training, objective, validation, checkpoint, callbacks, device, progress
        As in :func:`~stemdist.forecast.train_forecaster`.
    options : mapping, optional
        Hyper-parameters of the forecaster.

    Returns
    -------
    Forecaster, TrainingResult
        The trained module, and the record of its training.
    """
    forecaster = fresh_forecaster(name, source, training.seed, options, training.quantiles)
    result = train_forecaster(
        forecaster,
        source,
        graph,
        training,
        objective=objective,
        validation=validation,
        checkpoint=checkpoint,
        callbacks=callbacks,
        device=device,
        progress=progress,
    )
    return forecaster, result


def held_out(task: ForecastTask | None) -> tuple[WindowSource, Data, Tensor] | None:
    """Return the validation part of a task, which selects the weights, or None without one."""
    if task is None or "validation" not in task.windows:
        return None
    return task.validation, task.graph, task.train.profile


def fit_forecaster(
    task: ForecastTask,
    forecaster: str = "mlp",
    training: TrainingSettings | None = None,
    **how: Any,
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
    **how
        ``options``, ``checkpoint``, ``callbacks``, ``device`` and ``progress`` of
        :func:`fit_windows`.

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
    module, result = fit_windows(
        forecaster, task.train, task.graph, training, validation=held_out(task), **how
    )
    return TrainingSet.of_task(task).fitted(forecaster, module, result, training.quantiles)


def fit_once(
    task: ForecastTask,
    forecaster: str,
    training: TrainingSettings,
    *,
    cache: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
    progress: bool | None = False,
) -> tuple[FittedForecaster, bool]:
    """Train as :func:`fit_forecaster` does, or load the result from a cache.

    Parameters
    ----------
    task, forecaster, training, options, device, progress
        As in :func:`fit_forecaster`.
    cache : str or Path, optional
        Folder in which trained forecasters and the state of unfinished ones are kept, under a
        hash of data, forecaster and training.

    Returns
    -------
    FittedForecaster, bool
        The forecaster, and whether it was taken from the cache.
    """
    how: dict[str, Any] = {"options": options, "device": device, "progress": progress}
    if cache is None:
        return fit_forecaster(task, forecaster, training, **how), False
    config = fresh_forecaster(
        forecaster, task.train, training.seed, options, training.quantiles
    ).config
    folder = Path(cache) / hash_of([task.content_hash, forecaster, config, asdict(training)])
    state = Path(f"{folder}.state")
    with locked(folder):
        if recovered(folder).is_dir():
            try:
                return FittedForecaster.load(folder), True
            except InputError as error:
                log.warning("a cached forecaster is damaged, and is trained again (%s)", error)
                shutil.rmtree(folder)
        try:
            fitted = fit_forecaster(task, forecaster, training, checkpoint=state, **how)
        except DamagedError as error:
            log.warning("training starts afresh (%s)", error)
            state.unlink()
            fitted = fit_forecaster(task, forecaster, training, checkpoint=state, **how)
        fitted.save(folder)
        state.unlink(missing_ok=True)
    return fitted, False

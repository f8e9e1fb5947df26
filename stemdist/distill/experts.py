"""Experts: forecasters trained on the real data, whose answers become labels.

Shapes: M windows, L_out horizon, N locations, K clusters.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from joblib import Parallel, delayed
from torch import Tensor
from torch_geometric.data import Data

from stemdist.data.windows import WindowSource
from stemdist.distill.clusters import Clusters, cluster_windows
from stemdist.distill.labels import RelabelledWindows
from stemdist.distill.problem import validating_within_reason
from stemdist.errors import InputError
from stemdist.forecast import (
    Forecaster,
    ForecastTask,
    TrainingSettings,
    fit_once,
    predict_windows,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Expert:
    """One trained expert.

    Parameters
    ----------
    family : str
        Registered name of the forecaster.
    forecaster : Forecaster
        Trained on the real training windows.
    validation_error : float
        Masked mean squared error on the validation part, scaled units.
    seconds : float
        Training time.
    cached : bool
        Whether it was trained by an earlier run.
    """

    family: str
    forecaster: Forecaster
    validation_error: float
    seconds: float
    cached: bool = False


def train_experts(
    task: ForecastTask,
    families: Sequence[str],
    n_seeds: int,
    training: TrainingSettings,
    *,
    cache: str | Path | None = None,
    progress: bool | None = False,
) -> list[Expert]:
    """Train experts and return those of the family with the lowest validation error.

    Experts train in parallel where the user says so with ``joblib.parallel_config``.

    Parameters
    ----------
    task : ForecastTask
        Trained on its training part, chosen on its validation part.
    families : sequence of str
        Forecasters to try.
    n_seeds : int
        Experts per family.
    training : TrainingSettings
        Its seed is the first expert's; the others follow.
    cache : str or Path, optional
        Folder in which finished experts and the state of unfinished ones are kept, under a
        hash of data and settings.
    progress : bool, optional
        As in :func:`~stemdist.forecast.train_forecaster`.
    """
    training = validating_within_reason(training, task)
    jobs = [
        (family, replace(training, seed=training.seed + seed))
        for family in families
        for seed in range(n_seeds)
    ]
    experts: list[Expert] = Parallel()(
        delayed(_train_one)(task, family, settings, cache, progress) for family, settings in jobs
    )
    means = {
        family: sum(e.validation_error for e in experts if e.family == family) / n_seeds
        for family in families
    }
    best = min(means, key=lambda family: means[family])
    log.info("experts: validation MSE %s; labels by %s", means, best)
    return [expert for expert in experts if expert.family == best]


def _train_one(
    task: ForecastTask,
    family: str,
    training: TrainingSettings,
    cache: str | Path | None,
    progress: bool | None,
) -> Expert:
    task.validation  # noqa: B018  (raises where there is nothing to choose experts by)
    fitted, cached = fit_once(task, family, training, cache=cache, progress=progress)
    return Expert(
        family=family,
        forecaster=fitted.forecaster,
        validation_error=fitted.record["validation_error"],
        seconds=fitted.record["seconds"],
        cached=cached,
    )


def expert_answers(
    experts: Sequence[Expert], task: ForecastTask, clusters: Clusters, index: Tensor
) -> Tensor:
    """Return the mean answer of the experts for training windows at the representatives.

    Parameters
    ----------
    experts : sequence of Expert
        Of one or several families.
    task : ForecastTask
        Whose training windows are answered.
    clusters : Clusters
        Forecasters that see each location alone are asked at the K representatives only;
        others see all N locations, and their answers are reduced to K.
    index : Tensor
        (M',) training windows.

    Returns
    -------
    Tensor
        (M', L_out, K) in scaled units.
    """
    reduced = cluster_windows(task.train, clusters)
    if all_pointwise(experts):
        return mean_answer(experts, reduced, graph=task.graph, index=index)
    parts = [
        clusters.reduce(mean_answer(experts, task.train, graph=task.graph, index=block))
        for block in torch.split(index, 64)  # (64, L_out, N) at once, not (M', L_out, N)
    ]
    return torch.cat(parts)


def all_pointwise(experts: Sequence[Expert]) -> bool:
    """Say whether every expert looks at each location alone."""
    return all(expert.forecaster.pointwise for expert in experts)


def relabelled(
    source: WindowSource, answers: Tensor, experts: Sequence[Expert], share: float = 1.0
) -> RelabelledWindows:
    """Return windows with targets moved towards the answers (M, L_out, K) of these experts."""
    pointwise = share == 1 and all_pointwise(experts)
    return RelabelledWindows(source=source, answers=answers, share=share, pointwise=pointwise)


def mean_answer(
    experts: Sequence[Expert], windows: WindowSource, *, graph: Data, index: Tensor | None = None
) -> Tensor:
    """Return the mean forecast of the experts for ``windows``, (M', L_out, N) scaled."""
    total: Tensor | None = None
    for expert in experts:  # two answers in memory, however many experts there are
        answer = predict_windows(expert.forecaster, windows, graph, index=index)
        total = answer if total is None else total.add_(answer)
    if total is None:
        raise InputError("there are no experts to ask: name at least one")
    return total.div_(len(experts))

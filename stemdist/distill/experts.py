"""Experts: forecasters trained on the real data, whose forecasts become soft labels.

Shapes: M windows, L_out horizon, N locations, K clusters.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from joblib import Parallel, delayed
from scipy.optimize import nnls
from torch import Tensor

from stemdist.data.windows import WindowSource, evenly_spaced
from stemdist.distill.clusters import Clusters, cluster_windows
from stemdist.distill.labels import RelabelledWindows
from stemdist.distill.problem import validating_within_reason
from stemdist.errors import InputError
from stemdist.forecast import (
    FORECASTERS,
    Forecaster,
    ForecastTask,
    TrainingSettings,
    fit_once,
    predict_windows,
)
from stemdist.forecast.predict import windows_per_block
from stemdist.progress import stage
from stemdist.scheduling import away, here

if TYPE_CHECKING:
    from torch_geometric.data import Data

LEAST_WEIGHT = 0.01
"""Experts of less stacking weight are left out: they cost more than they contribute."""

MOST_LOCATIONS = 4096
"""Locations on which experts are trained and validated at most."""

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
    weight : float
        Stacking weight of its forecast; experts of weight 0 are left out.
    """

    family: str
    forecaster: Forecaster
    validation_error: float
    seconds: float
    cached: bool = False
    weight: float = 1.0

    def answer(
        self,
        windows: WindowSource,
        graph: Data,
        profile: Tensor | None = None,
        *,
        index: Tensor | None = None,
    ) -> Tensor:
        """Forecast as :func:`~stemdist.forecast.predict_windows`, on the device of its weights."""
        device = next(self.forecaster.parameters()).device
        return predict_windows(self.forecaster, windows, graph, profile, index=index, device=device)


def train_experts(
    task: ForecastTask,
    families: Sequence[str],
    n_seeds: int,
    training: TrainingSettings,
    *,
    extra: int = 0,
    cache: str | Path | None = None,
    device: str | torch.device = "cpu",
    progress: bool | None = False,
) -> list[Expert]:
    """Train experts, and stack them with the weights that are best on the validation part.

    Stacked regression: Breiman, Machine Learning 24, 1996; weights are not negative and sum to 1.
    Families err differently, so that their mean is better than the best of them; so do two of a
    family, of the one with the largest stacking weight. Experts train in parallel under
    ``joblib.parallel_config``, extra ones one after another.

    Parameters
    ----------
    task : ForecastTask
        Its training part trains the experts, its validation part weights them.
    families : sequence of str
        Forecasters to train.
    n_seeds : int
        Experts per family.
    training : TrainingSettings
        Its seed is that of the first expert; the others count upwards from it.
    extra : int
        Further experts, each of the family that has the largest stacking weight by then.
    cache : str or Path, optional
        Folder for finished experts and checkpoints of unfinished ones, named by a hash of data
        and settings.
    device, progress
        As in :func:`~stemdist.forecast.train_forecaster`; experts forecast where they trained.

    Returns
    -------
    list of Expert
        All of them, with weights that sum to 1.
    """
    whole, task = task, _within_reason(task, families, training.seed)
    training = validating_within_reason(training, task)
    sent = whole if away() else task  # a whole task travels as the address of its data
    train = partial(_train_one, sent, training, cache, device, progress)
    jobs = [(family, seed) for family in families for seed in range(n_seeds)]
    with here(away() and whole.reopening is None):  # a job is never sent a series
        experts: list[Expert] = Parallel()(delayed(train)(*job) for job in jobs)
    experts = weigh_experts(experts, task, training.validation_windows)
    for seed in range(n_seeds, n_seeds + extra):
        experts.append(train(heaviest_family(experts), seed))
        experts = weigh_experts(experts, task, training.validation_windows)
    for one in experts:
        log.info("%s: validation MSE %g, weight %g", one.family, one.validation_error, one.weight)
    return experts


def _within_reason(task: ForecastTask, families: Sequence[str], seed: int) -> ForecastTask:
    """Return a task of as many random locations as experts can tell apart, where there are more.

    They draw a few hundred of them in every update, and are validated at all of them.
    """
    if task.n_locations <= MOST_LOCATIONS or any(FORECASTERS.get(f).needs_grid for f in families):
        return task
    chance = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(task.n_locations, generator=chance)[:MOST_LOCATIONS]
    return task.at(drawn.sort().values)


def heaviest_family(experts: Sequence[Expert]) -> str:
    """Return the family whose experts have the largest total stacking weight."""
    weights: dict[str, float] = {}
    for one in experts:
        weights[one.family] = weights.get(one.family, 0.0) + one.weight
    return max(weights, key=lambda family: weights[family])


def weigh_experts(experts: Sequence[Expert], task: ForecastTask, n_windows: int) -> list[Expert]:
    """Return the experts with the weights that are best on ``n_windows`` validation windows.

    Weights below ``LEAST_WEIGHT`` become 0.
    """
    if len(experts) == 1:  # nothing to weigh: no pass over the validation part
        return [replace(experts[0], weight=1.0)]
    source, profile = task.validation, task.train.profile
    moments = torch.zeros(len(experts), len(experts), dtype=torch.float64)
    for index in torch.split(evenly_spaced(len(source), n_windows), windows_per_block(source)):
        _, y, mask = source.batch(index)
        forecasts = (one.answer(source, task.graph, profile, index=index) for one in experts)
        errors = torch.stack([(forecast - y)[mask > 0] for forecast in forecasts]).double()
        moments += errors @ errors.T
    weights = smallest_mean(moments)
    weights[weights < min(LEAST_WEIGHT, float(weights.max()))] = 0
    shares = (weights / weights.sum()).tolist()
    return [replace(one, weight=share) for one, share in zip(experts, shares, strict=True)]


def smallest_mean(moments: Tensor) -> Tensor:
    """Return the weights for which the weighted mean of errors has the smallest mean square.

    Parameters
    ----------
    moments : Tensor
        (k, k) sums of products of k errors.

    Returns
    -------
    Tensor
        (k,) not negative, with sum 1.

    Examples
    --------
    >>> smallest_mean(torch.tensor([[1.0, 0.0], [0.0, 3.0]]))  # independent: by 1 / variance
    tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    moments = moments.double()
    size = float(moments.diagonal().mean())
    if not 0 < size < np.inf:
        return torch.full((len(moments),), 1 / len(moments), dtype=torch.float64)
    # Equal experts are equally good: a small multiple of the identity shares the weight.
    identity = 1e-9 * torch.eye(len(moments), dtype=torch.float64)
    root = torch.linalg.cholesky(moments / size + identity).T
    # The least-squares solution for the mean error and (sum - 1) is proportional to the weights.
    system = torch.cat([root, torch.ones_like(root[:1])])
    wanted = np.append(np.zeros(len(moments)), 1.0)
    found, _ = nnls(system.numpy(), wanted)
    return torch.from_numpy(found / found.sum())


def _train_one(
    task: ForecastTask,
    training: TrainingSettings,
    cache: str | Path | None,
    device: str | torch.device,
    progress: bool | None,
    family: str,
    seed: int,
) -> Expert:
    task = _within_reason(task, (family,), training.seed)
    training = replace(training, seed=training.seed + seed)
    task.validation  # noqa: B018  (raises if there is no validation part)
    how: dict[str, Any] = {"cache": cache, "device": device, "progress": progress}
    with stage(f"expert {family}"):
        fitted, cached = fit_once(task, family, training, **how)
    return Expert(
        family=family,
        forecaster=fitted.forecaster.to(device),
        validation_error=fitted.record["validation_error"],
        seconds=fitted.record["seconds"],
        cached=cached,
    )


def expert_answers(
    experts: Sequence[Expert], task: ForecastTask, clusters: Clusters, index: Tensor
) -> Tensor:
    """Return the experts' combined forecast for training windows at the representatives.

    Parameters
    ----------
    experts : sequence of Expert
        Of one or several families.
    task : ForecastTask
        Its training windows are forecast.
    clusters : Clusters
        Pointwise forecasters are evaluated at the K representatives only;
        others at all N locations, and their forecasts are reduced to K.
    index : Tensor
        (M',) training windows.

    Returns
    -------
    Tensor
        (M', L_out, K) in scaled units.
    """
    reduced = cluster_windows(task.train, clusters) if all_pointwise(experts) else None
    return answers_of(experts, task, clusters, reduced, index)


def answers_of(
    experts: Sequence[Expert],
    task: ForecastTask,
    clusters: Clusters,
    reduced: WindowSource | None,
    index: Tensor,
) -> Tensor:
    """Return what :func:`expert_answers` does, of windows that are reduced to clusters already."""
    if reduced is not None and all_pointwise(experts):
        return mean_answer(experts, reduced, graph=task.graph, index=index)
    parts = [
        clusters.reduce(mean_answer(experts, task.train, graph=task.graph, index=block))
        for block in torch.split(index, 64)  # (64, L_out, N) at once, not (M', L_out, N)
    ]
    return torch.cat(parts)


def all_pointwise(experts: Sequence[Expert]) -> bool:
    """Say whether every expert of positive weight is pointwise."""
    return all(expert.forecaster.pointwise for expert in experts if expert.weight > 0)


def relabelled(
    source: WindowSource,
    answers: Tensor | Callable[[Tensor], Tensor],
    experts: Sequence[Expert],
    share: float = 1.0,
) -> RelabelledWindows:
    """Return windows with targets moved towards these soft labels (M, L_out, K)."""
    pointwise = share == 1 and all_pointwise(experts)
    return RelabelledWindows(source=source, answers=answers, share=share, pointwise=pointwise)


def mean_answer(
    experts: Sequence[Expert], windows: WindowSource, *, graph: Data, index: Tensor | None = None
) -> Tensor:
    """Return the experts' weighted mean forecast for ``windows``, (M', L_out, N) scaled."""
    total: Tensor | None = None
    used = [expert for expert in experts if expert.weight > 0]
    for expert in used:  # two forecasts in memory, however many experts there are
        forecast = expert.answer(windows, graph, index=index).mul_(expert.weight)
        total = forecast if total is None else total.add_(forecast)
    if total is None:
        raise InputError("there are no experts to label with: name at least one")
    return total.div_(sum(expert.weight for expert in used))

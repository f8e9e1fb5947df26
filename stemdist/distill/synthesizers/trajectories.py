"""Expert trajectories: the weights of forecasters along their training on real clustered windows.

Shapes: T snapshots, S rows of state (weights and what the optimizer keeps of each), P weights,
B windows, R target rows, K clusters, k clusters of a subset, F features.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from joblib import Parallel, delayed
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from stemdist.data.windows import Batch, WindowSource
from stemdist.distill.clusters import check_on_clusters
from stemdist.distill.synthesizers.inner_loop import (
    Adam,
    FlatForecaster,
    InnerOptimizer,
    Sgd,
    descend,
)
from stemdist.distill.synthesizers.subsets import ClusterSubset
from stemdist.errors import InputError, check_count, unknown_name
from stemdist.files import atomic_path, hash_of, locked
from stemdist.forecast import Forecaster, fresh_forecaster, weighted_mean
from stemdist.forecast.batches import batch_index
from stemdist.graph import random_partition, subset_weights
from stemdist.scheduling import away, here

if TYPE_CHECKING:
    from torch_geometric.data import Data

log = logging.getLogger(__name__)

FORMAT = "stemdist-trajectory-1"

INNER_OPTIMIZERS: dict[str, Callable[[], InnerOptimizer]] = {
    "sgd": Sgd,
    "momentum": partial(Sgd, momentum=0.9),
    "adam": Adam,
}
"""Optimizers of experts and surrogates, by name."""


@dataclass(frozen=True, kw_only=True)
class TrajectorySettings:
    """How expert trajectories are trained.

    Parameters
    ----------
    surrogate : str
        Forecaster that is trained.
    surrogate_options : mapping
        Its hyper-parameters.
    optimizer : {"sgd", "momentum", "adam"}
        Its optimizer.
    learning_rate : float
        Step size.
    batch_windows : int
        Windows of an update.
    interval : int
        Number of updates between two snapshots.
    intervals : int
        Number of snapshots after the first.
    subsets : int
        Number of subsets that the clusters are split into (at most K); each update is made on one.
    clusters_per_update : int
        Most clusters of a subset, so that the memory of an update does not depend on K.
    flatness : float
        Radius of sharpness-aware minimisation, which makes smoother trajectories; 0 for none.

    Raises
    ------
    InputError
        If a value cannot be used.
    """

    surrogate: str = "mlp"
    surrogate_options: Mapping[str, Any] = field(default_factory=dict)
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    batch_windows: int = 24
    interval: int = 15
    intervals: int = 17
    subsets: int = 1
    clusters_per_update: int = 256
    flatness: float = 0.0

    def __post_init__(self) -> None:
        check_on_clusters("surrogate", [self.surrogate])
        inner_optimizer(self.optimizer)
        for name in ("batch_windows", "interval", "intervals", "subsets", "clusters_per_update"):
            check_count(name, getattr(self, name))
        check_positive("learning_rate", self.learning_rate)
        check_positive("flatness", self.flatness, zero=True)


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """The trajectory of one expert.

    Parameters
    ----------
    states : Tensor
        (T, S, P); row 0 of each holds the weights, the others the state of the optimizer.
    seconds : float
        Training time.
    cached : bool
        Whether it was trained by an earlier run.
    """

    states: Tensor
    seconds: float
    cached: bool = False


def subsets_in_turn(
    graph: Data, weight: Tensor, settings: TrajectorySettings, generator: torch.Generator
) -> Iterator[ClusterSubset]:
    """Yield random subsets of the clusters of nearly equal size, endlessly.

    Subset-based granular distillation (Kwon et al., ICDE 2026, STemDist): each update is
    made on one subset, and every subset is used once before the clusters are shuffled again.

    Parameters
    ----------
    graph : torch_geometric.data.Data
        Graph between the K clusters.
    weight : Tensor
        (K,) cluster weights.
    settings : TrajectorySettings
        Its ``subsets`` and ``clusters_per_update``.
    generator : torch.Generator
        Source of the random order.

    Yields
    ------
    ClusterSubset
        The next subset.
    """
    n_clusters = len(weight)
    needed = math.ceil(n_clusters / settings.clusters_per_update)
    n_subsets = min(n_clusters, max(settings.subsets, needed))
    whole = ClusterSubset(index=None, graph=graph, weight=subset_weights(weight))
    while n_subsets == 1:
        yield whole
    while True:
        for index in random_partition(n_clusters, n_subsets, generator):
            yield ClusterSubset.cut(graph, weight, index)


def subset_loss(
    weights: Tensor, flat: FlatForecaster, batch: Batch, subset: ClusterSubset, profile: Tensor
) -> Tensor:
    """Return the weighted mean squared error on a subset of the clusters.

    Parameters
    ----------
    weights : Tensor
        (P,) of the forecaster.
    flat : FlatForecaster
        The forecaster.
    batch : Batch
        Inputs (B, L_in, k, F), targets and mask (B, R, k) of the subset.
    subset : ClusterSubset
        Graph and weights.
    profile : Tensor
        (k, L_in * F) mean windows, for location encoders.
    """
    forecast = flat(weights, batch.x, subset.graph, profile)
    return weighted_mean((forecast - batch.y) ** 2, batch.mask, subset.weight)


@torch.no_grad()
def flat_descend(
    loss: Callable[[Tensor], Tensor],
    state: Tensor,
    optimizer: InnerOptimizer,
    rate: float,
    number: int,
    radius: float,
) -> Tensor:
    """Return the state after one sharpness-aware update; an ordinary one if ``radius`` is 0.

    Foret et al., *Sharpness-Aware Minimization*, ICLR 2021, equation 3: the gradient is taken
    at the worst point of a ball, ``w + radius * g / |g|``. Du et al., CVPR 2023 (FTD), train the
    experts of trajectory matching so, since errors accumulate less along flat trajectories.

    Parameters
    ----------
    loss, state, optimizer, rate, number
        As in :func:`~stemdist.distill.synthesizers.inner_loop.descend`.
    radius : float
        Of the ball, in units of the weights.

    Examples
    --------
    >>> sgd = Sgd()
    >>> state = sgd.start(torch.tensor([1.0]))
    >>> flat_descend(lambda w: (w**2).sum(), state, sgd, 0.1, 0, radius=0.5)  # slope at 1.5 is 3
    tensor([[0.7000]])
    """
    if not radius > 0:
        return descend(loss, state, optimizer, rate, number)
    with torch.enable_grad():
        point = state[0].detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(point), point)
    offset = radius * gradient / gradient.norm().clamp_min(1e-12)
    return descend(lambda weights: loss(weights + offset), state, optimizer, rate, number)


def train_trajectories(
    real: WindowSource,
    graph: Data,
    settings: TrajectorySettings,
    n_trajectories: int,
    *,
    seed: int = 0,
    cache: str | Path | None = None,
) -> list[Trajectory]:
    """Train experts on real windows and keep snapshots of their weights.

    Experts are trained without dropout, so that an update depends on its windows alone. They are
    trained in parallel if ``joblib.parallel_config`` says so.

    Parameters
    ----------
    real : WindowSource
        All training windows over K clusters, with the labels in use.
    graph : torch_geometric.data.Data
        Graph between the clusters.
    settings : TrajectorySettings
        Optimizer, batches and snapshots of the experts.
    n_trajectories : int
        Number of experts.
    seed : int
        Random seed.
    cache : str or Path, optional
        Folder in which finished trajectories are kept, each under a hash of all it depends on.

    Returns
    -------
    list of Trajectory
        In an order that does not depend on the cache.

    Raises
    ------
    InputError
        If an expert diverges, or a cached file is damaged.

    Examples
    --------
    >>> from stemdist.data import canonical_series, simulate
    >>> from stemdist.forecast import ForecastTask
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=3, n_lon=4))
    >>> task = ForecastTask.from_series(series)
    >>> settings = TrajectorySettings(surrogate="linear", interval=2, intervals=3)
    >>> train_trajectories(task.train, task.graph, settings, 1)[0].states.shape
    torch.Size([4, 1, 300])
    """
    check_count("n_trajectories", n_trajectories)
    content = None if cache is None else content_hash(real, graph)
    jobs = []
    for number in range(n_trajectories):
        own = seed * 1_000_003 + number
        forecaster = fresh_forecaster(settings.surrogate, real, own, settings.surrogate_options)
        file = None
        if cache is not None:
            facts = [FORMAT, version("stemdist"), content, asdict(settings), forecaster.config, own]
            file = Path(cache) / f"{hash_of(facts)}.trajectory.safetensors"
        jobs.append((forecaster.eval(), own, file))
    with here(away()):  # a job is never sent a series
        trajectories: list[Trajectory] = Parallel()(
            delayed(_one_trajectory)(forecaster, real, graph, settings, own, file)
            for forecaster, own, file in jobs
        )
    return trajectories


def content_hash(real: WindowSource, graph: Data) -> str:
    """Return a hash of all values of windows and graph, read in blocks of windows."""
    digest = hashlib.sha256(f"{len(real)} {real.n_targets}".encode())
    for index in torch.split(torch.arange(len(real)), 64):
        for tensor in real.batch(index):
            digest.update(tensor.cpu().numpy().tobytes())
    tensors = {name: part for name, part in graph.to_dict().items() if isinstance(part, Tensor)}
    tensors |= {"profile": real.profile, "location_weight": real.location_weight}
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def inner_optimizer(name: str) -> InnerOptimizer:
    """Build an optimizer of experts and surrogates by name, or raise with the choices."""
    if name not in INNER_OPTIMIZERS:
        raise unknown_name("inner optimizer", name, INNER_OPTIMIZERS)
    return INNER_OPTIMIZERS[name]()


def check_positive(name: str, value: float, *, zero: bool = False) -> float:
    """Return ``value`` if it is finite and above 0 (or 0, where allowed), else raise."""
    if not (math.isfinite(value) and (value > 0 or (zero and value == 0))):
        allowed = "0 or above" if zero else "above 0"
        raise InputError(f"{name} is {value!r}: it must be a number {allowed}")
    return float(value)


def _one_trajectory(
    forecaster: Forecaster,
    real: WindowSource,
    graph: Data,
    settings: TrajectorySettings,
    seed: int,
    file: Path | None,
) -> Trajectory:
    """Load a trajectory from its file, or train it and write the file."""
    if file is None:
        return _trained(forecaster, real, graph, settings, seed)
    with locked(file):
        return _kept(forecaster, real, graph, settings, seed, file)


def _kept(
    forecaster: Forecaster,
    real: WindowSource,
    graph: Data,
    settings: TrajectorySettings,
    seed: int,
    file: Path,
) -> Trajectory:
    if file.is_file():
        try:
            return _load(file, real.location_weight.device)
        except InputError as error:
            log.warning("%s", error)
    made = _trained(forecaster, real, graph, settings, seed)
    with atomic_path(file) as path:
        save_file({"states": made.states}, path, metadata={"seconds": repr(made.seconds)})
    return made


def _trained(
    forecaster: Forecaster, real: WindowSource, graph: Data, settings: TrajectorySettings, seed: int
) -> Trajectory:
    began = time.perf_counter()
    states = _train(FlatForecaster(forecaster), real, graph, settings, seed)
    return Trajectory(states=states, seconds=time.perf_counter() - began)


def _load(file: Path, device: torch.device) -> Trajectory:
    try:
        with safe_open(file, framework="pt", device=str(device)) as content:
            seconds = float(content.metadata()["seconds"])
            return Trajectory(states=content.get_tensor("states"), seconds=seconds, cached=True)
    except (SafetensorError, KeyError, TypeError) as error:
        raise InputError(f"trajectory {str(file)!r} is damaged: it is trained again") from error


def _train(
    flat: FlatForecaster, real: WindowSource, graph: Data, settings: TrajectorySettings, seed: int
) -> Tensor:
    """Return the states (T, S, P) along the training of one expert."""
    optimizer = inner_optimizer(settings.optimizer)
    generator = torch.Generator().manual_seed(seed)
    subsets = subsets_in_turn(graph, real.location_weight, settings, generator)
    state = optimizer.start(flat.vector())
    snapshots = [state]
    for number in range(settings.interval * settings.intervals):
        subset = next(subsets)
        index = batch_index(len(real), settings.batch_windows, number, seed)
        batch = Batch(*real.batch(index, subset.index))
        loss = partial(
            subset_loss, flat=flat, batch=batch, subset=subset, profile=subset.of(real.profile, 0)
        )
        state = flat_descend(
            loss, state, optimizer, settings.learning_rate, number, settings.flatness
        )
        if (number + 1) % settings.interval == 0:
            _check_finite(state, settings, number + 1)
            snapshots.append(state)
    return torch.stack(snapshots)


def _check_finite(state: Tensor, settings: TrajectorySettings, updates: int) -> None:
    if not bool(torch.isfinite(state).all()):
        raise InputError(
            f"an expert trajectory of {settings.surrogate!r} is not finite after {updates} updates "
            f"of {settings.optimizer}: lower its learning rate (now {settings.learning_rate:g})"
        )

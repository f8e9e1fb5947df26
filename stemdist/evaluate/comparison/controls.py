"""Controls: references with soft labels, clusters, compression or pruning, without distillation.

Shapes: T steps of the training part, N locations, V variables, M windows, R target rows, K
clusters of the distilled set, G clusters and J blocks of time of a compressed series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from stemdist.data.windows import WindowSource
from stemdist.distill.clusters import Clusters, cluster_locations, cluster_windows
from stemdist.distill.experts import Expert, expert_answers, mean_answer, relabelled
from stemdist.distill.ratios import stored_bytes
from stemdist.errors import InputError
from stemdist.evaluate.comparison.training_data import (
    Budget,
    FullData,
    Reference,
    TrainingData,
    expert_identity,
    recorded_experts,
    recorded_settings,
)
from stemdist.files import hash_of
from stemdist.forecast import ForecastTask
from stemdist.forecast.features import Centred, InputFeatures, load_values, room_for
from stemdist.forecast.pruning import PrunedLoss

ANSWER_LIMIT_BYTES = 2**30
BLOCK_WINDOWS = 1024


class FullExpertData(Reference):
    """All training windows at all N locations, with soft labels of the distilled set's experts.

    The upper reference of sets with expert labels: part of the gain of such a set over observed
    targets is due to the labels, which are available for all windows, too.
    """

    title = "full data + expert labels"
    all_locations = True

    def identity(self, budget: Budget) -> Any:
        """Return the settings of the experts."""
        return expert_identity(budget)

    def data(self, budget: Budget) -> TrainingData:
        """Return the training part with soft labels.

        Raises
        ------
        InputError
            If the soft labels of all windows would take more than 1 GiB.
        """
        task, experts = budget.task, recorded_experts(budget)
        answers = all_answers(experts, task)
        source = relabelled(task.train, answers, experts)
        return TrainingData(
            source=source,
            graph=task.graph,
            recorded_seconds=sum(expert.seconds for expert in experts),
            stored_numbers=_series_numbers(task, task.n_locations, len(task.series.data_vars))
            + answers.numel(),
        )


class PrunedData(Reference):
    """All training windows, of which training leaves out those that are learned already.

    The rival without a step of distilling: dynamic pruning (InfoBatch, see
    :class:`~stemdist.forecast.pruning.PrunedLoss`). It has as many updates as other references, so
    the same training time, in which it makes more passes over the windows.
    """

    title = "full data, pruned while training"
    all_locations = True
    sized = False

    def identity(self, budget: Budget) -> Any:
        """Return None: all windows are given, and how they are pruned is fixed."""
        return None

    def data(self, budget: Budget) -> TrainingData:
        """Return the training part and the loss that prunes it."""
        full = FullData().data(budget)
        return replace(full, objective=partial(PrunedLoss, len(full.source)))


class ClusteredSeries(Reference):
    """All M windows at the K representatives, with observed targets: only space is reduced."""

    title = "clustered series"

    def identity(self, budget: Budget) -> Any:
        """Return a hash of the clusters."""
        clusters = given_clusters(budget)
        return hash_of(
            [clusters.labels.tolist(), clusters.medoids.tolist(), clusters.representative]
        )

    def data(self, budget: Budget) -> TrainingData:
        """Return the windows of the clusters' series, weighted by cluster size."""
        task = budget.task
        source = cluster_windows(task.train, given_clusters(budget))
        return TrainingData(
            source=source,
            graph=budget.given.cluster_graph,
            stored_numbers=_series_numbers(task, source.n_locations, task.n_series_features),
        )


class ClusteredExpertSeries(Reference):
    """The windows of ``clustered``, with soft labels of the distilled set's experts."""

    title = "clustered series + expert labels"

    def identity(self, budget: Budget) -> Any:
        """Return the clusters and the settings of the experts."""
        return [ClusteredSeries().identity(budget), expert_identity(budget)]

    def data(self, budget: Budget) -> TrainingData:
        """Return the clusters' windows with soft labels."""
        task, experts = budget.task, recorded_experts(budget)
        observed = ClusteredSeries().data(budget)
        everything = torch.arange(len(task.train))
        answers = expert_answers(experts, task, given_clusters(budget), everything)
        return replace(
            observed,
            source=relabelled(observed.source, answers, experts),
            recorded_seconds=sum(expert.seconds for expert in experts),
            stored_numbers=(observed.stored_numbers or 0) + answers.numel(),
        )


class CompressedSeries(Reference):
    """The training series, coarsened in time and space to at most the bytes of the distilled set.

    The variables are averaged over J blocks of time and G clusters of locations, then brought
    back to all T steps and N locations (linear in time between the middles of blocks, the
    cluster's value at each of its locations) and cut into the M windows, with neighbour means
    and other derived features computed again. J is the largest number of blocks, at most T, that
    the bytes allow with the K clusters of the distilled set; remaining bytes are used for more
    clusters. If the set has more bytes than the series, the series is unchanged.
    """

    title = "compressed series"
    all_locations = True

    def identity(self, budget: Budget) -> Any:
        """Return the allowed numbers and the settings of the clustering."""
        settings = recorded_settings(budget)
        clustering = [settings.clustering, settings.seed]
        return [_allowed_numbers(budget), budget.given.n_clusters, *clustering]

    def data(self, budget: Budget) -> TrainingData:
        """Return all windows at all N locations, cut from the decompressed series."""
        task, settings = budget.task, recorded_settings(budget)
        steps = task.split_boundaries["train"][1]
        series = task.series.isel(time=slice(0, steps))
        values = torch.from_numpy(load_values(series))  # (T, N, V)
        block_steps, n_clusters = coarse_sizes(
            tuple(values.shape), budget.given.n_clusters, _allowed_numbers(budget)
        )
        labels = torch.arange(task.n_locations)
        if n_clusters < task.n_locations:
            how = (settings.clustering, "medoid", settings.seed)
            labels = cluster_locations(task, n_clusters, *how).labels
        coarse = coarsen(values, labels, n_clusters, block_steps)
        values = refine(coarse, labels, block_steps, steps)
        centre = (0.0,) * values.shape[2]
        features = InputFeatures(series, task.settings, task.scaler, task.graph)
        room = room_for(features.variables, task.settings)
        loaded = Centred.of(values.numpy(), centre, room)
        source = replace(features.windows(loaded), starts=task.train.starts)
        return TrainingData(source=source, graph=task.graph, stored_numbers=coarse.numel())


def given_clusters(budget: Budget) -> Clusters:
    """Return the clusters of the distilled set, which must have recorded settings."""
    recorded_settings(budget)
    return budget.given.clusters


def all_answers(experts: Sequence[Expert], task: ForecastTask) -> Tensor:
    """Return the soft labels of all training windows, (M, R, N) scaled.

    Raises
    ------
    InputError
        If they would take more than 1 GiB.
    """
    train: WindowSource = task.train
    needed = 4 * len(train) * train.rows * train.n_locations
    if needed > ANSWER_LIMIT_BYTES:
        raise InputError(
            f"the soft labels of all {len(train)} training windows at {train.n_locations} "
            f"locations take {needed / 2**30:.1f} GiB, more than the "
            f"{ANSWER_LIMIT_BYTES / 2**30:.1f} GiB allowed: leave the reference 'full-expert' "
            "out, or use 'clustered-expert', which has soft labels at the clusters only"
        )
    answers = torch.empty(len(train), train.rows, train.n_locations)
    for index in torch.split(torch.arange(len(train)), BLOCK_WINDOWS):
        answers[index] = mean_answer(experts, train, graph=task.graph, index=index)
    return answers


def coarse_sizes(shape: tuple[int, ...], n_clusters: int, n_numbers: int) -> tuple[int, int]:
    """Return the block length and number of clusters with which a series fits into so many numbers.

    Parameters
    ----------
    shape : tuple of int
        (T, N, V) of the series.
    n_clusters : int
        Smallest number K of clusters, unless not even one block of them fits.
    n_numbers : int
        Numbers allowed, at least V.

    Returns
    -------
    tuple of int
        Steps of a block of time, and clusters G.

    Examples
    --------
    >>> coarse_sizes((100, 20, 1), 4, 200)  # 50 blocks of 4 clusters
    (2, 4)
    >>> coarse_sizes((100, 20, 1), 4, 600)  # every step, and 6 clusters
    (1, 6)
    >>> coarse_sizes((100, 20, 1), 4, 3)  # not even one block of 4 clusters
    (100, 3)
    """
    n_steps, n_locations, n_variables = shape
    n_blocks = min(max(n_numbers // (n_clusters * n_variables), 1), n_steps)
    block_steps = -(-n_steps // n_blocks)
    n_blocks = -(-n_steps // block_steps)  # the last block may be short, others not needed
    return block_steps, min(max(n_numbers // (n_blocks * n_variables), 1), n_locations)


def coarsen(values: Tensor, labels: Tensor, n_clusters: int, block_steps: int) -> Tensor:
    """Average over blocks of time and clusters of locations.

    Parameters
    ----------
    values : Tensor
        (T, N, V), NaN where missing.
    labels : Tensor
        (N,) cluster of each location.
    n_clusters : int
        G.
    block_steps : int
        Steps of a block of time.

    Returns
    -------
    Tensor
        (J, G, V) means of what is observed, NaN where nothing is.

    Examples
    --------
    >>> values = torch.tensor([[1.0, 3.0, 7.0], [5.0, float("nan"), 9.0]])
    >>> coarsen(values[..., None], torch.tensor([0, 0, 1]), 2, block_steps=2).flatten().tolist()
    [3.0, 8.0]
    """
    block = torch.arange(len(values)) // block_steps
    n_blocks = int(block[-1]) + 1
    means = []
    for variable in values.unbind(-1):  # one (T, N) in double precision at a time
        observed = torch.isfinite(variable)
        parts = (variable.double().nan_to_num(0.0), observed.double())
        total, count = (
            part.new_zeros(n_blocks, n_clusters).index_add_(
                0, block, part.new_zeros(len(part), n_clusters).index_add_(1, labels, part)
            )
            for part in parts
        )
        means.append((total / count).float())  # 0 / 0 is NaN
    return torch.stack(means, dim=-1)


def refine(coarse: Tensor, labels: Tensor, block_steps: int, n_steps: int) -> Tensor:
    """Bring block means back to every step and location.

    Parameters
    ----------
    coarse : Tensor
        (J, G, V).
    labels : Tensor
        (N,) cluster of each location.
    block_steps, n_steps : int
        Steps of a block, and T.

    Returns
    -------
    Tensor
        (T, N, V), linear between the middles of blocks, constant before the first and after the
        last; NaN next to blocks that are NaN.

    Examples
    --------
    >>> coarse = torch.tensor([1.0, 5.0])[:, None, None]
    >>> refine(coarse, torch.tensor([0]), block_steps=2, n_steps=4).flatten().tolist()
    [1.0, 2.0, 4.0, 5.0]
    """
    first = torch.arange(len(coarse)) * block_steps
    last = (first + block_steps - 1).clamp_max(n_steps - 1)
    middle = (first + last) / 2
    step = torch.arange(n_steps, dtype=middle.dtype)
    before = (torch.searchsorted(middle, step, right=True) - 1).clamp_min(0)
    after = (before + 1).clamp_max(len(coarse) - 1)
    share = (step - middle[before]) / (middle[after] - middle[before]).clamp_min(0.5)
    share = share.clamp(0, 1)[:, None, None]
    low, high = coarse[before], coarse[after]  # (T, G, V)
    between = torch.where(share > 0, low + share * (high - low), low)
    return between[:, labels]


def _series_numbers(task: ForecastTask, n_locations: int, n_features: int) -> int:
    return task.split_boundaries["train"][1] * n_locations * n_features


def _allowed_numbers(budget: Budget) -> int:
    """Return how many numbers have the bytes of the distilled set."""
    given = budget.given
    return stored_bytes(given.windows, given.settings, given.record.get("stored_numbers")) // 4

"""k-means over locations with time streamed in blocks, missing values honoured.

Shapes: t time steps of one block, d = t * F, N locations, K clusters.

Labels alone carry the state between blocks: a block's cluster means follow from the labels, and
distances add up over blocks. So a whole Lloyd iteration is one pass over the series with
``N * (d + K)`` numbers in memory, and is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from stemdist.graph._blocks import Block, Blocks, Floats, Labels


def block_means(block: Block, labels: Labels, n_clusters: int) -> tuple[Floats, Floats]:
    """Return the means of the clusters and whether anything is observed, ``(K, d)`` each."""
    size = len(labels)
    members = sp.csr_array(
        (np.ones(size, dtype=np.float32), (labels, np.arange(size))), shape=(n_clusters, size)
    )
    sums = members @ block.values
    if block.observed is None:
        counts = np.bincount(labels, minlength=n_clusters).astype(np.float32)[:, None]
        return sums / np.maximum(counts, 1), np.broadcast_to(np.minimum(counts, 1), sums.shape)
    counts = members @ block.observed
    return sums / np.maximum(counts, 1), np.minimum(counts, 1)


class Group(NamedTuple):
    """Locations that are compared with some of the clusters only."""

    members: Labels | slice
    """Their numbers."""
    clusters: slice
    """Numbers of the clusters, which have no other members."""


def lloyd(
    blocks: Blocks,
    labels: Labels,
    n_clusters: int,
    max_iter: int,
    groups: Sequence[Group] | None = None,
) -> tuple[Labels, int]:
    """Iterate until no label changes; return the labels and the number of iterations.

    The distance of a location to a cluster is the mean squared difference over the entries at
    which both are observed. With ``groups`` a location stays within the clusters of its group:
    time and memory grow with N times the clusters of a group, instead of N * K.
    """
    groups = groups or [Group(slice(None), slice(0, n_clusters))]
    for iteration in range(1, max_iter + 1):
        moved = np.empty_like(labels)
        distances = _distances(blocks, labels, n_clusters, groups)
        for group, distance in zip(groups, distances, strict=True):
            nearest = distance.argmin(axis=1).astype(np.int64)
            own = np.take_along_axis(distance, nearest[:, None], axis=1).ravel()
            nearest = fill_empty(nearest, own, distance.shape[1])
            moved[group.members] = nearest + group.clusters.start
        if (moved == labels).all():
            return labels, iteration
        labels = moved
    return labels, max_iter


def _distances(
    blocks: Blocks, labels: Labels, n_clusters: int, groups: Sequence[Group]
) -> list[Floats]:
    """Return the mean squared differences of each group, infinite where nothing is shared."""
    totals, shared = (
        [
            np.zeros((len(labels[members]), clusters.stop - clusters.start), dtype=np.float32)
            for members, clusters in groups
        ]
        for _ in range(2)
    )
    for block in blocks():
        means, known = block_means(block, labels, n_clusters)
        for (members, clusters), total, count in zip(groups, totals, shared, strict=True):
            seen = None if block.observed is None else block.observed[members]
            _add(total, count, block.values[members], seen, means[clusters], known[clusters])
    return [
        np.where(count > 0, total.clip(min=0) / np.maximum(count, 1), np.float32(np.inf))
        for total, count in zip(totals, shared, strict=True)
    ]


def _add(
    total: Floats,
    shared: Floats,
    values: Floats,
    observed: Floats | None,
    means: Floats,
    known: Floats,
) -> None:
    """Add one block's squared differences ``(n, k)`` and the numbers of entries both have."""
    total -= 2 * (values @ means.T)
    if observed is None:
        total += (means**2).sum(axis=1)
        shared_by_all: Floats | np.float32 = np.float32(values.shape[1])
    else:
        total += observed @ (means**2).T
        shared_by_all = observed.sum(axis=1, keepdims=True)
    if known.all():
        total += (values**2).sum(axis=1, keepdims=True)
        shared += shared_by_all
    else:
        total += values**2 @ known.T
        seen = np.ones_like(values) if observed is None else observed
        shared += seen @ known.T


def own_distances(
    blocks: Blocks, labels: Labels, n_clusters: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[npt.NDArray[np.float64]]]:
    """Compare each location with its own cluster, without the rounding of expanded squares.

    Returns
    -------
    squares : (N,)
        Sum of squared differences to the cluster's mean.
    counts : (N,)
        Observed entries of each location.
    means : list of (K, d)
        Means of the clusters per block, NaN where nothing is observed.
    """
    squares = np.zeros(len(labels))
    counts = np.zeros(len(labels))
    means = []
    for block in blocks():
        mean, known = block_means(block, labels, n_clusters)
        difference = block.values - mean[labels]  # (N, d)
        if block.observed is None:
            counts += block.values.shape[1]
        else:
            difference *= block.observed
            counts += block.observed.sum(axis=1, dtype=np.float64)
        squares += np.einsum("nd,nd->n", difference, difference)
        means.append(np.where(known > 0, mean + block.step_mean, np.nan))
    return squares, counts, means


def fill_empty(labels: Labels, own: npt.NDArray[np.floating], n_clusters: int) -> Labels:
    """Give every empty cluster the farther half of the largest one.

    Examples
    --------
    >>> fill_empty(np.array([0, 0, 0, 0]), np.array([0.0, 9.0, 1.0, 8.0]), 2)
    array([0, 1, 0, 1])
    """
    labels = labels.copy()
    sizes = np.bincount(labels, minlength=n_clusters)
    for empty in np.flatnonzero(sizes == 0):
        largest = int(sizes.argmax())
        members = np.flatnonzero(labels == largest)
        farther = members[np.argsort(own[members], kind="stable")][(len(members) + 1) // 2 :]
        labels[farther] = empty
        sizes[largest] -= len(farther)
        sizes[empty] = len(farther)
    return labels

"""k-means over locations with time streamed in blocks, missing values honoured.

Shapes: t time steps of one block, d = t * F, N locations, K clusters.

Labels alone carry the state between blocks: a block's cluster means follow from the labels, and
distances add up over blocks. So a whole Lloyd iteration is one pass over the series with
``N * (d + K)`` numbers in memory, and is exact.
"""

from __future__ import annotations

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


def lloyd(blocks: Blocks, labels: Labels, n_clusters: int, max_iter: int) -> tuple[Labels, int]:
    """Iterate until no label changes; return the labels and the number of iterations.

    The distance of a location to a cluster is the mean squared difference over the entries at
    which both are observed.
    """
    for iteration in range(1, max_iter + 1):
        distance = _distances(blocks, labels, n_clusters)
        nearest = distance.argmin(axis=1).astype(np.int64)
        own = np.take_along_axis(distance, nearest[:, None], axis=1).ravel()
        nearest = fill_empty(nearest, own, n_clusters)
        if (nearest == labels).all():
            return labels, iteration
        labels = nearest
    return labels, max_iter


def _distances(blocks: Blocks, labels: Labels, n_clusters: int) -> Floats:
    """Return the mean squared differences ``(N, K)``, infinite where nothing is shared."""
    total = np.zeros((len(labels), n_clusters), dtype=np.float32)
    shared = np.zeros_like(total)
    for block in blocks():
        means, known = block_means(block, labels, n_clusters)
        total -= 2 * (block.values @ means.T)
        if block.observed is None:
            total += (means**2).sum(axis=1)
            shared_by_all = np.float32(block.values.shape[1])
        else:
            total += block.observed @ (means**2).T
            shared_by_all = block.observed.sum(axis=1, keepdims=True)
        if known.all():
            total += (block.values**2).sum(axis=1, keepdims=True)
            shared += shared_by_all
        else:
            total += block.values**2 @ known.T
            seen = np.ones_like(block.values) if block.observed is None else block.observed
            shared += seen @ known.T
    return np.where(shared > 0, total.clip(min=0) / np.maximum(shared, 1), np.float32(np.inf))


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

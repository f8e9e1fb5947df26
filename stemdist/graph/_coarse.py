"""k-means of many locations into many clusters, within groups of locations.

Shapes: N locations, K clusters, G groups, n locations of a group, D columns of a sketch.

Comparing every location with every cluster takes time and memory of N * K, which is N squared
where K is a share of N. Groups of similar locations with about 100 clusters each take 100 N.
"""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning

from stemdist.graph._blocks import Floats, Labels
from stemdist.graph._lloyd import Group, fill_empty

DIRECT_PAIRS = 2**22
"""Pairs of a location and a cluster up to which all of them are compared."""
GROUP_CLUSTERS = 100
"""Clusters of a group, roughly."""
DIRECT_CLUSTERS = 4 * GROUP_CLUSTERS
"""Number of clusters up to which all pairs are compared, whatever N is."""

Kind = type[KMeans] | type[MiniBatchKMeans]


def cluster_sketch(
    sketch: Floats, n_clusters: int, kind: Kind, random: np.random.RandomState
) -> tuple[Labels, list[Group]]:
    """Cluster the rows ``(N, D)`` of a sketch, directly or within groups.

    Returns
    -------
    labels : (N,)
        Cluster of each row; no cluster is empty.
    groups : list of Group
        Which rows were compared with which clusters.

    Examples
    --------
    >>> rows = np.array([[0.0], [0.1], [5.0]], dtype=np.float32)
    >>> labels, groups = cluster_sketch(rows, 2, KMeans, np.random.RandomState(0))
    >>> bool(labels[0] == labels[1]), len(groups)
    (True, 1)
    """
    size = len(sketch)
    if size * n_clusters <= DIRECT_PAIRS or n_clusters <= DIRECT_CLUSTERS:
        labels = _cluster(sketch, n_clusters, kind, random)
        return labels, [Group(slice(None), slice(0, n_clusters))]
    wanted = size * GROUP_CLUSTERS // n_clusters  # locations of a group
    parts = _split(sketch, wanted, random)
    counts = shares(np.array([len(part) for part in parts]), n_clusters)
    labels, groups, begin = np.empty(size, dtype=np.int64), [], 0
    for part, count in zip(parts, counts.tolist(), strict=True):
        labels[part] = begin + _cluster(sketch[part], count, kind, random)
        groups.append(Group(part, slice(begin, begin + count)))
        begin += count
    return labels, groups


def shares(sizes: Labels, n_clusters: int) -> Labels:
    """Give each of G groups clusters in proportion to its size, from 1 to as many as it has.

    Examples
    --------
    >>> shares(np.array([60, 30, 1]), 10).tolist()
    [6, 3, 1]
    """
    rest = n_clusters - len(sizes)  # after one for each
    exact = rest * (sizes - 1) / max(sizes.sum() - len(sizes), 1)
    counts: Labels = 1 + np.floor(exact).astype(np.int64)
    missing = n_clusters - int(counts.sum())
    most = np.argsort(np.floor(exact) - exact, kind="stable")[:missing]
    counts[most] += 1
    return counts


def _split(sketch: Floats, wanted: int, random: np.random.RandomState) -> list[Labels]:
    """Split the rows into groups of about ``wanted`` similar ones, none above 4 times that."""
    done, todo = [], [np.arange(len(sketch))]
    while todo:
        rows = todo.pop()
        if len(rows) <= 4 * wanted and len(rows) < len(sketch):
            done.append(rows)
            continue
        count = -(-len(rows) // wanted)
        labels = _labels(sketch[rows], count, MiniBatchKMeans, random)[0]
        parts = [rows[labels == label] for label in np.unique(labels)]
        todo += parts if len(parts) > 1 else np.array_split(rows, count)  # all alike
    return done


def _cluster(sketch: Floats, n_clusters: int, kind: Kind, random: np.random.RandomState) -> Labels:
    labels, centres = _labels(sketch, n_clusters, kind, random)
    distance = np.linalg.norm(sketch - centres[labels], axis=1)
    return fill_empty(labels, distance, n_clusters)


def _labels(
    sketch: Floats, n_clusters: int, kind: Kind, random: np.random.RandomState
) -> tuple[Labels, npt.NDArray[np.floating]]:
    estimator = kind(n_clusters, n_init=1, random_state=random)
    with warnings.catch_warnings():
        # fewer different series than clusters: the empty ones are filled here
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = estimator.fit_predict(sketch).astype(np.int64)
    return labels, estimator.cluster_centers_

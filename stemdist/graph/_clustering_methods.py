"""Methods of clustering: from a request, the cluster of each location.

Shapes: N locations.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.cluster import AgglomerativeClustering, KMeans, MiniBatchKMeans

from stemdist.errors import InputError
from stemdist.graph._blocks import Floats, Labels
from stemdist.graph._coarse import cluster_sketch
from stemdist.graph._lloyd import Group


class Request(NamedTuple):
    """What a method of clustering is given."""

    n_clusters: int
    n_locations: int
    sketch: Callable[[np.random.RandomState], Floats]
    """Makes the projection of the series, where a method needs it."""
    connectivity: sp.sparray | None
    random: np.random.RandomState


Found = tuple[Labels, list[Group] | None]
"""Clusters of the projection, and which locations were compared with which of them."""


def _kmeans_of(kind: type[KMeans] | type[MiniBatchKMeans], asked: Request) -> Found:
    return cluster_sketch(asked.sketch(asked.random), asked.n_clusters, kind, asked.random)


def _ward(asked: Request) -> Found:
    size, connectivity = asked.n_locations, asked.connectivity
    if connectivity is None or connectivity.shape != (size, size):
        found = None if connectivity is None else connectivity.shape
        raise InputError(
            f"connectivity is {found}: the method 'ward' needs a sparse {size} x {size} matrix of "
            "touching locations, e.g. stemdist.graph.connectivity(graph)"
        )
    estimator = AgglomerativeClustering(asked.n_clusters, connectivity=connectivity)
    with warnings.catch_warnings():
        # parts of the graph that do not touch (islands) are joined where they are most alike
        warnings.filterwarnings("ignore", message="the number of connected components")
        return estimator.fit_predict(asked.sketch(asked.random)).astype(np.int64), None


def _random(asked: Request) -> Found:
    order = asked.random.permutation(asked.n_locations)
    return (order % asked.n_clusters).astype(np.int64), None


CLUSTERING_METHODS: dict[str, Callable[[Request], Found]] = {
    "kmeans": partial(_kmeans_of, KMeans),
    "minibatch": partial(_kmeans_of, MiniBatchKMeans),
    "ward": _ward,
    "random": _random,
}

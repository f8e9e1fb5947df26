"""Clusters of locations, and their representatives.

Shapes: T steps, N locations, K clusters, F features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stemdist.data.windows import SeriesWindows
from stemdist.errors import InputError, unknown_name
from stemdist.forecast import FORECASTERS
from stemdist.forecast.task import ForecastTask
from stemdist.graph import LocationClustering, coarsen_graph, connectivity

if TYPE_CHECKING:
    from torch_geometric.data import Data

BLOCK_VALUES = 2**22
"""Values of a series reduced at once; bounds the memory beside the result."""


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """A partition of the N locations into K clusters.

    Parameters
    ----------
    labels : Tensor
        (N,) int64, cluster of each location.
    medoids : Tensor
        (K,) int64, the real location nearest to each centroid.
    representative : {"medoid", "mean"}
        Which series represents a cluster.
    """

    labels: Tensor
    medoids: Tensor
    representative: str = "medoid"
    members: Tensor | None = None
    """(K,) number of locations, where ``labels`` are those of a sample of them."""

    @property
    def sizes(self) -> Tensor:
        """(K,) number of locations in each cluster."""
        if self.members is not None:
            return self.members
        return torch.bincount(self.labels, minlength=len(self.medoids))

    @property
    def weight(self) -> Tensor:
        """(K,) cluster sizes scaled to mean 1."""
        return self.sizes / self.sizes.double().mean().float()

    def at(self, places: Tensor) -> Clusters:
        """Return the clusters of chosen locations (n,), ascending, all medoids among them."""
        return Clusters(
            labels=self.labels[places],
            medoids=torch.searchsorted(places, self.medoids),
            representative=self.representative,
            members=self.sizes,
        )

    def reduce(self, values: Tensor) -> Tensor:
        """Reduce values (..., N) at the locations to (..., K) at the representatives."""
        if self.representative == "medoid":
            return values[..., self.medoids]
        values = values.to(torch.get_default_dtype()) if values.dtype == torch.bool else values
        total = values.new_zeros(*values.shape[:-1], len(self.medoids))
        return total.index_add(-1, self.labels, values) / self.sizes

    def reduce_series(self, series: Tensor) -> Tensor:
        """Reduce a series (T, N, F) to (T, K, F), in blocks of time steps."""
        parts = torch.split(series, max(1, BLOCK_VALUES // series[0].numel()))
        return torch.cat([self.reduce(part.movedim(1, -1)).movedim(-1, 1) for part in parts])


def cluster_locations(
    task: ForecastTask, n_clusters: int, method: str, representative: str, seed: int
) -> Clusters:
    """Cluster the locations by their scaled training series (``distillation``: section 1).

    Parameters
    ----------
    task : ForecastTask
        The targets of its training part are clustered; missing values are left out.
    n_clusters : int
        K.
    method, representative : str
        As in :class:`~stemdist.graph.LocationClustering`.
    seed : int
        Random seed of the clustering.
    """
    if representative not in ("medoid", "mean"):
        raise unknown_name("representative", representative, ("medoid", "mean"))
    end = task.split_boundaries["train"][1]
    clustering = LocationClustering(
        n_clusters, method=method, representative=representative, random_state=seed
    ).fit(
        task.train.values[:end, :, : task.train.n_targets].numpy(),
        observed=task.train.observed[:end].numpy(),
        connectivity=connectivity(task.graph) if method == "ward" else None,
    )
    return Clusters(
        labels=torch.from_numpy(np.asarray(clustering.labels_, dtype=np.int64)),
        medoids=torch.from_numpy(np.asarray(clustering.medoids_, dtype=np.int64)),
        representative=representative,
    )


def check_on_clusters(role: str, families: Iterable[str]) -> None:
    """Raise :class:`InputError` unless all families of forecasters can be trained on clusters.

    Parameters
    ----------
    role : str
        What they are used as, e.g. ``"judge"``.
    families : iterable of str
        Registered names.
    """
    for family in families:
        if FORECASTERS.get(family).needs_grid:
            raise InputError(
                f"{family!r} cannot be a {role}: it needs a regular grid, and the clusters on "
                f"which a {role} is trained are none. Choose another, e.g. mlp"
            )


def cluster_windows(windows: SeriesWindows, clusters: Clusters) -> SeriesWindows:
    """Return the windows of the K representatives, weighted by cluster size.

    A cluster mean counts as observed where any of its locations is.
    """
    return replace(
        windows,
        values=clusters.reduce_series(windows.values),  # (T, K, F)
        observed=clusters.reduce_series(windows.observed) > 0,  # (T, K, C)
        static=clusters.reduce(windows.static.T).T,
        weight=clusters.weight,
        again=None,
        mean=None if windows.mean is None else _reduced_mean(windows.mean, clusters),
    )


def _reduced_mean(mean: Tensor, clusters: Clusters) -> Tensor:
    """Reduce mean windows (N, L_in, F) to (K, L_in, F)."""
    return clusters.reduce_series(mean.transpose(0, 1)).transpose(0, 1)


def cluster_graph(graph: Data, clusters: Clusters) -> Data:
    """Return the graph between clusters: the sum of the edges between their locations."""
    return coarsen_graph(graph, clusters.labels, len(clusters.medoids))

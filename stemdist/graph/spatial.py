"""Graphs from distances: the k nearest, or all within a cut-off.

Shapes: N locations, k neighbours. Distances in km.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr
from sklearn.neighbors import NearestNeighbors

from stemdist.errors import InputError
from stemdist.graph.adjacency import read_edge_list
from stemdist.graph.edges import Edges, from_neighbour_table
from stemdist.graph.positions import required_positions

if TYPE_CHECKING:
    from stemdist.graph.settings import GraphSettings

_SMALLEST_KNN_WEIGHT = 1e-6  # a remote location keeps its neighbours
_SMALLEST_DISTANCE_WEIGHT = 0.1  # the threshold of DCRNN's published graphs


def gaussian_kernel(
    distance_km: npt.NDArray[np.float64], sigma_km: float
) -> npt.NDArray[np.float64]:
    """Return ``exp(-(d / sigma)**2)`` (Li et al., ICLR 2018, DCRNN, eq. 10).

    Examples
    --------
    >>> gaussian_kernel(np.array([0.0, 2.0]), 2.0).round(4)
    array([1.    , 0.3679])
    """
    return np.exp(-((distance_km / sigma_km) ** 2))


def knn_edges(series: xr.Dataset, settings: GraphSettings) -> Edges:
    """Connect each location with its ``neighbours`` nearest, on the sphere or on a plane."""
    positions = required_positions(series, "knn")
    points = positions.points_km()
    count = min(settings.neighbours, len(points) - 1)
    # without an argument kneighbors leaves the location itself out, coincident ones stay in
    straight, nearest = NearestNeighbors(n_neighbors=count).fit(points).kneighbors()  # (N, k)
    distance = positions.travel_km(straight)
    weight = np.maximum(
        gaussian_kernel(distance, settings.sigma_km or float(distance.mean()) or 1.0),
        _SMALLEST_KNN_WEIGHT,
    )
    if settings.cutoff_km is not None:
        weight = np.where(distance <= settings.cutoff_km, weight, 0.0)
    return from_neighbour_table(nearest, weight)


def distance_edges(series: xr.Dataset, settings: GraphSettings) -> Edges:
    """Connect all locations within the cut-off (DCRNN, eq. 10).

    Distances come from ``settings.file``, a CSV with the columns ``source,target,distance_km``
    (e.g. along roads), or else from the positions. Without a cut-off, edges of a weight below
    0.1 are left out, as in DCRNN's published graphs.

    Raises
    ------
    InputError
        If neither a cut-off nor a kernel length is given.
    """
    found = _listed(series, settings) if settings.file is not None else _within(series, settings)
    distance = found.weight
    elsewhere = distance[found.source != found.target]
    sigma = settings.sigma_km
    if sigma is None and len(elsewhere):  # equal distances have no spread: use the distance
        spread = float(elsewhere.std())
        mean = float(elsewhere.mean())
        sigma = spread if spread > 1e-6 * mean else mean
    sigma = sigma or 1.0
    reach = settings.cutoff_km or _reach_km(sigma)
    near = distance <= reach
    weight = gaussian_kernel(distance[near], sigma)
    return Edges(found.source[near], found.target[near], weight)


def _reach_km(sigma_km: float) -> float:
    return sigma_km * math.sqrt(-math.log(_SMALLEST_DISTANCE_WEIGHT))


def _listed(series: xr.Dataset, settings: GraphSettings) -> Edges:
    path = Path(settings.file or "")
    edges = read_edge_list(path, series["location"].values, value="distance_km")
    bad = edges.weight[~(np.isfinite(edges.weight) & (edges.weight >= 0))]
    if len(bad):
        raise InputError(
            f"{path} has the distance {bad[0]}: distances must be finite and at least 0 km"
        )
    return edges


def _within(series: xr.Dataset, settings: GraphSettings) -> Edges:
    """Return pairs of locations within reach, their distances in place of weights."""
    if settings.cutoff_km is None and settings.sigma_km is None:
        raise InputError(
            "the graph 'distance' needs cutoff_km (or sigma_km, which implies a cut-off where "
            "the weight is 0.1): without it every pair of locations would be connected"
        )
    positions = required_positions(series, "distance")
    reach = settings.cutoff_km or _reach_km(settings.sigma_km or 0.0)
    radius = positions.straight_km(reach) * (1 + 1e-12)
    search = NearestNeighbors(radius=radius).fit(positions.points_km())
    straight, nearest = search.radius_neighbors()  # N arrays of different lengths
    target = np.repeat(np.arange(len(nearest)), [len(part) for part in nearest])
    distance = positions.travel_km(np.concatenate(straight).astype(np.float64))
    return Edges(np.concatenate(nearest).astype(np.int64), target, distance.clip(max=reach))

"""The graph between locations: one function per method, one way in.

Shapes: N locations, E edges.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from stemdist.errors import InputError, check_count
from stemdist.graph.correlation import projected_edges
from stemdist.graph.edges import Edges, make_graph
from stemdist.graph.grid import grid_cells
from stemdist.graph.positions import location_positions
from stemdist.graph.settings import GRAPH_METHODS, GraphSettings

if TYPE_CHECKING:
    from torch_geometric.data import Data


def build_graph(
    series: xr.Dataset,
    settings: GraphSettings,
    *,
    train_steps: int | None = None,
    sketch: np.ndarray | None = None,
) -> Data:
    """Build the graph between the locations of a canonical series.

    Parameters
    ----------
    series : xarray.Dataset
        Canonical series, dims ``(time, location)``; its first variable is the target.
    settings : GraphSettings
        Method and parameters.
    train_steps : int, optional
        Only the first so many time steps are looked at (the training part), so that a
        correlation graph does not depend on validation and test. Default: all.
    sketch : (N, W) array, optional
        Projections of the targets less their means, by which a correlation graph is built where
        the series do not fit into memory.

    Returns
    -------
    torch_geometric.data.Data
        ``edge_index (2, E)`` int64 as (source, target), sorted by target and then source,
        without duplicates or self loops; ``edge_weight (E,)`` float32; ``num_nodes = N``;
        where known ``pos (N, 2)`` float32 and ``coordinates``, ``"lat lon"`` (degrees) or
        ``"x y"`` (metres), saying what ``pos`` holds; for a grid ``cell (N, 2)`` int64, row
        and column of each location; ``method``, the method used.

    Raises
    ------
    InputError
        If the series or the file does not fit the method.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> series = xr.Dataset(
    ...     {"t": (("time", "location"), np.zeros((2, 3)))},
    ...     coords={"lat": ("location", [0.0, 0.0, 0.0]), "lon": ("location", [0.0, 1.0, 3.0])},
    ... )
    >>> graph = build_graph(series, GraphSettings(method="knn", neighbours=1))
    >>> graph.edge_index.tolist()
    [[1, 0, 1], [0, 1, 2]]
    """
    if "location" not in series.dims or not series.data_vars:
        raise InputError(
            f"a graph needs a series with a 'location' dimension and a variable; this one has "
            f"the dimensions {list(series.dims)} and the variables {list(series.data_vars)}"
        )
    method = chosen_method(series, settings)
    settings = dataclasses.replace(settings, method=method)
    size = series.sizes["location"]
    if size == 1 and settings.file is None:  # nothing to connect
        none = np.zeros(0, dtype=np.int64)
        edges = Edges(none, none, np.zeros(0))
    elif method == "correlation" and sketch is not None:
        edges = projected_edges(sketch, settings.neighbours)
    else:
        edges = GRAPH_METHODS.get(method)(_training_part(series, train_steps), settings)
    graph = _to_data(edges, size)
    graph.method = method
    positions = location_positions(series)
    if positions is not None:
        graph.pos = torch.from_numpy(positions.values.astype(np.float32))  # (N, 2)
        graph.coordinates = positions.kind
    cells = grid_cells(series)
    if cells is not None:
        graph.cell = cells  # (N, 2)
    return graph


def chosen_method(series: xr.Dataset, settings: GraphSettings) -> str:
    """Return the method that ``settings`` mean for a series: ``"auto"`` looks at the series."""
    if settings.method != "auto":
        return settings.method
    if settings.file is not None:
        return "adjacency"
    if "grid_dims" in series.attrs:
        return "grid"
    positions = location_positions(series)
    known = 0.0 if positions is None else np.isfinite(positions.values).all(axis=1).mean()
    return "knn" if known > 0.5 else "correlation"


def usable_locations(series: xr.Dataset, method: str) -> np.ndarray:
    """Return which locations (N,) a graph method can place; all, where it needs no positions.

    Parameters
    ----------
    series : xarray.Dataset
        Canonical series.
    method : str
        As :func:`chosen_method` returns it.

    Examples
    --------
    >>> coords = {"lat": ("location", [0.0, np.nan]), "lon": ("location", [0.0, 1.0])}
    >>> usable_locations(xr.Dataset(coords=coords), "knn").tolist()
    [True, False]
    """
    positions = location_positions(series)
    if method not in ("knn", "distance") or positions is None:
        return np.ones(series.sizes["location"], dtype=bool)
    return np.asarray(np.isfinite(positions.values).all(axis=1))


def _training_part(series: xr.Dataset, train_steps: int | None) -> xr.Dataset:
    if train_steps is None:
        return series
    check_count("train_steps", train_steps)
    steps = series.sizes["time"]
    if train_steps > steps:
        raise InputError(f"train_steps is {train_steps}, but the series has {steps} time steps")
    return series.isel(time=slice(0, train_steps))


def _to_data(edges: Edges, size: int) -> Data:
    """Drop self loops, sort by target and source, refuse duplicates and bad weights."""
    kept = edges.source != edges.target
    source, target, weight = (part[kept] for part in edges)
    if len(weight) and not (np.isfinite(weight).all() and weight.min() >= 0):
        bad = weight[~(np.isfinite(weight) & (weight >= 0))][0]
        raise InputError(
            f"the graph has an edge of weight {bad}: weights must be finite and at least 0"
        )
    order = np.lexsort((source, target))
    source, target, weight = source[order], target[order], weight[order]
    twice = np.flatnonzero((np.diff(source) == 0) & (np.diff(target) == 0))
    if len(twice):
        raise InputError(
            f"the graph has {len(twice)} edges that are given twice, e.g. from location number "
            f"{source[twice[0]]} to {target[twice[0]]}: give each edge once"
        )
    return make_graph(
        edge_index=torch.from_numpy(np.stack([source, target]).astype(np.int64)),  # (2, E)
        edge_weight=torch.from_numpy(weight.astype(np.float32)),  # (E,)
        num_nodes=size,
    )

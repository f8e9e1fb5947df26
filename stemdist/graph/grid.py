"""Cells and neighbours on a regular grid, with dropped points honoured.

Shapes: N locations (points of the grid that were kept).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor

from stemdist.data.conventions.longitude import cut_at_widest_gap, same_longitude
from stemdist.data.series import GRID_DIMS
from stemdist.errors import InputError
from stemdist.graph.edges import Edges
from stemdist.graph.positions import location_positions

if TYPE_CHECKING:
    from stemdist.graph.settings import GraphSettings

_SIDES = ((-1, 0), (0, -1), (0, 1), (1, 0))
_CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))


def grid_edges(series: xr.Dataset, settings: GraphSettings) -> Edges:
    """Connect each point with the 4 or 8 points around it, weight 1.

    A grid of all longitudes is periodic: its first and last meridian are neighbours.

    Raises
    ------
    InputError
        If the series does not come from a grid of two dimensions.
    """
    axes = _grid_axes(series)
    if axes is None:
        dims = str(series.attrs.get(GRID_DIMS, "")).split()
        raise InputError(
            "the graph 'grid' needs a series that comes from a grid of two spatial dimensions; "
            f"this one has the grid dimensions {dims}: use method='knn' or 'correlation'"
        )
    row, column = _cells(axes)
    period = _period(series, row, column)
    width = int(column.max()) + 3  # room for a step over either edge, so that no key is shared
    keys = row * width + column + 1
    order = np.argsort(keys)
    found: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
    for down, right in _SIDES if settings.neighbours == 4 else _SIDES + _CORNERS:
        beside = column + right
        if period is not None:
            beside = beside % period
        wanted = (row + down) * width + beside + 1
        slot = np.searchsorted(keys[order], wanted).clip(max=len(keys) - 1)
        there = np.flatnonzero(keys[order][slot] == wanted)
        found.append((order[slot[there]], there))
    source = np.concatenate([pair[0] for pair in found])
    target = np.concatenate([pair[1] for pair in found])
    if period is not None and period < 3:  # left and right are the same point
        source, target = np.unique(np.stack([source, target]), axis=1)
    return Edges(source, target, np.ones(len(source)))


def grid_cells(series: xr.Dataset) -> Tensor | None:
    """Return row and column (N, 2) int64 of each location, if they lie on a grid.

    Rows and columns follow ascending coordinates. A cell without a location (dropped, because
    it was never observed) is in no row of the result.

    Parameters
    ----------
    series : xarray.Dataset
        Canonical series, or its coordinates and attributes alone.

    Raises
    ------
    InputError
        If two locations are in the same cell.

    Examples
    --------
    >>> import xarray as xr
    >>> coords = {"y": ("location", [3.0, 1.0, 0.0]), "x": ("location", [5.0, 5.0, 6.0])}
    >>> grid_cells(xr.Dataset(coords=coords, attrs={"grid_dims": "y x"})).tolist()
    [[3, 0], [1, 0], [0, 1]]
    """
    axes = _grid_axes(series)
    return None if axes is None else torch.from_numpy(_cells(axes).T.copy())


def _grid_axes(series: xr.Dataset) -> list[npt.NDArray[np.float64]] | None:
    """Return the coordinates (N,) along both dimensions of the grid, if it is one.

    Longitudes are cut where the grid has none, so that a domain over the seam is in one piece.
    """
    dims = str(series.attrs.get(GRID_DIMS, "")).split()
    found = [np.atleast_1d(series.coords[dim].values) for dim in dims if dim in series.coords]
    if len(found) != 2 or any(axis.dtype.kind not in "fiu" for axis in found):
        return None
    axes = [axis.astype(np.float64) for axis in found]
    if all(np.isfinite(axis).all() for axis in axes) and "lon" in series.coords:
        lon = np.atleast_1d(series.coords["lon"].values).astype(np.float64)
        axes = [_eastward(axis, lon) for axis in axes]
    return axes if all(np.isfinite(axis).all() for axis in axes) else None


def _cells(axes: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.int64]:
    """Return row and column (2, N) of each location."""
    cells = np.stack([_steps_along(axis) for axis in axes])
    if len(np.unique(cells, axis=1).T) < len(cells.T):
        raise InputError(
            "two locations are at the same point of the grid: give each point of a grid once"
        )
    return cells


def _steps_along(axis: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the row numbers of a grid; a row whose points were all dropped still counts."""
    values, rank = np.unique(axis, return_inverse=True)
    if len(values) == 1:
        return rank.astype(np.int64)
    steps = (axis - values[0]) / np.diff(values).min()
    regular = np.abs(steps - steps.round()).max() < 0.05  # float32 coordinates are not exact
    return (steps.round() if regular else rank).astype(np.int64)


def _eastward(
    axis: npt.NDArray[np.float64], lon: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return an axis of longitudes cut at their widest gap; another axis as it is."""
    for degrees in (axis, np.rad2deg(axis)):
        if len(degrees) == len(lon) and same_longitude(degrees, lon).all():
            return cut_at_widest_gap(degrees)
    return axis


def _period(
    series: xr.Dataset, row: npt.NDArray[np.int64], column: npt.NDArray[np.int64]
) -> int | None:
    """Return the number of columns if they go once round the earth, else ``None``.

    They do if the last column lies beside the first one on the sphere, as its other neighbour
    does: so for longitudes on a line and for curvilinear grids (POP, NEMO) alike.
    """
    positions = location_positions(series)
    last = int(column.max())
    if last < 2 or positions is None or positions.kind != "lat lon":
        return None
    points = positions.points_km()
    at = {side: _by_row(points, row, column == side) for side in (0, 1, last - 1, last)}
    seam = _apart(at[last], at[0])
    beside = [*_apart(at[0], at[1]), *_apart(at[last - 1], at[last])]
    if not seam or not beside or np.median(beside) == 0.0:
        return None
    return last + 1 if np.median(seam) <= 1.5 * np.median(beside) else None


def _by_row(
    points: npt.NDArray[np.float64], row: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_]
) -> dict[int, npt.NDArray[np.float64]]:
    return dict(zip(row[chosen].tolist(), points[chosen], strict=True))


def _apart(
    one: dict[int, npt.NDArray[np.float64]], other: dict[int, npt.NDArray[np.float64]]
) -> list[float]:
    """Return the distances in km between two columns, at the rows that both have."""
    apart = [float(np.linalg.norm(one[row] - other[row])) for row in one.keys() & other.keys()]
    return [distance for distance in apart if np.isfinite(distance)]

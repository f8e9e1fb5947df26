"""Maps of locations: where they are known, and a number drawn at each.

Shapes: N locations; H x W cells of a grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from stemdist.data.series import GRID_DIMS, to_grid
from stemdist.graph.coastlines import draw_coastlines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AXIS_LABELS = {
    "lat": "latitude (° north)",
    "lon": "longitude (° east)",
    "y": "y (m)",
    "x": "x (m)",
}
MOST_CELLS_WITH_BORDERS = 20_000


def positions(coords: xr.Dataset) -> tuple[str, str] | None:
    """Return the names of the horizontal and vertical coordinates, or None if a map says nothing.

    That is where they are unknown, where all locations are on a point or a line, and where fewer
    than half of them have a place of their own, so that most would be hidden.

    Examples
    --------
    >>> places = {"lat": ("location", [0.0, 1.0, 1.0]), "lon": ("location", [0.0, 0.0, 2.0])}
    >>> coords = xr.Dataset(coords=places)
    >>> positions(coords)
    ('lon', 'lat')
    >>> positions(coords.assign_coords(lat=("location", [1.0, 1.0, 1.0])))
    """
    grid = str(coords.attrs.get(GRID_DIMS, "")).split()
    pairs = [(grid[1], grid[0])] if len(grid) == 2 else []
    for across, up in (*pairs, ("lon", "lat"), ("x", "y")):
        if across in coords.coords and up in coords.coords:
            values = (coords[across].values, coords[up].values)
            if all(v.dtype.kind in "fiu" and np.isfinite(v).all() for v in values):
                return (across, up) if _tells(*values) else None
    return None


def _tells(across: np.ndarray, up: np.ndarray) -> bool:
    """Say whether a map of (N,) positions shows where the locations are."""
    own = np.unique(np.stack([across, up]), axis=1).shape[1]
    return bool(np.ptp(across) > 0 and np.ptp(up) > 0 and 2 * own >= len(up))


def draw_values(
    axes: Axes,
    coords: xr.Dataset,
    value: np.ndarray,
    names: tuple[str, str],
    *,
    borders: bool = False,
    **shown: Any,
) -> Any:
    """Draw one number per location on a map.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw: a grid as an image, other positions as points.
    coords : xarray.Dataset
        Coordinates of the N locations.
    value : numpy.ndarray
        (N,) numbers.
    names : tuple of str
        The horizontal and vertical coordinates, as returned by :func:`positions`.
    borders : bool
        Draw lines between cells of a grid that differ.
    **shown
        Colours and their limits: ``cmap``, ``vmin``, ``vmax``, ``norm``.

    Returns
    -------
    matplotlib.cm.ScalarMappable
        For a colour bar.
    """
    shown = {"rasterized": True, "zorder": 0.7, **shown}  # below edges and medoids
    across, up = (coords[name].values for name in names)
    grid = to_grid(xr.DataArray(value, coords.coords, ("location",), attrs=coords.attrs))
    if grid.ndim == 2 and min(grid.shape) > 1:
        grid = grid.transpose(names[1], names[0])
        x, y = grid[names[0]].values, grid[names[1]].values
        drawn: Any = axes.pcolormesh(x, y, grid.values, shading="nearest", **shown)
        if borders and grid.size <= MOST_CELLS_WITH_BORDERS:
            _draw_borders(axes, x, y, grid.values)
    else:
        size = np.clip(4000 / len(value), 4, 60)
        shown = {"edgecolors": "0.5", "lw": 0.4, **shown}  # visible on any paper
        drawn = axes.scatter(across, up, c=value, s=size, **shown)
    labels = [_axis_label(coords, name) for name in names]
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.locator_params(axis="x", nbins=5)
    is_map = labels[1] == AXIS_LABELS["lat"] and abs(up).max() < 85
    axes.set_aspect(1 / np.cos(np.deg2rad(up.mean())) if is_map else "equal")
    if is_map and labels[0] == AXIS_LABELS["lon"]:
        draw_coastlines(axes)
    return drawn


def _axis_label(coords: xr.Dataset, name: str) -> str:
    """Return the label of a coordinate; a grid's is often a latitude under another name."""
    for known, label in AXIS_LABELS.items():
        if known in coords.coords and np.array_equal(coords[known].values, coords[name].values):
            return label
    return f"{name} (grid coordinate)"


def _draw_borders(axes: Axes, x: np.ndarray, y: np.ndarray, cells: np.ndarray) -> None:
    """Draw white lines between (H, W) cells of different clusters."""
    from matplotlib.collections import LineCollection

    x_edge, y_edge = _edges(x), _edges(y)
    rows, columns = np.nonzero(cells[:, :-1] != cells[:, 1:])
    upright = [
        ((x_edge[c + 1], y_edge[r]), (x_edge[c + 1], y_edge[r + 1]))
        for r, c in zip(rows, columns, strict=True)
    ]
    rows, columns = np.nonzero(cells[:-1] != cells[1:])
    level = [
        ((x_edge[c], y_edge[r + 1]), (x_edge[c + 1], y_edge[r + 1]))
        for r, c in zip(rows, columns, strict=True)
    ]
    axes.add_collection(LineCollection([*upright, *level], colors="white", linewidths=0.6))


def _edges(centres: np.ndarray) -> np.ndarray:
    """Return the n + 1 borders of n > 1 cells."""
    middle = (centres[1:] + centres[:-1]) / 2
    first, last = 2 * centres[0] - middle[0], 2 * centres[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])

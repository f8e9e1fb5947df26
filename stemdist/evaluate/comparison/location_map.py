"""The panel of a figure that shows the cluster of each location.

Shapes: N locations, K clusters; H x W cells of a grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from stemdist.data.series import GRID_DIMS, to_grid
from stemdist.distill.distilled import DistilledSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AXIS_LABELS = {
    "lat": "latitude (° north)",
    "lon": "longitude (° east)",
    "y": "y (m)",
    "x": "x (m)",
}
MOST_CELLS_WITH_BORDERS = 20_000
MOST_PROFILES = 400


def draw_locations(axes: Axes, distilled: DistilledSet, highlights: Mapping[int, str]) -> None:
    """Draw the locations, coloured by cluster, and the medoids.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw: a grid as an image, positions as points, else mean windows as lines.
    distilled : DistilledSet
        Its N locations and K clusters.
    highlights : mapping
        Colours of clusters that are shown in other panels; their medoids are labelled.
    """
    import matplotlib

    means = _profiles(distilled).mean(axis=1)[distilled.medoids.numpy()]  # (K,)
    rank = means.argsort().argsort()  # (K,): every cluster gets a colour of its own
    colours = matplotlib.colormaps["viridis"].resampled(distilled.n_clusters)
    names = positions(distilled.locations.coords)
    if names is None:
        _draw_profiles(axes, distilled, colours(rank), highlights)
    else:
        _draw_map(axes, distilled, rank, colours, names)
        _draw_medoids(axes, distilled, names, highlights)
    _draw_scale(axes, distilled, colours, np.sort(means))


def _profiles(distilled: DistilledSet) -> Any:
    """Return the mean window of the target at each location, (N, L_in), in physical units."""
    profile = distilled.locations.profile
    target = profile.reshape(len(profile), distilled.settings.lookback, -1)[..., 0]
    return distilled.scaler.inverse(target.T).T.numpy()


def positions(coords: xr.Dataset) -> tuple[str, str] | None:
    """Return the names of the horizontal and vertical coordinates, or None if unknown."""
    grid = str(coords.attrs.get(GRID_DIMS, "")).split()
    pairs = [(grid[1], grid[0])] if len(grid) == 2 else []
    for across, up in (*pairs, ("lon", "lat"), ("x", "y")):
        if across in coords.coords and up in coords.coords:
            values = (coords[across].values, coords[up].values)
            if all(v.dtype.kind in "fiu" and np.isfinite(v).all() for v in values):
                return across, up
    return None


def _draw_map(
    axes: Axes, distilled: DistilledSet, rank: np.ndarray, colours: Any, names: tuple[str, str]
) -> None:
    value = rank[distilled.cluster_of_location.numpy()].astype(float)  # (N,)
    shown = {"cmap": colours, "vmin": -0.5, "vmax": distilled.n_clusters - 0.5}
    draw_values(axes, distilled.locations.coords, value, names, borders=True, **shown)
    axes.set_title("Locations by cluster")


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
        drawn = axes.scatter(across, up, c=value, s=size, lw=0, **shown)
    labels = [_axis_label(coords, name) for name in names]
    axes.set(xlabel=labels[0], ylabel=labels[1])
    is_map = labels[1] == AXIS_LABELS["lat"] and abs(up).max() < 85
    axes.set_aspect(1 / np.cos(np.deg2rad(up.mean())) if is_map else "equal")
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


def _draw_medoids(
    axes: Axes, distilled: DistilledSet, names: tuple[str, str], highlights: Mapping[int, str]
) -> None:
    medoids = distilled.medoids.numpy()
    across, up = (distilled.locations.coords[name].values[medoids] for name in names)
    size = np.clip(1000 / len(medoids), 5, 80)
    axes.scatter(
        across,
        up,
        s=size,
        marker="o",
        facecolors="none",
        edgecolors="black",
        lw=0.9,
        label="medoid",
    )
    for cluster, colour in highlights.items():
        axes.scatter(
            across[cluster], up[cluster], s=110, marker="*", c=colour, edgecolors="white", lw=0.8,
            label=f"medoid of cluster {cluster}", zorder=3,
        )  # fmt: skip
    _legend(axes)


def _draw_profiles(
    axes: Axes, distilled: DistilledSet, colours: np.ndarray, highlights: Mapping[int, str]
) -> None:
    values = _profiles(distilled)
    lags = np.arange(1 - values.shape[1], 1)
    for row in values[:: max(1, len(values) // MOST_PROFILES)]:
        axes.plot(lags, row, color="0.8", lw=0.6)
    for row, colour in zip(values[distilled.medoids.numpy()], colours, strict=True):
        axes.plot(lags, row, color=colour, lw=1.6)
    axes.plot([], [], color="0.8", label="location")
    axes.plot([], [], color=colours[len(colours) // 2], label="medoid")
    for cluster, colour in highlights.items():
        end = values[distilled.medoids[cluster], -1]
        axes.plot(
            0, end, "*", ms=11, mec="white", color=colour, label=f"medoid of cluster {cluster}"
        )
    axes.set(
        title="Mean window of each location",
        xlabel="time from the last input (steps)",
        ylabel=f"{distilled.variables[0]} ({distilled.units or 'no unit'})",
    )
    _legend(axes)


def _legend(axes: Axes) -> None:
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2,
                columnspacing=1, handletextpad=0.3)  # fmt: skip


def _draw_scale(axes: Axes, distilled: DistilledSet, colours: Any, means: np.ndarray) -> None:
    """Draw the colour bar of the clusters, in order of the mean values at their medoids."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    limits = Normalize(-0.5, len(means) - 0.5)
    ticks = np.unique(np.linspace(0, len(means) - 1, min(6, len(means))).round().astype(int))
    name, unit = distilled.variables[0], distilled.units or "no unit"
    bar = axes.figure.colorbar(
        ScalarMappable(limits, colours), ax=axes, ticks=ticks, pad=0.02, shrink=0.9
    )
    bar.set_ticklabels([f"{means[tick]:.4g}" for tick in ticks])
    bar.set_label(f"{len(means)} clusters in order of mean {name} ({unit})")

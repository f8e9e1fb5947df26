"""Coastlines behind maps, from Natural Earth through cartopy, where both are on this machine.

cartopy (extra ``maps``) downloads the shapes of coasts on first use. A figure must not need the
network, so that they are drawn only where they are there already: ``python -m
cartopy.feature.download physical`` gets them once.
"""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESOLUTIONS = ("10m", "50m", "110m")
"""Scales 1:10, 1:50 and 1:110 million of Natural Earth."""
WIDE, WIDER = 12.0, 60.0
"""Degrees from which the second and the third resolution are fine enough."""
HINT = "python -m cartopy.feature.download physical"
log = logging.getLogger(__name__)


def draw_coastlines(axes: Axes) -> bool:
    """Draw the coastlines within the limits of a map in degrees, which it keeps.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Longitude to the right, between -180 and 360, latitude up.

    Returns
    -------
    bool
        Whether any were drawn: not without cartopy, nor without its files.
    """
    limits = (*axes.get_xlim(), *axes.get_ylim())
    lines = coastlines(limits)
    if not lines:
        return False
    from matplotlib.collections import LineCollection

    collection = LineCollection(lines, colors="black", linewidths=0.6, zorder=0.75)
    axes.add_collection(collection, autolim=False)
    collection.set_label("_coastline")
    axes.set(xlim=limits[:2], ylim=limits[2:])
    return True


def coastlines(limits: tuple[float, ...]) -> list[np.ndarray]:
    """Return the coastlines that touch a box, each (n, 2) degrees; none where they are not here.

    Parameters
    ----------
    limits : tuple of float
        West, east, south, north in degrees.
    """
    west, east, south, north = limits
    width = max(east - west, north - south)
    fitting = RESOLUTIONS[int(width > WIDE) + int(width > WIDER) :]
    try:
        path = _shapes((*fitting, *RESOLUTIONS))
        return [] if path is None else _within(path, limits)
    except Exception as error:  # of libraries and files that are not ours: maps do without them
        _warn(f"maps have no coastlines, for cartopy cannot read them: {error}")
        return []


@cache
def _warn(text: str) -> None:
    """Say something once, not for each map."""
    log.warning("%s", text)


def _within(path: Path, limits: tuple[float, ...]) -> list[np.ndarray]:
    from cartopy.io.shapereader import Reader
    from shapely import box, get_parts

    west, east, south, north = limits
    found = []
    for turn in (-360.0, 0.0, 360.0):  # longitudes of data may run from 0 to 360
        view = box(west - turn, south, east - turn, north)
        for shape in Reader(path).geometries():
            if shape.intersects(view):
                parts = get_parts(shape.intersection(view))
                found += [np.asarray(each.coords)[:, :2] + (turn, 0.0) for each in parts]
    return [line for line in found if len(line) > 1]


def _shapes(resolutions: tuple[str, ...]) -> Path | None:
    """Return the file of the first resolution that is here, without a download."""
    try:
        from cartopy import config
        from cartopy.io.shapereader import NEShpDownloader
    except ImportError:
        return None
    for resolution in resolutions:
        kind: dict[str, Any] = {"category": "physical", "name": "coastline"}
        key = ("shapefiles", "natural_earth", *kind.values(), resolution)
        source = NEShpDownloader.from_config(key)
        fields = {"config": config, "resolution": resolution, **kind}
        for path in (source.pre_downloaded_path(fields), source.target_path(fields)):
            if path is not None and Path(path).is_file():
                return Path(path)
    log.info("maps have no coastlines, whose shapes are not on this machine: %s", HINT)
    return None

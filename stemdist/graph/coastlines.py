"""Coastlines behind maps: those of Natural Earth that cartopy has downloaded to this machine.

A figure must not need the network, so that they are drawn only where they are there already:
``python -m cartopy.feature.download physical`` gets them once (extra ``maps``). cartopy itself is
not imported: it loads PROJ, which failed in a process with many other libraries (decision 043).
"""

from __future__ import annotations

import logging
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESOLUTIONS = ("10m", "50m", "110m")
"""Scales 1:10, 1:50 and 1:110 million of Natural Earth."""
WIDE, WIDER = 12.0, 60.0
"""Degrees from which the second and the third resolution are fine enough."""
HINT = "python -m cartopy.feature.download physical"
PLACE = Path("shapefiles") / "natural_earth" / "physical"
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
        Whether any were drawn: not without the files of cartopy.
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
    path = _shapes((*fitting, *RESOLUTIONS))
    if path is None:
        return []
    try:
        return _near(path, limits)
    except Exception as error:  # of a file that another program wrote: maps do without it
        _warn(f"maps have no coastlines, for {path} cannot be read: {error}")
        return []


@cache
def _warn(text: str) -> None:
    """Say something once, not for each map."""
    log.warning("%s", text)


def _near(path: Path, limits: tuple[float, ...]) -> list[np.ndarray]:
    """Return the lines of a shapefile whose boxes touch a box; matplotlib cuts them to the map."""
    import shapefile

    west, east, south, north = limits
    found = []
    with shapefile.Reader(str(path)) as reader:
        for shape in reader.iterShapes():
            points = np.asarray(shape.points, dtype=float)[:, :2]
            for line in np.split(points, shape.parts[1:]):
                (left, bottom), (right, top) = line.min(axis=0), line.max(axis=0)
                for turn in (-360.0, 0.0, 360.0):  # longitudes of data may run from 0 to 360
                    across = left + turn <= east and right + turn >= west
                    if across and bottom <= north and top >= south:
                        found.append(line + np.array([turn, 0.0]))
    return found


def _shapes(resolutions: tuple[str, ...]) -> Path | None:
    """Return the file of the first resolution that is where cartopy keeps them."""
    home = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "cartopy"
    given = os.environ.get("CARTOPY_DATA_DIR")
    folders = [home] if given is None else [Path(given), home]
    for resolution in resolutions:
        for folder in folders:
            path = folder / PLACE / f"ne_{resolution}_coastline.shp"
            if path.is_file():
                return path
    log.info("maps have no coastlines, whose shapes are not on this machine: %s", HINT)
    return None

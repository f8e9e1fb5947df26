"""Where locations are: degrees on the sphere or metres on a plane.

Shapes: N locations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from stemdist.errors import InputError

EARTH_RADIUS_KM = 6371.0


class Positions(NamedTuple):
    """Positions of locations: ``values (N, 2)`` and what they are, ``"lat lon"`` or ``"x y"``."""

    values: npt.NDArray[np.float64]
    kind: str

    def points_km(self) -> npt.NDArray[np.float64]:
        """Return points whose straight-line distances are in km: ``(N, 3)`` or ``(N, 2)``."""
        if self.kind == "x y":
            return self.values / 1000.0
        return EARTH_RADIUS_KM * unit_sphere(self.values)

    def travel_km(self, straight_km: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Turn straight-line distances into distances along the surface, both in km."""
        if self.kind == "x y":
            return straight_km
        half = np.clip(straight_km / (2 * EARTH_RADIUS_KM), 0.0, 1.0)
        return 2 * EARTH_RADIUS_KM * np.arcsin(half)

    def straight_km(self, travel_km: float) -> float:
        """Turn a distance along the surface into the straight-line one, both in km."""
        if self.kind == "x y":
            return travel_km
        return float(
            2 * EARTH_RADIUS_KM * np.sin(min(travel_km / (2 * EARTH_RADIUS_KM), np.pi / 2))
        )


def unit_sphere(lat_lon: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the points ``(N, 3)`` on the unit sphere of ``(N, 2)`` degrees.

    Examples
    --------
    >>> unit_sphere(np.array([[0.0, 0.0], [90.0, 0.0]])).round(6).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    lat, lon = np.deg2rad(lat_lon[:, 0]), np.deg2rad(lat_lon[:, 1])
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


def location_positions(series: xr.Dataset) -> Positions | None:
    """Return the positions of a series' locations, or ``None`` where they are not known."""
    for names in (("lat", "lon"), ("x", "y")):
        if all(name in series.coords for name in names):
            parts = [np.atleast_1d(series.coords[name].values) for name in names]
            values = np.stack([np.asarray(part, dtype=np.float64) for part in parts], axis=1)
            return Positions(values, " ".join(names))
    return None


def required_positions(series: xr.Dataset, method: str) -> Positions:
    """Return the positions, or say that the graph ``method`` needs them.

    Raises
    ------
    InputError
        If positions are not known or some are missing.
    """
    positions = location_positions(series)
    if positions is None:
        raise InputError(
            f"the graph {method!r} needs the positions of the locations: the series has neither "
            "'lat' and 'lon' (degrees) nor 'x' and 'y' (metres); use method='correlation', or "
            "'adjacency' with a file"
        )
    missing = np.flatnonzero(~np.isfinite(positions.values).all(axis=1))
    if len(missing):
        raise InputError(
            f"{len(missing)} of {len(positions.values)} locations have no position, the first is "
            f"number {missing[0]}: the graph {method!r} needs every {positions.kind!r}"
        )
    return positions

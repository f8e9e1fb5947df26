"""Longitude is a circle: where to cut it, and which columns of a grid meet.

Shapes: N locations.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def cut_at_widest_gap(longitude: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return longitudes (N,) in degrees, ascending eastward from the widest empty arc.

    Examples
    --------
    >>> cut_at_widest_gap(np.array([359.0, 0.0, 1.0])).tolist()
    [359.0, 360.0, 361.0]
    >>> cut_at_widest_gap(np.array([170.0, -170.0, 180.0])).tolist()
    [170.0, 190.0, 180.0]
    """
    circle = np.mod(longitude, 360.0)
    places = np.unique(circle)
    gaps = np.diff(places, append=places[0] + 360.0)
    widest = int(gaps.argmax())
    if gaps[widest] <= 1.5 * np.median(gaps):  # all round: no gap is a seam
        return longitude if np.ptp(longitude) < 360.0 else circle
    begin = places[(widest + 1) % len(places)]
    return np.asarray(begin + np.mod(circle - begin, 360.0))


def same_longitude(
    one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], tolerance: float = 1e-4
) -> npt.NDArray[np.bool_]:
    """Say where two longitudes in degrees are the same meridian.

    Examples
    --------
    >>> same_longitude(np.array([-5.0, 10.0]), np.array([355.0, 11.0])).tolist()
    [True, False]
    """
    apart = np.mod(one - other + 180.0, 360.0) - 180.0
    return np.asarray(np.abs(apart) <= tolerance)


def repeated_meridian(longitude: npt.NDArray[np.float64]) -> bool:
    """Say whether the last of some longitudes is the first one again, once round the earth.

    Examples
    --------
    >>> repeated_meridian(np.array([0.0, 120.0, 240.0, 360.0]))
    True
    """
    if len(longitude) < 3:
        return False
    return bool(np.isclose(abs(longitude[-1] - longitude[0]), 360.0, atol=1e-4))

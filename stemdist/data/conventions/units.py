"""Units of positions and of steps: small tables of what CF files write."""

from __future__ import annotations

import math

NORTH = frozenset({"degrees_north", "degree_north", "degree_n", "degrees_n", "degreen", "degreesn"})
"""Units that only a latitude has (CF conventions, section 4.1)."""

EAST = frozenset({"degrees_east", "degree_east", "degree_e", "degrees_e", "degreee", "degreese"})
"""Units that only a longitude has (CF conventions, section 4.2)."""

_RADIANS = frozenset({"radian", "radians", "rad"})
_LENGTHS = {
    **dict.fromkeys(("m", "metre", "meter", "metres", "meters"), 1.0),
    **dict.fromkeys(("km", "kilometre", "kilometer", "kilometres", "kilometers"), 1000.0),
    "1000 m": 1000.0,
    **dict.fromkeys(("ft", "foot", "feet"), 0.3048),
}
_SECONDS = {
    **dict.fromkeys(("ns", "nanosecond", "nanoseconds"), 1e-9),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
_SAME = {
    "kelvin": "k", "degk": "k", "degc": "celsius", "degrees_celsius": "celsius",
    "degree_celsius": "celsius", "deg_c": "celsius", "°c": "celsius", "c": "celsius",
    "m/s": "m s-1", "m s**-1": "m s-1", "ms-1": "m s-1", "m.s-1": "m s-1",
    "": "1", "dimensionless": "1", "-": "1", "none": "1", "percent": "%",
    "pascal": "pa", "pascals": "pa", "mm/h": "mm h-1", "mm/hr": "mm h-1", "mm hr-1": "mm h-1",
    "mm h**-1": "mm h-1", "mph": "mile/h", "miles/hour": "mile/h", "km/hr": "km/h",
    "km h-1": "km/h", "kmh": "km/h", "metre": "m", "meter": "m", "metres": "m", "meters": "m",
}  # fmt: skip


def degrees_per(unit: str) -> float:
    """Return how many degrees one ``unit`` of an angle is; 1 for anything but radians.

    Examples
    --------
    >>> round(degrees_per("radian"), 3), degrees_per("degrees_north")
    (57.296, 1.0)
    """
    return math.degrees(1.0) if unit.strip().lower() in _RADIANS else 1.0


def metres_per(unit: str) -> float:
    """Return how many metres one ``unit`` of a length is; 1 for one that is not known.

    Examples
    --------
    >>> metres_per("km"), metres_per("")
    (1000.0, 1.0)
    """
    return _LENGTHS.get(unit.strip().lower(), 1.0)


def seconds_per(unit: str) -> float | None:
    """Return how many seconds one ``unit`` of a duration is, or None if it is none.

    Examples
    --------
    >>> seconds_per("hours"), seconds_per("K")
    (3600.0, None)
    """
    return _SECONDS.get(unit.strip().lower())


def same_unit(one: str, other: str) -> bool:
    """Say whether two units are the same one, by their text or by a table of synonyms.

    Examples
    --------
    >>> same_unit("m s**-1", "m/s"), same_unit("K", "degC")
    (True, False)
    """
    first, second = (" ".join(text.strip().lower().split()) for text in (one, other))
    return _SAME.get(first, first) == _SAME.get(second, second)

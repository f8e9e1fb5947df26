"""Recognising the dimensions of time and space and the positions of locations (CF conventions)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from stemdist.errors import InputError, unknown_name

LATITUDE = ("lat", "latitude", "nav_lat", "xlat")
LONGITUDE = ("lon", "longitude", "nav_lon", "xlong")
Y_AXIS = ("y", "yc", "rlat", "south_north", "projection_y_coordinate", "northing")
X_AXIS = ("x", "xc", "rlon", "west_east", "projection_x_coordinate", "easting")
SINGLE = ("location", "station", "sensor", "node", "site", "cell", "ncells", "values", "point")
TIME = ("time", "valid_time", "date", "datetime", "t")


@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """The role of every dimension of a raw data set.

    Parameters
    ----------
    time : str
        Name of the time dimension.
    time_coordinate : str
        The coordinate that holds the times of ``time`` (often the same name).
    space : tuple of str
        No dimension (one location), one (stations) or two (a grid).
    length_one : tuple of str
        Further dimensions of length one, to be dropped.
    positions : dict of str to str
        Canonical position name (``lat``, ``lon``, ``x``, ``y``) to the source's name.
    """

    time: str
    time_coordinate: str
    space: tuple[str, ...]
    length_one: tuple[str, ...]
    positions: dict[str, str]


def find_dimensions(raw: xr.Dataset, names: Sequence[str], time_name: str | None) -> Dimensions:
    """Find the role of every dimension of the variables ``names``.

    Raises
    ------
    InputError
        If no time axis is found, the variables differ in their dimensions, or a dimension
        that is neither time nor space has more than one entry.
    """
    time, coordinate = _time(raw, time_name)
    dims = tuple(str(d) for d in raw[names[0]].dims if d != time) if names else ()
    for name in names[1:]:
        if {str(d) for d in raw[name].dims} != {time, *dims}:
            raise InputError(
                f"variables {names[0]!r} {raw[names[0]].dims} and {name!r} {raw[name].dims} have "
                "different dimensions: take them from one grid, or forecast one at a time"
            )
    long = tuple(d for d in dims if raw.sizes[d] > 1)
    positions = _positions(raw)
    space = _space(raw, dims, long, positions)
    for name in long:
        if name not in space:
            values = raw[name].values if name in raw.coords else np.arange(raw.sizes[name])
            shown = ", ".join(str(v) for v in values[:8]) + (", ..." if len(values) > 8 else "")
            raise InputError(
                f"dimension {name!r} has {raw.sizes[name]} entries ({shown}) and is neither time "
                f"nor space: choose one, e.g. --select {name}={values[0]}"
            )
    return Dimensions(
        time=time,
        time_coordinate=coordinate,
        space=space,
        length_one=tuple(d for d in dims if d not in space),
        positions=positions,
    )


def with_positions(raw: xr.Dataset) -> xr.Dataset:
    """Return ``raw`` with its latitudes and longitudes as coordinates that do not vary in time.

    Files may hold them as ordinary variables, and WRF repeats them at every time step.
    """
    places = [
        str(name)
        for name, array in raw.data_vars.items()
        if array.dtype.kind in "fiu" and _is_named(raw, name, LATITUDE + LONGITUDE)
    ]
    raw = raw.set_coords(places)
    for name in map(str, raw.coords):
        array = raw[name]
        if array.ndim == 3 and _is_named(raw, name, LATITUDE + LONGITUDE):
            raw = raw.assign_coords({name: array.isel({array.dims[0]: 0}, drop=True)})
    return raw


def _is_time(array: xr.DataArray) -> bool:
    if array.ndim != 1:
        return False
    if array.dtype.kind == "M":
        return True
    return array.dtype == object and array.size > 0 and hasattr(array.values[0], "calendar")


def _time(raw: xr.Dataset, time_name: str | None) -> tuple[str, str]:
    if time_name is not None:
        if time_name not in raw.variables:
            raise unknown_name("time axis", time_name, map(str, raw.coords), "Check --time-name")
        if not _is_time(raw[time_name]):
            raise InputError(
                f"{time_name!r} holds {raw[time_name].dtype} values, not dates: a CF time needs "
                "units such as 'hours since 2019-03-01'"
            )
        return str(raw[time_name].dims[0]), time_name
    found = [str(name) for name in raw.coords if _is_time(raw[name])]
    found.sort(key=lambda name: (name.lower() not in TIME, name not in raw.dims, name))
    if not found:
        shown = ", ".join(f"{d} ({n})" for d, n in raw.sizes.items()) or "none"
        hint = ""
        if "time" in raw.variables:
            hint = f" 'time' holds {raw['time'].dtype} values, not dates (missing CF units?)."
        raise InputError(
            f"no time axis: no coordinate holds dates.{hint} The dimensions are: {shown}. "
            "Name it with --time-name, or give --start and --step-minutes for a table without dates"
        )
    return str(raw[found[0]].dims[0]), found[0]


def _match(raw: xr.Dataset, dims: Sequence[str], names: tuple[str, ...], axis: str) -> str | None:
    for dim in dims:
        attrs = raw[dim].attrs if dim in raw.coords else {}
        standard = str(attrs.get("standard_name", "")).lower()
        if dim.lower() in names or standard in names or attrs.get("axis") == axis:
            return dim
    return None


def _space(
    raw: xr.Dataset, dims: tuple[str, ...], long: tuple[str, ...], positions: dict[str, str]
) -> tuple[str, ...]:
    y = _match(raw, dims, LATITUDE + Y_AXIS, "Y")
    x = _match(raw, dims, LONGITUDE + X_AXIS, "X")
    if y and x and y != x:
        return tuple(d for d in dims if d in (y, x))
    single = [d for d in dims if d.lower() in SINGLE]
    if len(single) == 1:
        return (single[0],)
    located = {d for name in positions.values() for d in map(str, raw[name].dims)}
    if y is None and x is None and 1 <= len(located) <= 2 and located <= set(dims):
        return tuple(d for d in dims if d in located)
    if y or x:
        return (y or x,)  # type: ignore[return-value]
    return long if len(long) == 1 else dims if len(dims) == 1 else ()


def _positions(raw: xr.Dataset) -> dict[str, str]:
    found: dict[str, str] = {}
    wanted = {"lat": LATITUDE, "lon": LONGITUDE, "y": Y_AXIS, "x": X_AXIS}
    for canonical, names in wanted.items():
        for name in map(str, raw.coords):
            numeric = raw[name].dtype.kind in "fiu" and raw[name].ndim <= 2
            if numeric and _is_named(raw, name, names):
                found.setdefault(canonical, name)
    return found


def _is_named(raw: xr.Dataset, name: Hashable, names: tuple[str, ...]) -> bool:
    standard = str(raw[name].attrs.get("standard_name", "")).lower()
    return str(name).lower() in names or standard in names

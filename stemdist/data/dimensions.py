"""Recognising the dimensions of time and space and the positions of locations (CF conventions)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from stemdist.data.conventions.units import EAST, NORTH, degrees_per, metres_per
from stemdist.errors import InputError, unknown_name

LATITUDE = (
    "lat", "latitude", "nav_lat", "xlat", "clat", "tlat", "ulat", "lat_rho", "lat_u", "lat_v",
    "latcell", "latc", "geolat", "geolat_t", "gphit", "gridlat_0", "lat_0", "yt_ocean", "grid_yt",
)  # fmt: skip
LONGITUDE = (
    "lon", "longitude", "nav_lon", "xlong", "clon", "tlong", "tlon", "ulong", "ulon", "lon_rho",
    "lon_u", "lon_v", "loncell", "lonc", "geolon", "geolon_t", "glamt", "gridlon_0", "lon_0",
    "xt_ocean", "grid_xt",
)  # fmt: skip
Y_AXIS = (
    "y", "yc", "rlat", "south_north", "projection_y_coordinate", "northing", "grid_latitude",
    "eta_rho", "nlat", "nj",
)  # fmt: skip
X_AXIS = (
    "x", "xc", "rlon", "west_east", "projection_x_coordinate", "easting", "grid_longitude",
    "xi_rho", "nlon", "ni",
)  # fmt: skip
SINGLE = (
    "location", "station", "sensor", "node", "site", "cell", "cells", "ncells", "values", "point",
    "ncol",
)  # fmt: skip
TIME = ("time", "valid_time", "date", "datetime", "t")
_RADIAN_NAMES = ("latcell", "loncell", "latvertex", "lonvertex")  # of MPAS, without a unit


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
    positions = _positions(raw, {time, *dims})
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
        if array.dtype.kind in "fiu"
        and (_is_named(raw, name, LATITUDE) or _is_named(raw, name, LONGITUDE))
    ]
    raw = raw.set_coords(places)
    for name in map(str, raw.coords):
        array = raw[name]
        located = _is_named(raw, name, LATITUDE) or _is_named(raw, name, LONGITUDE)
        if array.ndim == 3 and located:
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
        if _is_named(raw, dim, names) or attrs.get("axis") == axis:
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


def _positions(raw: xr.Dataset, dims: set[str]) -> dict[str, str]:
    """Return the coordinates along ``dims`` that hold positions."""
    found: dict[str, str] = {}
    stated = {
        name
        for array in raw.data_vars.values()
        for name in str(array.encoding.get("coordinates", "")).split()
    }
    wanted = {"lat": LATITUDE, "lon": LONGITUDE, "y": Y_AXIS, "x": X_AXIS}
    # Where a file has several (corners and centres), the one its variables name comes first.
    for name in sorted(map(str, raw.coords), key=lambda name: name not in stated):
        numeric = raw[name].dtype.kind in "fiu" and raw[name].ndim <= 2
        if not numeric or not set(map(str, raw[name].dims)) <= dims:
            continue
        for canonical, names in wanted.items():
            if _is_named(raw, name, names):
                found.setdefault(canonical, name)
                break
    return found


def is_longitude(raw: xr.Dataset, name: str) -> bool:
    """Say whether a coordinate holds longitudes, by its units, standard name or name."""
    return _is_named(raw, name, LONGITUDE)


def position_units(place: xr.DataArray) -> str | None:
    """Return the unit of a coordinate of positions that does not state it, or None."""
    raw = place.to_dataset(name="_").assign_coords({str(place.name): place.variable})
    name = str(place.name)
    if str(place.attrs.get("standard_name", "")).startswith("grid_") or name in ("rlat", "rlon"):
        return "degrees"
    if _is_named(raw, name, LATITUDE):
        return "degrees_north"
    return "degrees_east" if _is_named(raw, name, LONGITUDE) else None


def position_values(place: xr.DataArray, canonical: str) -> xr.DataArray:
    """Return the coordinate ``place`` in degrees (``lat``, ``lon``) or metres (``x``, ``y``).

    Examples
    --------
    >>> x = xr.DataArray([0.0, 2.0], dims="location", attrs={"units": "km"})
    >>> position_values(x, "x").values.tolist()
    [0.0, 2000.0]
    """
    unit = str(place.attrs.get("units", ""))
    if canonical in ("lat", "lon"):
        implied = "radian" if str(place.name).lower() in _RADIAN_NAMES and not unit else unit
        factor = degrees_per(implied)
        converted = "degrees_north" if canonical == "lat" else "degrees_east"
    else:
        factor, converted = metres_per(unit), "m"
    if factor == 1.0:
        return place
    return (place * factor).assign_attrs({**place.attrs, "units": converted})


def _is_named(raw: xr.Dataset, name: Hashable, names: tuple[str, ...]) -> bool:
    """Say whether a coordinate or dimension plays a role: by units, standard name, then name."""
    attrs = raw[name].attrs if name in raw.variables else {}
    standard = str(attrs.get("standard_name", "")).lower()
    units = str(attrs.get("units", "")).lower()
    if units in NORTH:
        return "latitude" in names
    if units in EAST:
        return "longitude" in names
    if standard in ("latitude", "longitude"):
        return standard in names
    return str(name).lower() in names or standard in names

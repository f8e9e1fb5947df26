"""The canonical series: any gridded or station data set as (time, location) variables.

Shapes: T time steps, N locations.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from stemdist.data.conventions.longitude import repeated_meridian
from stemdist.data.conventions.understood import understood
from stemdist.data.conventions.valid_range import without_invalid
from stemdist.data.dimensions import (
    Dimensions,
    find_dimensions,
    is_longitude,
    position_values,
    with_positions,
)
from stemdist.data.time_axis import with_ordered_times
from stemdist.errors import InputError, check_distinct, unknown_name
from stemdist.memory import available_bytes

log = logging.getLogger(__name__)

GRID_DIMS = "grid_dims"
_BYTES_OF_LOCATION = 200
_CHUNK = "32MiB"
"""Values that are read together, beside which copies of them need memory."""

_BOUNDS = ("bounds", "climatology")
_BOUNDS_NAME = re.compile(r"_(bnds|bounds|bound|vertices)$", re.IGNORECASE)


def canonical_series(
    raw: xr.Dataset,
    *,
    variables: Sequence[str] | None = None,
    static: Sequence[str] = (),
    select: Mapping[str, Any] | None = None,
    null_value: float | None = None,
    time_name: str | None = None,
    repair: bool = False,
) -> xr.Dataset:
    """Bring a raw data set to the canonical (time, location) form, lazily.

    Parameters
    ----------
    raw : xarray.Dataset
        What a reader returned; never loaded here beyond its coordinates.
    variables : sequence of str, optional
        Variables to keep; the first is the target, the others are input features. Without
        it the only suitable variable is taken, and several are an error that lists them.
    static : sequence of str, optional
        Time-less variables or coordinates kept per location as static features.
    select : mapping, optional
        Value to take along any further dimension, e.g. ``{"level": 850, "number": 0}``.
    null_value : float, optional
        A number that means "missing" in this source (0 in METR-LA speeds).
    time_name : str, optional
        Name of the time dimension, where it cannot be recognised.
    repair : bool, default False
        Sort unsorted times and keep the first of duplicates instead of raising.

    Returns
    -------
    xarray.Dataset
        Variables (time, location), NaN where missing, float32, or float64 where single precision
        would round what the source has (a task centres them before it rounds them);
        coordinates ``time``, ``location`` and, where known, ``lat``/``lon`` (degrees) or
        ``x``/``y`` (metres).
        The attribute ``grid_dims`` names the dimensions that :func:`to_grid` restores.

    Raises
    ------
    InputError
        If there is no time axis, no suitable variable, an unselected further dimension, or
        if the times are unsorted or repeated and ``repair`` is off.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> time = pd.date_range("2020", periods=3, freq="h")
    >>> raw = xr.Dataset({"t": (("time", "lat", "lon"), np.zeros((3, 2, 2)))},
    ...                  {"time": time, "lat": [50.0, 51.0], "lon": [0.0, 1.0]})
    >>> dict(canonical_series(raw).sizes)
    {'time': 3, 'location': 4}
    """
    static = [static] if isinstance(static, str) else static
    raw = with_positions(understood(_select(raw, dict(select or {}))))
    candidates = time_varying_variables(raw, time_name)
    names = _chosen(raw, candidates, variables)
    dimensions = find_dimensions(raw, names, time_name)
    _check_locations(raw, dimensions.space)
    kept = raw[[*names, *(name for name in static if name in raw.data_vars)]]
    kept = kept.assign_coords(_georeference(raw, names, dimensions.space))
    for name in static:
        if name not in raw.variables:
            raise unknown_name("static feature", name, map(str, raw.variables))
    series = _stack(kept.squeeze(dimensions.length_one, drop=True), dimensions)
    series = with_ordered_times(series, repair)
    for name in names:
        series[name] = _as_float(series[name], null_value).transpose("time", "location")
        series[name].attrs.update({k: v for k, v in series.attrs.items() if k == GRID_DIMS})
    extra = [str(n) for n in series.data_vars if n not in names]
    # Results must not be written with the packing (scale, offset, dtype) of the source.
    series = series.set_coords(extra)[names].drop_encoding()
    return series.assign_attrs(target=names[0])


def _check_locations(raw: xr.Dataset, space: tuple[str, ...]) -> None:
    """Refuse more locations than their names and positions alone would fit into memory."""
    count, available = math.prod(raw.sizes[name] for name in space), available_bytes()
    if count * _BYTES_OF_LOCATION > available:
        raise InputError(
            f"the file declares {count} locations, whose names and positions alone need "
            f"{count * _BYTES_OF_LOCATION / 2**30:.0f} GiB of memory ({available / 2**30:.1f} GiB "
            "are free): take a part of them, or check the file"
        )


def _georeference(
    raw: xr.Dataset, names: Sequence[str], space: tuple[str, ...]
) -> dict[str, xr.DataArray]:
    """Return the grid mapping and the station names of variables, which files may keep apart."""
    found = {}
    for name, array in raw.data_vars.items():
        mapping = array.ndim == 0 and "grid_mapping_name" in array.attrs
        station = array.attrs.get("cf_role") == "timeseries_id" and array.dims == space
        if (mapping or station) and name not in names:
            found[str(name)] = array
    return found


def time_varying_variables(raw: xr.Dataset, time_name: str | None = None) -> list[str]:
    """Return the numeric variables that vary in time, largest first (candidates for the target)."""
    time = find_dimensions(raw, [], time_name).time
    bounds = {
        str(a.attrs[key]) for a in raw.variables.values() for key in _BOUNDS if key in a.attrs
    }
    fitting = [
        str(name)
        for name, array in raw.data_vars.items()
        if time in array.dims
        and array.dtype.kind in "fiu"
        and name not in bounds
        and not _BOUNDS_NAME.search(str(name))
        and "bnds" not in str(array.dims[-1])
    ]
    if not fitting:
        kinds = ", ".join(f"{n} ({a.dtype})" for n, a in raw.data_vars.items()) or "none"
        raise InputError(
            f"no numeric variable varies along {time!r}; the variables are: {kinds}. "
            "A target needs a time axis and numbers"
        )
    return sorted(fitting, key=lambda name: -raw[name].size)


def to_grid(array: xr.DataArray) -> xr.DataArray:
    """Put an array with a ``location`` dimension back on the grid it came from.

    Parameters
    ----------
    array : xarray.DataArray
        Any dimensions, ``location`` among them, with the coordinates of a canonical series.

    Returns
    -------
    xarray.DataArray
        ``location`` replaced by the source's spatial dimensions, in the source's order; the
        array itself if the source was not a grid. Dropped grid points are NaN, and a row or
        column of which no point is left is absent.
    """
    names = str(array.attrs.get(GRID_DIMS, "")).split()
    if not names or "location" not in array.dims:
        return array
    repeated = [c for c in array.coords if c not in names and _repeats(array, str(c), names)]
    grid = array.drop_vars(repeated).set_index(location=names).unstack("location")
    full = array.sizes["location"] == math.prod(grid.sizes[name] for name in names)
    grid = grid.sel({name: _source_order(array[name].values, full) for name in names})
    grid.attrs = {k: v for k, v in array.attrs.items() if k != GRID_DIMS}
    return grid


def _repeats(array: xr.DataArray, name: str, dims: Sequence[str]) -> bool:
    """Say whether a coordinate is the number of the location, or that of a grid dimension."""
    values = array[name]
    if values.dims != ("location",) or name == "location":
        return name == "location"
    if name not in ("lat", "lon", "x", "y"):
        return False
    same = [str(c) for c in array.coords if c != name and array[c].dims == ("location",)]
    return any(
        array[other].dtype.kind in "fiu"
        and np.allclose(_canonical(array[other], name), values, equal_nan=True)
        for other in {*dims, *same} - {"location"}
    )


def _canonical(place: xr.DataArray, name: str) -> np.ndarray:
    return np.asarray(position_values(place, name).values, dtype=np.float64)


def _source_order(places: np.ndarray, full: bool) -> np.ndarray:
    """Return each value along one grid dimension once, in the order the source had."""
    if full:
        return np.asarray(pd.unique(places))
    ordered = np.unique(places)
    return ordered[::-1] if np.sign(np.diff(places)).sum() < 0 else ordered


def _select(raw: xr.Dataset, select: dict[str, Any]) -> xr.Dataset:
    for name, value in select.items():
        if name not in raw.dims:
            raise unknown_name("dimension", name, map(str, raw.dims), "Check --select")
        if name not in raw.coords:
            if not isinstance(value, int) or not 0 <= value < raw.sizes[name]:
                raise InputError(
                    f"--select {name}={value}: {name!r} has no coordinate values; give a "
                    f"position from 0 to {raw.sizes[name] - 1}"
                )
            raw = raw.isel({name: value}, drop=True)
            continue
        values = raw[name].values
        hit = _equal(values, value)
        if not hit.any():
            shown = ", ".join(str(v) for v in values[:12]) + (", ..." if len(values) > 12 else "")
            raise InputError(f"--select {name}={value}: {name!r} has the values {shown}")
        raw = raw.isel({name: int(hit.argmax())}, drop=True)
    return raw


def _equal(values: np.ndarray, value: Any) -> np.ndarray:
    """Say where ``values`` equal ``value``, which may be text, as typed on a command line."""
    kind = values.dtype.kind
    try:
        if kind in "fiu":
            return np.asarray(np.isclose(values.astype(float), float(value), rtol=1e-6, atol=1e-9))
        if kind in "Mm":
            moment = pd.Timestamp(value) if kind == "M" else pd.Timedelta(value)
            return np.asarray(values == moment.to_numpy())
    except (TypeError, ValueError):
        return np.zeros(len(values), dtype=bool)
    return np.asarray(values.astype(str) == str(value))


def _chosen(raw: xr.Dataset, candidates: list[str], variables: Sequence[str] | None) -> list[str]:
    if variables is None:
        # Beside fields, what varies in time alone is a clock or an index of them.
        candidates = [name for name in candidates if raw[name].ndim > 1] or candidates
        if len(candidates) > 1:
            raise InputError(
                f"several variables could be the target: {', '.join(candidates)}. "
                f"Choose with --variable {candidates[0]} (variables={candidates[:1]} in Python); "
                f"of --variable {','.join(candidates[:2])} the first is the target, the second an "
                "input feature"
            )
        return candidates
    chosen = check_distinct("--variable", variables)
    for name in chosen:
        if name in raw.variables and name not in candidates:
            array = raw[name]
            raise InputError(
                f"variable {name!r} ({array.dtype}, dims {array.dims}) cannot be forecast: it must "
                f"be numeric and vary in time. Choose from: {', '.join(candidates)}"
            )
        if name not in candidates:
            hint = "Choose with --variable (variables=... in Python)"
            raise unknown_name("variable", name, candidates, hint)
    return list(chosen)


def _stack(series: xr.Dataset, dims: Dimensions) -> xr.Dataset:
    """Rename to time and location, keeping the grid position of each location."""
    series = series.reset_index(
        [n for n, index in series.indexes.items() if n in series.dims and index.nlevels > 1]
    )
    times = series[dims.time_coordinate]
    series = series.drop_vars({dims.time_coordinate, "time"} & set(map(str, series.coords)))
    series = series.rename({dims.time: "time"}) if dims.time != "time" else series
    series = series.assign_coords(time=("time", times.values, times.attrs))
    series = series.drop_vars(
        [c for c in series.coords if "time" in series[c].dims and c != "time"]
    )
    import dask  # takes as long to load as all of --help

    with dask.config.set({"array.chunk-size": _CHUNK}):
        for name, array in series.data_vars.items():
            if array.chunks is None:  # computing with a lazily opened array would load it
                series[name] = array.chunk({"time": "auto"} if "time" in array.dims else {})
    if not dims.space:
        chosen = series.coords.get("location", 0)  # kept where one location was selected
        chosen = np.asarray(chosen).item()
        series = series.drop_vars("location", errors="ignore").expand_dims(location=[chosen])
        series.attrs.pop(GRID_DIMS, None)
        return _positions(series, dims)
    if len(dims.space) == 1:
        series = _named_location(series, dims.space[0])
        _check_unique(series, "location", dims.space[0])
        return _positions(series, dims)
    for name in dims.space:
        if name not in series.coords:
            series = series.assign_coords({name: np.arange(series.sizes[name])})
        _check_unique(series, name, name)
        series = _without_cyclic_point(series, name)
    series = series.stack(location=dims.space, create_index=False)
    series = series.assign_coords(location=np.arange(series.sizes["location"]))
    return _positions(series, dims).assign_attrs({GRID_DIMS: " ".join(map(str, dims.space))})


def _named_location(series: xr.Dataset, name: str) -> xr.Dataset:
    """Call the dimension ``name`` location, with one id per location."""
    if name != "location" and "location" in series.coords:
        if series["location"].dims == (name,):
            return series.swap_dims({name: "location"})
        series = series.drop_vars("location")
    series = series.rename({name: "location"}) if name != "location" else series
    ids = [str(n) for n in series.variables if series[n].attrs.get("cf_role") == "timeseries_id"]
    if "location" not in series.coords and ids and series[ids[0]].dims == ("location",):
        names = np.char.strip(_as_text(series[ids[0]].values))
        if len(np.unique(names)) == len(names):
            series = series.drop_vars(ids[0]).assign_coords(
                location=("location", names, {**series[ids[0]].attrs, "source_name": ids[0]})
            )
    if "location" not in series.coords:
        series = series.assign_coords(location=np.arange(series.sizes["location"]))
    return series


def _as_text(values: np.ndarray) -> np.ndarray:
    return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values.astype(str)


def _without_cyclic_point(series: xr.Dataset, name: str) -> xr.Dataset:
    """Drop the last meridian of a global grid where it is the first one again."""
    axis = position_values(series[name], "lon")
    if axis.dtype.kind not in "fiu" or not repeated_meridian(axis.values.astype(float)):
        return series
    if not is_longitude(series, name):
        return series
    log.warning("the last column of %r is the first one again (once round): it is left out", name)
    return series.isel({name: slice(None, -1)})


def _check_unique(series: xr.Dataset, name: str, along: str) -> None:
    repeated = series[name].to_index().duplicated()
    if repeated.any():
        raise InputError(
            f"the {name} {series[name].values[repeated].tolist()[0]!r} occurs more than once along "
            f"{along!r}: give each location its own name or position"
        )


def _positions(series: xr.Dataset, dims: Dimensions) -> xr.Dataset:
    """Add the canonical position names beside the source's own."""
    for canonical, name in dims.positions.items():
        if name in series.coords and series[name].dims in ((), ("location",)):
            place = position_values(series[name], canonical)
            # A scalar is the position of every location.
            values = np.broadcast_to(place.values, series.sizes["location"]).copy()
            series = series.assign_coords({canonical: ("location", values, place.attrs)})
    return series


def _as_float(array: xr.DataArray, null_value: float | None) -> xr.DataArray:
    array = without_invalid(array)
    attrs = {k: v for k, v in array.attrs.items() if k != GRID_DIMS}
    coded = [attrs.pop("missing_value", None), attrs.pop("_FillValue", None)]
    # Numbers that single precision would round stay as they are until they are centred.
    kept = array.dtype.kind == "f" and array.dtype.itemsize > 4
    wide = array.dtype.kind in "iu" and array.dtype.itemsize > 2
    values = array.astype(np.float64 if kept or wide else np.float32)
    values = values.where(np.isfinite(values))
    for null in (null_value, *coded):
        if isinstance(null, int | float | np.number):
            values = values.where(values.astype(np.float32) != np.float32(null))
    values.attrs = attrs
    return values

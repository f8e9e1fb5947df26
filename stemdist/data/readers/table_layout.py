"""From a table of any of the usual layouts to a data set: wide or long, with or without times.

Wide: one row per time, one column per sensor (or per variable at one place). Long: one row per
time and sensor, as detectors and weather stations are exported.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from stemdist.data.readers.base import ReaderOptions, own_time_axis_only, time_axis
from stemdist.errors import InputError

log = logging.getLogger(__name__)

_TIME_NAMES = {"date", "time", "datetime", "timestamp", "date_time"}
_YEAR_FIRST = re.compile(r"\s*\d{4}\D")
_POSITIONS = {
    "lat": "lat", "latitude": "lat", "lon": "lon", "long": "lon", "lng": "lon", "longitude": "lon",
    "x": "x", "y": "y",
}  # fmt: skip
_ROWS_PER_TIME = 1.5  # from here on a table with repeated times is long


def table_dataset(path: Path, table: pd.DataFrame, options: ReaderOptions) -> xr.Dataset:
    """Return a table as a data set.

    Parameters
    ----------
    path : Path
        The file, for messages.
    table : pandas.DataFrame
        All cells. The time column is the first one if it is called date, time, datetime or
        timestamp, or holds dates with the year first. A first column without a name that counts
        the rows from 0 is left out.
    options : ReaderOptions
        Start and step for a table without times, names, and what columns mean.
    """
    time: npt.NDArray[np.datetime64] | None = None
    if is_time_column(table):
        own_time_axis_only(path, options)
        time = parse_times(path, table.iloc[:, 0])
        table = table.iloc[:, 1:]
        sensor = _sensor_column(table, time)
        if sensor is not None:
            return _long_dataset(path, table, time, sensor, options)
    elif _is_row_number(table):
        table = table.iloc[:, 1:]
    check_numbers(path, table)
    if time is None:
        time = time_axis(len(table), path, options)
    if options.columns == "variables":
        return _variables_at_one_place(path, table, time, options)
    (name,) = single_name(path, options)
    return xr.Dataset(
        {name: (("time", "location"), table.to_numpy(np.float64))},
        coords={"time": time, "location": table.columns.to_numpy(str)},
    )


def check_header(path: Path, header: list[str]) -> None:
    """Raise unless every column has a name of its own."""
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise InputError(
            f"{str(path)!r} has more than one column called "
            f"{', '.join(repr(name) for name in twice[:3])}: sensor names must differ (and the "
            "first line must be a header)"
        )
    if "" in header[1:]:
        raise InputError(
            f"column {header.index('', 1) + 1} of {str(path)!r} has no name: name every sensor"
        )


def is_time_column(table: pd.DataFrame) -> bool:
    """Say whether the first column holds the times."""
    first = table.iloc[:, 0]
    if pd.api.types.is_datetime64_any_dtype(first):
        return True
    if str(table.columns[0]).lower() in _TIME_NAMES:
        return True
    dated = _YEAR_FIRST.match(str(first.iloc[0])) is not None
    return dated and not pd.api.types.is_numeric_dtype(first)


def parse_times(path: Path, column: pd.Series[Any]) -> npt.NDArray[np.datetime64]:
    """Return a column of dates as times in UTC without a zone."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return pd.to_datetime(column, utc=True).dt.tz_localize(None).to_numpy("datetime64[ns]")
    text = column.astype(str).fillna("")
    if not text.str.match(_YEAR_FIRST).all():
        bad = text[~text.str.match(_YEAR_FIRST)]
        raise InputError(
            f"line {int(bad.index[0]) + 2} of {str(path)!r} has the time {bad.iloc[0]!r}: write "
            "times with the year first, like 2016-07-01 00:00:00"
        )
    try:
        times = pd.to_datetime(text, utc=True, format=_time_format(text.iloc[0]))
    except ValueError as error:
        raise InputError(
            f"the times of {str(path)!r} cannot be understood ({error}): write them like "
            "2016-07-01 00:00:00"
        ) from error
    return times.dt.tz_localize(None).to_numpy("datetime64[ns]")


def _time_format(first: str) -> str | None:
    """Return pandas' name of the format; None lets pandas infer ``1990/1/1 0:00``."""
    return "ISO8601" if "-" in first else None


def single_name(path: Path, options: ReaderOptions) -> tuple[str]:
    """Return the name of the one variable of a table of sensors."""
    names = tuple(options.feature_names) or ("value",)
    if len(names) != 1:
        raise InputError(
            f"feature_names has {len(names)} names, but {str(path)!r} holds one variable at many "
            "sensors: give one name"
        )
    return (names[0],)


def check_numbers(path: Path, table: pd.DataFrame) -> None:
    """Raise unless there are columns and all of them are numbers."""
    if table.shape[1] == 0:
        raise InputError(f"{str(path)!r} has a time column but no sensor column")
    for name in table.columns:
        column = table[name]
        if pd.api.types.is_numeric_dtype(column):
            continue
        bad = column[pd.to_numeric(column, errors="coerce").isna() & column.notna()]
        raise InputError(
            f"line {int(bad.index[0]) + 2} of {str(path)!r} has {str(bad.iloc[0])!r} in column "
            f"{name!r}: cells must be numbers, or empty where a value is missing"
        )


def _is_row_number(table: pd.DataFrame) -> bool:
    return str(table.columns[0]) == "" and np.array_equal(table.iloc[:, 0], np.arange(len(table)))


def _sensor_column(table: pd.DataFrame, time: npt.NDArray[np.datetime64]) -> str | None:
    """Return the column that names the sensor of each row, if the table is long."""
    if len(time) < _ROWS_PER_TIME * len(np.unique(time)):
        return None
    for name in table.columns:
        column = table[name]
        if pd.api.types.is_float_dtype(column) or column.isna().any():
            continue
        pairs = pd.DataFrame({"time": time, "sensor": column.to_numpy()})
        if column.nunique() < len(column) and not pairs.duplicated().any():
            return str(name)
    return None


def _long_dataset(
    path: Path,
    table: pd.DataFrame,
    time: npt.NDArray[np.datetime64],
    sensor: str,
    options: ReaderOptions,
) -> xr.Dataset:
    """Return a long table as variables (time, location); absent rows are missing values."""
    place, ids = pd.factorize(table[sensor], sort=True)
    times, step = np.unique(time, return_inverse=True)
    values = table.drop(columns=sensor)
    coords: dict[str, Any] = {"time": times, "location": np.asarray(ids).astype(str)}
    first = np.unique(place, return_index=True)[1]
    for name in list(values.columns):
        constant = values.groupby(place)[name].nunique(dropna=False).max() == 1
        numeric = pd.api.types.is_numeric_dtype(values[name])
        if constant and (not numeric or str(name).lower() in _POSITIONS):
            canonical = _POSITIONS.get(str(name).lower(), str(name))
            held = values[name].to_numpy()[first]
            coords[canonical] = ("location", held if numeric else held.astype(str))
            values = values.drop(columns=name)
    check_numbers(path, values)
    names = options.feature_names or tuple(map(str, values.columns))
    if len(names) != values.shape[1]:
        raise InputError(
            f"feature_names has {len(names)} names, but {str(path)!r} has the value columns "
            f"{', '.join(map(str, values.columns))}"
        )
    filled = {}
    for column, name in zip(values.columns, names, strict=True):
        cells = np.full((len(times), len(ids)), np.nan)
        cells[step, place] = values[column].to_numpy(np.float64)
        filled[name] = (("time", "location"), cells)
    log.info("%s is a long table: %d times x %d %ss", path.name, len(times), len(ids), sensor)
    return xr.Dataset(filled, coords=coords)


def _variables_at_one_place(
    path: Path, table: pd.DataFrame, time: npt.NDArray[np.datetime64], options: ReaderOptions
) -> xr.Dataset:
    names = options.feature_names or tuple(table.columns)
    if len(names) != table.shape[1]:
        raise InputError(
            f"feature_names has {len(names)} names, but {str(path)!r} has {table.shape[1]} "
            f"variables: {', '.join(table.columns)}"
        )
    columns = table.to_numpy(np.float64)
    return xr.Dataset(
        {name: (("time", "location"), columns[:, [i]]) for i, name in enumerate(names)},
        coords={"time": time, "location": [path.stem]},
    )

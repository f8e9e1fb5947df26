"""Tables of time x sensor: wide CSV files and pandas HDF5 files (METR-LA, PEMS-BAY, LargeST)."""

from __future__ import annotations

import csv
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import netCDF4
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from stemdist.data.readers.base import (
    Reader,
    ReaderOptions,
    first_bytes,
    own_time_axis_only,
    time_axis,
)
from stemdist.data.readers.netcdf import HDF5_MAGIC, PANDAS_SUFFIXES
from stemdist.errors import InputError

_TIME_NAMES = {"date", "time", "datetime", "timestamp", "date_time"}
_YEAR_FIRST = re.compile(r"\s*\d{4}\D")


class CsvReader(Reader):
    """Wide CSV: a header line, one row per time step, one column per sensor.

    The time column is the first one if it is called date, time, datetime or timestamp, or holds
    dates with the year first (the ETT layout). A first column without a name that counts the rows
    from 0 is taken for the row numbers pandas writes, and left out. Without a time column
    (Los-loop) the options ``start`` and ``step_minutes`` make the time axis.
    """

    name: ClassVar[str] = "csv"
    description: ClassVar[str] = "wide CSV file: header line, then time x sensor (.csv)"
    accepts: ClassVar[frozenset[str]] = frozenset(
        {"start", "step_minutes", "feature_names", "columns"}
    )

    def matches(self, path: Path) -> bool:
        """Recognise the suffix."""
        return path.is_file() and path.suffix.lower() == ".csv"

    def _open(self, path: Path, options: ReaderOptions) -> xr.Dataset:
        table = _read_table(path)
        time: npt.NDArray[np.datetime64] | None = None
        if _is_time_column(table):
            own_time_axis_only(path, options)
            time = _parse_times(path, table.iloc[:, 0])
            table = table.iloc[:, 1:]
        elif _is_row_number(table):
            table = table.iloc[:, 1:]
        _check_sensors(path, table)
        if time is None:
            time = time_axis(len(table), path, options)
        if options.columns == "variables":
            return _variables_at_one_place(path, table, time, options)
        return _one_variable(
            path, table.to_numpy(np.float64), time, table.columns.to_numpy(str), options
        )


class PandasHdfReader(Reader):
    """HDF5 file written by ``DataFrame.to_hdf`` in its fixed format.

    pandas would unpickle attributes of the file; they are not looked at here. The arrays are read
    with ``netCDF4``, lazily: ``axis1`` holds the times, ``block0_items`` the sensors and
    ``block0_values`` the values, shape (time, sensor).
    """

    name: ClassVar[str] = "metr_la"
    description: ClassVar[str] = "pandas HDF5 table as of METR-LA and PEMS-BAY (.h5)"
    accepts: ClassVar[frozenset[str]] = frozenset({"start", "step_minutes", "feature_names"})

    def matches(self, path: Path) -> bool:
        """Recognise the suffix."""
        return path.is_file() and path.suffix.lower() in PANDAS_SUFFIXES

    def _open(self, path: Path, options: ReaderOptions) -> xr.Dataset:
        if first_bytes(path) != HDF5_MAGIC:
            raise InputError(f"{str(path)!r} is not an HDF5 file: give a table pandas has written")
        try:
            group = _table_group(path)
            with warnings.catch_warnings():
                # As many sensors as steps: the dimensions are told apart by position below.
                warnings.filterwarnings("ignore", "Duplicate dimension names", UserWarning)
                raw = xr.open_dataset(path, engine="netcdf4", group=group, decode_cf=False)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{str(path)!r} is damaged or cut short ({error}): download or write it again"
            ) from error
        values = raw.variables["block0_values"].copy(deep=False)
        values.dims = ("time", "location")
        location = raw.variables["block0_items"].to_numpy()
        time = _pandas_times(path, raw.variables["axis1"], options)
        (name,) = _single_name(path, options)
        series = xr.Dataset({name: values.to_base_variable()})
        series[name].attrs.clear()
        series.set_close(raw.close)
        return series.assign_coords(time=time, location=location)


def _read_table(path: Path) -> pd.DataFrame:
    """Return all cells, columns named as in the header, after checking that rows are even."""
    try:
        header = _check_rows(path)
        table = pd.read_csv(path, header=0, index_col=False, low_memory=False, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{str(path)!r} is not UTF-8 text ({error.reason} at byte {error.start}): save it as "
            "UTF-8, or say what it is with --reader"
        ) from error
    except (csv.Error, pd.errors.ParserError) as error:
        raise InputError(f"{str(path)!r} is not a CSV file: {error}") from error
    table.columns = pd.Index(header)
    return table


def _check_rows(path: Path) -> list[str]:
    """Return the header; refuse uneven rows, which pandas would pad with missing values."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        lines = csv.reader(stream)
        header = [name.strip() for name in next(filter(None, lines), [])]
        _check_header(path, header)
        count = 0
        for row in filter(None, lines):
            count += 1
            if len(row) != len(header):
                raise InputError(
                    f"line {lines.line_num} of {str(path)!r} has {len(row)} cells, the header has "
                    f"{len(header)}: give every row the same number of cells"
                )
    if count == 0:
        raise InputError(f"{str(path)!r} has a header but no rows")
    return header


def _check_header(path: Path, header: list[str]) -> None:
    separator = next((mark for mark in ";\t|" if len(header) == 1 and mark in header[0]), None)
    if separator is not None:
        raise InputError(
            f"{str(path)!r} separates its cells with {separator!r}: save it with commas"
        )
    if header and all(_is_number(name) for name in header) and any("." in name for name in header):
        raise InputError(
            f"the first line of {str(path)!r} holds values, not sensor names: add a header line"
        )
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


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_time_column(table: pd.DataFrame) -> bool:
    if str(table.columns[0]).lower() in _TIME_NAMES:
        return True
    first = table.iloc[:, 0]
    dated = _YEAR_FIRST.match(str(first.iloc[0])) is not None
    return dated and not pd.api.types.is_numeric_dtype(first)


def _is_row_number(table: pd.DataFrame) -> bool:
    return str(table.columns[0]) == "" and np.array_equal(table.iloc[:, 0], np.arange(len(table)))


def _parse_times(path: Path, column: pd.Series[Any]) -> npt.NDArray[np.datetime64]:
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


def _check_sensors(path: Path, table: pd.DataFrame) -> None:
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


def _one_variable(
    path: Path,
    values: npt.NDArray[np.float64],
    time: npt.NDArray[np.datetime64],
    location: npt.NDArray[np.str_],
    options: ReaderOptions,
) -> xr.Dataset:
    (name,) = _single_name(path, options)
    return xr.Dataset(
        {name: (("time", "location"), values)}, coords={"time": time, "location": location}
    )


def _single_name(path: Path, options: ReaderOptions) -> tuple[str]:
    names = tuple(options.feature_names) or ("value",)
    if len(names) != 1:
        raise InputError(
            f"feature_names has {len(names)} names, but {str(path)!r} holds one variable at many "
            "sensors: give one name"
        )
    return (names[0],)


def _table_group(path: Path) -> str:
    """Return the name of the group that holds the one table of the file."""
    with netCDF4.Dataset(path) as root:
        tables = [
            name
            for name, group in root.groups.items()
            if {"axis1", "block0_items", "block0_values"} <= set(group.variables)
        ]
        found = ", ".join([*root.groups, *root.variables]) or "nothing"
        blocks = [name for name in tables if "block1_values" in root[name].variables]
    if len(tables) != 1 or blocks:
        raise InputError(
            f"{str(path)!r} does not hold exactly one pandas table of numbers in the fixed format "
            f"(found: {found}): write it with DataFrame.to_hdf(..., format='fixed'), all columns "
            "of one type"
        )
    return tables[0]


def _pandas_times(
    path: Path, axis: xr.Variable, options: ReaderOptions
) -> npt.NDArray[np.datetime64]:
    # "datetime64" means nanoseconds; newer pandas writes the unit, as in "datetime64[us]".
    kind = str(axis.attrs.get("kind", ""))
    if not kind.startswith("datetime64"):
        return time_axis(axis.size, path, options)
    own_time_axis_only(path, options)
    unit = kind if "[" in kind else "datetime64[ns]"
    times: npt.NDArray[np.datetime64] = axis.to_numpy().view(unit).astype("datetime64[ns]")
    return times

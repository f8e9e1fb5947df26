"""pandas' HDF5 tables of time x sensor: METR-LA, PEMS-BAY, LargeST. Nothing is unpickled."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import ClassVar

import netCDF4
import numpy as np
import numpy.typing as npt
import xarray as xr

from stemdist.data.readers.base import (
    Reader,
    ReaderOptions,
    first_bytes,
    own_time_axis_only,
    time_axis,
)
from stemdist.data.readers.netcdf import HDF5_MAGIC, PANDAS_SUFFIXES
from stemdist.data.readers.table_layout import single_name
from stemdist.errors import InputError


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
        (name,) = single_name(path, options)
        series = xr.Dataset({name: values.to_base_variable()})
        series[name].attrs.clear()
        series.set_close(raw.close)
        return series.assign_coords(time=time, location=location)


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

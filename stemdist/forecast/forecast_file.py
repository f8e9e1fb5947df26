"""Forecasts written block by block, so that any number of initial times needs bounded memory.

Shapes: M initial times of all blocks, m of one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import xarray as xr
from xarray.conventions import cf_encoder

from stemdist.data.parquet import write_parquet
from stemdist.dependencies import require
from stemdist.files import atomic_path, check_suffix

ALONG = "init_time"
SUFFIXES = (".nc", ".zarr", ".parquet")


def write_forecast(target: str | Path, blocks: Iterable[xr.Dataset]) -> Path:
    """Write forecasts to a NetCDF file, a Zarr store or a Parquet table, all or nothing.

    Parameters
    ----------
    target : str or Path
        ``.nc``, ``.zarr`` or ``.parquet``.
    blocks : iterable of xarray.Dataset
        Consecutive initial times, as
        :meth:`~stemdist.forecast.FittedForecaster.predict_blocks` gives them.

    Returns
    -------
    pathlib.Path
        ``target``.

    Raises
    ------
    InputError
        If the suffix is none of these.
    """
    target = Path(target)
    check_suffix(target, SUFFIXES)
    blocks = iter(blocks)
    first = next(blocks)
    if target.suffix == ".parquet":
        frames = map(frame_of, itertools.chain([first], blocks))
        units = {name: str(array.attrs.get("units", "")) for name, array in first.items()}
        return write_parquet(target, frames, {**first.attrs, "units": units})
    with atomic_path(target) as part:
        if target.suffix == ".zarr":
            require("zarr", "zarr", f"writing {str(target)!r}")
            _write_zarr(part, first, blocks)
        else:
            _write_netcdf(part, first, blocks)
    return target


def frame_of(block: xr.Dataset) -> pd.DataFrame:
    """Return forecasts as a table: a row per time, step and location, a column per target.

    Times of calendars that pandas does not know become text.
    """
    frame = block.to_dataframe().reset_index()
    for name in (ALONG, "valid_time"):
        if frame[name].dtype == object:
            frame[name] = [each.isoformat(sep=" ") for each in frame[name]]
    return frame


def _write_netcdf(path: Path, first: xr.Dataset, later: Iterable[xr.Dataset]) -> None:
    second = next(iter(later), None)
    unlimited = [] if second is None else [ALONG]
    first = _with_time_units(first)
    first.to_netcdf(path, engine="netcdf4", unlimited_dims=unlimited)
    if second is None:
        return
    growing = [str(name) for name, array in first.variables.items() if ALONG in array.dims]
    begin = first.sizes[ALONG]
    with netCDF4.Dataset(path, "a") as file:
        for block in itertools.chain([second], later):
            encoded, _ = cf_encoder(_encoded_as(block, first).variables, {})
            end = begin + block.sizes[ALONG]
            for name in growing:
                place = [slice(begin, end) if d == ALONG else slice(None) for d in first[name].dims]
                file[name][tuple(place)] = encoded[name].values
            begin = end


def _write_zarr(path: Path, first: xr.Dataset, later: Iterable[xr.Dataset]) -> None:
    first = _with_time_units(first)
    for array in first.variables.values():  # how a NetCDF file is compressed
        array.encoding = {k: v for k, v in array.encoding.items() if k != "zlib"}
    # Format 2: the only one with a settled encoding of strings (the location names).
    first.to_zarr(path, mode="w", zarr_format=2, consolidated=False)
    for block in later:
        fixed = [name for name, array in block.variables.items() if ALONG not in array.dims]
        plain = block.drop_vars(fixed)
        for array in plain.variables.values():
            array.encoding = {}
        plain.to_zarr(path, append_dim=ALONG, zarr_format=2, consolidated=False)
    import zarr

    zarr.consolidate_metadata(str(path), zarr_format=2)


def _with_time_units(block: xr.Dataset) -> xr.Dataset:
    """Say in which unit times are stored, so that those of all blocks are whole numbers of it."""
    block = block.copy()
    for name in (ALONG, "valid_time"):
        block[name].encoding = _time_encoding(block[name])
    return block


def _time_encoding(times: xr.DataArray) -> dict[str, Any]:
    first = times.values.flat[0]
    if isinstance(first, np.datetime64):
        return {"units": f"seconds since {str(first)[:19].replace('T', ' ')}", "dtype": "int64"}
    return {
        "units": f"seconds since {first.isoformat(sep=' ')}",
        "calendar": times.dt.calendar,
        "dtype": "int64",
    }


def _encoded_as(block: xr.Dataset, first: xr.Dataset) -> xr.Dataset:
    block = block.copy()
    for name, array in block.variables.items():
        array.encoding = dict(first.variables[name].encoding)
    return block

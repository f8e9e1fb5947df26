"""Formats xarray opens by itself: NetCDF, Zarr and GRIB. All are lazy."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, ClassVar

import xarray as xr
from scipy.io import netcdf_file

from stemdist.data.readers.base import Reader, ReaderOptions, first_bytes
from stemdist.dependencies import require
from stemdist.errors import InputError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_CLASSIC_MAGIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
PANDAS_SUFFIXES = {".h5", ".hdf5", ".hdf"}
_NETCDF_SUFFIXES = {".nc", ".nc4", ".cdf", ".netcdf"}
_GRIB_SUFFIXES = {".grib", ".grib1", ".grib2", ".grb", ".grb1", ".grb2"}
_ZARR_FILES = ("zarr.json", ".zgroup", ".zmetadata")


class NetcdfReader(Reader):
    """NetCDF-3 and NetCDF-4 through ``netCDF4``; packed integers and calendars are decoded."""

    name: ClassVar[str] = "netcdf"
    description: ClassVar[str] = "NetCDF file (.nc)"

    def matches(self, path: Path) -> bool:
        """Recognise the suffix, or the first bytes where the suffix is not pandas' own."""
        if path.is_dir():
            return False
        suffix, head = path.suffix.lower(), first_bytes(path)
        return (
            suffix in _NETCDF_SUFFIXES
            or head[:4] in _CLASSIC_MAGIC
            or (head == HDF5_MAGIC and suffix not in PANDAS_SUFFIXES)
        )

    def _open(self, path: Path, options: ReaderOptions) -> xr.Dataset:
        head = first_bytes(path)
        if head[:4] not in _CLASSIC_MAGIC and head != HDF5_MAGIC:
            raise InputError(
                f"{str(path)!r} is not a NetCDF file (it begins with {head!r}): give a NetCDF "
                "file, or say what it is with --reader"
            )
        if head[:4] in _CLASSIC_MAGIC[:2]:
            _check_classic_is_whole(path)
        return _open_with_xarray(path, engine="netcdf4")


class ZarrReader(Reader):
    """Zarr groups, format 2 and 3, dask-backed with the chunks of the store."""

    name: ClassVar[str] = "zarr"
    description: ClassVar[str] = "Zarr store (folder)"
    opens_folder: ClassVar[bool] = True

    def matches(self, path: Path) -> bool:
        """Recognise the metadata files of a Zarr group."""
        return any((path / name).is_file() for name in _ZARR_FILES)

    def _open(self, path: Path, options: ReaderOptions) -> xr.Dataset:
        require("zarr", "zarr", f"opening the Zarr store {str(path)!r}")
        if not self.matches(path):
            raise InputError(
                f"{str(path)!r} is not a Zarr store: it holds none of {', '.join(_ZARR_FILES)}"
            )
        # Other chunks than the store's are cut from the store, not from dask arrays over it.
        chunks: dict[str, int] | None = {} if options.chunks is None else None
        return _open_with_xarray(
            path, engine="zarr", chunks=chunks, consolidated=_is_consolidated(path)
        )


class GribReader(Reader):
    """GRIB 1 and 2 through ``cfgrib``; no index file is written beside the data."""

    name: ClassVar[str] = "grib"
    description: ClassVar[str] = "GRIB file (.grib, .grb2)"

    def matches(self, path: Path) -> bool:
        """Recognise the suffix or the first four bytes, ``GRIB``."""
        if path.is_dir():
            return False
        return path.suffix.lower() in _GRIB_SUFFIXES or first_bytes(path, 4) == b"GRIB"

    def _open(self, path: Path, options: ReaderOptions) -> xr.Dataset:
        cfgrib = require("cfgrib", "grib", f"opening the GRIB file {str(path)!r}")
        _check_grib_is_whole(path)
        try:
            return _open_with_xarray(path, engine="cfgrib", indexpath="")
        except (EOFError, cfgrib.DatasetBuildError) as error:
            raise InputError(
                f"cannot open the GRIB file {str(path)!r}: {error}. If it mixes levels or steps, "
                "split it first (grib_copy of ecCodes), one kind of field a file"
            ) from error


def _open_with_xarray(path: Path, **how: Any) -> xr.Dataset:
    """Open with CF decoding, turning every failure into one message."""
    with warnings.catch_warnings():
        # Dates outside 1678-2262 become cftime objects, as intended; xarray warns about it.
        warnings.filterwarnings("ignore", "Unable to decode time axis", xr.SerializationWarning)
        # _FillValue and missing_value may differ: both become NaN, as wanted.
        warnings.filterwarnings("ignore", ".*multiple fill values", xr.SerializationWarning)
        try:
            # Units such as "days" on a variable (frost days) are values, not time differences.
            raw = xr.open_dataset(path, decode_timedelta=False, **how)
        except OSError as error:
            raise InputError(
                f"{str(path)!r} is damaged or cut short ({error}): download or write it again"
            ) from error
        except (ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
            if "time" in str(error) and "decode" in str(error):
                raise InputError(
                    f"the time axis of {str(path)!r} cannot be understood ({error}): its units "
                    "must read like 'hours since 1900-01-01', with a CF calendar"
                ) from error
            raise InputError(f"cannot open {str(path)!r}: {error}") from error
    if not raw.data_vars:
        raw.close()
        raise InputError(
            f"{str(path)!r} has no data variable at its top level: give a file with at least one"
        )
    return raw


def _check_classic_is_whole(path: Path) -> None:
    """Refuse a NetCDF-3 file cut short: the C library would return zeros for the missing part."""
    try:
        # Memory-mapped: this reads the header only and maps every variable to its place.
        with warnings.catch_warnings():
            # The views are dropped with the file; scipy cannot know and warns when closing.
            warnings.filterwarnings("ignore", "Cannot close a netcdf_file", RuntimeWarning)
            netcdf_file(str(path), mmap=True).close()
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"{str(path)!r} is damaged or cut short ({error}): download or write it again"
        ) from error


def _check_grib_is_whole(path: Path) -> None:
    """Refuse what is not GRIB or cut short: ``cfgrib`` would drop the broken fields silently."""
    if b"GRIB" not in first_bytes(path, 4096):  # a bulletin header may come first
        raise InputError(f"{str(path)!r} is not a GRIB file: nothing in it begins with 'GRIB'")
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 16384))
        tail = stream.read().rstrip(b"\x00\r\n\x03 ")  # padding and end-of-text of a bulletin
    if not tail.endswith(b"7777"):
        raise InputError(
            f"{str(path)!r} is cut short: it does not end with a GRIB end mark. Download it again"
        )


def _is_consolidated(path: Path) -> bool:
    if (path / ".zmetadata").is_file():
        return True
    document = path / "zarr.json"
    try:
        content = json.loads(document.read_text(encoding="utf-8")) if document.is_file() else {}
    except ValueError as error:
        raise InputError(
            f"{str(document)!r} is not JSON ({error}): download or write the store again"
        ) from error
    return isinstance(content, dict) and bool(content.get("consolidated_metadata"))

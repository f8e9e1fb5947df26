"""Formats xarray opens by itself: NetCDF, Zarr and GRIB. All are lazy."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from scipy.io import netcdf_file

from stemdist.data.conventions.times import decoded_times
from stemdist.data.dimensions import find_dimensions
from stemdist.data.readers.base import Reader, ReaderOptions, first_bytes
from stemdist.dependencies import require
from stemdist.errors import InputError

log = logging.getLogger(__name__)

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_CLASSIC_MAGIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
PANDAS_SUFFIXES = {".h5", ".hdf5", ".hdf"}
_NETCDF_SUFFIXES = {".nc", ".nc4", ".cdf", ".netcdf"}
_GRIB_SUFFIXES = {".grib", ".grib1", ".grib2", ".grb", ".grb1", ".grb2"}
_ZARR_FILES = ("zarr.json", ".zgroup", ".zmetadata")


class NetcdfReader(Reader):
    """NetCDF-3 and NetCDF-4 through ``netCDF4``; packed integers and calendars are decoded."""

    name: ClassVar[str] = "netcdf"
    description: ClassVar[str] = "NetCDF file (.nc), or a folder of them that make one series"
    accepts: ClassVar[frozenset[str]] = frozenset({"group"})
    opens_folder: ClassVar[bool] = True

    def matches(self, path: Path) -> bool:
        """Recognise the suffix, or the first bytes where the suffix is not pandas' own."""
        if path.is_dir():
            return bool(_netcdf_files(path)) and not ZarrReader().matches(path)
        suffix, head = path.suffix.lower(), first_bytes(path)
        return (
            suffix in _NETCDF_SUFFIXES
            or head[:4] in _CLASSIC_MAGIC
            or (head == HDF5_MAGIC and suffix not in PANDAS_SUFFIXES)
        )

    def _open(self, path: Path, options: ReaderOptions) -> xr.Dataset:
        if path.is_dir():
            return open_files(_netcdf_files(path), options)
        _check_netcdf(path)
        return _open_with_xarray(path, engine="netcdf4", group=options.group)


class ZarrReader(Reader):
    """Zarr groups, format 2 and 3, dask-backed with the chunks of the store."""

    name: ClassVar[str] = "zarr"
    description: ClassVar[str] = "Zarr store (folder or address)"
    accepts: ClassVar[frozenset[str]] = frozenset({"group"})
    opens_file: ClassVar[bool] = False
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
        return open_zarr(path, options, consolidated=_is_consolidated(path))


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


def open_zarr(store: Path | str, options: ReaderOptions, **more: Any) -> xr.Dataset:
    """Open a Zarr store, a folder or an address, lazily.

    The fill value 0 of an array of format 2 means what it says, values that were not written;
    xarray would take every zero for missing.
    """
    # Other chunks than the store's are cut from the store, not from dask arrays over it.
    chunks: dict[str, int] | None = {} if options.chunks is None else None
    how: dict[str, Any] = {"engine": "zarr", "chunks": chunks, "group": options.group, **more}
    raw = _open_with_xarray(store, **how)
    zero = [n for n, a in raw.variables.items() if _filled_with_zero(a.encoding)]
    if not zero:
        return raw
    stored = _open_with_xarray(store, mask_and_scale=False, **how)[zero]
    for name in zero:
        stored[name].attrs.pop("_FillValue", None)
    plain = xr.decode_cf(stored, decode_times=False, decode_coords=False, decode_timedelta=False)
    log.warning(
        "the fill value of %s is 0: zeros are taken as values; if they mean 'missing', pass "
        "--null-value 0",
        ", ".join(map(repr, zero)),
    )
    return raw.assign({name: plain[name] for name in zero})


def _filled_with_zero(encoding: Mapping[Any, Any]) -> bool:
    return "_FillValue" in encoding and not np.any(encoding["_FillValue"])


def open_files(paths: Sequence[Path], options: ReaderOptions) -> xr.Dataset:
    """Open several NetCDF files that follow one another as one data set, with dask.

    Raises
    ------
    InputError
        If they do not make one data set.
    """
    for path in paths:
        _check_netcdf(path)
    first = str(paths[0])
    begins = {path: _begin(path, options) for path in paths}
    paths = sorted(paths, key=lambda path: begins[path][1])
    try:
        raw = xr.open_mfdataset(
            [str(path) for path in paths],
            engine="netcdf4",
            group=options.group,
            preprocess=decoded_times,
            decode_times=False,
            decode_timedelta=False,
            combine="nested",
            concat_dim=begins[paths[0]][0],
            data_vars="minimal",
            coords="minimal",
            compat="override",
            join="exact",
            combine_attrs="override",
        )
    except (ValueError, KeyError, OSError) as error:
        raise InputError(
            f"{len(paths)} files (the first is {first!r}) do not make one series ({error}): give "
            "files of the same variables and places that follow one another in time"
        ) from error
    log.info("%d files are joined, from %s to %s", len(paths), paths[0].name, paths[-1].name)
    return raw


def _begin(path: Path, options: ReaderOptions) -> tuple[str, Any]:
    """Return the name of a file's time dimension and its first time."""
    with _open_with_xarray(path, engine="netcdf4", group=options.group) as raw:
        found = find_dimensions(raw, [], None)
        return found.time, raw[found.time_coordinate].values[0]


def _netcdf_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _NETCDF_SUFFIXES)


def _check_netcdf(path: Path) -> None:
    head = first_bytes(path)
    if head[:4] not in _CLASSIC_MAGIC and head != HDF5_MAGIC:
        raise InputError(
            f"{str(path)!r} is not a NetCDF file (it begins with {head!r}): give a NetCDF "
            "file, or say what it is with --reader"
        )
    if head[:4] in _CLASSIC_MAGIC[:2]:
        _check_classic_is_whole(path)


def _open_with_xarray(path: Path | str, **how: Any) -> xr.Dataset:
    """Open with CF decoding, turning every failure into one message."""
    with warnings.catch_warnings():
        # Dates outside 1678-2262 become cftime objects, as intended; xarray warns about it.
        warnings.filterwarnings("ignore", "Unable to decode time axis", xr.SerializationWarning)
        # _FillValue and missing_value may differ: both become NaN, as wanted.
        warnings.filterwarnings("ignore", ".*multiple fill values", xr.SerializationWarning)
        try:
            # Units such as "days" on a variable (frost days) are values, not time differences.
            raw = decoded_times(
                xr.open_dataset(path, decode_times=False, decode_timedelta=False, **how)
            )
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
        raise InputError(f"{str(path)!r} has no data variable {_where_they_are(path, how)}")
    return raw


def _where_they_are(path: Path | str, how: Mapping[str, Any]) -> str:
    """Name the groups that have variables."""
    inside = f"in its group {how['group']!r}" if how.get("group") else "at its top level"
    found: list[str] = []
    if how["engine"] == "netcdf4":
        import netCDF4

        with netCDF4.Dataset(path) as root:
            found = _groups_with_variables(root)
    if not found:
        return f"{inside}: give a file with at least one"
    names = ", ".join(found)
    return f"{inside}, but in its groups {names}: choose one, e.g. --group {found[0].split()[0]}"


def _groups_with_variables(root: Any) -> list[str]:
    found = []
    for group in root.groups.values():
        names = [name for name, array in group.variables.items() if array.ndim > 1]
        if names:
            found.append(f"{group.path.strip('/')} ({', '.join(names)})")
        found += _groups_with_variables(group)
    return found


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

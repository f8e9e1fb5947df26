"""Data at an address: Zarr stores are read in place, files are downloaded once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import xarray as xr

from stemdist.data.downloads import is_downloaded, local_copy
from stemdist.data.fetch import cache_folder
from stemdist.data.readers.base import ReaderOptions, chunked, read
from stemdist.data.readers.netcdf import open_zarr
from stemdist.dependencies import require
from stemdist.errors import InputError, MissingDependencyError


def open_address(address: str, reader: str | None, options: ReaderOptions) -> xr.Dataset:
    """Open what is at an address, through ``fsspec``.

    A Zarr store is opened where it is, lazily. A file is downloaded to the cache and opened there:
    from the web and from repositories of the Hugging Face hub by
    :func:`~stemdist.data.downloads.local_copy`.

    Parameters
    ----------
    address : str
        With any protocol that ``fsspec`` knows.
    reader : str, optional
        Name of the format; recognised when left out.
    options : ReaderOptions
        Metadata that the source lacks.

    Raises
    ------
    InputError
        If nothing can be read there.
    MissingDependencyError
        If the protocol needs a library that is not installed.
    """
    how = dict(options.storage_options or {})
    if not how and not is_store(address, reader) and is_downloaded(address):
        return read(local_copy(address), reader, options)
    fsspec = require("fsspec", "zarr", f"opening {address!r}")
    options = replace(options, storage_options=None)
    try:
        if is_store(address, reader):
            require("zarr", "zarr", f"opening {address!r}")
            raw = open_zarr(address, options, storage_options=how)
            return chunked(raw, address, options.chunks)
        folder = cache_folder() / "addresses"
        local = fsspec.open_local(
            f"filecache::{address}",
            filecache={"cache_storage": str(folder), "same_names": True},
            **({fsspec.utils.get_protocol(address): how} if how else {}),
        )
    except ImportError as error:
        missing = f"cannot read {address!r}: {error}"
        raise MissingDependencyError(f"{missing} (a package of its own)") from error
    except Exception as error:  # every protocol has a library with errors of its own
        cause = error.__cause__ if isinstance(error, InputError) and error.__cause__ else error
        options_too = f", and --storage-options {how}" if how else ""
        raise InputError(
            f"cannot read {address!r} ({cause}): check the address{options_too}, and the "
            "connection; or download it and give the file"
        ) from error
    return read(Path(local), reader, options)


def is_store(address: str, reader: str | None = None) -> bool:
    """Say whether an address is that of a Zarr store, which is read in place."""
    return reader == "zarr" or address.rstrip("/").endswith(".zarr")

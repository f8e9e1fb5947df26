"""The reader interface, its options, the registry of readers, and :func:`read`."""

from __future__ import annotations

import difflib
import logging
import math
import re
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from stemdist.errors import InputError
from stemdist.registry import Registry

log = logging.getLogger(__name__)

# At least two letters before the colon, so that a Windows drive is not taken for a protocol.
_ADDRESS = re.compile(r"^[A-Za-z][A-Za-z0-9+.\-]+://")
_COLUMN_MEANINGS = ("sensors", "variables")


@dataclass(frozen=True, kw_only=True)
class ReaderOptions:
    """Metadata that a file lacks, and how to open it.

    Parameters
    ----------
    start : str, optional
        Time of the first step as ISO 8601 text, for files without a time axis. A time zone is
        converted to UTC.
    step_minutes : float, optional
        Minutes between two steps, for files without a time axis.
    chunks : mapping of str to int, or "auto", optional
        Dask chunk sizes in steps and locations (the dimensions of the raw data set). Without it
        Zarr keeps the chunks of the store and every other format is lazy without dask.
    feature_names : sequence of str, optional
        Names of the variables, in the order of the file's feature axis.
    columns : {"sensors", "variables"}, optional
        What the columns of a CSV file are: one variable at many sensors (the default) or many
        variables at one place.
    group : str, optional
        Group of a NetCDF file or Zarr store that holds the variables, e.g. ``Grid``.
    storage_options : mapping, optional
        How an address is reached, for fsspec.

    Raises
    ------
    InputError
        If a value cannot be used.

    Examples
    --------
    >>> ReaderOptions(start="2012-03-01", step_minutes=5).given()
    ['start', 'step_minutes']
    """

    start: str | None = None
    step_minutes: float | None = None
    chunks: Mapping[str, int] | str | None = None
    feature_names: Sequence[str] = ()
    columns: str | None = None
    group: str | None = None
    storage_options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.start is not None:
            parse_start(self.start)
        step = self.step_minutes
        if step is not None and not (math.isfinite(step) and step > 0):
            raise InputError(
                f"step_minutes is {step!r}: it must be a number of minutes above 0, e.g. 5"
            )
        if isinstance(self.chunks, str) and self.chunks != "auto":
            raise InputError(
                f'chunks is {self.chunks!r}: it must be "auto" or sizes per dimension, '
                "e.g. {'time': 1000}"
            )
        names = tuple(self.feature_names)
        if isinstance(self.feature_names, str) or len(set(names)) < len(names) or "" in names:
            raise InputError(
                f"feature_names is {self.feature_names!r}: it must be a sequence of different, "
                "non-empty names, e.g. ('flow', 'speed')"
            )
        object.__setattr__(self, "feature_names", names)
        if self.columns is not None and self.columns not in _COLUMN_MEANINGS:
            raise InputError(
                f"columns is {self.columns!r}: it must be one of {', '.join(_COLUMN_MEANINGS)}"
            )

    def given(self) -> list[str]:
        """Return the names of the options that were set."""
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]


class Reader(ABC):
    """One file format.

    A subclass sets the class attributes and implements :meth:`matches` and :meth:`_open`; the
    checks every format needs are made by :meth:`open`. Another package adds a reader through the
    entry point group ``stemdist.readers``, naming the class.

    Attributes
    ----------
    name : str
        Name that selects the format.
    description : str
        One line: which files these are.
    accepts : frozenset of str
        Options of :class:`ReaderOptions` the format can use; ``chunks`` works for all.
    opens_file, opens_folder : bool
        Whether the data are one file, a folder, or may be either.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    accepts: ClassVar[frozenset[str]] = frozenset()
    opens_file: ClassVar[bool] = True
    opens_folder: ClassVar[bool] = False

    @abstractmethod
    def matches(self, path: Path) -> bool:
        """Say whether ``path`` looks like this format, from names and first bytes only."""

    @abstractmethod
    def _open(self, path: Path, options: ReaderOptions) -> xr.Dataset:
        """Return the raw data set at ``path``, which exists and is not empty."""

    def open(self, path: Path, options: ReaderOptions | None = None) -> xr.Dataset:
        """Open ``path`` lazily.

        Parameters
        ----------
        path : Path
            File, or folder where :attr:`opens_folder`.
        options : ReaderOptions, optional
            Metadata that the file lacks.

        Returns
        -------
        xarray.Dataset
            The raw data set: the dimensions and units of the file.

        Raises
        ------
        InputError
            If the file cannot be opened, or an option given cannot be used for this format.
        MissingDependencyError
            If the format needs an optional library that is not installed.
        """
        options = options or ReaderOptions()
        unused = [name for name in options.given() if name not in self.accepts | {"chunks"}]
        if unused:
            usable = ", ".join(sorted(self.accepts | {"chunks"}))
            raise InputError(
                f"the {self.name} reader cannot use {', '.join(unused)}: leave it out "
                f"(it can use: {usable})"
            )
        path = existing_path(path)
        if not (self.opens_folder if path.is_dir() else self.opens_file):
            found, needed = ("folder", "file") if path.is_dir() else ("file", "folder")
            raise InputError(
                f"{str(path)!r} is a {found}, but the {self.name} reader opens a {needed} "
                f"({self.description}): give the {needed}"
            )
        try:
            raw = self._open(path, options)
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"cannot read {str(path)!r}: {reason}") from error
        return chunked(raw, path, options.chunks)


READERS: Registry[type[Reader]] = Registry(
    "reader",
    {
        "basicts": "stemdist.data.readers.arrays:BasicTsReader",
        "csv": "stemdist.data.readers.tables:CsvReader",
        "grib": "stemdist.data.readers.netcdf:GribReader",
        "largest": "stemdist.data.readers.arrays:LargestReader",
        "metr_la": "stemdist.data.readers.pandas_hdf:PandasHdfReader",
        "netcdf": "stemdist.data.readers.netcdf:NetcdfReader",
        "parquet": "stemdist.data.readers.tables:ParquetReader",
        "pems_npz": "stemdist.data.readers.arrays:PemsNpzReader",
        "windows_npz": "stemdist.data.readers.windows_npz:WindowsNpzReader",
        "zarr": "stemdist.data.readers.netcdf:ZarrReader",
    },
    group="stemdist.readers",
)
"""Every file format, by name."""


def _usable_readers() -> list[Reader]:
    """Return a reader of every format; a plug-in that is none is named in a warning."""
    found: list[Reader] = []
    offered: dict[str, object] = {**READERS.usable()}
    for name, kind in offered.items():
        if isinstance(kind, type) and issubclass(kind, Reader):
            found.append(kind())
        else:
            log.warning("the plug-in for the reader %r is no stemdist.Reader: left out", name)
    return found


def detect_reader(path: str | Path) -> Reader:
    r"""Return the one reader that recognises ``path``.

    Raises
    ------
    InputError
        If nothing is there, no reader recognises it, or several do.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "speed.csv"
    >>> _ = path.write_text("a,b\n1,2\n3,4\n")
    >>> detect_reader(path).name
    'csv'
    """
    path = existing_path(path)
    readers = _usable_readers()
    found = [reader for reader in readers if reader.matches(path)]
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(reader.name for reader in found)
        raise InputError(
            f"{str(path)!r} looks like {names}: say which it is with --reader (reader=... in "
            "Python)"
        )
    formats = "; ".join(f"{reader.name}: {reader.description}" for reader in readers)
    raise InputError(
        f"no reader recognises {str(path)!r}. If it is one of these, say so with --reader "
        f"(reader=... in Python). {formats}"
    )


def read(
    path: str | Path, reader: str | None = None, options: ReaderOptions | None = None
) -> xr.Dataset:
    r"""Open any supported file or folder lazily.

    Parameters
    ----------
    path : str or Path
        File or folder.
    reader : str, optional
        Name of the format; recognised from the file when left out.
    options : ReaderOptions, optional
        Metadata that the file lacks.

    Returns
    -------
    xarray.Dataset
        The raw data set: dimensions, coordinates and units as in the file.

    Raises
    ------
    InputError
        If the file cannot be opened, the reader is unknown or an option cannot be used.
    MissingDependencyError
        If the format needs an optional library that is not installed.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "speed.csv"
    >>> _ = path.write_text("a,b\n1,2\n3,4\n")
    >>> raw = read(path, options=ReaderOptions(start="2012-03-01", step_minutes=5))
    >>> raw["value"].dims, raw["location"].values.tolist()
    (('time', 'location'), ['a', 'b'])
    """
    chosen = READERS.get(reader)() if reader is not None else detect_reader(path)
    return chosen.open(Path(path), options)


def is_address(text: str) -> bool:
    """Say whether a source is an address such as ``s3://bucket/data.zarr``.

    Examples
    --------
    >>> is_address("s3://bucket/data.zarr"), is_address("C:/data.nc")
    (True, False)
    """
    return _ADDRESS.match(text) is not None


def existing_path(path: str | Path) -> Path:
    """Return ``path`` if something readable is there, else raise :class:`InputError`."""
    path = Path(path)
    if not path.exists():
        raise InputError(_missing(path))
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{str(path)!r} is empty (0 bytes): download or write it again")
    if path.is_file() and path.suffix.lower() != ".npz" and zipfile.is_zipfile(path):
        raise InputError(_zip_members(path))
    return path


def _zip_members(path: Path) -> str:
    """Say what is in a ZIP archive, as which the Copernicus store sends a request's files."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    return (
        f"{str(path)!r} is a ZIP archive, whatever its name says, of {shown or 'nothing'}: unpack "
        f"it (python -m zipfile -e {path.name} FOLDER) and give a file in it, or the folder if "
        "its files follow one another in time"
    )


def _missing(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no file {str(path)!r}: its folder {str(path.parent)!r} does not exist"
    siblings = [entry.name for entry in path.parent.iterdir()]
    close = difflib.get_close_matches(path.name, siblings, n=1)
    question = f": did you mean {close[0]!r}?" if close else f" in {str(path.parent.resolve())!r}"
    return f"there is no file {str(path)!r}{question}"


def first_bytes(path: Path, count: int = 8) -> bytes:
    """Return the first bytes of a file; nothing for a folder."""
    if path.is_dir():
        return b""
    with path.open("rb") as stream:
        return stream.read(count)


def parse_start(start: str) -> pd.Timestamp:
    """Return the ISO 8601 time ``start`` as a time stamp without zone, in UTC if it had one."""
    try:
        moment = datetime.fromisoformat(start)
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        return pd.Timestamp(moment).as_unit("ns")
    except (TypeError, ValueError) as error:
        raise InputError(
            f"start is {start!r}: it must be an ISO 8601 time between 1678 and 2262, "
            "e.g. 2012-03-01 or 2012-03-01T00:05"
        ) from error


def time_axis(
    count: int, path: Path, options: ReaderOptions, *, step_minutes: float | None = None
) -> npt.NDArray[np.datetime64]:
    """Return ``count`` times from the options, for a file without a time axis.

    Parameters
    ----------
    count : int
        Number of steps.
    path : Path
        The file, for the message.
    options : ReaderOptions
        Holds ``start`` and ``step_minutes``.
    step_minutes : float, optional
        Time step in minutes, where the file states it.

    Returns
    -------
    numpy.ndarray
        Shape (count,), ``datetime64[ns]``.
    """
    step = step_minutes if options.step_minutes is None else options.step_minutes
    if options.start is None or step is None:
        raise InputError(
            f"{str(path)!r} has no time axis: pass --start and --step-minutes, e.g. "
            "--start 2012-03-01 --step-minutes 5 (start=..., step_minutes=... in Python)"
        )
    if step_minutes is not None and not math.isclose(step, step_minutes):
        raise InputError(
            f"step_minutes is {step:g}, but {str(path)!r} says its step is {step_minutes:g} "
            "minutes: leave step_minutes out"
        )
    elapsed_ns = np.round(np.arange(count) * (step * 60e9)).astype("timedelta64[ns]")
    axis: npt.NDArray[np.datetime64] = parse_start(options.start).to_datetime64() + elapsed_ns
    return axis


def own_time_axis_only(path: Path, options: ReaderOptions) -> None:
    """Refuse ``start`` and ``step_minutes`` for a file that has its own time axis."""
    if options.start is not None or options.step_minutes is not None:
        raise InputError(f"{str(path)!r} has its own time axis: leave out start and step_minutes")


def chunked(
    raw: xr.Dataset, source: Path | str, chunks: Mapping[str, int] | str | None
) -> xr.Dataset:
    """Return a data set in dask chunks of the given sizes, or as it is for None."""
    if chunks is None:
        return raw
    if not isinstance(chunks, str) and (unknown := [dim for dim in chunks if dim not in raw.dims]):
        known = ", ".join(str(dim) for dim in raw.dims)
        raw.close()
        raise InputError(
            f"chunks names {', '.join(unknown)}, but the dimensions of {str(source)!r} are: {known}"
        )
    # Without a token dask would hash, and so read, every value.
    token = str(source)
    if isinstance(source, Path):
        token = f"{source.resolve()}:{source.stat().st_mtime_ns}"
    return raw.chunk(chunks, token=token)

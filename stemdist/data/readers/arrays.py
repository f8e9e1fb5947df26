"""Arrays of time x location x feature: PEMS and LargeST archives, BasicTS folders.

Shapes: T steps, N locations, F features. Every feature becomes one variable (time, location).
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, ClassVar, Literal

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from stemdist.data.readers.base import Reader, ReaderOptions, time_axis
from stemdist.errors import InputError

_OPTIONS = frozenset({"start", "step_minutes", "feature_names"})
_BASICTS_DESCRIPTIONS = ("meta.json", "desc.json")
_BASICTS_SPLITS = ("train_data.npy", "val_data.npy", "test_data.npy")


class PemsNpzReader(Reader):
    """PEMS03/04/07/08 archives: ``data`` of shape (T, N, F), or (T, N).

    Three features are flow, occupancy and speed (Guo et al., AAAI 2019), unless
    ``feature_names`` says otherwise.
    """

    name: ClassVar[str] = "pems_npz"
    description: ClassVar[str] = "NumPy archive with the key data, (T, N, F) (.npz)"
    accepts: ClassVar[frozenset[str]] = _OPTIONS

    def matches(self, path: Path) -> bool:
        """Recognise the suffix of an archive that is not LargeST's."""
        return path.is_file() and path.suffix.lower() == ".npz" and not _is_largest(path)

    def _open(self, path: Path, options: ReaderOptions) -> xr.Dataset:
        data = npz_array(path, "data")
        known = ("flow", "occupancy", "speed") if data.shape[2:] == (3,) else ()
        return features_dataset(path, data, options, known=known)


class LargestReader(Reader):
    """LargeST ``his.npz``: ``data`` (T, N, F), whose first feature is scaled by ``mean, std``.

    The flow is put back into vehicles per interval (Liu et al., NeurIPS 2023, datasets track); the
    other features are the time of day and the day of the week, as shares of a day and a week.
    """

    name: ClassVar[str] = "largest"
    description: ClassVar[str] = "LargeST archive his.npz with the keys data, mean, std"
    accepts: ClassVar[frozenset[str]] = _OPTIONS

    def matches(self, path: Path) -> bool:
        """Recognise the three keys."""
        return path.is_file() and path.suffix.lower() == ".npz" and _is_largest(path)

    def _open(self, path: Path, options: ReaderOptions) -> xr.Dataset:
        data = npz_array(path, "data")
        mean, std = (np.ravel(npz_array(path, key)) for key in ("mean", "std"))
        known = ("flow", "time_of_day", "day_of_week")
        scaled = features_dataset(path, data, options, known=known)
        names = list(scaled.data_vars)
        if mean.size != std.size or mean.size not in (1, len(names)):
            raise InputError(
                f"mean and std of {str(path)!r} have {mean.size} and {std.size} values: they must "
                f"have 1, or one for each of the {len(names)} features"
            )
        scales = zip(names, mean, std, strict=False)  # one pair: the first feature only
        return scaled.assign({name: scaled[name] * std + mean for name, mean, std in scales})


class BasicTsReader(Reader):
    """BasicTS folders of both layouts, memory-mapped and never loaded.

    Before version 1: ``desc.json`` and ``data.dat``, float32 of the ``shape`` [T, N, F] given
    there. Since version 1: ``meta.json`` and ``train_data.npy``, ``val_data.npy``,
    ``test_data.npy``, (T, N) each, following one another in time; their calendar arrays are not
    read, as the calendar follows from the time axis. Both state the minutes of a step but not the
    date of the first one, which the option ``start`` gives.
    """

    name: ClassVar[str] = "basicts"
    description: ClassVar[str] = (
        "BasicTS folder: desc.json with data.dat, or meta.json with train/val/test_data.npy"
    )
    accepts: ClassVar[frozenset[str]] = _OPTIONS
    opens_file: ClassVar[bool] = False
    opens_folder: ClassVar[bool] = True

    def matches(self, path: Path) -> bool:
        """Recognise the names of the description and of the first data file."""
        described = any((path / name).is_file() for name in _BASICTS_DESCRIPTIONS)
        return described and any(
            (path / name).is_file() for name in ("data.dat", _BASICTS_SPLITS[0])
        )

    def _open(self, path: Path, options: ReaderOptions) -> xr.Dataset:
        description = _basicts_description(path)
        if (path / "data.dat").is_file():
            data: Any = _map_dat(path / "data.dat", description)
        else:
            data = _map_splits(path)
        minutes = description.get("frequency (minutes)")
        return features_dataset(
            path,
            data,
            options,
            known=_basicts_names(description),
            step_minutes=float(minutes) if minutes else None,
        )


def features_dataset(
    path: Path,
    data: Any,
    options: ReaderOptions,
    *,
    known: Sequence[str] = (),
    step_minutes: float | None = None,
    time: npt.NDArray[np.datetime64] | None = None,
) -> xr.Dataset:
    """Return one variable (time, location) per feature of an array, without copying it.

    Parameters
    ----------
    path : Path
        The file, for messages.
    data : array
        Shape (T, N, F) or (T, N); NumPy or dask.
    options : ReaderOptions
        Start, step and names.
    known : sequence of str
        Names the format is known to use, taken if there are enough of them.
    step_minutes : float, optional
        Minutes of a step, where the file says so.
    time : numpy.ndarray, optional
        Shape (T,); made from the options when left out.

    Returns
    -------
    xarray.Dataset
        Locations are numbered from 0.
    """
    if data.ndim not in (2, 3) or 0 in data.shape:
        raise InputError(
            f"{str(path)!r} holds an array of shape {data.shape}: it must be (time, location) or "
            "(time, location, feature), none of them empty"
        )
    if isinstance(data, np.memmap) and options.chunks is not None:
        data = _mapped_blocks(data)  # xarray would read all of a mapped array to cut it
    if data.ndim == 2:
        data = data[:, :, None]  # (T, N) -> (T, N, 1)
    names = _feature_names(path, data.shape[2], options, known)
    if time is None:
        time = time_axis(data.shape[0], path, options, step_minutes=step_minutes)
    return xr.Dataset(
        {name: (("time", "location"), data[:, :, i]) for i, name in enumerate(names)},
        coords={"time": time, "location": np.arange(data.shape[1])},
    )


def _feature_names(
    path: Path, count: int, options: ReaderOptions, known: Sequence[str]
) -> Sequence[str]:
    if options.feature_names:
        if len(options.feature_names) != count:
            raise InputError(
                f"feature_names has {len(options.feature_names)} names, but {str(path)!r} has "
                f"{count} feature{'s' if count > 1 else ''}"
            )
        return options.feature_names
    if len(known) >= count:
        return known[:count]
    return ["value", *(f"feature_{i}" for i in range(1, count))]


def npz_keys(path: Path) -> list[str]:
    """Return the names of the arrays in an archive; none if it is no archive."""
    if not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def npz_array(path: Path, key: str) -> npt.NDArray[Any]:
    """Return one numeric array of an archive; memory-mapped where it is stored uncompressed.

    Nothing is unpickled: an array of Python objects is refused from its header alone.
    """
    if not zipfile.is_zipfile(path):
        raise InputError(
            f"{str(path)!r} is not a NumPy archive, or is cut short: download or write it again"
        )
    keys = npz_keys(path)
    if key not in keys:
        raise InputError(
            f"{str(path)!r} has no array {key!r}: it holds {', '.join(keys) or 'nothing'}. Say "
            "what it is with --reader if it is of another format"
        )
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as member:
            shape, column_major, dtype = read_npy_header(member)
            _check_numeric(path, key, dtype)
            info = archive.getinfo(f"{key}.npy")
            if info.compress_type == zipfile.ZIP_STORED and prod(shape) > 0:
                if info.file_size != member.tell() + prod(shape) * dtype.itemsize:
                    raise ValueError(f"{info.file_size} bytes do not hold shape {shape} of {dtype}")
                offset = _data_offset(path, info) + member.tell()
                order: Literal["F", "C"] = "F" if column_major else "C"
                mapped: npt.NDArray[Any] = np.memmap(path, dtype, "r", offset, shape, order)
                return mapped
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as member:
            array: npt.NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
            return array
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"the array {key!r} of {str(path)!r} is damaged ({error}): download or write it again"
        ) from error


def read_npy_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return (shape, is column-major, dtype) and leave ``stream`` at the first value."""
    version = np.lib.format.read_magic(stream)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, column_major, dtype = read(stream)
    return shape, column_major, dtype


def _check_numeric(path: Path, key: str, dtype: np.dtype[Any]) -> None:
    if dtype.hasobject:
        raise InputError(
            f"the array {key!r} of {str(path)!r} holds pickled Python objects, which can run any "
            "code when opened: write it again as numbers"
        )
    if dtype.kind not in "fiub":
        raise InputError(f"the array {key!r} of {str(path)!r} holds {dtype}, not numbers")


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where a member's bytes begin: after its local header of 30 bytes, name and extra."""
    with path.open("rb") as stream:
        stream.seek(info.header_offset + 26)
        lengths = stream.read(4)
    name_length, extra_length = (int.from_bytes(lengths[i : i + 2], "little") for i in (0, 2))
    return info.header_offset + 30 + name_length + extra_length


def _is_largest(path: Path) -> bool:
    return {"data", "mean", "std"} <= set(npz_keys(path))


def _basicts_description(path: Path) -> dict[str, Any]:
    found = [path / name for name in _BASICTS_DESCRIPTIONS if (path / name).is_file()]
    if not found:
        raise InputError(
            f"{str(path)!r} is not a BasicTS folder: it has neither "
            f"{' nor '.join(_BASICTS_DESCRIPTIONS)}"
        )
    try:
        description = json.loads(found[0].read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{str(found[0])!r} is not JSON: {error}") from error
    if not isinstance(description, dict):
        raise InputError(f"{str(found[0])!r} must hold a JSON object with the key 'shape'")
    return description


def _basicts_names(description: dict[str, Any]) -> list[str]:
    texts = description.get("feature_description") or [description.get("domain") or "value"]
    names = [re.sub(r"\W+", "_", str(text).strip().lower()).strip("_") for text in texts]
    return names if len(set(names)) == len(names) and "" not in names else []


def _map_dat(path: Path, description: dict[str, Any]) -> npt.NDArray[np.float32]:
    shape = description.get("shape")
    if not (isinstance(shape, list) and all(isinstance(n, int) and n > 0 for n in shape)):
        raise InputError(
            f"the description beside {str(path)!r} has shape {shape!r}: it must be a list of "
            "positive whole numbers, [steps, locations, features]"
        )
    expected, found = 4 * prod(shape), path.stat().st_size
    if found != expected:
        raise InputError(
            f"{str(path)!r} has {found} bytes, but shape {shape} in float32 makes {expected}: the "
            "file is cut short, or its description belongs to another"
        )
    return np.memmap(path, np.dtype("<f4"), "r", shape=tuple(shape))


def _map_splits(path: Path) -> Any:
    """Return the three parts joined in time, dask-backed: (T_i, N) -> (T, N)."""
    parts = []
    for name in _BASICTS_SPLITS:
        try:
            part = np.load(path / name, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise InputError(f"{str(path)!r} has no {name}: all three parts are needed") from error
        except (ValueError, EOFError) as error:
            raise InputError(f"{str(path / name)!r} is not a numeric array: {error}") from error
        parts.append(part)
    if len({part.shape[1:] for part in parts}) > 1:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise InputError(f"the parts in {str(path)!r} have shapes {shapes}: only time may differ")
    blocks = [_mapped_blocks(part) for part in parts]
    return da.concatenate(blocks)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, kw_only=True)
class _MappedFile:
    """Part of a file as an array that is opened on access: dask copies arrays, but not this."""

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    order: Literal["F", "C"]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)
        return np.array(mapped[key])


def _mapped_blocks(data: np.memmap[Any, Any]) -> Any:
    """Return a memory-mapped array as a dask array, without reading it."""
    file = _MappedFile(
        path=str(data.filename),
        dtype=data.dtype,
        shape=data.shape,
        offset=data.offset,
        order="C" if data.flags.c_contiguous else "F",
    )
    # name=False: no hash, which would read everything.
    return da.from_array(file, name=False)  # type: ignore[no-untyped-call]

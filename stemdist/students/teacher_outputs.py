"""Outputs of a teacher, computed once and kept in a file, or computed in every update.

Shapes: M windows, B windows of an update, N locations, C targets, L_out horizon, R = C * L_out.

The file is an ordinary NetCDF-4 file. ``forecast`` (window, target, horizon, location) is in
physical units, so that forecasts of any other program can be given in its place; hidden states
have the axes of ``stemdist.forecast.hidden_states.STATES`` behind ``window``.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakValueDictionary, finalize

import netCDF4
import numpy as np
import torch
import xarray as xr
from safetensors.torch import load_file, save_file
from torch import Tensor

from stemdist.errors import InputError
from stemdist.files import atomic_path, hash_of, locked
from stemdist.forecast import TrainingSet
from stemdist.forecast.predict import windows_per_block
from stemdist.markers import MADE_BY
from stemdist.progress import bar
from stemdist.students.teacher import Teacher

log = logging.getLogger(__name__)

FORMAT = "stemdist-teacher-1"
IN_MEMORY_BYTES = 2**30
"""Outputs up to this size are read at once; larger files window by window."""

States = dict[str, Tensor]


class TeacherOutputs(ABC):
    """A teacher's outputs for the windows of a training set.

    Attributes
    ----------
    identity : str
        Changes with the teacher, the windows, or the kinds of hidden states.
    """

    identity: str

    @abstractmethod
    def at(self, windows: Tensor, locations: Tensor | None = None) -> tuple[Tensor, States]:
        """Return forecasts (B, R, N) in scaled units and hidden states of some windows.

        Parameters
        ----------
        windows : Tensor
            (B,) indices of the windows.
        locations : Tensor, optional
            (N,) indices of the locations; all by default. Images are always whole.
        """


class OnlineOutputs(TeacherOutputs):
    """Runs the teacher in every update, at all locations, whatever the student sees."""

    def __init__(self, teacher: Teacher, data: TrainingSet, kinds: Collection[str] = ()) -> None:
        teacher.check(data, kinds)
        self.teacher, self.data, self.kinds = teacher, data, tuple(sorted(kinds))
        self.identity = teacher_outputs_key(teacher, data, self.kinds)

    def at(self, windows: Tensor, locations: Tensor | None = None) -> tuple[Tensor, States]:
        """Run the teacher."""
        return _chosen(*self.teacher.answer(self.data, windows, self.kinds), locations)


class _OpenFile:
    """A file of outputs, open once however many read it, until the last of them is gone.

    HDF5 2.2 crashes when a file is opened again after one of several open handles of it has been
    closed and another has not.
    """

    _open: ClassVar[WeakValueDictionary[tuple[int, ...], _OpenFile]] = WeakValueDictionary()

    def __init__(self, path: Path) -> None:
        self.dataset = netCDF4.Dataset(path)
        self.dataset.set_auto_mask(False)
        finalize(self, self.dataset.close)

    @classmethod
    def of(cls, path: Path) -> _OpenFile:
        """Return the open file, opened if it is not or if another file has its name now."""
        facts = path.stat()
        key = (facts.st_dev, facts.st_ino, facts.st_mtime_ns)
        found = cls._open.get(key)
        if found is None:
            found = cls._open[key] = cls(path)
        return found


class StoredOutputs(TeacherOutputs):
    """Outputs from a file written by :func:`write_teacher_outputs`; the teacher does not run.

    Parameters
    ----------
    path : Path
        The file.
    teacher : Teacher
        The teacher whose outputs they must be.
    data : TrainingSet
        The training set whose windows they must be for.
    kinds : collection of str
        Hidden states that must be in it.

    Raises
    ------
    InputError
        If the file is of another teacher or other data, lacks a state, or cannot be read.
    """

    def __init__(
        self, path: Path, teacher: Teacher, data: TrainingSet, kinds: Collection[str] = ()
    ) -> None:
        self.path, self.data, self.kinds = path, data, tuple(sorted(kinds))
        self.identity = teacher_outputs_key(teacher, data, self.kinds)
        try:
            opened = _OpenFile.of(path)
        except OSError as error:
            raise InputError(
                f"the teacher outputs {str(path)!r} cannot be read ({error}): delete the file, "
                "and they are computed again"
            ) from error
        file = opened.dataset
        attributes = {name: str(file.getncattr(name)) for name in file.ncattrs()}
        check_teacher_outputs(path, attributes, teacher, data)
        for kind in ("forecast", *self.kinds):
            if kind not in file.variables:
                raise InputError(
                    f"the teacher outputs {str(path)!r} hold no {kind}: name another file, and "
                    "they are computed with it"
                )
        names = ("forecast", *self.kinds)
        size = sum(4 * int(np.prod(file.variables[name].shape)) for name in names)
        self._held: _OpenFile | States = opened
        if size <= IN_MEMORY_BYTES:
            self._held = {name: _read(opened, name, slice(None)) for name in names}

    def _windows(self, name: str, windows: Tensor) -> Tensor:
        if isinstance(self._held, _OpenFile):
            return torch.stack([_read(self._held, name, int(window)) for window in windows])
        return self._held[name][windows]

    def at(self, windows: Tensor, locations: Tensor | None = None) -> tuple[Tensor, States]:
        """Read the outputs."""
        forecast = self._windows("forecast", windows).flatten(1, 2)  # (B, C * L_out, N)
        scaled = self.data.window_scaler.scale_targets(forecast, self.data.source.n_targets)
        states = {kind: self._windows(kind, windows) for kind in self.kinds}
        return _chosen(scaled, states, locations)


def _read(file: _OpenFile, name: str, window: slice | int) -> Tensor:
    values = np.asarray(file.dataset.variables[name][window], dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(values))


def _chosen(forecast: Tensor, states: States, locations: Tensor | None) -> tuple[Tensor, States]:
    if locations is None:
        return forecast, states
    shown = {k: v if k == "latent" else v[:, locations] for k, v in states.items()}
    return forecast[:, :, locations], shown


def teacher_outputs_key(teacher: Teacher, data: TrainingSet, kinds: Collection[str]) -> str:
    """Return a hash of the teacher, the windows and the states."""
    return hash_of([teacher.identity, data.content_hash, sorted(kinds)])


def check_teacher_outputs(
    path: Path, attributes: dict[str, str], teacher: Teacher, data: TrainingSet
) -> None:
    """Raise :class:`InputError` if a file's attributes name another teacher or other data."""
    if attributes.get("stemdist_format") != FORMAT:
        raise InputError(
            f"{str(path)!r} holds no teacher outputs (its format is not {FORMAT!r}): name "
            "another file"
        )
    if attributes.get("teacher_hash") != teacher.identity:
        raise InputError(
            f"the outputs in {str(path)!r} are of another teacher "
            f"({attributes.get('teacher', 'unknown')}; now {teacher.name}): it was trained again "
            "or another one was given. Delete the file, or name another one"
        )
    if attributes.get("data_hash") != data.content_hash:
        raise InputError(
            f"the outputs in {str(path)!r} are for other data than these (another file, period, "
            "split, lookback or features): delete the file, or name another one"
        )


def teacher_outputs_of(
    teacher: Teacher,
    data: TrainingSet,
    kinds: Collection[str] = (),
    *,
    path: str | Path | None = None,
    cache: str | Path | None = None,
    progress: bool | None = False,
) -> StoredOutputs:
    """Return a teacher's outputs for all windows, computed only if they are not there.

    Parameters
    ----------
    teacher : Teacher
        The teacher.
    data : TrainingSet
        The training set of the M windows.
    kinds : collection of str
        Hidden states to keep beside the forecasts.
    path : str or Path, optional
        File to keep them in; one that is there must be of this teacher and these data.
    cache : str or Path, optional
        Folder to keep them in, under a hash of teacher and data, where no path is given. A file
        there with more states than needed serves too.
    progress : bool, optional
        Show a bar; None shows it on a terminal only.

    Raises
    ------
    InputError
        If neither a path nor a cache is given, or the file is of another teacher or other data.
    """
    if path is not None:
        place = Path(path)
    elif cache is not None:
        place = _in_cache(Path(cache), teacher, data, kinds)
    else:
        raise InputError("give a path or a cache to keep the teacher outputs in")
    if place.exists() and path is None:
        try:
            return StoredOutputs(place, teacher, data, kinds)
        except InputError as error:
            log.warning("%s; made again", error)
            place.unlink()
    if not place.exists():
        teacher.check(data, kinds)
        write_teacher_outputs(teacher, data, kinds, place, progress=progress)
    return StoredOutputs(place, teacher, data, kinds)


def _in_cache(cache: Path, teacher: Teacher, data: TrainingSet, kinds: Collection[str]) -> Path:
    stem = hash_of([teacher.identity, data.content_hash])
    for found in sorted(cache.glob(f"{stem}-*.nc")):
        if set(kinds) <= set(found.stem.split("-")[1:]):
            return found
    return cache / ("-".join([stem, "forecast", *sorted(kinds)]) + ".nc")


def write_teacher_outputs(
    teacher: Teacher,
    data: TrainingSet,
    kinds: Collection[str],
    path: Path,
    *,
    progress: bool | None = False,
) -> None:
    """Run a teacher on all windows and write its outputs, block by block.

    Finished blocks are kept in a hidden folder beside it until all are there, so that work that
    was stopped goes on where it was. Of several processes that make the same file one works.
    """
    key = teacher_outputs_key(teacher, data, kinds)
    work = path.with_name(f".{path.name}.stemdist-state") / key
    work.mkdir(parents=True, exist_ok=True)
    with locked(path):
        if path.exists():  # made by another process in the meantime
            return
        _write_blocks(teacher, data, kinds, path, work, progress)


def _write_blocks(
    teacher: Teacher,
    data: TrainingSet,
    kinds: Collection[str],
    path: Path,
    work: Path,
    progress: bool | None,
) -> None:
    blocks = list(_blocks(data))
    for number, index in enumerate(
        bar(blocks, f"outputs of {teacher.name}", unit="block", progress=progress)
    ):
        part = work / f"{number:06}.safetensors"
        if part.exists():
            continue
        rows, states = teacher.answer(data, index, kinds)
        physical = data.window_scaler.inverse_targets(rows, data.source.n_targets)
        forecast = physical.view(len(rows), data.source.n_targets, -1, rows.shape[2])
        tensors = {"forecast": forecast, **states}
        with atomic_path(part) as scratch:
            save_file({name: value.contiguous() for name, value in tensors.items()}, scratch)
    with atomic_path(path) as scratch:
        _join(scratch, [work / f"{number:06}.safetensors" for number in range(len(blocks))], data)
        with netCDF4.Dataset(scratch, "a") as file:
            file.setncatts(
                {
                    "stemdist_format": FORMAT,
                    MADE_BY: "stemdist teach",
                    "stemdist_version": version("stemdist"),
                    "teacher": teacher.name,
                    "teacher_hash": teacher.identity,
                    "data_hash": data.content_hash,
                    "source": data.source_name,
                }
            )
    for part in work.iterdir():
        part.unlink()
    work.rmdir()
    if not any(work.parent.iterdir()):
        work.parent.rmdir()


def _blocks(data: TrainingSet) -> Iterator[Tensor]:
    yield from torch.split(torch.arange(len(data.source)), windows_per_block(data.source))


def _join(path: Path, parts: list[Path], data: TrainingSet) -> None:
    """Write the blocks as one NetCDF file; one block is held at a time."""
    coords: dict[str, object] = {}
    if data.init_times is not None:
        coords["init_time"] = ("window", data.init_times)
    if data.location_ids is not None:
        coords["location"] = ("location", data.location_ids)
    xr.Dataset(coords=coords).to_netcdf(path, engine="netcdf4")
    with netCDF4.Dataset(path, "a") as file:
        for dim, size in (("window", len(data.source)), ("location", data.source.n_locations)):
            if dim not in file.dimensions:
                file.createDimension(dim, size)
        begin = 0
        for part in parts:
            block = load_file(part)
            for name, values in block.items():
                _variable(file, name, values, data)[begin : begin + len(values)] = values.numpy()
            begin += len(block["forecast"])


_AXES = {
    "forecast": ("target", "horizon", "location"),
    "features": ("location", "feature"),
    "tokens": ("location", "token", "token_feature"),
    "latent": ("channel", "row", "column"),
    "logits": ("location", "step", "bin"),
}


def _variable(file: netCDF4.Dataset, name: str, values: Tensor, data: TrainingSet) -> Any:
    if name in file.variables:
        return file.variables[name]
    for dim, size in zip(_AXES[name], values.shape[1:], strict=True):
        if dim not in file.dimensions:
            file.createDimension(dim, size)
    chunks = (1, *values.shape[1:])
    made = file.createVariable(name, "f4", ("window", *_AXES[name]), chunksizes=chunks)
    if name == "forecast":
        made.units = data.units
        made.long_name = f"{', '.join(data.variables[: data.source.n_targets])} forecast"
    return made

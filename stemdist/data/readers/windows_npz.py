"""STemDist's public layout: a folder with train.npz, val.npz and test.npz of windows.

Shapes: M windows, L_in input and L_out output steps, N locations, F features. ``x`` is
(M, L_in, N, F); ``y`` is (M, L_out, N) or (M, L_out, N, F_out) with F_out <= F. Values are in
physical units. It is also the layout of DCRNN's (Li et al., ICLR 2018) and Graph WaveNet's
preparation scripts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from stemdist.data.readers.arrays import features_dataset, npz_array
from stemdist.data.readers.base import Reader, ReaderOptions, time_axis
from stemdist.errors import InputError
from stemdist.files import atomic_path

_SPLITS = ("train", "val", "test")
_WEEK_MINUTES = 7 * 24 * 60
_BLOCK_WINDOWS = 256

FloatArray = npt.NDArray[np.floating[Any]]


class WindowsNpzReader(Reader):
    """Rebuild the series under consecutive windows.

    Inside each part window i+1 must be window i shifted by one step; shuffled or strided windows
    are refused. Parts follow one another in time with a gap, so that no window can cross a split.
    They share steps where the windows were cut before they were split, so a later part is moved on
    by one more week than its place in the original series (rounded to a whole step): hour and
    weekday stay right, the date does not. ``split_steps`` in the attributes holds the steps of
    train, val and test.

    Where ``y`` has fewer features than ``x``, the others are NaN over the last L_out steps of a
    part.
    """

    name: ClassVar[str] = "windows_npz"
    description: ClassVar[str] = "STemDist folder: train.npz, val.npz, test.npz with windows x, y"
    accepts: ClassVar[frozenset[str]] = frozenset({"start", "step_minutes", "feature_names"})
    opens_folder: ClassVar[bool] = True

    def matches(self, path: Path) -> bool:
        """Recognise the three file names."""
        return all((path / f"{split}.npz").is_file() for split in _SPLITS)

    def _open(self, path: Path, options: ReaderOptions) -> xr.Dataset:
        parts: list[FloatArray] = []
        begins = [0]  # of each part, in steps of the original series
        last: tuple[FloatArray, FloatArray] | None = None
        for split in _SPLITS:
            x, y = _windows(path, split)
            if last is not None:
                if (x.shape[1:], y.shape[1:]) != (last[0].shape, last[1].shape):
                    raise InputError(
                        f"the windows x, y of {split}.npz in {str(path)!r} have shapes "
                        f"{x.shape[1:]}, {y.shape[1:]}, those of the part before "
                        f"{last[0].shape}, {last[1].shape}: they must agree"
                    )
                # Windows cut first and split later share steps; parts cut apart follow on.
                overlap = x.shape[1] + y.shape[1] - 1 if _equal(x[0, :-1], last[0][1:]) else 0
                begins.append(begins[-1] + len(parts[-1]) - overlap)
            parts.append(_rebuild(f"{split}.npz in {str(path)!r}", x, y))
            last = np.array(x[-1]), np.array(y[-1])
        lengths = [len(part) for part in parts]
        time = _times(path, options, begins, lengths)
        series = features_dataset(path, np.concatenate(parts), options, time=time)
        return series.assign_attrs(split_steps=lengths)


def write_windows(
    folder: str | Path,
    parts: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    *,
    replace: bool = False,
) -> None:
    """Write windows in STemDist's layout, so that its public code runs on them.

    Parameters
    ----------
    folder : str or Path
        New or empty folder; it appears complete or not at all.
    parts : mapping of str to (x, y)
        ``train``, ``val`` and ``test``, each ``x`` of shape (M, L_in, N, F) and ``y`` of shape
        (M, L_out, N) or (M, L_out, N, F_out), in physical units, the target first; written as
        float32, and ``y`` always with its last axis, for that code reads ``y[..., 0]``.
    replace : bool
        Replace what is there.

    Raises
    ------
    InputError
        If a part is missing, shapes do not fit, or the folder is not empty.
    OutputError
        If the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> x, y = np.zeros((5, 12, 3, 2)), np.zeros((5, 12, 3))
    >>> folder = Path(tempfile.mkdtemp()) / "windows"
    >>> write_windows(folder, {"train": (x, y), "val": (x, y), "test": (x, y)})
    >>> sorted(path.name for path in folder.iterdir())
    ['test.npz', 'train.npz', 'val.npz']
    """
    if set(parts) != set(_SPLITS):
        raise InputError(
            f"parts are {', '.join(sorted(parts)) or 'empty'}: they must be {', '.join(_SPLITS)}"
        )
    folder = Path(folder)
    if not replace and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{str(folder)!r} exists and is not an empty folder: name a new one")
    arrays = {split: tuple(map(np.asarray, parts[split])) for split in _SPLITS}
    for split, (x, y) in arrays.items():
        _check_shapes(f"part {split!r}", x, y)
        arrays[split] = x, _with_features(y)
    with atomic_path(folder) as scratch:
        scratch.mkdir()
        for split, (x, y) in arrays.items():
            # The offsets are those of DCRNN's scripts: x ends at step 0, y begins at step 1.
            np.savez_compressed(
                scratch / f"{split}.npz",
                x=x.astype(np.float32),
                y=y.astype(np.float32),
                x_offsets=np.arange(1 - x.shape[1], 1)[:, None],
                y_offsets=np.arange(1, y.shape[1] + 1)[:, None],
            )


def _windows(folder: Path, split: str) -> tuple[FloatArray, FloatArray]:
    file = folder / f"{split}.npz"
    if not file.is_file():
        raise InputError(
            f"{str(folder)!r} has no {split}.npz: train.npz, val.npz and test.npz are needed"
        )
    x, y = npz_array(file, "x"), npz_array(file, "y")
    _check_shapes(f"{split}.npz in {str(folder)!r}", x, y)
    return x, _with_features(y)


def _with_features(y: FloatArray) -> FloatArray:
    """Return targets (M, L_out, N[, F_out]) as (M, L_out, N, F_out)."""
    return y if y.ndim == 4 else y[..., None]


def _check_shapes(what: str, x: FloatArray, y: FloatArray) -> None:
    fits = (
        x.ndim == 4
        and y.ndim in (3, 4)
        and 0 not in x.shape + y.shape
        and (len(x), x.shape[2]) == (len(y), y.shape[2])
        and (y.ndim == 3 or y.shape[3] <= x.shape[3])
    )
    if not fits:
        raise InputError(
            f"{what} has x of shape {x.shape} and y of shape {y.shape}: they must be (windows, "
            "lookback, locations, features) and (windows, horizon, locations[, features])"
        )


def _rebuild(what: str, x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the series under the windows of one part: (M + L_in + L_out - 1, N, F)."""
    lookback, features = x.shape[1], y.shape[3]
    head = np.concatenate([x[0], x[1:, -1]])  # (M + L_in - 1, N, F)
    dtype = np.result_type(head, np.float32)  # whole numbers cannot hold NaN
    tail = np.full((y.shape[1], *head.shape[1:]), np.nan, dtype)  # (L_out, N, F)
    tail[..., :features] = y[-1]
    series = np.concatenate([head, tail])
    for name, windows, offset in (("x", x, 0), ("y", y, lookback)):
        under = np.lib.stride_tricks.sliding_window_view(
            series[offset:, :, : windows.shape[3]], windows.shape[1], axis=0
        )  # (M', N, F, L)
        for first in range(0, len(x), _BLOCK_WINDOWS):
            block = slice(first, first + _BLOCK_WINDOWS)
            if not _equal(windows[block], np.moveaxis(under[: len(x)][block], -1, 1)):
                raise InputError(
                    f"the windows of {what} do not follow one another step by step (in {name}, "
                    f"after window {first}): they were shuffled, thinned out or made from "
                    "several series, so the series cannot be rebuilt. Give the original series"
                )
    return series


def _equal(left: FloatArray, right: FloatArray) -> bool:
    return np.array_equal(left, right, equal_nan=True)


def _times(
    path: Path, options: ReaderOptions, begins: list[int], lengths: list[int]
) -> npt.NDArray[np.datetime64]:
    """Return the times of all parts; each later part is shifted by a further whole week or more."""
    if options.step_minutes is None:
        return time_axis(sum(lengths), path, options)  # says what is missing
    week_steps = max(1, round(_WEEK_MINUTES / options.step_minutes))
    ends = np.add(begins, lengths)
    overlap = int(max(ends[:-1] - begins[1:]))
    shift = week_steps * (1 + overlap // week_steps)  # more than the overlap
    steps = np.concatenate([np.arange(begins[i], ends[i]) + i * shift for i in range(len(begins))])
    times: npt.NDArray[np.datetime64] = time_axis(int(steps[-1]) + 1, path, options)[steps]
    return times

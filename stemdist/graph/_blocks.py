"""A series of locations in blocks of time: checked, centred, sketched.

Shapes: t time steps of one block, N locations, F features, d = t * F.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stemdist.errors import InputError

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

SKETCH_WIDTH = 256


class Block(NamedTuple):
    """Some time steps of the series, each less its mean over the observed locations.

    ``values (N, d)`` with 0 where missing, ``observed (N, d)`` or ``None`` if nothing is
    missing, ``step_mean (d,)``. Taking the mean away changes no distance and keeps single
    precision exact enough.
    """

    values: Floats
    observed: Floats | None
    step_mean: npt.NDArray[np.float64]


Blocks = Callable[[], Iterable[Block]]


def prepare_block(array: npt.NDArray[np.floating], observed: npt.NDArray[np.bool_] | None) -> Block:
    """Make a block of ``array (t, N, F)`` and its mask, of the same shape."""
    seen = np.isfinite(array) if observed is None else observed & np.isfinite(array)
    known = np.where(seen, array, 0)
    mean = known.sum(axis=1, dtype=np.float64) / np.maximum(seen.sum(axis=1), 1)  # (t, F)
    centred = np.where(seen, known - mean[:, None], 0)
    size = array.shape[1]
    values = np.ascontiguousarray(centred.swapaxes(0, 1).reshape(size, -1), dtype=np.float32)
    mask = None
    if not seen.all():
        mask = np.ascontiguousarray(seen.swapaxes(0, 1).reshape(size, -1), dtype=np.float32)
    return Block(values, mask, mean.ravel())


class Repeatable:
    """An iterable that starts again each time."""

    def __init__(self, start: Callable[[], Iterator[Any]]) -> None:
        self._start = start

    def __iter__(self) -> Iterator[Any]:
        return self._start()


@dataclass(frozen=True, kw_only=True)
class Source:
    """A series in time blocks, and the results of the first pass over it."""

    blocks: Blocks
    n_locations: int
    n_features: int
    n_values: int
    has_feature_axis: bool


def survey(parts: Iterable[Any]) -> Source:
    """Read the series once: its shape, and whether every location has a value."""
    shape: tuple[int, ...] | None = None
    n_steps = 0
    values_of: npt.NDArray[np.int64] | int = 0
    for part in parts:
        array, mask = split_part(part)
        if shape is not None and array.shape[1:] != shape:
            raise InputError(
                f"a block has the shape {array.shape}, but the locations and features before "
                f"were {shape}: all blocks must have the same"
            )
        shape = array.shape[1:]
        n_steps += len(array)
        seen = np.isfinite(array) if mask is None else mask & np.isfinite(array)
        values_of = values_of + seen.reshape(len(seen), shape[0], -1).sum(axis=(0, 2))
    if shape is None or n_steps == 0:
        raise InputError("there is no time step to cluster by: blocks is empty")
    unseen = np.flatnonzero(np.asarray(values_of) == 0)
    if len(unseen):
        raise InputError(
            f"{len(unseen)} of {shape[0]} locations have no observed value, the first is number "
            f"{unseen[0]}: drop them before clustering"
        )

    def blocks() -> Iterator[Block]:
        for part in parts:
            array, mask = split_part(part)
            cube = (*array.shape[:2], -1)
            yield prepare_block(array.reshape(cube), None if mask is None else mask.reshape(cube))

    n_features = math.prod(shape[1:])
    return Source(
        blocks=blocks,
        n_locations=shape[0],
        n_features=n_features,
        n_values=n_steps * n_features,
        has_feature_axis=len(shape) > 1,
    )


def split_part(part: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    if isinstance(part, tuple):
        array = checked_series(part[0])
        return array, checked_mask(part[1], array)
    return checked_series(part), None


def checked_series(X: npt.ArrayLike) -> npt.NDArray[Any]:
    series = np.asarray(X)
    if series.ndim not in (2, 3) or 0 in series.shape[1:]:
        raise InputError(
            f"the series to cluster has the shape {series.shape}: it must be (time, location) or "
            "(time, location, feature)"
        )
    if series.dtype.kind not in "fiu":
        raise InputError(f"the series to cluster has the type {series.dtype}: it must be numbers")
    return series if series.dtype.kind == "f" else series.astype(np.float64)


def checked_mask(observed: npt.ArrayLike, series: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    mask = np.asarray(observed, dtype=bool)
    if mask.shape not in (series.shape, series.shape[:2]):
        raise InputError(f"observed has the shape {mask.shape}, but the series has {series.shape}")
    return np.broadcast_to(
        mask.reshape(mask.shape + (1,) * (series.ndim - mask.ndim)), series.shape
    )


def sketch_of(source: Source, random: np.random.RandomState) -> npt.NDArray[np.float32]:
    """Return the centred series ``(N, d)`` if short, else a random projection of them."""
    if source.n_values <= SKETCH_WIDTH:
        return np.concatenate([block.values for block in source.blocks()], axis=1)
    sketch = np.zeros((source.n_locations, SKETCH_WIDTH), dtype=np.float32)
    for block in source.blocks():
        directions = random.standard_normal((block.values.shape[1], SKETCH_WIDTH))
        sketch += block.values @ directions.astype(np.float32)
    return sketch

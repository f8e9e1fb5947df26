"""Chunks of a stored array: which are read together, and which are hostile.

Shapes: T time steps, N locations.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr

log = logging.getLogger(__name__)

BLOCK_BYTES = 32 * 2**20
"""Small chunks are read together up to this size."""
LARGE_CHUNK_BYTES = 512 * 2**20
MANY_STRETCHES = 20


def time_blocks(n_steps: int, width: int, at_most: int) -> Iterator[slice]:
    """Cut a time axis into blocks of at most ``at_most`` values, ``width`` of them a step.

    Examples
    --------
    >>> list(time_blocks(5, 10, at_most=25))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    size = max(1, at_most // max(1, width))
    for begin in range(0, n_steps, size):
        yield slice(begin, min(begin + size, n_steps))


def merged_chunks(array: xr.DataArray, block_bytes: int = BLOCK_BYTES) -> xr.DataArray:
    """Join small chunks of an array (T, N), so that blocks are worth a task of their own.

    Blocks end where chunks end; first locations are joined, then steps.

    Examples
    --------
    >>> array = xr.DataArray(np.zeros((8, 6), "f4"), dims=("time", "location"))
    >>> merged_chunks(array.chunk(time=1, location=3), block_bytes=48).chunks
    ((2, 2, 2, 2), (6,))
    """
    steps, places = array.chunks or ((array.sizes["time"],), (array.sizes["location"],))
    size = array.dtype.itemsize
    places = _joined(places, block_bytes // (size * max(steps)))
    steps = _joined(steps, block_bytes // (size * max(places)))
    return array.chunk({"time": steps, "location": places})


def chunk_bytes(array: xr.DataArray) -> int:
    """Return the bytes of the largest chunk of an array (T, N)."""
    steps, places = array.chunks or ((array.sizes["time"],), (array.sizes["location"],))
    return int(array.dtype.itemsize * max(steps) * max(places))


def warn_of_chunks(array: xr.DataArray, shortest: int) -> None:
    """Warn of chunks that make reading a sample of stretches of time expensive.

    Parameters
    ----------
    array : xarray.DataArray
        (T, N) of a canonical series.
    shortest : int
        Steps of a stretch.
    """
    size, steps = chunk_bytes(array), int(np.diff(time_edges(array)).max())
    fault = None
    if size > LARGE_CHUNK_BYTES:
        fault = f"of {size / 2**20:.0f} MiB, of which every worker holds several"
    elif steps > MANY_STRETCHES * shortest and array.nbytes > LARGE_CHUNK_BYTES:
        fault = f"of {steps} steps, so that every stretch of {shortest} steps needs them whole"
    if fault:
        better = max(1, min(shortest, BLOCK_BYTES // (array.dtype.itemsize * array.shape[1])))
        log.warning(
            "the store has chunks %s: reading is slow. Better ones are written by "
            "xarray.open_zarr(STORE).chunk(time=%d).to_zarr(NEW), with all places in a chunk",
            fault,
            better,
        )


def time_edges(array: xr.DataArray) -> np.ndarray:
    """Return the first steps of the chunks of an array, and one past its last step."""
    chunks = dict(zip(array.dims, array.chunks or (), strict=False))
    return np.cumsum([0, *chunks.get("time", (array.sizes["time"],))])


def _joined(chunks: Sequence[int], at_most: int) -> tuple[int, ...]:
    """Join neighbouring chunks up to a length, none of them cut."""
    found: list[int] = []
    for length in chunks:
        if found and found[-1] + length <= at_most:
            found[-1] += length
        else:
            found.append(length)
    return tuple(found)

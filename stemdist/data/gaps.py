"""Time gaps: window starts between them, and the filling of missing values.

Shapes: T steps, M windows, L_in lookback steps, L_out horizon steps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from stemdist.data.chunks import time_blocks
from stemdist.errors import InputError

BLOCK_VALUES = 2_000_000
"""Values that are filled together."""


def gapless_starts(begin: int, end: int, span: int, gaps: np.ndarray) -> np.ndarray:
    """Return the first step of every run of ``span`` steps inside [begin, end) without a gap.

    Parameters
    ----------
    begin, end, span : int
        Steps.
    gaps : numpy.ndarray
        Each i where time i to i+1 is not the usual step.

    Examples
    --------
    >>> gapless_starts(0, 10, 4, np.array([4]))
    array([0, 1, 5, 6])
    """
    starts = np.arange(begin, max(end - span + 1, begin))
    crossed = np.searchsorted(gaps, starts + span - 1) - np.searchsorted(gaps, starts)
    inside: np.ndarray = starts[crossed == 0]
    return inside


def window_starts(
    begin: int, end: int, lookback: int, horizon: int, gaps: np.ndarray, part: str = "series"
) -> Tensor:
    """Return the first step of every window inside [begin, end) that crosses no gap.

    Parameters
    ----------
    begin, end : int
        Half-open range of time steps of the part.
    lookback, horizon : int
        L_in and L_out.
    gaps : numpy.ndarray
        Each i where time i to i+1 is not the usual step.
    part : str
        Name of the part, for the error message.

    Returns
    -------
    Tensor
        (M,) int64.

    Raises
    ------
    InputError
        If no window fits.

    Examples
    --------
    >>> window_starts(0, 10, 2, 2, np.array([4]))
    tensor([0, 1, 5, 6])
    """
    span = lookback + horizon
    starts = gapless_starts(begin, end, span, gaps)
    if not len(starts):
        cause = f" without crossing one of its {len(gaps)} time gaps" if len(gaps) else ""
        raise InputError(
            f"the {part} part has {end - begin} time steps: no window of lookback {lookback} + "
            f"horizon {horizon} = {span} steps fits in{cause}. Use a shorter --lookback or "
            "--horizon, a longer series, or another --split"
        )
    return torch.from_numpy(starts)


def fill_forward(values: np.ndarray, limit: int) -> np.ndarray:
    """Fill missing entries of (T, ...) with the last value at most ``limit`` steps before, else 0.

    Only the past is used, so nothing leaks from a later part of the series. Zero is the
    training mean in scaled units.

    Examples
    --------
    >>> fill_forward(np.array([[np.nan], [2.0], [np.nan], [np.nan]]), limit=1).ravel().tolist()
    [0.0, 2.0, 2.0, 0.0]
    """
    if all(np.isfinite(values[block]).all() for block in _blocks(values)):
        return values
    filled = values.copy()
    fill_in_place(filled, limit)
    return filled


def fill_in_place(values: np.ndarray, limit: int) -> None:
    """Fill as :func:`fill_forward` does, without a second array: block by block in time.

    Parameters
    ----------
    values : numpy.ndarray
        (T, ...), changed.
    limit : int
        Steps that a value is carried on.
    """
    carried = np.zeros(values.shape[1:], dtype=values.dtype)
    seen = np.full(values.shape[1:], -limit - 1, dtype=np.int32)  # step of what is carried
    for place in _blocks(values):
        block = values[place]
        observed = np.isfinite(block)
        if observed.all():
            carried, seen[...] = block[-1].copy(), place.stop - 1
            continue
        step = np.arange(place.start, place.stop, dtype=np.int32)
        step = step.reshape(-1, *[1] * (block.ndim - 1))
        last = np.where(observed, step, np.int32(-limit - 1))
        last[0] = np.maximum(last[0], seen)
        np.maximum.accumulate(last, axis=0, out=last)
        inside = last >= place.start
        own = np.take_along_axis(block, np.where(inside, last - place.start, 0), axis=0)
        filled = np.where(inside, own, carried)
        carried, seen = filled[-1].copy(), last[-1].copy()
        block[...] = np.where(step - last <= limit, filled, np.zeros((), values.dtype))


def _blocks(values: np.ndarray) -> Iterator[slice]:
    return time_blocks(len(values), values[:1].size, BLOCK_VALUES)

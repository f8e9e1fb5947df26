"""One pass over a series that does not fit into memory, by dask: statistics and projections.

Shapes: T time steps, N locations, t steps and n locations of a block, W columns of a sketch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from stemdist.data.checks import ValueSummary
from stemdist.data.chunks import merged_chunks, time_blocks
from stemdist.data.scaling import constant, unobserved
from stemdist.progress import bar, bars

_STEPS = 2**16
SKETCH_WIDTH = 256
"""Columns of a projection, as many as the random bits of one step."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What one pass over a variable found.

    Attributes
    ----------
    summary : ValueSummary
        Of all steps read, for the checks of values.
    centre : float
        What was subtracted before sums were taken, so that they are exact.
    key : int
        Of the random signs.
    count : numpy.ndarray
        (N,) int64, observed values of the training part.
    total, square : numpy.ndarray
        (N,) float64, their sum and the sum of their squares, less ``centre``.
    low, high : float
        Range of the training part; infinite where nothing is observed.
    sketch : numpy.ndarray or None
        (N, W) float32, a random projection of the training part of each location less
        ``centre``, so that distances between rows are those between series times sqrt(W).
        Missing values are set to the mean of their location within the block that was read.
    """

    summary: ValueSummary
    centre: float
    key: int
    count: npt.NDArray[np.int64]
    total: npt.NDArray[np.float64]
    square: npt.NDArray[np.float64]
    low: float
    high: float
    sketch: npt.NDArray[np.float32] | None

    @property
    def mean(self) -> float:
        """Mean of the observed training values, in physical units."""
        return self.centre + float(self.total.sum()) / self._observed

    @property
    def scale(self) -> float:
        """Standard deviation of the observed training values."""
        mean = float(self.total.sum()) / self._observed
        return math.sqrt(max(float(self.square.sum()) / self._observed - mean**2, 0.0))

    @property
    def location_mean(self) -> npt.NDArray[np.float64]:
        """(N,) mean of each location; that of all where nothing is observed."""
        own = self.total / np.maximum(self.count, 1)
        return np.asarray(np.where(self.count > 0, own + self.centre, self.mean))

    def centred_sketch(self, train_steps: int) -> npt.NDArray[np.float32] | None:
        """Return the projection of each series less its own mean (N, W); None without one."""
        if self.sketch is None:
            return None
        signs = np.zeros(self.sketch.shape[1], dtype=np.float64)
        for block in time_blocks(train_steps, 1, _STEPS):
            part = directions(block.start, block.stop - block.start, len(signs), self.key)
            signs += part.sum(axis=0, dtype=np.float64)
        apart = (self.location_mean - self.centre).astype(np.float32)
        return self.sketch - apart[:, None] * signs.astype(np.float32)

    @property
    def _observed(self) -> int:
        return max(int(self.count.sum()), 1)

    def at(self, locations: npt.NDArray[np.bool_]) -> Survey:
        """Return the survey of chosen locations (N,); what was found of all values stays."""
        return replace(
            self,
            count=self.count[locations],
            total=self.total[locations],
            square=self.square[locations],
            sketch=None if self.sketch is None else self.sketch[locations],
        )

    def then(self, later: Survey) -> Survey:
        """Return the survey of two parts of the time axis."""
        sketch = self.sketch
        if sketch is not None and later.sketch is not None:
            sketch = sketch + later.sketch
        sums = (getattr(self, n) + getattr(later, n) for n in ("count", "total", "square"))
        return self._with(later, self.summary.then(later.summary), *sums, sketch)

    def beside(self, other: Survey) -> Survey:
        """Return the survey of two groups of locations."""
        names = ("count", "total", "square", "sketch")
        pairs = ((getattr(self, name), getattr(other, name)) for name in names)
        joined = (None if one is None else np.concatenate([one, two]) for one, two in pairs)
        return self._with(other, self.summary.beside(other.summary), *joined)

    def _with(self, other: Survey, summary: ValueSummary, *arrays: Any) -> Survey:
        count, total, square, sketch = arrays
        return Survey(
            summary=summary,
            centre=self.centre,
            key=self.key,
            count=count,
            total=total,
            square=square,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            sketch=sketch,
        )


def survey(
    series: xr.Dataset,
    train_steps: int,
    n_targets: int,
    *,
    width: int = SKETCH_WIDTH,
    seed: int = 0,
    progress: bool | None = False,
) -> list[Survey]:
    """Read every value of a canonical series once, in blocks, by dask.

    Blocks are read by the scheduler that is in use: threads, processes, or a
    ``dask.distributed.Client``. No more than a few blocks a worker are in memory.

    Parameters
    ----------
    series : xarray.Dataset
        Canonical (time, location) series, usually without the test part.
    train_steps : int
        Statistics and projections are of the first so many steps; checks are of all.
    n_targets : int
        The first so many variables are projected.
    width : int
        Columns W of the projection, at most 256.
    seed : int
        Of the projection, which depends neither on the chunks nor on the scheduler.
    progress : bool, optional
        Show a bar; None shows it on a terminal only.

    Returns
    -------
    list of Survey
        One for each variable.

    Notes
    -----
    The projection has independent signs of equal probability (Achlioptas, Journal of Computer
    and System Sciences 66, 2003); those of a step come from a counter-based generator, so that
    blocks can be projected in any order.

    Examples
    --------
    >>> from stemdist.data import open_series
    >>> series = open_series("weather-sim")
    >>> found = survey(series, train_steps=800, n_targets=1)[0]
    >>> found.sketch.shape, bool(np.isclose(found.mean, float(series["t2m"][:800].mean())))
    ((768, 256), True)
    """
    from dask.base import compute
    from dask.delayed import delayed

    roots = []
    for number, array in enumerate(series.data_vars.values()):
        values = merged_chunks(array.transpose("time", "location")).data
        look = partial(
            _looked_at,
            n_steps=len(values),
            n_values=values.size,
            train_steps=train_steps,
            centre=_near_centre(array),
            width=width if number < n_targets else 0,
            key=seed * 1000 + number,
        )
        steps = np.cumsum([0, *values.chunks[0]]).tolist()
        columns = [
            _tree([delayed(look)(b, s) for b, s in zip(blocks, steps, strict=False)], Survey.then)
            for blocks in values.to_delayed().T
        ]
        roots.append(_tree(columns, Survey.beside))
    with progress_bar("statistics and projection", progress):
        return list(compute(*roots))  # type: ignore[no-untyped-call]


def progress_bar(title: str, progress: bool | None) -> AbstractContextManager[Any]:
    """Return a bar over the tasks that dask computes in the block; a cluster has its own."""
    if progress is False:
        return nullcontext()
    bars()  # loads what tqdm.dask imports without its warning
    from tqdm.dask import TqdmCallback

    def shown(total: int, **_: Any) -> Any:
        return bar(title=title, total=total, unit="task", progress=progress)

    return TqdmCallback(tqdm_class=shown)  # type: ignore[arg-type]


def directions(begin: int, n_steps: int, width: int, key: int) -> npt.NDArray[np.float32]:
    """Return (n_steps, width) signs of the steps from ``begin`` on.

    Examples
    --------
    >>> bool((directions(3, 2, 8, key=1) == directions(0, 5, 8, key=1)[3:]).all())
    True
    """
    generator = np.random.Philox(key=key)
    bits = generator.advance(begin).random_raw(4 * n_steps)  # 4 x 64 bits a step
    signs = np.unpackbits(np.asarray(bits, dtype="<u8").view(np.uint8)).reshape(n_steps, 256)
    return signs[:, :width].astype(np.float32) * 2 - 1


def _looked_at(
    block: npt.NDArray[Any],
    begin: int,
    *,
    n_steps: int,
    n_values: int,
    train_steps: int,
    centre: float,
    width: int,
    key: int,
) -> Survey:
    """Survey a block (t, n) whose first step is number ``begin``."""
    summary = ValueSummary(n_steps=n_steps, n_locations=block.shape[1], of_values=n_values)
    summary.add(block, begin)
    part = block[: max(0, train_steps - begin)]
    centred = (part - centre).astype(np.float32, copy=False)  # in the precision of the source
    seen = np.isfinite(centred)
    complete = bool(seen.all())
    known = centred if complete else np.where(seen, centred, np.float32(0))
    count = seen.sum(axis=0)
    total = known.sum(axis=0, dtype=np.float64)
    square = np.einsum("tn,tn->n", known, known, dtype=np.float64)
    sketch = None
    if width:
        if not complete:
            mean = (total / np.maximum(count, 1)).astype(np.float32)
            known = np.where(seen, known, mean)
        sketch = known.T @ directions(begin, len(known), width, key)
    return Survey(
        summary=summary,
        centre=centre,
        key=key,
        count=count,
        total=total,
        square=square,
        low=float(np.min(part, where=seen, initial=np.inf)),
        high=float(np.max(part, where=seen, initial=-np.inf)),
        sketch=sketch,
    )


def _near_centre(array: xr.DataArray) -> float:
    """Return about the mean of a variable: of the first steps that are read together."""
    first = array.transpose("time", "location")[: max(1, 2**20 // array.sizes["location"])].values
    seen = first[np.isfinite(first)]
    return float(seen.mean(dtype=np.float64)) if seen.size else 0.0


def _tree(parts: Sequence[Any], join: Callable[[Survey, Survey], Survey]) -> Any:
    """Join neighbours two by two, so that few are waiting at any time."""
    from dask.delayed import delayed

    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [delayed(join)(*pair) if len(pair) > 1 else pair[0] for pair in pairs]
    return parts[0]


def check_usable(name: str, found: Survey) -> None:
    """Refuse what :meth:`~stemdist.data.scaling.Scaler.fit` refuses."""
    if not found.count.any():
        raise unobserved(name)
    if found.scale <= 1e-7 * max(abs(found.mean - found.centre), 1e-30):
        raise constant(name, found.mean)

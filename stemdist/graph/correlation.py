"""The most correlated series as neighbours, without a matrix of all pairs.

Shapes: T time steps, N locations, b locations of one block, k neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from stemdist.data.survey import SKETCH_WIDTH, directions
from stemdist.errors import InputError
from stemdist.graph.edges import Edges, from_neighbour_table

if TYPE_CHECKING:
    from stemdist.graph.settings import GraphSettings

Floats = npt.NDArray[np.float32]

_BLOCK = 512
_DIRECT = 4096
"""Locations up to which all pairs are compared over all steps."""
_CANDIDATES = 8
"""Candidates for each neighbour, found by projections and then compared over all steps."""
_GATHERED = 2**25
"""Values of candidates in memory."""
_SMALLEST_OVERLAP = 0.1  # correlations over fewer shared steps are noisy and often extreme


def correlation_edges(series: xr.Dataset, settings: GraphSettings) -> Edges:
    """Connect each location with the ``neighbours`` whose targets correlate most with its own.

    Weights are Pearson correlations over the steps at which both are observed (at least 10 %
    of all); locations without a positive correlation are no neighbours. Memory grows with
    ``T * N``, never with ``N * N``. Above 4,096 locations the series are projected to 256 numbers
    each, and only the 8 k nearest projections of a location are compared over all steps: time
    grows with ``N * T``, the weights are exact, and a neighbour can be missed whose correlation is
    close to that of the k-th (a correlation r of projections errs by about (1 - r^2) / 16).

    Raises
    ------
    InputError
        If there are fewer than two time steps.
    """
    target = next(iter(series.data_vars.values())).transpose("time", "location")
    if target.sizes["time"] < 2:
        raise InputError(
            f"the graph 'correlation' needs at least 2 time steps; there is {target.sizes['time']}"
        )
    scaled, observed = _scaled(np.asarray(target.values))  # (N, T), (N, T) or None
    size = len(scaled)
    count = min(settings.neighbours, size - 1)
    squares = None if observed is None else scaled**2
    if size > _DIRECT:
        candidates = _projected(scaled, min(_CANDIDATES * count, size - 1))
        weights = _exact(scaled, squares, observed, candidates)
        best = np.argpartition(-weights, count - 1, axis=1)[:, :count]  # (N, k)
        chosen = np.take_along_axis(candidates, best, axis=1)
        return from_neighbour_table(chosen, np.take_along_axis(weights, best, axis=1))

    def block_of(rows: slice) -> Floats:
        def products(left: Floats, right: Floats) -> Floats:
            return left[rows] @ right.T  # (b, N)

        return _correlations(products, scaled, squares, observed)

    chosen = _nearest(block_of, size, count)
    return from_neighbour_table(chosen, _exact(scaled, squares, observed, chosen))


def projected_edges(sketch: Floats, neighbours: int) -> Edges:
    """Connect locations by projections of their series, where the series do not fit into memory.

    Parameters
    ----------
    sketch : (N, W) array
        Random projections of the series less their means; see
        :func:`~stemdist.data.survey.survey`.
    neighbours : int
        k.

    Returns
    -------
    Edges
        As of :func:`correlation_edges`, with weights that err by about (1 - r^2) / sqrt(W).
    """
    scaled = _of_unit_variance(sketch)
    chosen = _nearest_rows(scaled, min(neighbours, len(scaled) - 1))
    return from_neighbour_table(chosen, _exact(scaled, None, None, chosen))


def _nearest(block_of: Callable[[slice], Floats], size: int, count: int) -> npt.NDArray[np.int64]:
    """Return the ``count`` others (N, count) of the largest values in blocks (b, N) of rows."""
    neighbours = np.empty((size, count), dtype=np.int64)
    for start in range(0, size, _BLOCK):
        rows = slice(start, min(start + _BLOCK, size))
        block = block_of(rows)
        block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = -np.inf
        neighbours[rows] = np.argpartition(-block, count - 1, axis=1)[:, :count]
    return neighbours


def _projected(scaled: Floats, count: int) -> npt.NDArray[np.int64]:
    """Return the nearest (N, count) of each location by projections of the series (N, T)."""
    size, n_steps = scaled.shape
    sketch = np.zeros((size, SKETCH_WIDTH), dtype=np.float32)
    for begin in range(0, n_steps, _BLOCK):
        part = scaled[:, begin : begin + _BLOCK]
        sketch += part @ directions(begin, part.shape[1], SKETCH_WIDTH, key=0)
    return _nearest_rows(_of_unit_variance(sketch), count)


def _nearest_rows(scaled: Floats, count: int) -> npt.NDArray[np.int64]:
    """Return the ``count`` others (N, count) with the largest products of rows (N, W)."""
    return _nearest(lambda rows: scaled[rows] @ scaled.T, len(scaled), count)


def _exact(
    scaled: Floats,
    squares: Floats | None,
    observed: Floats | None,
    others: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Return the correlation (N, n) of each location with its ``others``, over all steps.

    Sums are made in one order whatever the number of threads, which products of matrices are not:
    weights, and so the hash of a task, are the same in every process.
    """
    size, n_steps = scaled.shape
    weights = np.empty(others.shape)
    length = max(1, _GATHERED // (others.shape[1] * n_steps))
    for start in range(0, size, length):
        rows = slice(start, start + length)

        def products(left: Floats, right: Floats, rows: slice = rows) -> Floats:
            found: Floats = np.einsum("bt,bkt->bk", left[rows], right[others[rows]])
            return found

        weights[rows] = _correlations(products, scaled, squares, observed).clip(0.0, 1.0)
    return weights


def _of_unit_variance(rows: Floats) -> Floats:
    """Return rows (N, W) whose mean square is 1, those of constant series with 0."""
    spread = np.linalg.norm(rows, axis=1, keepdims=True) / math.sqrt(rows.shape[1])
    return np.asarray(rows / np.where(spread > 0, spread, np.inf), dtype=np.float32)


def _scaled(values: npt.NDArray[np.floating]) -> tuple[Floats, Floats | None]:
    """Return each location's scaled series, 0 where missing, and the mask if any is missing."""
    observed = np.isfinite(values)  # (T, N)
    count = np.maximum(observed.sum(axis=0), 1)
    mean = np.where(observed, values, 0).sum(axis=0, dtype=np.float64) / count
    centred = np.where(observed, values - mean, 0)
    spread = np.sqrt((centred**2).sum(axis=0, dtype=np.float64) / count)
    rounding = 10 * float(np.finfo(values.dtype).eps)
    constant = spread <= rounding * np.maximum(np.abs(mean), 1e-30)
    scaled = centred / np.where(constant, np.inf, spread)
    contiguous = np.ascontiguousarray(scaled.T, dtype=np.float32)
    if observed.all():
        return contiguous, None
    return contiguous, np.ascontiguousarray(observed.T, dtype=np.float32)


def _correlations(
    products: Callable[[Floats, Floats], Floats],
    scaled: Floats,
    squares: Floats | None,
    observed: Floats | None,
) -> Floats:
    """Return correlations ``(b, n)`` over the steps at which both series are observed.

    ``products`` returns the scalar products of chosen rows of its first argument with chosen rows
    of its second.
    """
    if observed is None or squares is None:
        return products(scaled, scaled) / np.float32(scaled.shape[1])
    both = products(observed, observed)
    known = np.maximum(both, 1)
    sum_row = products(scaled, observed)
    sum_other = products(observed, scaled)
    covariance = products(scaled, scaled) - sum_row * sum_other / known
    variance_row = products(squares, observed) - sum_row**2 / known
    variance_other = products(observed, squares) - sum_other**2 / known
    enough = max(2, math.ceil(_SMALLEST_OVERLAP * scaled.shape[1]))
    # on a scaled series a variance of rounding size means that the shared part is constant
    usable = (both >= enough) & (np.minimum(variance_row, variance_other) > 1e-5 * both)
    scale = np.sqrt(np.where(usable, variance_row * variance_other, np.inf))
    return np.asarray(covariance / scale, dtype=np.float32)

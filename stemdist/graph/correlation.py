"""The most correlated series as neighbours, without a matrix of all pairs.

Shapes: T time steps, N locations, b locations of one block, k neighbours.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from stemdist.errors import InputError
from stemdist.graph.edges import Edges, from_neighbour_table

if TYPE_CHECKING:
    from stemdist.graph.settings import GraphSettings

Floats = npt.NDArray[np.float32]

_BLOCK = 512
_SMALLEST_OVERLAP = 0.1  # correlations over fewer shared steps are noisy and often extreme


def correlation_edges(series: xr.Dataset, settings: GraphSettings) -> Edges:
    """Connect each location with the ``neighbours`` whose targets correlate most with its own.

    Weights are Pearson correlations over the steps at which both are observed (at least 10 %
    of all); locations without a positive correlation are no neighbours. Memory grows with
    ``T * N``, never with ``N * N``.

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
    neighbours = np.empty((size, count), dtype=np.int64)
    weights = np.empty((size, count))
    for start in range(0, size, _BLOCK):
        rows = slice(start, min(start + _BLOCK, size))
        if observed is None or squares is None:
            block = scaled[rows] @ scaled.T / np.float32(scaled.shape[1])  # (b, N)
        else:
            block = _pairwise(scaled, squares, observed, rows)
        block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = -np.inf
        best = np.argpartition(-block, count - 1, axis=1)[:, :count]  # (b, k)
        neighbours[rows] = best
        weights[rows] = np.take_along_axis(block, best, axis=1).clip(0.0, 1.0)
    return from_neighbour_table(neighbours, weights)


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


def _pairwise(scaled: Floats, squares: Floats, observed: Floats, rows: slice) -> Floats:
    """Return correlations ``(b, N)`` over the steps at which both series are observed."""
    seen = observed[rows]
    both = seen @ observed.T
    known = np.maximum(both, 1)
    sum_row = scaled[rows] @ observed.T
    sum_other = seen @ scaled.T
    covariance = scaled[rows] @ scaled.T - sum_row * sum_other / known
    variance_row = squares[rows] @ observed.T - sum_row**2 / known
    variance_other = seen @ squares.T - sum_other**2 / known
    enough = max(2, math.ceil(_SMALLEST_OVERLAP * scaled.shape[1]))
    # on a scaled series a variance of rounding size means that the shared part is constant
    usable = (both >= enough) & (np.minimum(variance_row, variance_other) > 1e-5 * both)
    scale = np.sqrt(np.where(usable, variance_row * variance_other, np.inf))
    return np.asarray(covariance / scale, dtype=np.float32)

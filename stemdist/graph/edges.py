"""Edges between locations as three flat arrays: what every graph method returns.

Shapes: E edges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch_geometric.data import Data


class Edges(NamedTuple):
    """Directed weighted edges; information flows from ``source`` to ``target``.

    Parameters
    ----------
    source, target : (E,) int64
        Positions of the locations in the series.
    weight : (E,) float
        Non-negative weight of each edge.
    """

    source: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]


def from_neighbour_table(neighbours: npt.NDArray[np.int64], weight: npt.ArrayLike) -> Edges:
    """Return the edges neighbour -> location of a table with one row per location.

    Parameters
    ----------
    neighbours : (N, k) int
        Row ``i`` lists the neighbours of location ``i``.
    weight : (N, k) float
        Their weights; edges of weight 0 are left out.

    Examples
    --------
    >>> from_neighbour_table(np.array([[1], [0]]), [[0.5], [0.0]]).source
    array([1])
    """
    weights = np.asarray(weight, dtype=np.float64).ravel()
    target = np.repeat(np.arange(len(neighbours), dtype=np.int64), neighbours.shape[1])
    kept = weights > 0
    return Edges(neighbours.ravel().astype(np.int64)[kept], target[kept], weights[kept])


def make_graph(**fields: Any) -> Data:
    """Return a PyG graph of ``fields``; PyG, which loads slowly, is imported here alone."""
    from torch_geometric.data import Data

    return Data(**fields)

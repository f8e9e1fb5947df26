"""Influence of each location in the graph that a forecaster has learned.

Shapes: N locations, E edges.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stemdist.forecast import Forecaster


@torch.no_grad()
def influence(forecaster: Forecaster, profile: Tensor) -> Tensor | None:
    """Return the total weight of edges from each location to others in a learned graph.

    Parameters
    ----------
    forecaster : Forecaster
        A trained forecaster.
    profile : Tensor
        (N, L_in * F) mean window of each location.

    Returns
    -------
    Tensor or None
        (N,) sums of the weights of edges to other locations, relative to the mean: 1 everywhere
        in a uniform graph, 0 at a location without such edges. None for a forecaster that learns
        no graph.

    Examples
    --------
    >>> from stemdist.forecast import make_forecaster
    >>> influence(make_forecaster("linear", lookback=2, horizon=1, n_features=1), torch.ones(3, 2))
    """
    edges = forecaster.eval().learned_edges(profile)
    if edges is None:
        return None
    (source, target), weight = edges
    others = torch.where(source == target, 0.0, weight)
    read = weight.new_zeros(len(profile)).index_add(0, source, others)
    return read / read.mean().clamp(min=torch.finfo(read.dtype).tiny)

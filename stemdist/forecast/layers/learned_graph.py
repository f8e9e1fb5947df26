"""Graphs learned from location codes.

Shapes: N locations, R code columns, E stored pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from stemdist.forecast.layers.products import Formulation, Product
from stemdist.forecast.layers.sparse import Pattern, pair_weights, top_k_rows


def learned_adjacency(
    source_code: Tensor,
    target_code: Tensor,
    neighbours: int,
    saturation: float,
    product: Formulation,
) -> tuple[Product, Product]:
    """Learn a directed graph from location codes and normalise it in both directions.

    Wu et al., MTGNN, KDD 2020, section 4.2 (top-k rows of a uni-directional graph) and
    section 4.3 (self loops and row normalisation).

    Parameters
    ----------
    source_code, target_code : Tensor
        (N, R) codes e1 and e2.
    neighbours : int
        k; all locations where ``N <= k``.
    saturation : float
        Slope of the tanh.
    product : callable
        :func:`sparse_product` or :func:`dense_product`.

    Returns
    -------
    tuple of callable
        Products with ``D^-1 (A + I)`` and with ``D'^-1 (A^T + I)``.

    Examples
    --------
    >>> from stemdist.forecast.layers.products import dense_product
    >>> e1, e2 = torch.tensor([[9.0], [0.0]]), torch.tensor([[0.0], [9.0]])
    >>> along, against = learned_adjacency(e1, e2, 1, 3.0, dense_product)
    >>> h = torch.tensor([[[2.0], [4.0]]])
    >>> along(h).tolist(), against(h).tolist()
    ([[[3.0], [4.0]]], [[[2.0], [3.0]]])
    """
    n = len(source_code)
    chosen = top_k_rows(source_code, target_code, neighbours)  # (N, k)
    weights = pair_weights(source_code, target_code, chosen, saturation)
    itself = torch.arange(n, device=chosen.device)
    pattern = Pattern(
        rows=itself.repeat_interleave(chosen.shape[1] + 1),
        cols=torch.cat([chosen, itself[:, None]], dim=1).flatten(),
        size=n,
    )
    values = functional.pad(weights, (0, 1), value=1.0)  # (N, k + 1), last the self loop
    out_degree = values.sum(1, keepdim=True)  # (N, 1)
    in_degree = values.new_zeros(n).index_add(0, pattern.cols, values.flatten())  # (N,)
    turned, order = pattern.transposed
    against = values.flatten() / in_degree[pattern.cols]
    return product((values / out_degree).flatten(), pattern), product(against[order], turned)

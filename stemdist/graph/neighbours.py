"""Means over neighbours, as a sparse product.

Shapes: N locations, F features, E edges; ``...`` any leading axes, e.g. (B, L).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from stemdist.errors import InputError

if TYPE_CHECKING:
    from torch_geometric.data import Data

with warnings.catch_warnings():
    # Some releases of torch (2.11) warn once per process that sparse invariant checks are off by
    # default, even where they are set explicitly.
    warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")
    nowhere = torch.zeros(2, 0, dtype=torch.int64)
    torch.sparse_coo_tensor(nowhere, torch.zeros(0), (1, 1), check_invariants=True)


def edge_weights(graph: Data) -> Tensor:
    """Return the weights ``(E,)`` of a graph, ones if it has none."""
    weight = graph.edge_weight
    if weight is None:
        return torch.ones(graph.edge_index.shape[1], device=graph.edge_index.device)
    return torch.as_tensor(weight)


def neighbour_operator(graph: Data, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the sparse ``(N, N)`` matrix whose product with values is their neighbour mean.

    Each row sums to 1; a location without incoming weight has itself as its only neighbour.
    Make it once where the same graph is used again and again.

    Parameters
    ----------
    graph : torch_geometric.data.Data
        Edges as (source, target), with weights.
    dtype : torch.dtype
        Type of the values it is to be multiplied with.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> graph = Data(edge_index=torch.tensor([[0, 1], [2, 2]]), num_nodes=3)
    >>> neighbour_operator(graph).to_dense().tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]
    """
    size = int(graph.num_nodes)
    source, target = graph.edge_index
    weight = edge_weights(graph).to(dtype)
    total = torch.zeros(size, dtype=dtype, device=source.device).index_add(0, target, weight)
    alone = torch.nonzero(total == 0).squeeze(1)
    share = weight / total[target].where(total[target] > 0, torch.ones_like(weight))  # (E,)
    return torch.sparse_coo_tensor(
        torch.stack([torch.cat([target, alone]), torch.cat([source, alone])]),
        torch.cat([share, torch.ones_like(alone, dtype=dtype)]),
        (size, size),
        check_invariants=True,
    ).coalesce()


def neighbour_mean(x: Tensor, graph: Data | Tensor) -> Tensor:
    """Return the weighted mean over each location's incoming neighbours.

    Parameters
    ----------
    x : Tensor (..., N, F)
        Values per location.
    graph : torch_geometric.data.Data or Tensor (N, N)
        The graph, or the :func:`neighbour_operator` made from it.

    Returns
    -------
    Tensor (..., N, F)
        In the units of ``x``. A location without neighbours gets its own value. It can be
        differentiated any number of times.

    Raises
    ------
    InputError
        If ``x`` and the graph have different numbers of locations.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> graph = Data(edge_index=torch.tensor([[0, 1], [2, 2]]), num_nodes=3)
    >>> neighbour_mean(torch.tensor([[1.0], [3.0], [9.0]]), graph).squeeze().tolist()
    [1.0, 3.0, 2.0]
    """
    operator = graph if isinstance(graph, Tensor) else neighbour_operator(graph, dtype=x.dtype)
    if x.dim() < 2 or x.shape[-2] != operator.shape[0]:
        raise InputError(
            f"x has the shape {tuple(x.shape)}, but the graph has {operator.shape[0]} locations: "
            "x must be (..., N, F)"
        )
    flat = x.movedim(-2, 0)  # (N, ..., F)
    mean: Tensor = torch.sparse.mm(operator, flat.reshape(len(flat), -1))  # (N, ... * F)
    return mean.reshape(flat.shape).movedim(0, -2)  # (..., N, F)


def connectivity(graph: Data) -> sp.csr_array:
    """Return which locations touch: a symmetric sparse ``(N, N)`` matrix for Ward clustering.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> graph = Data(edge_index=torch.tensor([[0], [1]]), num_nodes=2)
    >>> connectivity(graph).toarray().tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    source, target = graph.edge_index.cpu().numpy()
    size = int(graph.num_nodes)
    matrix = sp.coo_array((np.ones(len(source)), (source, target)), shape=(size, size)).tocsr()
    matrix = matrix + matrix.T
    matrix.data[:] = 1.0
    return matrix

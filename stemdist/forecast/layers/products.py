"""Products with the adjacency of a graph, dense or sparse: whichever is faster.

Shapes: B windows, N locations, E edges, D columns of a window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stemdist.errors import unknown_name
from stemdist.forecast.layers.sparse import Pattern, spmm
from stemdist.graph.neighbours import edge_weights

if TYPE_CHECKING:
    from torch_geometric.data import Data

SPARSE_FROM = 100
"""Number of locations from which sparse products are faster than dense ones on CPU
(``benchmarks/mtgnn_step.py --crossover``)."""

Product = Callable[[Tensor], Tensor]
"""Multiplies an (N, N) matrix with windows (B, N, D)."""


def sparse_product(values: Tensor, pattern: Pattern) -> Product:
    """Return the product with the stored pairs ``values`` (E,), by sparse kernels."""
    return lambda h: spmm(values, h, pattern)


def dense_product(values: Tensor, pattern: Pattern) -> Product:
    """Return the same product by an ordinary (N, N) matrix."""
    matrix = values.new_zeros(pattern.size, pattern.size).index_put(
        (pattern.rows, pattern.cols), values, accumulate=True
    )
    # One small product per window: `matrix @ h` would copy h transposed, and take 3 times as long.
    return lambda h: torch.bmm(matrix.expand(h.shape[0], -1, -1), h)


Formulation = Callable[[Tensor, Pattern], Product]
"""Makes a product from stored values (E,) and their pattern."""

PRODUCTS: dict[str, Formulation] = {
    "dense": dense_product,
    "sparse": sparse_product,
}


def formulation(choice: str, n_locations: int) -> Formulation:
    """Return how products are computed: ``"dense"``, ``"sparse"`` or ``"auto"`` by size.

    Examples
    --------
    >>> formulation("auto", 50_000).__name__
    'sparse_product'
    """
    if choice == "auto":
        choice = "sparse" if n_locations >= SPARSE_FROM else "dense"
    return PRODUCTS[choice]


def check_adjacency(choice: str) -> str:
    """Return ``choice`` if it names a formulation or is ``"auto"``, else raise InputError."""
    if choice not in (*PRODUCTS, "auto"):
        raise unknown_name("adjacency", choice, [*PRODUCTS, "auto"])
    return choice


def random_walks(graph: Data, dtype: torch.dtype, choice: str = "auto") -> tuple[Product, Product]:
    """Return one step of a random walk along the edges of a given graph, and against them.

    Li et al., DCRNN, ICLR 2018, section 2.2: the transition matrices ``D_O^-1 W`` and
    ``D_I^-1 W^T``. The first gives each location the weighted mean of the locations it points
    to, the second that of the locations which point to it; one without such edges gets zero.

    Parameters
    ----------
    graph : torch_geometric.data.Data
        Edges as (source, target), with weights; N locations.
    dtype : torch.dtype
        Type of the windows.
    choice : str
        ``"dense"``, ``"sparse"`` or ``"auto"``.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> graph = Data(edge_index=torch.tensor([[0, 1], [1, 2]]), num_nodes=3)
    >>> along, against = random_walks(graph, torch.float32)
    >>> h = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> along(h).flatten().tolist(), against(h).flatten().tolist()
    ([2.0, 3.0, 0.0], [0.0, 1.0, 2.0])
    """
    source, target = graph.edge_index
    weight = edge_weights(graph).to(dtype)
    return (
        _mean_product(source, target, weight, int(graph.num_nodes), choice),
        _mean_product(target, source, weight, int(graph.num_nodes), choice),
    )


def _mean_product(rows: Tensor, cols: Tensor, weight: Tensor, size: int, choice: str) -> Product:
    total = weight.new_zeros(size).index_add(0, rows, weight)
    share = weight / total[rows].clamp_min(torch.finfo(weight.dtype).tiny)
    return edge_product(rows, cols, share, size, choice)


def symmetric_product(
    graph: Data, dtype: torch.dtype, choice: str = "auto", *, self_loops: bool = True
) -> Product:
    """Return the product with the symmetrically normalised adjacency of a given graph.

    Kipf & Welling, ICLR 2017, equation 2: ``D^-1/2 (W + I) D^-1/2``, or without ``I``, which
    is minus the rescaled Laplacian of Chebyshev convolutions (largest eigenvalue taken as 2).
    The normalisation is that of torch_geometric's ``GCNConv``.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> graph = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=2)
    >>> product = symmetric_product(graph, torch.float32)
    >>> product(torch.tensor([[[2.0], [4.0]]])).round(decimals=4).flatten().tolist()
    [3.0, 3.0]
    """
    from torch_geometric.nn.conv.gcn_conv import gcn_norm  # PyG loads slowly

    size = int(graph.num_nodes)
    edges, weight = gcn_norm(
        graph.edge_index, edge_weights(graph).to(dtype), size, add_self_loops=self_loops
    )
    return edge_product(edges[1], edges[0], weight, size, choice)


def edge_product(
    rows: Tensor, cols: Tensor, values: Tensor, size: int, choice: str = "auto"
) -> Product:
    """Return the product with the (N, N) matrix that has ``values`` (E,) at (rows, cols)."""
    order = torch.argsort(rows, stable=True)
    pattern = Pattern(rows=rows[order], cols=cols[order], size=size)
    return formulation(choice, size)(values[order], pattern)

"""Random subsets of the locations or clusters, for granular refinement and large graphs.

Shapes: N locations, K clusters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stemdist.errors import InputError, check_count

if TYPE_CHECKING:
    from torch_geometric.data import Data


def random_partition(
    n: int, n_subsets: int, generator: torch.Generator | None = None
) -> list[Tensor]:
    """Shuffle the numbers below ``n``, split into subsets whose sizes differ by at most one.

    This is the split of subset-based granular distillation (Kwon et al., ICDE 2026, STemDist).

    Parameters
    ----------
    n : int
        Number of clusters.
    n_subsets : int
        Number of subsets, at most ``n``.
    generator : torch.Generator, optional
        Source of randomness; torch's global one by default.

    Returns
    -------
    list of Tensor (n_i,) int64
        Every number is in exactly one subset.

    Raises
    ------
    InputError
        If there would be empty subsets.

    Examples
    --------
    >>> [len(part) for part in random_partition(7, 3, torch.Generator().manual_seed(0))]
    [3, 2, 2]
    """
    check_count("n", n)
    check_count("n_subsets", n_subsets)
    if n_subsets > n:
        raise InputError(
            f"n_subsets is {n_subsets}, but there are only {n} clusters to split: choose at most "
            f"{n} subsets"
        )
    shuffled = torch.randperm(n, generator=generator)
    return list(torch.tensor_split(shuffled, n_subsets))


def random_locations(
    graph: Data,
    size: int,
    generator: torch.Generator | None = None,
    *,
    with_neighbours: bool = False,
) -> Tensor:
    """Draw different locations of a graph, optionally with their incoming neighbours.

    Parameters
    ----------
    graph : torch_geometric.data.Data
        Graph of N locations.
    size : int
        Number of locations to draw; at most N.
    generator : torch.Generator, optional
        Source of randomness; torch's global one by default.
    with_neighbours : bool
        Append the locations with an edge to a drawn one that were not drawn themselves.

    Returns
    -------
    Tensor (size,) or longer, int64
        The drawn locations first, in random order, then the neighbours in ascending order.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> graph = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=2)
    >>> drawn = random_locations(graph, 1, torch.Generator().manual_seed(0), with_neighbours=True)
    >>> sorted(drawn.tolist())
    [0, 1]
    """
    total = int(graph.num_nodes)
    check_count("size", size)
    if size > total:
        raise InputError(f"size is {size}, but the graph has only {total} locations")
    drawn = torch.randperm(total, generator=generator)[:size]
    if not with_neighbours:
        return drawn
    return torch.cat([drawn, neighbours_of(graph, drawn)])


def neighbours_of(graph: Data, locations: Tensor) -> Tensor:
    """Return the locations with an edge to one of some locations, and not among them, ascending.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> graph = Data(edge_index=torch.tensor([[0, 1, 2], [1, 2, 1]]), num_nodes=3)
    >>> neighbours_of(graph, torch.tensor([1])).tolist()
    [0, 2]
    """
    inside = torch.zeros(int(graph.num_nodes), dtype=torch.bool)
    inside[locations] = True
    source, target = graph.edge_index
    beside = torch.zeros_like(inside)
    beside[source[inside[target]]] = True
    return torch.nonzero(beside & ~inside).squeeze(1)


def subset_weights(sizes: Tensor) -> Tensor:
    """Return the loss weights of a subset's clusters, with mean 1.

    ``w_k = c_k * K_subset / sum_j c_j``, with ``c_k`` locations in cluster ``k`` (STemDist).

    Parameters
    ----------
    sizes : Tensor (K_subset,)
        Locations per cluster.

    Raises
    ------
    InputError
        If the sizes are negative or all zero.

    Examples
    --------
    >>> subset_weights(torch.tensor([1, 3])).tolist()
    [0.5, 1.5]
    """
    counts = torch.as_tensor(sizes)
    counts = counts if counts.is_floating_point() else counts.to(torch.get_default_dtype())
    total = counts.sum()
    if not (total > 0 and counts.min() >= 0):
        raise InputError(
            f"sizes is {counts.tolist()}: clusters have no negative number of locations, and one "
            "at least has some"
        )
    return counts * len(counts) / total

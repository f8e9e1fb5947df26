"""Smaller graphs: clusters of locations, or some of the locations.

Shapes: N locations, K clusters, E edges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stemdist.errors import InputError, check_count
from stemdist.graph.edges import make_graph
from stemdist.graph.neighbours import edge_weights

if TYPE_CHECKING:
    from torch_geometric.data import Data


def coarsen_graph(
    graph: Data, labels: Tensor, n_clusters: int, *, self_loops: bool = False
) -> Data:
    """Merge the locations of each cluster into one.

    Parameters
    ----------
    graph : torch_geometric.data.Data
        Graph of N locations.
    labels : Tensor (N,) int
        Cluster of each location, ``0 .. K - 1``; every cluster has a location.
    n_clusters : int
        Number of clusters K.
    self_loops : bool
        Keep the weight inside each cluster as an edge from the cluster to itself.

    Returns
    -------
    torch_geometric.data.Data
        Graph of K clusters. The weight between two clusters is the sum over the edges between
        their locations; a position is the mean of the positions (for degrees the mean
        direction from the centre of the earth, which is valid across the date line).

    Raises
    ------
    InputError
        If the labels do not fit the graph.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> graph = Data(edge_index=torch.tensor([[0, 1, 2], [2, 2, 3]]),
    ...              edge_weight=torch.tensor([1.0, 2.0, 4.0]), num_nodes=4)
    >>> coarse = coarsen_graph(graph, torch.tensor([0, 0, 1, 1]), 2)
    >>> coarse.edge_index.tolist(), coarse.edge_weight.tolist()
    ([[0], [1]], [3.0])
    """
    labels = torch.as_tensor(labels, dtype=torch.int64)
    sizes = _checked_sizes(graph, labels, n_clusters)
    source, target = labels[graph.edge_index]  # (E,) each, now clusters
    key, slot = torch.unique(target * n_clusters + source, return_inverse=True)
    weight = edge_weights(graph)
    summed = torch.zeros(len(key), dtype=weight.dtype).index_add(0, slot, weight)
    edge_index = torch.stack([key % n_clusters, key // n_clusters])
    kept = torch.ones_like(key, dtype=torch.bool) if self_loops else edge_index[0] != edge_index[1]
    coarse = make_graph(
        edge_index=edge_index[:, kept], edge_weight=summed[kept], num_nodes=int(n_clusters)
    )
    _copy_labels(graph, coarse)
    if graph.pos is not None:
        degrees = graph.get("coordinates") == "lat lon"
        points = _to_sphere(graph.pos) if degrees else graph.pos.double()
        total = points.new_zeros(n_clusters, points.shape[1]).index_add(0, labels, points)
        mean = total / sizes[:, None]
        coarse.pos = (_to_degrees(mean) if degrees else mean).to(graph.pos.dtype)  # (K, 2)
    return coarse


def subgraph(graph: Data, index: Tensor) -> Data:
    """Return the graph of some locations, numbered in the order of ``index``.

    They keep their ``pos`` and their ``cell``, so those of a grid are a grid with holes.

    Parameters
    ----------
    graph : torch_geometric.data.Data
        Graph of N locations.
    index : Tensor (n,) int
        Locations to keep, each once.

    Raises
    ------
    InputError
        If a location is named twice or does not exist.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> graph = Data(edge_index=torch.tensor([[0, 1, 2], [1, 2, 0]]), num_nodes=3)
    >>> subgraph(graph, torch.tensor([2, 0])).edge_index.tolist()
    [[0], [1]]
    """
    device = graph.edge_index.device
    index = torch.as_tensor(index, dtype=torch.int64, device=device)
    size = int(graph.num_nodes)
    if len(index) and not 0 <= int(index.min()) <= int(index.max()) < size:
        raise InputError(
            f"index reaches from {int(index.min())} to {int(index.max())}, but the graph has the "
            f"locations 0 to {size - 1}"
        )
    number = torch.full((size,), -1, dtype=torch.int64, device=device)
    number[index] = torch.arange(len(index), device=device)
    if int((number >= 0).sum()) != len(index):
        raise InputError("index names a location twice: name each location once")
    edges = number[graph.edge_index]  # (2, E), -1 outside
    kept = (edges >= 0).all(dim=0)
    part = make_graph(
        edge_index=edges[:, kept], edge_weight=edge_weights(graph)[kept], num_nodes=len(index)
    )
    _copy_labels(graph, part)
    for name in ("pos", "cell"):
        if name in graph:
            part[name] = graph[name][index]
    return part


def _copy_labels(graph: Data, smaller: Data) -> None:
    for name in ("method", "coordinates"):
        if name in graph:
            smaller[name] = graph[name]


def _checked_sizes(graph: Data, labels: Tensor, n_clusters: int) -> Tensor:
    check_count("n_clusters", n_clusters)
    if labels.shape != (graph.num_nodes,):
        raise InputError(
            f"labels has the shape {tuple(labels.shape)}, but the graph has {graph.num_nodes} "
            "locations: give one label per location"
        )
    if int(labels.min()) < 0 or int(labels.max()) >= n_clusters:
        raise InputError(
            f"labels reach from {int(labels.min())} to {int(labels.max())}: with n_clusters="
            f"{n_clusters} they must lie between 0 and {n_clusters - 1}"
        )
    sizes = torch.bincount(labels, minlength=n_clusters)
    if int(sizes.min()) == 0:
        raise InputError(f"cluster {int(sizes.argmin())} has no location: every cluster needs one")
    return sizes


def _to_sphere(lat_lon: Tensor) -> Tensor:
    """(N, 2) degrees -> (N, 3) on the unit sphere."""
    lat, lon = torch.deg2rad(lat_lon.double()).unbind(1)
    return torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=1)


def _to_degrees(points: Tensor) -> Tensor:
    """(K, 3) directions -> (K, 2) degrees of latitude and longitude."""
    x, y, z = points.unbind(1)
    return torch.rad2deg(torch.stack([torch.atan2(z, torch.hypot(x, y)), torch.atan2(y, x)], 1))

"""Graphs between locations, clusters of locations, and random parts of either."""

from stemdist.graph.build import build_graph
from stemdist.graph.clustering import LocationClustering
from stemdist.graph.coarsen import coarsen_graph, subgraph
from stemdist.graph.edges import Edges
from stemdist.graph.neighbours import connectivity, neighbour_mean, neighbour_operator
from stemdist.graph.settings import GRAPH_METHODS, GraphSettings
from stemdist.graph.subsets import random_locations, random_partition, subset_weights

__all__ = [
    "GRAPH_METHODS",
    "Edges",
    "GraphSettings",
    "LocationClustering",
    "build_graph",
    "coarsen_graph",
    "connectivity",
    "neighbour_mean",
    "neighbour_operator",
    "random_locations",
    "random_partition",
    "subgraph",
    "subset_weights",
]

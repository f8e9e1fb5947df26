from .build import build_graph
from .clustering import LocationClustering
from .coarsen import coarsen_graph, subgraph
from .edges import Edges
from .neighbours import connectivity, neighbour_mean, neighbour_operator
from .settings import GRAPH_METHODS, GraphSettings
from .subsets import random_locations, random_partition, subset_weights

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

"""How the graph between locations is made, and the methods by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import xarray as xr

from stemdist.errors import InputError, check_count, unknown_name
from stemdist.graph.edges import Edges
from stemdist.registry import Registry

GraphMethod = Callable[[xr.Dataset, "GraphSettings"], Edges]

GRAPH_METHODS: Registry[GraphMethod] = Registry(
    "graph",
    {
        "grid": "stemdist.graph.grid:grid_edges",
        "knn": "stemdist.graph.spatial:knn_edges",
        "distance": "stemdist.graph.spatial:distance_edges",
        "correlation": "stemdist.graph.correlation:correlation_edges",
        "adjacency": "stemdist.graph.adjacency:adjacency_edges",
    },
    group="stemdist.graphs",
)

_OPTIONS = ("cutoff_km", "sigma_km", "file")
_OPTIONS_USED = {
    "grid": (),
    "knn": ("cutoff_km", "sigma_km"),
    "distance": ("cutoff_km", "sigma_km", "file"),
    "correlation": (),
    "adjacency": ("file",),
}


@dataclass(frozen=True, kw_only=True)
class GraphSettings:
    """How the graph between locations is made.

    Parameters
    ----------
    method : str
        ``"grid"`` (the 4 or 8 surrounding points of a grid, weight 1), ``"knn"`` (nearest by
        distance), ``"distance"`` (all within a cut-off), ``"correlation"`` (most correlated
        series), ``"adjacency"`` (given in a file), or ``"auto"``: ``adjacency`` if a file is
        given, else ``grid`` if the series is a grid, else ``knn`` if positions are known, else
        ``correlation``.
    neighbours : int
        Incoming neighbours per location for ``knn`` and ``correlation`` (at most ``N - 1``:
        larger numbers are clipped); 4 or 8 for ``grid``.
    cutoff_km : float, optional
        Farther locations are not neighbours (``knn``, ``distance``), in kilometres.
    sigma_km : float, optional
        Length of the Gaussian kernel ``exp(-(d / sigma)**2)`` in kilometres. By default the
        mean (``knn``) or the standard deviation (``distance``) of the distances found.
    file : str, optional
        The adjacency (``adjacency``) or the list of distances (``distance``).

    Raises
    ------
    InputError
        If a value is out of range or an option is given that the method does not use.

    Examples
    --------
    >>> GraphSettings(method="knn", neighbours=4).neighbours
    4
    """

    method: str = "auto"
    neighbours: int = 8
    cutoff_km: float | None = None
    sigma_km: float | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        check_count("neighbours", self.neighbours)
        for name in ("cutoff_km", "sigma_km"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value!r}: it must be a distance above 0, in km")
        if self.method == "auto":
            return
        names = GRAPH_METHODS.names()
        if self.method not in names:
            raise unknown_name("graph", self.method, ["auto", *names])
        used = _OPTIONS_USED.get(self.method, _OPTIONS)
        for name in _OPTIONS:
            if getattr(self, name) is not None and name not in used:
                users = [method for method, options in _OPTIONS_USED.items() if name in options]
                raise InputError(
                    f"{name} is {getattr(self, name)!r}, but the graph {self.method!r} does not "
                    f"use it: leave it out, or choose one of: {', '.join(users)}"
                )
        if self.method == "grid" and self.neighbours not in (4, 8):
            raise InputError(
                f"neighbours is {self.neighbours}: a grid graph has 4 or 8 neighbours per point; "
                "for another number use method='knn'"
            )
        if self.method == "adjacency" and self.file is None:
            raise InputError(
                "the graph 'adjacency' needs file: a CSV (N x N, or source,target,weight) "
                "or an .npz"
            )

"""What a trained forecaster keeps of the real locations: ids, positions, graph and profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from stemdist.data.conventions.longitude import same_longitude
from stemdist.data.series import GRID_DIMS
from stemdist.forecast.task import ForecastTask
from stemdist.graph import subgraph
from stemdist.graph.edges import make_graph
from stemdist.graph.grid import grid_cells
from stemdist.graph.positions import location_positions

if TYPE_CHECKING:
    from torch_geometric.data import Data


@dataclass(frozen=True, kw_only=True)
class Locations:
    """The N real locations of a task, independent of its series.

    Parameters
    ----------
    coords : xarray.Dataset
        No variables; the coordinate ``location`` and positions along it, and ``grid_dims``
        where the source was a grid.
    graph : torch_geometric.data.Data
        Location graph.
    profile : Tensor
        (N, L_in * F) scaled mean window of each location.
    """

    coords: xr.Dataset
    graph: Data
    profile: Tensor

    @classmethod
    def of_task(cls, task: ForecastTask) -> Locations:
        """Return the locations of a task, with the profile of its training windows."""
        return cls.of_series(task.series, task.graph, task.train.profile)

    @classmethod
    def of_series(cls, series: xr.Dataset, graph: Data, profile: Tensor) -> Locations:
        """Return the locations of a canonical series."""
        along = [c for c in series.coords if series[c].dims == ("location",)]
        coords = series[along].drop_attrs().drop_vars(list(series.data_vars), errors="ignore")
        grid = {k: v for k, v in series.attrs.items() if k == GRID_DIMS}
        return cls(coords=coords.assign_attrs(grid), graph=graph, profile=profile)

    def at(self, places: Tensor) -> Locations:
        """Return chosen locations (n,), ascending."""
        return Locations(
            coords=self.coords.isel(location=places.numpy()),
            graph=subgraph(self.graph, places),
            profile=self.profile[places],
        )

    def __len__(self) -> int:
        return int(self.coords.sizes["location"])

    def to_dataset(self) -> xr.Dataset:
        """Return everything as one dataset; :meth:`from_dataset` is the inverse."""
        source, target = self.graph.edge_index.numpy()
        edge = "location_edge"
        return self.coords.assign(
            location_edge_source=(edge, source.astype(np.int32)),
            location_edge_target=(edge, target.astype(np.int32)),
            location_edge_weight=(edge, self.graph.edge_weight.numpy()),
            location_profile=(("location", "profile"), self.profile.numpy()),
        )

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Locations:
        """Rebuild from the variables written by :meth:`to_dataset`; others are ignored."""
        ends = [
            dataset[f"location_edge_{end}"].values.astype(np.int64) for end in ("source", "target")
        ]
        along = [c for c in dataset.coords if dataset[c].dims == ("location",)]
        coords = dataset[along].drop_vars(list(dataset.data_vars), errors="ignore")
        grid = {k: v for k, v in dataset.attrs.items() if k == GRID_DIMS}
        graph = make_graph(
            edge_index=torch.from_numpy(np.stack(ends).astype(np.int64)),
            edge_weight=torch.from_numpy(dataset["location_edge_weight"].values.astype(np.float32)),
            num_nodes=dataset.sizes["location"],
        )
        coords = coords.drop_attrs().drop_encoding().assign_attrs(grid)
        cells = grid_cells(coords)
        if cells is not None:
            graph.cell = cells
        profile = torch.from_numpy(dataset["location_profile"].values.astype(np.float32))
        return cls(coords=coords, graph=graph, profile=profile)


def place_index(coords: xr.Dataset, series: xr.Dataset) -> np.ndarray | None:
    """Return where each location of ``coords`` is in ``series``, or None if one is absent.

    Ids must match, and so must positions where both have them. Where ids do not, as those of
    grids, which are plain numbers and change with the order of rows and columns, locations are
    found by their positions.
    """
    index = series.indexes["location"].get_indexer(coords.indexes["location"])
    if (index >= 0).all() and _same_places(coords, series.isel(location=index)):
        return np.asarray(index)
    numbered = all(each.indexes["location"].dtype.kind in "iu" for each in (coords, series))
    return _nearest(coords, series) if numbered else None


def _same_places(one: xr.Dataset, other: xr.Dataset) -> bool:
    for name in ("lat", "lon", "x", "y"):
        if name in one.coords and name in other.coords:
            here, there = one[name].values, other[name].values
            unknown = np.isnan(here) & np.isnan(there)
            close = np.isclose(here, there, atol=1e-4)
            if name == "lon":
                close = same_longitude(here, there)
            if not (close | unknown).all():
                return False
    return True


def _nearest(coords: xr.Dataset, series: xr.Dataset) -> np.ndarray | None:
    """Return the locations of ``series`` at the positions of ``coords``, to within 20 m."""
    wanted, there = location_positions(coords), location_positions(series)
    if wanted is None or there is None or wanted.kind != there.kind:
        return None
    points, places = there.points_km(), wanted.points_km()
    known = np.flatnonzero(np.isfinite(points).all(axis=1))
    if not len(known) or not np.isfinite(places).all():
        return None
    distance, found = NearestNeighbors(n_neighbors=1).fit(points[known]).kneighbors(places)
    index = known[found[:, 0]]
    apart = distance.max() > 0.02 or len(np.unique(index)) < len(index)
    return None if apart else np.asarray(index)

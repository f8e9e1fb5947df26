"""Open anything as one canonical series; split, scale and window it; simulate it."""

from __future__ import annotations

from stemdist.data.catalogue import dataset_recipe, graph_recipe, list_datasets, list_graphs
from stemdist.data.fetch import fetch
from stemdist.data.readers import READERS, write_windows
from stemdist.data.scaling import Scaler
from stemdist.data.series import canonical_series, to_grid
from stemdist.data.simulate import SIMULATORS, simulate
from stemdist.data.source import OpenOptions, open_raw, open_series
from stemdist.data.split import Split
from stemdist.data.windows import Batch, SeriesWindows, TensorWindows, WindowSource, materialise

__all__ = [
    "READERS",
    "SIMULATORS",
    "Batch",
    "OpenOptions",
    "Scaler",
    "SeriesWindows",
    "Split",
    "TensorWindows",
    "WindowSource",
    "canonical_series",
    "dataset_recipe",
    "fetch",
    "graph_recipe",
    "list_datasets",
    "list_graphs",
    "materialise",
    "open_raw",
    "open_series",
    "simulate",
    "to_grid",
    "write_windows",
]

from .catalogue import dataset_recipe, graph_recipe, list_datasets, list_graphs
from .fetch import fetch
from .opening import OpenOptions
from .readers import READERS, write_windows
from .scaling import Scaler
from .series import canonical_series, to_grid
from .simulate import SIMULATORS, simulate
from .source import open_raw, open_series
from .split import Split
from .windows import Batch, SeriesWindows, TensorWindows, WindowSource, materialise

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

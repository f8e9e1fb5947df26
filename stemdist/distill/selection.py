"""The time axis: which real windows to start from.

Shapes: M training windows, M_S selected ones, K clusters.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from stemdist.data.windows import WindowSource
from stemdist.errors import unknown_name

SKETCH_COLUMNS = 256
BLOCK_WINDOWS = 1024


def random_windows(source: WindowSource, n_windows: int, seed: int) -> Tensor:
    """Return (M_S,) different windows drawn at random, in order of time."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(len(source), generator=generator)[:n_windows].sort().values


def kmeans_windows(source: WindowSource, n_windows: int, seed: int) -> Tensor:
    """Return (M_S,) windows that cover the inputs: the nearest to each k-means centroid.

    Windows are compared by their inputs at all K locations, seen through a random projection
    where they have more than 256 numbers (Johnson and Lindenstrauss, 1984), so that memory is
    M x 256 whatever K is.
    """
    sketch = _sketch(source, seed)
    with warnings.catch_warnings():
        # Repeated windows give fewer clusters than asked for; that is dealt with below.
        warnings.filterwarnings("ignore", "Number of distinct clusters", ConvergenceWarning)
        clustering = KMeans(n_windows, n_init=1, random_state=seed).fit(sketch)
    distance = ((sketch - clustering.cluster_centers_[clustering.labels_]) ** 2).sum(1)
    order = np.lexsort((distance, clustering.labels_))
    _, first = np.unique(clustering.labels_[order], return_index=True)
    chosen = torch.from_numpy(np.sort(order[first]).astype(np.int64))
    if len(chosen) < n_windows:  # repeated windows leave clusters empty
        rest = random_windows(source, len(source), seed)
        rest = rest[~torch.isin(rest, chosen)][: n_windows - len(chosen)]
        chosen = torch.cat([chosen, rest]).sort().values
    return chosen


def _sketch(source: WindowSource, seed: int) -> np.ndarray:
    width = source.lookback * source.n_locations * source.n_features
    generator = torch.Generator().manual_seed(seed)
    projection = None
    if width > SKETCH_COLUMNS:
        projection = torch.randn(width, SKETCH_COLUMNS, generator=generator) / SKETCH_COLUMNS**0.5
    rows = []
    for index in torch.split(torch.arange(len(source)), BLOCK_WINDOWS):
        flat = source.inputs(index).flatten(1)
        rows.append(flat if projection is None else flat @ projection)
    return torch.cat(rows).double().numpy()


SELECTIONS: dict[str, Callable[[WindowSource, int, int], Tensor]] = {
    "kmeans": kmeans_windows,
    "random": random_windows,
}


def select_windows(source: WindowSource, n_windows: int, method: str, seed: int) -> Tensor:
    """Return (M_S,) window numbers chosen by a named method, in order of time."""
    if method not in SELECTIONS:
        raise unknown_name("window selection", method, SELECTIONS)
    return SELECTIONS[method](source, n_windows, seed)

"""Selection of real windows to start from.

Shapes: M training windows, M_S selected ones, K clusters, D columns of the sketch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from stemdist.data.windows import SeriesWindows, WindowSource
from stemdist.data.wrapped_windows import OneLocation
from stemdist.distill.craig import craig_windows
from stemdist.errors import unknown_name

SKETCH_COLUMNS = 256
BLOCK_WINDOWS = 1024
BLOCK_NUMBERS = 2**24
LLOYD_LIMIT = 5_000_000
"""M x M_S above which k-means runs on two levels."""
OWN_PAIRS = 50_000_000
"""Pairs of a window and a group at all K clusters, where each has windows of its own."""


def random_windows(source: WindowSource, n_windows: int, seed: int) -> Tensor:
    """Return (M_S,) different windows drawn at random, in order of time."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(len(source), generator=generator)[:n_windows].sort().values


def kmeans_windows(source: WindowSource, n_windows: int, seed: int) -> Tensor:
    """Return (M_S,) windows that cover the inputs: the nearest to each k-means centroid.

    Windows are compared by their inputs at all K locations, after a random projection if they
    have more than 256 numbers (Johnson and Lindenstrauss, 1984), so that memory is M x 256
    whatever K is. Lloyd's iterations cost M x M_S each; where that is above 5 million,
    they run on two levels: the windows are split into sqrt(M_S) groups, and each group into its
    share of M_S clusters, at a cost of M x sqrt(M_S).
    """
    sketch = _sketch(source, seed)
    labels, centroids = _kmeans(sketch, n_windows, seed)
    chosen = torch.from_numpy(_nearest(sketch, labels, centroids))
    if len(chosen) < n_windows:  # repeated windows leave clusters empty
        rest = random_windows(source, len(source), seed)
        rest = rest[~torch.isin(rest, chosen)][: n_windows - len(chosen)]
        chosen = torch.cat([chosen, rest]).sort().values
    return chosen


def grouped_windows(source: WindowSource, n_windows: int, n_groups: int, seed: int) -> Tensor:
    """Return (M_S,) windows that cover the inputs, from fewer k-means groups than windows.

    Each group gives a share of the windows in proportion to its size, the one nearest to its
    centroid and random others; with as many groups as windows this is :func:`kmeans_windows`.
    """
    if n_groups >= n_windows:
        return kmeans_windows(source, n_windows, seed)
    sketch = _sketch(source, seed)
    labels, centroids = _kmeans(sketch, n_groups, seed)
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(seed)).numpy()
    _, groups, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    chosen = []
    for group, share in enumerate(_shares(sizes, n_windows)):
        members = order[groups[order] == group]
        nearest = ((sketch[members] - centroids[labels[members[0]]]) ** 2).sum(1).argmin()
        members[[0, nearest]] = members[[nearest, 0]]
        chosen.append(members[:share])
    return torch.from_numpy(np.sort(np.concatenate(chosen)))


def k_center_windows(source: WindowSource, n_windows: int, seed: int) -> Tensor:
    """Return (M_S,) windows such that every other one is near one: greedy farthest point.

    After a first window drawn at random, the window farthest from all chosen ones is taken
    (Gonzalez, 1985): the largest distance to a chosen window is at most twice the smallest
    possible. Extremes are chosen early, which helps with few peaks and harms with noise. Windows
    are compared as in :func:`kmeans_windows`; the cost is M x M_S.
    """
    points, squares = _centred(source, seed)
    generator = torch.Generator().manual_seed(seed)
    newest = int(torch.randint(len(points), (), generator=generator))
    distance = torch.full_like(squares, torch.inf)
    chosen = []
    for _ in range(n_windows):
        chosen.append(newest)
        found = (squares + squares[newest] - 2 * (points @ points[newest])).clamp_min(0)
        distance = torch.minimum(distance, found)
        distance[newest] = -1.0  # never again, even if windows are repeated
        newest = int(distance.argmax())
    return torch.tensor(chosen).sort().values


def herding_windows(source: WindowSource, n_windows: int, seed: int) -> Tensor:
    """Return (M_S,) windows whose mean is close to that of all: greedy mean matching.

    Each step adds the window that brings the mean of the chosen ones nearest to the mean of all M
    (herding: Welling, ICML 2009; without repetition). Windows are compared as in
    :func:`kmeans_windows`; the seed affects their projection only, and the cost is
    M x M_S.
    """
    points, squares = _centred(source, seed)
    total, chosen = torch.zeros_like(points[0]), []
    for _ in range(n_windows):
        # |total + point|^2, less the term that is equal for all points
        newest = int((squares + 2 * (points @ total)).argmin())
        total = total + points[newest]
        squares[newest] = torch.inf
        chosen.append(newest)
    return torch.tensor(chosen).sort().values


def contiguous_windows(source: WindowSource, n_windows: int, seed: int) -> Tensor:
    """Return (M_S,) windows in segments of consecutive starts, which cover the inputs.

    There are sqrt(M_S) segments of about as many windows each: more segments cover more,
    longer ones overlap more, so that the parametrisation ``series`` stores fewer numbers.
    The windows are cut into blocks of that length, none across a gap in time; the blocks whose
    mean is nearest to each k-means centroid of the blocks' means are chosen, and the last of them
    are shortened to the requested number. The seed matters through k-means only.
    """
    count = math.isqrt(n_windows)
    blocks = _blocks(_start_steps(source), -(-n_windows // count))
    sketch = _sketch(source, seed)
    means = np.stack([sketch[block].mean(0) for block in blocks])
    length = np.array([len(block) for block in blocks])
    whole = np.flatnonzero(length == length.max())
    count = min(count, len(whole))
    labels, centroids = _kmeans(means[whole], count, seed)
    first = whole[_nearest(means[whole], labels, centroids)]
    rest = np.setdiff1d(np.arange(len(blocks)), first)
    rest = rest[np.argsort(-length[rest], kind="stable")]
    index = np.concatenate([blocks[number] for number in (*first, *rest)])
    return torch.from_numpy(np.sort(index[:n_windows]))


def _start_steps(source: WindowSource) -> np.ndarray:
    """Return (M,) time steps; windows that are not cut from a series count as consecutive."""
    return source.starts.numpy() if isinstance(source, SeriesWindows) else np.arange(len(source))


def _blocks(steps: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut the windows (M,) into blocks of at most ``size`` consecutive starts.

    >>> [block.tolist() for block in _blocks(np.array([0, 1, 2, 7, 8]), 2)]
    [[0, 1], [2], [3, 4]]
    """
    runs = np.split(np.arange(len(steps)), np.flatnonzero(np.diff(steps) != 1) + 1)
    return [run[begin : begin + size] for run in runs for begin in range(0, len(run), size)]


def _kmeans(points: np.ndarray, n_clusters: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cluster of each point (M,) and the centroids (M_S, D)."""
    if len(points) * n_clusters <= LLOYD_LIMIT:
        return _lloyd(points, n_clusters, seed)
    groups, _ = _lloyd(points, math.isqrt(n_clusters), seed)
    _, groups, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    labels, centroids, done = np.empty_like(groups), [], 0
    for group, share in enumerate(_shares(sizes, n_clusters)):
        members = np.flatnonzero(groups == group)
        own, centres = _lloyd(points[members], int(share), seed)
        labels[members] = done + own
        centroids.append(centres)
        done += len(centres)
    return labels, np.concatenate(centroids)


def _shares(sizes: np.ndarray, total: int) -> np.ndarray:
    """Divide ``total`` among groups in proportion to their sizes, at least 1 and at most all.

    >>> _shares(np.array([1, 4, 5]), 5).tolist()
    [1, 2, 2]
    """
    more = np.cumsum(sizes - 1)
    rounded = np.rint(more * (total - len(sizes)) / max(more[-1], 1)).astype(int)
    shares: np.ndarray = 1 + np.diff(rounded, prepend=0)
    return shares


def _lloyd(points: np.ndarray, n_clusters: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    with warnings.catch_warnings():
        # Repeated windows give fewer clusters than requested; callers can deal with that.
        warnings.filterwarnings("ignore", "Number of distinct clusters", ConvergenceWarning)
        clustering = KMeans(n_clusters, n_init=1, random_state=seed).fit(points)
    return clustering.labels_, clustering.cluster_centers_


def _nearest(points: np.ndarray, labels: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Return the point nearest to the centroid of each cluster that is not empty, ascending."""
    distance = ((points - centroids[labels]) ** 2).sum(1)
    order = np.lexsort((distance, labels))
    _, first = np.unique(labels[order], return_index=True)
    return np.sort(order[first]).astype(np.int64)


def _centred(source: WindowSource, seed: int) -> tuple[Tensor, Tensor]:
    """Return the sketch (M, D) less its mean, and the squared length (M,) of its rows."""
    sketch = _sketch(source, seed)
    points = torch.from_numpy((sketch - sketch.mean(0)).astype(np.float32))
    return points, (points**2).sum(1)


def _sketch(source: WindowSource, seed: int) -> np.ndarray:
    width = source.lookback * source.n_locations * source.n_features
    generator = torch.Generator().manual_seed(seed)
    projection = None
    if width > SKETCH_COLUMNS:
        projection = torch.randn(width, SKETCH_COLUMNS, generator=generator) / SKETCH_COLUMNS**0.5
    rows = []
    block = max(1, min(BLOCK_WINDOWS, BLOCK_NUMBERS // width))
    for index in torch.split(torch.arange(len(source)), block):
        flat = source.inputs(index).flatten(1)
        rows.append(flat if projection is None else flat @ projection)
    return torch.cat(rows).double().numpy()


SELECTIONS: dict[str, Callable[[WindowSource, int, int], Tensor]] = {
    "contiguous": contiguous_windows,
    "craig": craig_windows,
    "herding": herding_windows,
    "k-center": k_center_windows,
    "kmeans": kmeans_windows,
    "random": random_windows,
}


OWN_SELECTIONS: dict[str, Callable[[WindowSource, int, int, int], Tensor]] = {
    "kmeans": grouped_windows,
    "random": lambda source, n_windows, n_groups, seed: random_windows(source, n_windows, seed),
}
"""Selections that can choose windows of its own for each cluster."""


def select_windows(source: WindowSource, n_windows: int, method: str, seed: int) -> Tensor:
    """Return (M_S,) window numbers chosen by a named method, in order of time."""
    if method not in SELECTIONS:
        raise unknown_name("window selection", method, SELECTIONS)
    return SELECTIONS[method](source, n_windows, seed)


def select_own_windows(source: WindowSource, n_windows: int, method: str, seed: int) -> Tensor:
    """Return window numbers (M_S, K): each cluster has windows of its own, in random order.

    The same number of windows then covers up to K times as many times, and the situations of each
    cluster rather than those of all of them together.

    Raises
    ------
    InputError
        If the method cannot choose windows for each cluster.
    """
    if method not in OWN_SELECTIONS:
        raise unknown_name("window selection of each cluster", method, OWN_SELECTIONS)
    choose, count = OWN_SELECTIONS[method], source.n_locations
    n_groups = max(1, min(n_windows, OWN_PAIRS // (len(source) * count)))
    generator = torch.Generator().manual_seed(seed)
    columns = []
    for cluster in range(count):
        one = OneLocation(source=source, location=cluster)
        chosen = choose(one, n_windows, n_groups, seed * count + cluster)
        columns.append(chosen[torch.randperm(n_windows, generator=generator)])
    return torch.stack(columns, dim=1)

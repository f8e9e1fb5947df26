"""Clusters of locations whose series are alike.

Shapes: T time steps, N locations, F features, K clusters, t steps of one block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import validate_data

from stemdist.errors import InputError, check_count, unknown_name
from stemdist.graph._blocks import (
    Floats,
    Labels,
    Repeatable,
    Source,
    checked_mask,
    checked_series,
    prepare_block,
    sketch_of,
    survey,
)
from stemdist.graph._clustering_methods import CLUSTERING_METHODS, Found, Request
from stemdist.graph._coarse import DIRECT_PAIRS
from stemdist.graph._lloyd import block_means, lloyd, own_distances

BLOCK_VALUES = 2**22


class LocationClustering(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Group locations by their scaled series, so that K clusters represent N locations.

    Distances are mean squared differences over the entries that both sides have observed.

    Parameters
    ----------
    n_clusters : int
        Number of clusters K.
    method : str
        ``"kmeans"``: exact Lloyd iterations, one pass over the time blocks each, with
        ``N * K`` numbers in memory besides a block; above 400 clusters and 4 million such
        numbers within groups of similar locations with about 100 clusters each, so that time and
        memory grow with N. ``"minibatch"``: a fixed four passes, for
        series larger than memory: mini-batch k-means on a random projection of the series, then
        one Lloyd iteration. ``"ward"``: clusters of adjacent locations (needs ``connectivity``;
        compares the projection, missing entries set to their step's mean).
        ``"random"``: equal parts at random, a control.
    representative : str
        The representative of a cluster: ``"medoid"``, the real location nearest to the mean, or
        ``"mean"``.
    random_state : int, numpy.random.RandomState or None
        Seed of the projection, of the starting points and of random clusters.
    batch_steps : int
        Time steps per block at most; fewer where one would have more than 4 million values.
    max_iter : int
        Most Lloyd iterations of ``"kmeans"``.

    Attributes
    ----------
    labels_ : (N,) int64
        Cluster of each location; clusters are numbered by their first location.
    sizes_ : (K,) int64
        Locations per cluster, all at least 1: empty clusters get half of the largest one.
    centroids_ : (T, K) or (T, K, F) float
        Mean series of each cluster, in the units of ``X``; NaN where nothing is observed.
    medoids_ : (K,) int64
        The member nearest to the mean. Members with less than half of the observed entries of
        the best observed one are passed over: a short series is near by chance.
    inertia_ : float
        Sum of squared differences between locations and their cluster's mean.
    n_iter_ : int
        Lloyd iterations.
    n_features_in_ : int
        N, since locations are what scikit-learn calls features, the columns of ``X``.
    feature_names_in_ : (N,) object
        Their names, if ``X`` is a pandas DataFrame with names for columns.

    Notes
    -----
    k-means on windows and on the series they are cut from is the same but for the steps at
    either end (distillation by clusters: Kwon et al., ICDE 2026). k-means starts from k-means++
    on a Gaussian random projection of the time axis to 256 numbers per location (Johnson and
    Lindenstrauss, 1984), or on the series itself if that is shorter.

    Examples
    --------
    >>> series = np.array([[0.0, 1.0, 3.0, 8.0, 9.0, 9.5]])
    >>> clustering = LocationClustering(2, random_state=0).fit(series)
    >>> clustering.labels_.tolist()
    [0, 0, 0, 1, 1, 1]
    >>> clustering.representative_series(series).tolist()
    [[1.0, 9.0]]
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        method: str = "kmeans",
        representative: str = "medoid",
        random_state: Any = None,
        batch_steps: int = 512,
        max_iter: int = 50,
    ) -> None:
        self.n_clusters = n_clusters
        self.method = method
        self.representative = representative
        self.random_state = random_state
        self.batch_steps = batch_steps
        self.max_iter = max_iter

    def fit(
        self,
        X: npt.ArrayLike,
        y: None = None,
        *,
        observed: npt.ArrayLike | None = None,
        connectivity: sp.sparray | None = None,
    ) -> LocationClustering:
        """Cluster the locations of a series in memory.

        Parameters
        ----------
        X : (T, N) or (T, N, F) array
            Scaled series; NaN is missing. Locations are columns.
        y : None
            Not used; there by scikit-learn's convention.
        observed : bool array of the shape of X or (T, N), optional
            Which values are observed. Default: all that are not NaN.
        connectivity : sparse (N, N), optional
            Which locations touch, for ``method="ward"``.

        Raises
        ------
        InputError
            If a parameter or the data cannot be used.
        TypeError
            If the data are a sparse matrix, or hold something that is no number.
        """
        self.check_parameters()
        series = self._validated(X)
        mask = None if observed is None else checked_mask(observed, series)

        length = max(1, min(self.batch_steps, BLOCK_VALUES // math.prod(series.shape[1:])))

        def parts() -> Iterator[Any]:
            for start in range(0, len(series), length):
                steps = slice(start, start + length)
                yield series[steps] if mask is None else (series[steps], mask[steps])

        return self.fit_blocks(Repeatable(parts), connectivity=connectivity)

    def fit_blocks(
        self, blocks: Iterable[Any], *, connectivity: sp.sparray | None = None
    ) -> LocationClustering:
        """Cluster the locations of a series that comes in time blocks.

        Parameters
        ----------
        blocks : iterable, not an iterator
            Gives, each time it is iterated over, the same arrays ``(t, N)`` or ``(t, N, F)`` in
            order of time, or pairs of such an array and its mask. Of these only one is in memory
            at a time; the block length is theirs, not ``batch_steps``.
        connectivity : sparse (N, N), optional
            Which locations touch, for ``method="ward"``.

        Raises
        ------
        InputError
            If a parameter or the data cannot be used.
        """
        self.check_parameters()
        if isinstance(blocks, Iterator):
            raise InputError(
                "blocks can be read only once, but clustering passes over them several times: "
                "give a list, or an object whose __iter__ starts again"
            )
        source = survey(blocks)
        self._check_enough(source.n_locations)
        sketch = partial(sketch_of, source)
        labels, groups = self._labels(self.method, source.n_locations, sketch, connectivity)
        self.n_iter_, rounds = 0, {"kmeans": self.max_iter, "minibatch": 1}.get(self.method, 0)
        if rounds:
            labels, self.n_iter_ = lloyd(source.blocks, labels, self.n_clusters, rounds, groups)
        self._describe(source, _in_order(labels))
        return self

    def _check_enough(self, n_locations: int) -> None:
        if self.n_clusters > n_locations:
            raise InputError(
                f"n_clusters is {self.n_clusters}, but there are only {n_locations} locations"
            )

    def _labels(
        self,
        method: str,
        n_locations: int,
        sketch: Callable[[np.random.RandomState], Floats],
        connectivity: sp.sparray | None,
    ) -> Found:
        """Cluster by a projection of the series."""
        if connectivity is not None and method != "ward":
            raise InputError(
                f"connectivity is given, but the method {self.method!r} does not use it: leave it "
                "out, or choose method='ward'"
            )
        random = check_random_state(self.random_state)
        request = Request(self.n_clusters, n_locations, sketch, connectivity, random)
        return CLUSTERING_METHODS[method](request)

    def fit_sketch(
        self,
        sketch: npt.NDArray[np.float32],
        observed_counts: npt.NDArray[Any],
        *,
        connectivity: sp.sparray | None = None,
    ) -> LocationClustering:
        """Cluster locations by a projection of their series, without the series.

        For series larger than memory, whose projection was made before (see
        :func:`stemdist.data.survey.survey`); k-means of more than 4 million pairs of a location
        and a cluster goes by mini-batches. There are no ``centroids_``; medoids and
        ``inertia_`` are those of the projection.

        Parameters
        ----------
        sketch : (N, W) array
            Rows whose distances stand for those between series.
        observed_counts : (N,) array
            Observed values of each location, at least 1.
        connectivity : sparse (N, N), optional
            As in :meth:`fit`.

        Examples
        --------
        >>> rows = np.array([[0.0], [0.1], [5.0]], dtype=np.float32)
        >>> LocationClustering(2, random_state=0).fit_sketch(rows, np.ones(3)).labels_.tolist()
        [0, 0, 1]
        """
        self.check_parameters()
        self._check_enough(len(sketch))
        centred = sketch - sketch.mean(axis=0)  # changes no distance
        large = self.method == "kmeans" and len(sketch) * self.n_clusters > DIRECT_PAIRS
        method = "minibatch" if large else self.method
        labels, _ = self._labels(method, len(sketch), lambda _: centred, connectivity)
        self.labels_ = labels = _in_order(labels)
        self.n_features_in_ = len(labels)
        self.sizes_ = np.bincount(labels, minlength=self.n_clusters)
        members = sp.csr_array(
            (np.ones(len(labels), dtype=np.float32), (labels, np.arange(len(labels))))
        )
        means = (members @ centred) / self.sizes_[:, None].astype(np.float32)
        squares = np.zeros(len(labels))
        for part in np.array_split(np.arange(len(labels)), 1 + len(labels) // 2**14):
            apart = centred[part] - means[labels[part]]
            squares[part] = np.einsum("nw,nw->n", apart, apart, dtype=np.float64)
        self.inertia_, self.n_iter_ = float(squares.sum()) / sketch.shape[1], 0
        counts = np.asarray(observed_counts, dtype=np.float64)
        self.medoids_ = _medoids(labels, squares * counts, counts, self.n_clusters)
        return self

    def representative_series(
        self, X: npt.ArrayLike, observed: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.floating]:
        """Return the series that represent the clusters.

        Parameters
        ----------
        X : (T', N) or (T', N, F) array
            Any series of the clustered locations, e.g. in physical units; NaN is missing.
        observed : bool array of the shape of X or (T', N), optional
            Which values are observed.

        Returns
        -------
        (T', K) or (T', K, F) array
            In the units of ``X``: medoids or means by ``representative``; NaN where missing.
        """
        if not hasattr(self, "labels_"):
            raise NotFittedError("this LocationClustering is not fitted yet: call fit first")
        series = checked_series(X)
        if series.shape[1] != len(self.labels_):
            raise InputError(
                f"X has {series.shape[1]} locations, but {len(self.labels_)} were clustered"
            )
        mask = None if observed is None else checked_mask(observed, series)
        return _REPRESENTATIVES[self.representative](self, series, mask)

    def _validated(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Check the series, and note the number and, if it has any, the names of its columns."""
        if np.ndim(X) in (2, 3):  # any other shape has an error of its own
            try:
                X = validate_data(
                    self, X, allow_nd=True, ensure_all_finite=False, ensure_min_samples=0
                )
            except ValueError as error:
                raise InputError(
                    "the series to cluster must be numbers, (time, location) or (time, location, "
                    f"feature): {error}"
                ) from error
        return checked_series(X)

    def __sklearn_tags__(self) -> Tags:
        """Return what scikit-learn's tools should know: missing values and features are allowed."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.three_d_array = True
        return tags

    def check_parameters(self) -> None:
        """Raise :class:`InputError` if a parameter cannot be used; :meth:`fit` does it too."""
        for name in ("n_clusters", "batch_steps", "max_iter"):
            check_count(name, getattr(self, name))
        if self.method not in CLUSTERING_METHODS:
            raise unknown_name("clustering method", self.method, CLUSTERING_METHODS)
        if self.representative not in _REPRESENTATIVES:
            raise unknown_name("representative", self.representative, _REPRESENTATIVES)

    def _describe(self, source: Source, labels: Labels) -> None:
        squares, counts, means = own_distances(source.blocks, labels, self.n_clusters)
        self.labels_, self.n_features_in_ = labels, len(labels)
        self.sizes_ = np.bincount(labels, minlength=self.n_clusters)
        self.inertia_ = float(squares.sum())
        self.medoids_ = _medoids(labels, squares, counts, self.n_clusters)
        series = [part.reshape(self.n_clusters, -1, source.n_features) for part in means]
        centroids = np.concatenate(series, axis=1).swapaxes(0, 1)  # (T, K, F)
        self.centroids_ = centroids if source.has_feature_axis else centroids[..., 0]


def _in_order(labels: Labels) -> Labels:
    """Renumber clusters by their first location."""
    _, first, slot = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[slot]


def _medoids(
    labels: Labels,
    squares: npt.NDArray[np.float64],
    counts: npt.NDArray[np.float64],
    n_clusters: int,
) -> Labels:
    most = np.zeros(n_clusters)
    np.maximum.at(most, labels, counts)
    distance = np.where(counts >= most[labels] / 2, squares / counts, np.inf)
    order = np.lexsort((distance, labels))  # by cluster, nearest first
    return order[np.unique(labels[order], return_index=True)[1]]


def _medoid_series(
    clustering: LocationClustering,
    series: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_] | None,
) -> npt.NDArray[np.floating]:
    chosen = series[:, clustering.medoids_]
    return chosen if mask is None else np.where(mask[:, clustering.medoids_], chosen, np.nan)


def _mean_series(
    clustering: LocationClustering,
    series: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_] | None,
) -> npt.NDArray[np.floating]:
    count = clustering.n_clusters
    cube = (*series.shape[:2], -1)
    block = prepare_block(series.reshape(cube), None if mask is None else mask.reshape(cube))
    mean, known = block_means(block, clustering.labels_, count)
    mean = np.where(known > 0, mean + block.step_mean, np.nan)  # (K, T' * F)
    return (
        mean.reshape(count, len(series), -1)
        .swapaxes(0, 1)
        .reshape(len(series), count, *series.shape[2:])
    )


_REPRESENTATIVES: dict[
    str,
    Callable[
        [LocationClustering, npt.NDArray[Any], npt.NDArray[np.bool_] | None],
        npt.NDArray[np.floating],
    ],
] = {"medoid": _medoid_series, "mean": _mean_series}

"""Location clustering: hand-made cases, parity, missing values, limits, errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.exceptions import NotFittedError

from stemdist.errors import InputError
from stemdist.graph import GraphSettings, LocationClustering, build_graph, connectivity
from stemdist.graph._blocks import prepare_block
from stemdist.graph._coarse import cluster_sketch, shares
from stemdist.graph._lloyd import Group, _distances, fill_empty, lloyd

FREE = ("kmeans", "minibatch", "random")


def chain(size):
    ones = np.ones(size - 1)
    return sp.diags_array([ones, ones], offsets=[-1, 1]).tocsr()


def fitted(X, count, method="kmeans", **options):
    extra = {"connectivity": chain(X.shape[1])} if method == "ward" else {}
    if "observed" in options:
        extra["observed"] = options.pop("observed")
    return LocationClustering(count, method=method, random_state=0, **options).fit(X, **extra)


def groups(steps=120, size=60, count=6, noise=0.1, seed=0):
    generator = np.random.default_rng(seed)
    truth = np.sort(np.arange(size) % count)
    centres = generator.standard_normal((steps, count))
    return centres[:, truth] + noise * generator.standard_normal((steps, size)), truth


@pytest.mark.parametrize("method", ["kmeans", "minibatch", "ward"])
def test_finds_groups(method):
    X, truth = groups()
    found = fitted(X, 6, method, batch_steps=50)
    np.testing.assert_array_equal(found.labels_, truth)
    np.testing.assert_array_equal(found.sizes_, [10] * 6)
    expected = np.stack([X[:, truth == k].mean(axis=1) for k in range(6)], axis=1)
    np.testing.assert_allclose(found.centroids_, expected, atol=1e-5)
    for k, medoid in enumerate(found.medoids_):
        distance = ((X[:, truth == k] - expected[:, [k]]) ** 2).sum(axis=0)
        assert medoid == np.flatnonzero(truth == k)[distance.argmin()]


def test_centroids_and_medoids_by_hand():
    X = np.array([[0.0, 1.0, 5.0, 10.0, 12.0], [0.0, 1.0, 2.0, 10.0, 12.0]])
    found = fitted(X, 2)
    np.testing.assert_array_equal(found.labels_, [0, 0, 0, 1, 1])
    np.testing.assert_allclose(found.centroids_, [[2.0, 11.0], [1.0, 11.0]], atol=1e-6)
    assert found.medoids_[0] == 1  # 5, 1 and 10 from (2, 1)
    assert found.inertia_ == pytest.approx(5 + 1 + 10 + 2 + 2, rel=1e-5)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_distances_equal_a_loop(missing):
    X, labels = groups(steps=23, size=12, count=3)
    X[np.random.default_rng(1).random(X.shape) < missing] = np.nan
    if missing:
        X[:9, labels == 2] = np.nan  # a centroid with unknown steps

    def blocks():
        return [prepare_block(part[:, :, None], None) for part in np.array_split(X, 4)]

    (found,) = _distances(blocks, labels, 3, [Group(slice(None), slice(0, 3))])
    few = np.array([1, 4, 7])
    (part,) = _distances(blocks, labels, 3, [Group(few, slice(1, 3))])
    np.testing.assert_allclose(part, found[few, 1:], rtol=1e-5)
    for k in range(3):
        members = X[:, labels == k]
        counts = np.isfinite(members).sum(axis=1)
        mean = np.where(counts > 0, np.nansum(members, axis=1) / np.maximum(counts, 1), np.nan)
        for i in range(12):
            expected = np.nanmean((X[:, i] - mean) ** 2)
            assert found[i, k] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_lloyd_within_groups_is_lloyd_of_each_group():
    X, _ = groups(noise=2.0)
    members = [np.arange(0, 60, 2), np.arange(1, 60, 2)]
    labels = np.empty(60, dtype=np.int64)
    for part, begin in zip(members, (0, 3), strict=True):
        labels[part] = begin + np.arange(30) % 3

    def blocks(columns):
        return lambda: [prepare_block(part[:, columns, None], None) for part in np.split(X, 2)]

    parts = [Group(part, slice(k, k + 3)) for part, k in zip(members, (0, 3), strict=True)]
    found, _ = lloyd(blocks(slice(None)), labels, 6, 50, parts)
    for part, begin in zip(members, (0, 3), strict=True):
        alone, _ = lloyd(blocks(part), labels[part] - begin, 3, 50)
        assert (found[part] - begin).tolist() == alone.tolist()


def test_many_clusters_are_found_within_groups(monkeypatch):
    monkeypatch.setattr("stemdist.graph._coarse.DIRECT_PAIRS", 100)
    monkeypatch.setattr("stemdist.graph._coarse.DIRECT_CLUSTERS", 10)
    monkeypatch.setattr("stemdist.graph._coarse.GROUP_CLUSTERS", 5)
    random = np.random.default_rng(0)
    centres = random.normal(size=(20, 30)) * 10  # 20 clusters of 15 locations, far apart
    labels = np.repeat(np.arange(20), 15)
    X = centres[labels].T + random.normal(size=(30, 300)) * 0.1
    sketch = np.ascontiguousarray(X.T, dtype=np.float32)
    found, within = cluster_sketch(sketch, 20, KMeans, np.random.RandomState(0))
    assert len(within) > 1
    assert set(found) == set(range(20))
    assert sorted(np.concatenate([group.members for group in within])) == list(range(300))
    direct = LocationClustering(20, random_state=0, max_iter=1).fit(X)
    assert np.bincount(found).min() >= 1
    assert direct.inertia_ < 0.2 * ((X - X.mean(axis=1, keepdims=True)) ** 2).sum()


def test_alike_locations_are_split_all_the_same(monkeypatch):
    monkeypatch.setattr("stemdist.graph._coarse.DIRECT_PAIRS", 10)
    monkeypatch.setattr("stemdist.graph._coarse.DIRECT_CLUSTERS", 4)
    monkeypatch.setattr("stemdist.graph._coarse.GROUP_CLUSTERS", 2)
    same = LocationClustering(6, random_state=0).fit(np.ones((4, 40)) * np.arange(4)[:, None])
    assert same.sizes_.min() >= 1
    assert same.sizes_.sum() == 40


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(0, 400))
def test_every_group_gets_a_share_it_can_fill(sizes, more):
    n_clusters = min(len(sizes) + more, sum(sizes))
    counts = shares(np.array(sizes), n_clusters)
    assert counts.sum() == n_clusters
    assert (counts >= 1).all()
    assert (counts <= sizes).all()


def test_lloyd_equals_scikit_learn_from_the_same_start():
    X, _ = groups(noise=2.0)
    start = np.arange(60) % 6
    centres = np.stack([X[:, start == k].mean(axis=1) for k in range(6)])
    theirs = KMeans(6, init=centres, n_init=1, tol=0, algorithm="lloyd").fit(X.T)

    def blocks():
        return [prepare_block(part[:, :, None], None) for part in np.array_split(X, 7)]

    labels, _ = lloyd(blocks, start, 6, 100)
    np.testing.assert_array_equal(labels, theirs.labels_)


def test_as_good_as_scikit_learn_where_the_series_is_sketched():
    X, _ = groups(steps=600, size=300, count=30, noise=1.5)
    theirs = KMeans(30, n_init=1, random_state=0).fit(X.T).inertia_
    assert fitted(X, 30).inertia_ < 1.03 * theirs
    assert fitted(X, 30, "minibatch").inertia_ < 1.10 * theirs


def test_ward_equals_scikit_learn_on_short_series():
    X, _ = groups(steps=40, noise=2.0)
    theirs = AgglomerativeClustering(7, connectivity=chain(60)).fit_predict(X.T)
    found = fitted(X, 7, "ward")
    pairs = set(zip(theirs.tolist(), found.labels_.tolist(), strict=True))
    assert len(pairs) == 7


def test_ward_makes_contiguous_regions():
    X, _ = groups(noise=3.0)
    labels = fitted(X, 5, "ward").labels_
    assert (np.diff(labels) >= 0).all()  # on a chain: intervals


def test_ward_on_islands_and_with_a_graph():
    X = np.array([[0.0, 0.1, 5.0, 5.1]])
    islands = sp.csr_array(np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]))
    found = LocationClustering(1, method="ward").fit(X, connectivity=islands)
    assert found.sizes_.tolist() == [4]
    found = LocationClustering(2, method="ward").fit(X, connectivity=islands)
    assert found.labels_.tolist() == [0, 0, 1, 1]


@pytest.mark.slow
@given(
    data=st.data(),
    size=st.integers(1, 12),
    features=st.integers(0, 2),
    method=st.sampled_from([*FREE, "ward"]),
    representative=st.sampled_from(["medoid", "mean"]),
    steps=st.integers(1, 7),
)
@settings(max_examples=60, deadline=None)
def test_every_clustering_is_a_partition(data, size, features, method, representative, steps):
    count = data.draw(st.integers(1, size))
    shape = (steps, size, features) if features else (steps, size)
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    X = generator.integers(0, data.draw(st.integers(1, 4)), shape).astype(float)  # many equal
    X[1:][generator.random(X[1:].shape) < 0.3] = np.nan
    extra = {"connectivity": chain(size) if size > 1 else sp.csr_array((1, 1))}
    if size == 1 and method == "ward":
        method = "random"
    found = [
        LocationClustering(
            count,
            method=method,
            representative=representative,
            random_state=0,
            batch_steps=3,
        ).fit(X, **(extra if method == "ward" else {}))
        for _ in range(2)
    ]
    np.testing.assert_array_equal(found[0].labels_, found[1].labels_)
    assert sorted(set(found[0].labels_.tolist())) == list(range(count))
    np.testing.assert_array_equal(found[0].sizes_, np.bincount(found[0].labels_))
    assert found[0].sizes_.sum() == size
    np.testing.assert_array_equal(found[0].labels_[found[0].medoids_], np.arange(count))
    assert found[0].centroids_.shape == (steps, count, *shape[2:])
    assert np.isfinite(found[0].inertia_)
    series = found[0].representative_series(X)
    assert series.shape == found[0].centroids_.shape
    if representative == "mean":
        np.testing.assert_allclose(series, found[0].centroids_, atol=1e-5)


@pytest.mark.parametrize("method", [*FREE, "ward"])
def test_limits_of_the_number_of_clusters(method):
    X, _ = groups(size=8, count=4, noise=1.0)
    single = fitted(X, 1, method)
    np.testing.assert_allclose(single.centroids_[:, 0], X.mean(axis=1), atol=1e-6)
    every = fitted(X, 8, method)
    np.testing.assert_array_equal(every.labels_, np.arange(8))
    np.testing.assert_array_equal(every.medoids_, np.arange(8))
    assert every.inertia_ == pytest.approx(0, abs=1e-6)
    np.testing.assert_array_equal(every.representative_series(X), X)


def test_empty_clusters_are_filled_from_the_largest():
    labels = np.array([0, 0, 0, 0, 2])
    filled = fill_empty(labels, np.array([1.0, 5.0, 2.0, 4.0, 9.0]), 4)
    # 1 gets the farther half of 0 (locations 1 and 3), then 3 halves the first of the largest
    np.testing.assert_array_equal(filled, [0, 1, 3, 1, 2])
    same = fitted(np.ones((3, 7)), 4)
    assert (same.sizes_ > 0).all()


@pytest.mark.parametrize("method", ["kmeans", "minibatch"])
def test_missing_values_do_not_pull(method):
    X, truth = groups()
    mask = np.random.default_rng(2).random(X.shape) > 0.4
    wild = np.where(mask, X, 1e6)
    found = fitted(wild, 6, method, observed=mask)
    np.testing.assert_array_equal(found.labels_, truth)
    expected = [[X[t, (truth == k) & mask[t]].mean() for k in range(6)] for t in range(len(X))]
    np.testing.assert_allclose(found.centroids_, expected, atol=1e-5)
    as_nan = fitted(np.where(mask, X, np.nan), 6, method)
    np.testing.assert_array_equal(as_nan.labels_, found.labels_)
    chosen = found.representative_series(wild, mask)
    np.testing.assert_array_equal(np.isnan(chosen), ~mask[:, found.medoids_])


def test_a_short_series_is_no_medoid():
    X = np.array([[0.0, 2.0, 1.1], [0.0, 2.0, np.nan], [0.0, 2.0, np.nan]])
    assert fitted(X, 1).medoids_.tolist() != [2]


def test_a_cluster_that_nobody_observed_at_a_step_is_missing_there():
    X = np.array([[0.0, 0.0, 5.0, 5.0], [np.nan, np.nan, 5.0, 5.0]])
    found = fitted(X, 2, representative="mean")
    np.testing.assert_array_equal(found.centroids_, [[0.0, 5.0], [np.nan, 5.0]])
    np.testing.assert_array_equal(found.representative_series(X), found.centroids_)


@pytest.mark.parametrize("method", FREE)
def test_blocks_equal_memory(method):
    X, _ = groups(steps=300, noise=1.0)
    X[np.random.default_rng(3).random(X.shape) < 0.1] = np.nan
    whole = fitted(X, 6, method, batch_steps=100)
    parts = [X[:100], (np.nan_to_num(X[100:200]), np.isfinite(X[100:200])), X[200:]]
    blocks = LocationClustering(6, method=method, random_state=0).fit_blocks(parts)
    np.testing.assert_array_equal(blocks.labels_, whole.labels_)
    np.testing.assert_array_equal(blocks.centroids_, whole.centroids_)


def test_several_features_share_a_mask():
    X, truth = groups()
    two = np.stack([X, -X], axis=-1)  # (T, N, F)
    mask = np.random.default_rng(4).random(X.shape) > 0.1
    found = fitted(two, 6, observed=mask)
    np.testing.assert_array_equal(found.labels_, truth)
    np.testing.assert_allclose(found.centroids_[..., 0], -found.centroids_[..., 1], atol=1e-5)


def test_scikit_learn_habits():
    estimator = LocationClustering(3, method="random", random_state=4)
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert copy.set_params(n_clusters=2).n_clusters == 2
    X, _ = groups()
    np.testing.assert_array_equal(estimator.fit_predict(X), estimator.labels_)
    LocationClustering(-1)  # parameters are checked by fit
    with pytest.raises(NotFittedError, match="call fit first"):
        clone(estimator).representative_series(X)


def test_random_parts_are_equal():
    X, _ = groups(size=62)
    assert sorted(fitted(X, 5, "random").sizes_.tolist()) == [12, 12, 12, 13, 13]


@pytest.mark.parametrize(
    ("parameters", "X", "message"),
    [
        ({"n_clusters": 0}, np.zeros((2, 3)), "n_clusters is 0"),
        ({"n_clusters": 4}, np.zeros((2, 3)), "n_clusters is 4, but there are only 3 locations"),
        ({"method": "kmean"}, np.zeros((2, 3)), "did you mean 'kmeans'"),
        ({"representative": "medium"}, np.zeros((2, 3)), "did you mean 'medoid'"),
        ({"batch_steps": 0}, np.zeros((2, 3)), "batch_steps is 0"),
        ({"max_iter": 0}, np.zeros((2, 3)), "max_iter is 0"),
        ({}, np.zeros(3), r"must be \(time, location\)"),
        ({}, np.zeros((0, 3)), "no time step"),
        ({}, np.array([["a", "b"]]), "must be numbers"),
        ({}, np.array([[1.0, np.nan, 2.0]]), "1 of 3 locations have no observed value.*number 1"),
        ({"method": "ward"}, np.zeros((2, 3)), "'ward' needs a sparse 3 x 3"),
    ],
)
def test_errors(parameters, X, message):
    with pytest.raises(InputError, match=message):
        LocationClustering(**{"n_clusters": 2, **parameters}).fit(X)


def test_more_errors():
    X, _ = groups()
    with pytest.raises(InputError, match="does not use it"):
        LocationClustering(2).fit(X, connectivity=chain(60))
    with pytest.raises(InputError, match=r"observed has the shape \(3,\)"):
        LocationClustering(2).fit(X, observed=[True] * 3)
    with pytest.raises(InputError, match="can be read only once"):
        LocationClustering(2).fit_blocks(iter([X]))
    with pytest.raises(InputError, match="all blocks must have the same"):
        LocationClustering(2).fit_blocks([X, X[:, 1:]])
    with pytest.raises(InputError, match="X has 59 locations, but 60 were clustered"):
        fitted(X, 2).representative_series(X[:, 1:])


@pytest.mark.slow
def test_los_loop(real_data):
    X = pd.read_csv(real_data("los_speed.csv")).to_numpy(dtype=float)[:1200]
    X = (X - X.mean()) / X.std()
    theirs = KMeans(21, n_init=1, random_state=0).fit(X.T).inertia_
    assert fitted(X, 21).inertia_ < 1.03 * theirs
    series_graph = build_graph(
        _as_dataset(X), GraphSettings(method="adjacency", file=str(real_data("los_adj.csv")))
    )
    ward = LocationClustering(21, method="ward").fit(X, connectivity=connectivity(series_graph))
    assert ward.sizes_.sum() == 207


def _as_dataset(X):
    return (
        pd.DataFrame(X)
        .rename_axis("time")
        .rename_axis("location", axis=1)
        .stack()
        .to_frame("v")
        .to_xarray()
    )

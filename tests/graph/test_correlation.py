"""Correlation graphs: blocks against a dense computation, missing values, the training part."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from threadpoolctl import threadpool_limits

from stemdist.data import canonical_series
from stemdist.data.survey import survey
from stemdist.errors import InputError
from stemdist.graph import GraphSettings, build_graph, correlation

SETTINGS = GraphSettings(method="correlation", neighbours=8)


def series_of(values):
    return xr.Dataset({"v": (("time", "location"), values)})


def mixed(steps=300, size=40, seed=0):
    generator = np.random.default_rng(seed)
    common = generator.standard_normal((steps, 5)) @ generator.standard_normal((5, size))
    return 280 + common + generator.standard_normal((steps, size))


def dense_edges(values, k, min_periods=2):
    matrix = pd.DataFrame(values).corr(min_periods=min_periods).fillna(0).to_numpy().copy()
    np.fill_diagonal(matrix, -np.inf)
    return {
        (int(j), i): matrix[i, j]
        for i in range(len(matrix))
        for j in np.argsort(-matrix[i])[:k]
        if matrix[i, j] > 0
    }


def check_equal(graph, expected):
    found = dict(
        zip(map(tuple, graph.edge_index.T.tolist()), graph.edge_weight.tolist(), strict=True)
    )
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[k] for k in expected], list(expected.values()), atol=2e-5)


@pytest.mark.parametrize("block", [7, 512])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_blocks_equal_dense(monkeypatch, block, missing):
    monkeypatch.setattr(correlation, "_BLOCK", block)
    values = mixed()
    values[np.random.default_rng(1).random(values.shape) < missing] = np.nan
    check_equal(build_graph(series_of(values), SETTINGS), dense_edges(values, 8))


def test_los_loop_equals_dense(real_data):
    values = pd.read_csv(real_data("los_speed.csv")).to_numpy(dtype=float)
    graph = build_graph(series_of(values), SETTINGS, train_steps=1200)
    assert graph.num_nodes == 207
    check_equal(graph, dense_edges(values[:1200], 8))


def test_three_series_by_hand():
    values = np.array([[0.0, 0.0, 3.0], [1.0, 2.0, 2.0], [2.0, 4.0, 1.0], [3.0, 6.0, 0.0]])
    graph = build_graph(series_of(values), SETTINGS)
    assert graph.edge_index.tolist() == [[1, 0], [0, 1]]  # the third runs the other way
    np.testing.assert_allclose(graph.edge_weight, 1.0, atol=1e-6)


def test_only_the_training_part_counts():
    values = mixed()
    changed = values.copy()
    changed[200:] = 0.0
    first = build_graph(series_of(values), SETTINGS, train_steps=200)
    second = build_graph(series_of(changed), SETTINGS, train_steps=200)
    assert first.edge_index.equal(second.edge_index)


def test_constant_and_hardly_overlapping_series_are_no_neighbours():
    values = mixed(size=5)
    values[:, 0] = 280.0
    values[5:, 1] = np.nan  # five shared steps of 300: too few
    graph = build_graph(series_of(values), SETTINGS)
    assert not set(graph.edge_index.flatten().tolist()) & {0, 1}


def test_the_first_variable_is_the_target():
    values = mixed()
    two = series_of(values).assign(w=(("time", "location"), mixed(seed=3)))
    one = build_graph(series_of(values), SETTINGS)
    assert build_graph(two, SETTINGS).edge_index.equal(one.edge_index)


def test_one_time_step_is_too_few():
    with pytest.raises(InputError, match="at least 2 time steps; there is 1"):
        build_graph(series_of(mixed(steps=1)), SETTINGS)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_many_locations_are_compared_by_projections_and_then_exactly(monkeypatch, missing):
    monkeypatch.setattr(correlation, "_DIRECT", 100)
    monkeypatch.setattr(correlation, "_GATHERED", 20_000)
    generator = np.random.default_rng(3)
    groups = np.repeat(generator.standard_normal((600, 30)), 10, axis=1)  # 10 of a kind
    values = 280 + groups + 0.5 * generator.standard_normal(groups.shape)
    values[generator.random(values.shape) < missing] = np.nan
    found = build_graph(series_of(values), SETTINGS)
    expected = dense_edges(values, 8)
    edges = list(map(tuple, found.edge_index.T.tolist()))
    hit = [edge for edge in edges if edge in expected]
    assert len(hit) > 0.99 * len(expected)
    weights = dict(zip(edges, found.edge_weight.tolist(), strict=True))
    np.testing.assert_allclose([weights[e] for e in hit], [expected[e] for e in hit], atol=2e-5)


def test_projections_of_a_survey_give_the_same_neighbours():
    generator = np.random.default_rng(4)
    groups = np.repeat(generator.standard_normal((900, 12)), 5, axis=1)
    levels = 20 * generator.standard_normal(60)  # means do not matter
    values = (280 + levels + groups + 0.3 * generator.standard_normal(groups.shape)).astype("f4")
    raw = xr.Dataset(
        {"v": (("time", "location"), values)}, {"time": pd.date_range("2020", periods=900)}
    )
    found = survey(canonical_series(raw.chunk(time=100)), 900, 1)[0]
    settings = GraphSettings(method="correlation", neighbours=4)
    graph = build_graph(raw, settings, sketch=found.centred_sketch(900))
    source, target = graph.edge_index.numpy()
    assert (source // 5 == target // 5).all()
    exact = np.corrcoef(values.T)[source, target]
    assert np.abs(graph.edge_weight.numpy() - exact).max() < 0.1


@pytest.mark.parametrize("missing", [False, True])
def test_edges_do_not_depend_on_the_number_of_threads(missing):
    values = mixed(steps=3000, size=200).astype(np.float32)
    if missing:
        values[np.random.default_rng(1).random(values.shape) < 0.1] = np.nan
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(correlation.correlation_edges(series_of(values), SETTINGS))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)

"""A task: features, splits, scaling and what is dropped."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from stemdist.data import Scaler, Split, canonical_series, dataset_recipe
from stemdist.errors import InputError
from stemdist.forecast import ForecastTask, TaskSettings, settings_for
from stemdist.forecast import task as task_module
from stemdist.forecast.features import input_windows
from stemdist.graph import GraphSettings

STEPS = 60


def stations(values, **coords):
    values = np.asarray(values, dtype=float)
    time = pd.date_range("2021-03-01", periods=len(values), freq="h")
    raw = xr.Dataset({"v": (("time", "station"), values)}, {"time": time})
    place = {name: ("station", content) for name, content in coords.items()}
    return raw.assign_coords(station=[f"s{i}" for i in range(values.shape[1])], **place)


def noise(n_locations=4, steps=STEPS, seed=0):
    return np.random.default_rng(seed).normal(10.0, 3.0, (steps, n_locations)).round(2)


def small(**options):
    chosen = {"lookback": 4, "horizon": 2, "graph": GraphSettings(method="correlation"), **options}
    return TaskSettings(**chosen)


@pytest.fixture
def two_variables():
    raw = stations(
        noise(), lat=[50.0, 51.0, 52.0, 53.0], lon=[0.0] * 4, elevation=[5.0, 10.0, np.nan, 0.0]
    )
    raw["w"] = raw["v"] ** 2
    return canonical_series(raw, variables=["v", "w"], static=["elevation"])


# --- features ---------------------------------------------------


def test_feature_order(two_variables):
    task = ForecastTask.from_series(
        two_variables, small(calendar=("time_of_day", "day_of_year"), static=("elevation",))
    )
    assert task.feature_names == (
        "v",
        "v_neighbours",
        "w",
        "time_of_day_sin",
        "time_of_day_cos",
        "day_of_year_sin",
        "day_of_year_cos",
        "elevation",
    )
    assert task.target_name == "v"
    assert task.train.n_features == len(task.feature_names) == len(task.scaler.mean)
    assert task.n_series_features == 3
    x = task.scaler.inverse_features(task.train.inputs(torch.tensor([5])))[0]  # (L, N, F)
    np.testing.assert_allclose(x[..., 0], two_variables["v"][5:9], rtol=1e-5)
    np.testing.assert_allclose(x[..., 2], two_variables["w"][5:9], rtol=1e-5)
    angle = 2 * np.pi * np.arange(5, 9) / 24
    np.testing.assert_allclose(x[:, 0, 3], np.sin(angle), atol=1e-6)
    np.testing.assert_allclose(x[:, 2, 4], np.cos(angle), atol=1e-6)
    np.testing.assert_allclose(x[0, :, 7], [5, 10, 5, 0], rtol=1e-5)  # missing: the mean


def test_without_neighbour_context(two_variables):
    task = ForecastTask.from_series(two_variables, small(neighbour_context=False))
    assert task.feature_names == ("v", "w")
    assert task.n_series_features == 2


def test_neighbour_context_by_hand(tmp_path):
    table = tmp_path / "adjacency.csv"
    table.write_text("source,target,weight\ns1,s0,1\ns2,s0,3\ns0,s1,1\n")
    values = noise(3)
    values[7, 2] = np.nan  # at s0 only s1 is seen
    values[9:11, 0] = np.nan  # at s1 nothing is seen: the last mean is kept
    settings = small(graph=GraphSettings(method="adjacency", file=str(table)))
    task = ForecastTask.from_series(canonical_series(stations(values)), settings)
    assert task.feature_names == ("v", "v_neighbours")
    context = task.train.values[..., 1] * task.scaler.scale[0] + task.scaler.mean[0]
    expected = values.copy()
    expected[:, 0] = (values[:, 1] + 3 * values[:, 2]) / 4
    expected[7, 0] = values[7, 1]
    expected[:, 1] = values[:, 0]
    expected[9:11, 1] = values[8, 0]
    expected[7, 2] = values[6, 2]  # s2 has no neighbour but itself
    np.testing.assert_allclose(context, expected, rtol=1e-4)


def test_static_features_that_do_not_fit(two_variables):
    with pytest.raises(InputError, match="unknown static feature 'elevatn': did you mean 'elevat"):
        ForecastTask.from_series(two_variables, small(static=("elevatn",)))
    named = two_variables.assign_coords(kind=("location", list("abcd")))
    with pytest.raises(InputError, match=r"'kind' has dims .* one number per location"):
        ForecastTask.from_series(named, small(static=("kind",)))
    empty = two_variables.assign_coords(depth=("location", [np.nan] * 4))
    with pytest.raises(InputError, match="'depth' is missing at every location"):
        ForecastTask.from_series(empty, small(static=("depth",)))


def test_a_constant_static_feature_is_harmless(two_variables):
    task = ForecastTask.from_series(two_variables, small(static=("lon",)))
    assert (task.train.static == 0).all()


# --- no leak ---------------------------------------------------


def test_scaling_uses_the_training_part_only():
    values = noise()
    clean = ForecastTask.from_series(canonical_series(stations(values)), small())
    poisoned = values.copy()
    poisoned[36:] = 1e6
    accepted = canonical_series(stations(poisoned)).assign_attrs(opening='{"accept": ["extremes"]}')
    spoilt = ForecastTask.from_series(accepted, small())
    assert spoilt.scaler == clean.scaler
    assert spoilt.graph.edge_index.equal(clean.graph.edge_index)
    assert spoilt.train.profile.equal(clean.train.profile)
    part = values[:36].astype(np.float32).astype(float)
    assert clean.scaler.mean[0] == pytest.approx(part.mean(), rel=1e-6)
    assert clean.scaler.scale[0] == pytest.approx(part.std(), rel=1e-5)


def test_no_window_leaves_its_part():
    task = ForecastTask.from_series(canonical_series(stations(noise())), small())
    for part, (begin, end) in {"train": (0, 36), "validation": (36, 48), "test": (48, 60)}.items():
        starts = getattr(task, part).starts
        assert starts.tolist() == list(range(begin, end - 6 + 1))


def test_no_window_crosses_a_gap():
    raw = stations(noise(steps=62)).drop_isel(time=[10, 11])
    task = ForecastTask.from_series(canonical_series(raw), small())
    assert task.train.starts.tolist() == [*range(5), *range(10, 31)]


def test_a_part_without_share():
    settings = small(split=Split(train=0.7, validation=0.0, test=0.3))
    task = ForecastTask.from_series(canonical_series(stations(noise())), settings)
    assert set(task.windows) == {"train", "test"}
    with pytest.raises(InputError, match="gives the validation part no time steps"):
        _ = task.validation


# --- missing values ---------------------------------------------------


def test_locations_never_observed_in_training_are_dropped(caplog):
    values = noise()
    values[:, 1] = np.nan
    values[:36, 2] = np.nan
    task = ForecastTask.from_series(canonical_series(stations(values)), small())
    assert task.series["location"].values.tolist() == ["s0", "s3"]
    assert task.n_locations == task.graph.num_nodes == task.train.n_locations == 2
    assert "2 of 4 locations have no target in the training part" in caplog.text


def test_missing_targets_are_masked_and_inputs_filled():
    values = noise()
    values[4:6, 0] = np.nan
    task = ForecastTask.from_series(canonical_series(stations(values)), small())
    batch = task.train.batch(torch.tensor([0, 4]))
    assert batch.mask[0, :, 0].tolist() == [0, 0]
    assert batch.y[0, :, 0].tolist() == [0, 0]
    assert batch.mask[0, :, 1:].all()
    filled = (values[3, 0] - task.scaler.mean[0]) / task.scaler.scale[0]
    assert batch.x[1, :2, 0, 0].tolist() == pytest.approx([filled] * 2, rel=1e-4)
    assert all(part.isfinite().all() for part in batch)


def test_useless_series():
    with pytest.raises(InputError, match="'v' has no observed value in the training part"):
        ForecastTask.from_series(canonical_series(stations(noise() * np.nan)), small())
    with pytest.raises(InputError, match="'v' is constant"):
        ForecastTask.from_series(canonical_series(stations(noise() * 0)), small())
    with pytest.raises(InputError, match="the validation part has 2 time steps: no window"):
        ForecastTask.from_series(canonical_series(stations(noise(steps=10))), small())


# --- settings and identity ---------------------------------------------------


def test_settings_round_trip():
    settings = small(
        calendar=("time_of_day",), static=("lat",), split=Split(train=0.5, validation=0.1, test=0.4)
    )
    assert TaskSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_wrong_settings():
    with pytest.raises(InputError, match="horizon is 0"):
        small(horizon=0)
    with pytest.raises(InputError, match="unknown calendar feature"):
        small(calendar=("hour",))


def test_settings_of_a_recipe():
    recipe = dataset_recipe("los-loop")
    series = xr.Dataset(attrs={"recipe": "los-loop"})
    settings = settings_for(series)
    assert (settings.lookback, settings.horizon) == (recipe.lookback, recipe.horizon)
    assert settings.calendar == tuple(recipe.calendar)
    assert settings.graph == GraphSettings(method="correlation", neighbours=8)
    assert settings_for(xr.Dataset()) == TaskSettings(calendar=("auto",))


def test_options_win_over_the_recipe():
    series = xr.Dataset(attrs={"recipe": "los-loop"})
    own = {"horizon": 3, "calendar": (), "split": (0.7, 0.1, 0.2), "neighbours": 4}
    settings = settings_for(series, own)
    assert (settings.lookback, settings.horizon, settings.calendar) == (12, 3, ())
    assert settings.split == Split(train=0.7, validation=0.1, test=0.2)
    assert settings.graph == GraphSettings(method="correlation", neighbours=4)
    assert settings_for(series, {"graph": "knn"}).graph == GraphSettings(method="knn")
    with pytest.raises(InputError, match="unknown option of a task 'horizn'"):
        settings_for(series, {"horizn": 3})


def test_graph_file_of_a_recipe_lies_beside_the_data(tmp_path):
    series = xr.Dataset(attrs={"recipe": "los-loop"})
    series.encoding["source"] = str(tmp_path / "speeds.csv")
    with pytest.raises(InputError, match=r"reads 'los_adj\.csv', which is not in"):
        settings_for(series, {"graph": "los-loop"})
    (tmp_path / "los_adj.csv").write_text("0,1\n1,0\n")
    graph = settings_for(series, {"graph": "los-loop"}).graph
    assert graph == GraphSettings(method="adjacency", file=str(tmp_path / "los_adj.csv"))


def test_a_recipe_that_is_gone_is_reported(caplog):
    assert settings_for(xr.Dataset(attrs={"recipe": "mine"})) == settings_for(xr.Dataset())
    assert "recipe 'mine', which is not in the catalogue" in caplog.text


def test_content_hash():
    series = canonical_series(stations(noise(), lat=[0.0, 1, 2, 3], lon=[0.0, 1, 2, 3]))
    settings = small(calendar=("time_of_day",), static=("lat",))

    def hash_with(changed=series, **options):
        chosen = {**settings.to_json(), **options}
        chosen = {**chosen, "split": settings.split, "graph": settings.graph}
        return ForecastTask.from_series(changed, TaskSettings(**chosen)).content_hash

    same = hash_with()
    assert hash_with(series.copy(deep=True)) == same
    value, place = series.copy(deep=True).load(), series.copy(deep=True)
    value["v"][50, 1] += 1
    place["lat"][0] = 9.0
    later = series.assign_coords(time=series["time"] + np.timedelta64(6, "h"))
    hidden = series.load().where(series["time"] != series["time"][50])
    others = [hash_with(changed) for changed in (value, place, later, hidden)]
    others += [hash_with(lookback=3), hash_with(horizon=1)]
    assert len({same, *others}) == 7


# --- new data ---------------------------------------------------


@pytest.mark.parametrize("context", [True, False])
def test_input_windows_agree_with_the_task(two_variables, context):
    settings = small(calendar=("time_of_day",), static=("elevation",), neighbour_context=context)
    task = ForecastTask.from_series(two_variables, settings)
    again = input_windows(task.series, settings, task.scaler, task.graph, task.train.starts)
    index = torch.arange(len(task.train))
    for ours, theirs in zip(again.batch(index), task.train.batch(index), strict=True):
        assert ours.equal(theirs)


def test_static_features_of_other_locations_keep_the_scale_of_training(two_variables):
    settings = small(static=("lat",))
    task = ForecastTask.from_series(two_variables, settings)
    part = task.series.isel(location=[0, 1])
    graph = ForecastTask.from_series(part, settings).graph
    windows = input_windows(part, settings, task.scaler, graph, torch.tensor([0]))
    assert windows.static.equal(task.train.static[:2])


def test_blocks_of_time_change_nothing(two_variables, monkeypatch):
    whole = ForecastTask.from_series(two_variables, small())
    monkeypatch.setattr("stemdist.forecast.features.LOAD_BLOCK", 7 * 4)
    blocked = ForecastTask.from_series(two_variables, small())
    torch.testing.assert_close(blocked.train.values, whole.train.values)
    assert isinstance(blocked.scaler, Scaler)
    assert blocked.scaler == whole.scaler


@pytest.mark.parametrize("offset", [1e5, 1e7, 1e9])
def test_values_far_from_zero_keep_their_spread(offset):
    values = noise()
    near, far = (
        ForecastTask.from_series(canonical_series(stations(values + moved)), small())
        for moved in (0.0, offset)
    )
    assert far.scaler.mean[0] - offset == pytest.approx(near.scaler.mean[0], abs=1e-5)
    assert far.scaler.scale == pytest.approx(near.scaler.scale, rel=1e-6)
    torch.testing.assert_close(far.train.values, near.train.values, rtol=0, atol=1e-5)
    assert far.graph.edge_index.equal(near.graph.edge_index)


def test_a_series_that_does_not_fit_into_memory_is_refused_before_it_is_read(monkeypatch):
    raw = xr.Dataset(
        {"v": (("time", "station"), np.random.default_rng(0).normal(size=(100, 4)))},
        {"time": pd.date_range("2020", periods=100, freq="h")},
    )
    series = canonical_series(raw)
    monkeypatch.setattr(task_module, "available_bytes", lambda: 100 * 4 * 9 - 1)
    monkeypatch.setattr(task_module, "load_centred", None)
    with pytest.raises(InputError, match=r"100 steps at 4 locations need .* take fewer locations"):
        ForecastTask.from_series(series, TaskSettings(lookback=4, horizon=2))

"""A saved forecaster: the same after loading, right times and places, plain messages."""

from __future__ import annotations

import errno
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from stemdist.data import Split, canonical_series
from stemdist.errors import InputError, OutputError
from stemdist.forecast import (
    FittedForecaster,
    ForecastTask,
    TaskSettings,
    TrainingSettings,
    fit_forecaster,
)
from stemdist.forecast import fitted as fitted_module
from stemdist.forecast.fitted import check_replaceable
from stemdist.graph import GraphSettings

LATS, LONS = [52.0, 51.0, 50.0], [0.0, 1.0]
LOOKBACK, HORIZON, STEPS = 4, 2, 60
SETTINGS = TaskSettings(lookback=LOOKBACK, horizon=HORIZON, calendar=("time_of_day",))


def raw_grid(calendar="standard", steps=STEPS, lats=LATS, seed=0):
    time = xr.date_range("2001-02-27", periods=steps, freq="6h", calendar=calendar)
    values = np.random.default_rng(seed).normal(280, 4, (steps, len(lats), len(LONS)))
    array = (("time", "lat", "lon"), values.astype("float32"), {"units": "K"})
    return xr.Dataset({"t": array}, {"time": time, "lat": lats, "lon": LONS})


def raw_stations(n_locations=5, steps=STEPS, ids=None):
    time = pd.date_range("2021-01-01", periods=steps, freq="h")
    values = np.random.default_rng(1).normal(50, 9, (steps, n_locations))
    names = ids or [f"s{i}" for i in range(n_locations)]
    return xr.Dataset({"v": (("time", "station"), values)}, {"time": time, "station": names})


def fit(series, settings=SETTINGS, name="mlp"):
    task = ForecastTask.from_series(series, settings)
    return fit_forecaster(task, name, TrainingSettings(updates=3, validate_every=3))


@pytest.fixture(scope="module")
def grid():
    return canonical_series(raw_grid())


@pytest.fixture(scope="module")
def stations():
    return canonical_series(raw_stations())


@pytest.fixture(scope="module")
def on_grid(grid):
    return fit(grid)


@pytest.fixture(scope="module")
def at_stations(stations):
    return fit(stations)


# --- forecasts -----------------------------------------------------


def test_a_forecast_lies_on_the_grid_of_the_source(on_grid, grid):
    forecast = on_grid.predict(grid)
    assert forecast.dims == ("init_time", "horizon", "lat", "lon")
    assert forecast.shape == (1, HORIZON, 3, 2)
    assert forecast["lat"].values.tolist() == LATS
    own = {"units": "K", "long_name": "t forecast by mlp", "title": "t forecast"}
    assert own.items() <= forecast.attrs.items()
    assert forecast.attrs["source"].startswith("stemdist ")
    assert (forecast["lead_time"] / np.timedelta64(6, "h")).values.tolist() == [1.0, 2.0]
    assert forecast["init_time"].values[0] == grid["time"].values[-1]
    lead = forecast["valid_time"] - forecast["init_time"]
    assert (lead / np.timedelta64(6, "h")).values.tolist() == [[1.0, 2.0]]
    assert np.isfinite(forecast).all()


@pytest.mark.parametrize("name", ["linear", "mlp", "mtgnn"])
def test_forecasts_equal_those_of_the_windows(grid, name):
    fitted = fit(grid, name=name)
    task = ForecastTask.from_series(grid, SETTINGS)
    forecast = fitted.predict(grid, init_times="all")
    index = torch.tensor([0, 7])
    with torch.no_grad():
        scaled = fitted.forecaster(task.train.inputs(index), task.graph, task.train.profile)
    expected = task.scaler.inverse(scaled).reshape(2, HORIZON, 3, 2)
    np.testing.assert_allclose(forecast[[0, 7]], expected, rtol=1e-5)
    assert forecast["init_time"].values[7] == grid["time"].values[7 + LOOKBACK - 1]


def test_only_the_steps_that_are_needed_are_read(on_grid, monkeypatch):
    raw = raw_grid(steps=400)
    hidden = np.random.default_rng(2).random(raw["t"].shape) < 0.3
    series = canonical_series(raw.assign(t=raw["t"].where(~hidden)))
    read = []
    whole = fitted_module.input_windows

    def counted(part, *how):
        read.append(part.sizes["time"])
        return whole(part, *how)

    monkeypatch.setattr(fitted_module, "input_windows", counted)
    every = on_grid.predict(series, init_times="all")
    assert read == [400]
    last = on_grid.predict(series)
    assert read[1:] == [2 * LOOKBACK]
    np.testing.assert_allclose(last[0], every[-1], rtol=1e-6)
    monkeypatch.setattr(fitted_module, "BLOCK_VALUES", 6 * 40)
    pieces = on_grid.predict(series, init_times="all")
    assert len(read) > 10
    assert max(read[2:]) <= 40 + LOOKBACK
    xr.testing.assert_allclose(pieces, every, rtol=1e-6)
    strided = on_grid.predict(series, init_times="all", stride=7)
    xr.testing.assert_allclose(strided, every[::-7][::-1], rtol=1e-6)


def test_raw_data_are_accepted(on_grid, grid):
    expected = on_grid.predict(grid)
    xr.testing.assert_identical(on_grid.predict(raw_grid()), expected)
    xr.testing.assert_identical(on_grid.predict(raw_grid().transpose(..., "time")), expected)


@pytest.mark.parametrize("calendar", ["360_day", "noleap"])
def test_valid_times_in_other_calendars(calendar, tmp_path):
    series = canonical_series(raw_grid(calendar, steps=56))
    fitted = fit(series)
    forecast = fitted.predict(series.isel(time=slice(0, 8)))
    expected = xr.date_range("2001-02-27", periods=10, freq="6h", calendar=calendar)[8:]
    assert forecast["valid_time"].values[0].tolist() == expected.tolist()
    forecast.to_netcdf(tmp_path / "forecast.nc")
    with xr.open_dataarray(tmp_path / "forecast.nc") as stored:
        assert stored["valid_time"].values[0].tolist() == expected.tolist()


def test_initial_times(on_grid, grid):
    def steps(**options):
        times = on_grid.predict(grid, **options)["init_time"].values
        return grid.indexes["time"].get_indexer(times).tolist()

    assert steps(init_times="last") == [59]
    assert steps(init_times="all") == list(range(3, 60))
    assert steps(init_times="test") == list(range(51, 60))  # the test part begins at step 48
    assert steps(init_times="test", stride=3) == [53, 56, 59]
    assert steps(init_times="all", stride=100) == [59]
    with pytest.raises(InputError, match="unknown init_times 'lst': did you mean 'last'"):
        steps(init_times="lst")
    with pytest.raises(InputError, match="stride is 0"):
        steps(stride=0)


def test_no_forecast_starts_from_a_gap(at_stations, stations):
    gappy = stations.drop_isel(time=[30, 50])
    forecast = at_stations.predict(gappy, init_times="all")
    hours = [t.hour + 24 * (t.day - 1) for t in pd.to_datetime(forecast["init_time"].values)]
    assert hours == [*range(3, 30), *range(34, 50), *range(54, 60)]
    tested = at_stations.predict(gappy, init_times="test")
    assert tested.sizes["init_time"] == 6
    with pytest.raises(InputError, match=r"6 time steps and 1 gap\(s\): no run of 4 steps"):
        at_stations.predict(stations.isel(time=[0, 1, 2, 4, 5, 6]))


def test_a_series_that_is_too_short(at_stations, stations):
    with pytest.raises(InputError, match=r"the series has 3 time steps and 0 gap\(s\): no run of"):
        at_stations.predict(stations.isel(time=slice(0, 3)))
    other = canonical_series(raw_stations(3, steps=3, ids=["a", "b", "c"]))
    with pytest.raises(InputError, match="the series has 3 time steps"):
        at_stations.predict(other)
    with pytest.raises(InputError, match="10 time steps, 2 of them in the test part, and 0 gap"):
        at_stations.predict(stations.isel(time=slice(0, 10)), init_times="test")
    with pytest.raises(InputError, match="one time step"):
        at_stations.predict(stations.isel(time=[0]))


def test_a_missing_variable(at_stations, stations):
    message = r"needs the variable\(s\) v; the data have w"
    with pytest.raises(InputError, match=message):
        at_stations.predict(stations.rename(v="w"))


def test_missing_inputs_still_give_a_forecast(at_stations, stations):
    hidden = stations.where(stations["location"] != "s1")
    assert np.isfinite(at_stations.predict(hidden)).all()


# --- locations -----------------------------------------------------


def test_known_locations_in_another_order(at_stations, stations):
    expected = at_stations.predict(stations)
    shuffled = stations.isel(location=[3, 0, 4, 1, 2])
    xr.testing.assert_identical(at_stations.predict(shuffled), expected)


def test_more_locations_than_known(at_stations, stations, caplog):
    more = canonical_series(raw_stations(2, ids=["new", "newer"]))
    both = xr.concat([more, stations], "location", coords="minimal", compat="override")
    xr.testing.assert_equal(at_stations.predict(both), at_stations.predict(stations))
    assert "2 of 7 locations are not forecast" in caplog.text


def test_other_locations_get_their_own_graph(at_stations, on_grid, stations):
    some = at_stations.predict(stations.isel(location=[0, 2, 3]))
    assert some["location"].values.tolist() == ["s0", "s2", "s3"]
    assert np.isfinite(some).all()
    elsewhere = canonical_series(raw_grid(lats=[12.0, 11.0, 10.0]))
    assert on_grid._locations_of(elsewhere).graph is not on_grid.locations.graph
    assert on_grid.predict(elsewhere)["lat"].values.tolist() == [12, 11, 10]
    one = canonical_series(raw_stations(1, ids=["alone"]))
    assert at_stations.predict(one).shape == (1, HORIZON, 1)


def test_stations_without_a_position_are_still_known(tmp_path):
    raw = raw_stations()
    raw = raw.assign_coords(
        lat=("station", [1.0, 2, 3, 4, np.nan]), lon=("station", [1.0, 2, 3, 4, np.nan])
    )
    series = canonical_series(raw)
    fitted = fit(series, replace(SETTINGS, graph=GraphSettings(method="correlation")))
    assert fitted._locations_of(series) is fitted.locations


def test_dropped_grid_points_are_missing_in_the_forecast():
    raw = raw_grid()
    raw["t"][:, 0, 1] = np.nan
    series = canonical_series(raw)
    forecast = fit(series).predict(series)
    assert forecast.isnull().values[0, 0].tolist() == [[False, True], [False] * 2, [False] * 2]


# --- saving --------------------------------------------------------


@pytest.mark.parametrize("name", ["linear", "mlp", "mtgnn"])
@pytest.mark.parametrize("kind", ["grid", "stations"])
def test_loading_gives_the_same_forecaster(name, kind, request, tmp_path):
    series = request.getfixturevalue(kind)
    fitted = fit(series, name=name)
    assert fitted.save(tmp_path / "model") == tmp_path / "model"
    loaded = FittedForecaster.load(tmp_path / "model")
    for key in ("name", "settings", "scaler", "variables", "units"):
        assert getattr(loaded, key) == getattr(fitted, key)
    assert loaded.locations.profile.equal(fitted.locations.profile)
    assert loaded.locations.coords["location"].values.tolist() == (
        fitted.locations.coords["location"].values.tolist()
    )
    xr.testing.assert_identical(
        loaded.predict(series, init_times="test"), fitted.predict(series, init_times="test")
    )
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "config.json",
        "locations.nc",
        "weights.safetensors",
    ]


def test_one_location_can_be_saved(tmp_path):
    series = canonical_series(raw_stations(1))
    fitted = fit(series)
    loaded = FittedForecaster.load(fitted.save(tmp_path / "model"))
    xr.testing.assert_identical(loaded.predict(series), fitted.predict(series))


def test_saving_again_replaces(at_stations, tmp_path):
    at_stations.save(tmp_path / "model")
    renamed = replace(at_stations, units="mile/h")
    renamed.save(tmp_path / "model")
    assert FittedForecaster.load(tmp_path / "model").units == "mile/h"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_failed_save_leaves_the_old_one(at_stations, stations, tmp_path, monkeypatch):
    at_stations.save(tmp_path / "model")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("stemdist.forecast.saved.save_file", full)
    with pytest.raises(OutputError, match="No space left on device"):
        replace(at_stations, units="other").save(tmp_path / "model")
    loaded = FittedForecaster.load(tmp_path / "model")
    assert loaded.units == at_stations.units
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def damage_json(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "config.json").write_text("[]"),
        lambda folder: damage_json(folder, task={"lookbak": 3}),
        lambda folder: damage_json(folder, scaler=[1, 2]),
        lambda folder: damage_json(folder, forecaster="mtgn"),
        lambda folder: damage_json(folder, variables=None),
        lambda folder: (folder / "weights.safetensors").write_bytes(b"cut"),
        lambda folder: (folder / "weights.safetensors").unlink(),
        lambda folder: (folder / "locations.nc").write_bytes(b"cut"),
        lambda folder: (folder / "locations.nc").unlink(),
    ],
)
def test_damaged_files(damage, at_stations, tmp_path):
    folder = at_stations.save(tmp_path / "model")
    damage(folder)
    with pytest.raises(InputError, match=r"saved forecaster '.*model' cannot be read.*train it"):
        FittedForecaster.load(folder)


def test_what_is_no_saved_forecaster(tmp_path):
    with pytest.raises(InputError, match=r"not a saved forecaster \(it has no config.json\)"):
        FittedForecaster.load(tmp_path)


def test_only_a_saved_forecaster_is_replaced(at_stations, tmp_path):
    check_replaceable(tmp_path / "new")
    check_replaceable(tmp_path)
    folder = at_stations.save(tmp_path / "model")
    check_replaceable(folder)
    (folder / "notes.txt").write_text("mine")
    file = tmp_path / "file"
    file.write_text("mine")
    for taken in (folder, file, tmp_path):
        with pytest.raises(InputError, match="is not a saved forecaster alone"):
            at_stations.save(taken)
    assert (folder / "notes.txt").read_text() == file.read_text() == "mine"


# --- fitting -------------------------------------------------------


def test_fitting_without_a_validation_part(stations):
    settings = replace(SETTINGS, split=Split(train=0.7, validation=0.0, test=0.3))
    fitted = fit(stations, settings)
    assert fitted.record["validation_error"] is None
    assert fitted.record["updates"] == 3


def test_the_record_of_a_fit(on_grid):
    assert on_grid.units == "K"
    assert on_grid.variables == ("t",)
    assert on_grid.record["trained_on"] == "full"
    assert [row["update"] for row in on_grid.record["history"]] == [3]
    assert not on_grid.forecaster.training

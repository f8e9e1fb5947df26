"""What holds for every simulation: seeds, blocks, files, settings; and realism."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from stemdist.data.simulate import (
    SIMULATORS,
    TrafficSimulation,
    WeatherSimulation,
    make_simulation,
    simulate,
)
from stemdist.errors import InputError, OutputError

SMALL = {
    "navier-stokes": {"trajectories": 3, "records": 4, "size": 8, "dt": 0.1},
    "traffic-sim": {"n_sensors": 6, "days": 1, "step_minutes": 15},
    "weather-sim": {"n_lat": 4, "n_lon": 5, "days": 2},
}


def test_the_simulators_are_listed():
    assert {"navier-stokes", "traffic-sim", "weather-sim"} <= set(SIMULATORS.names())


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_decides_the_numbers(name):
    first, again = (simulate(name, seed=4, **SMALL[name]) for _ in range(2))
    other = simulate(name, seed=5, **SMALL[name])
    xr.testing.assert_identical(first, again)
    variable = next(iter(first))
    assert not np.allclose(first[variable], other[variable], equal_nan=True)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("block_steps", [1, 7, 1000])
def test_the_block_size_does_not_change_the_numbers(name, block_steps):
    simulation = make_simulation(name, **SMALL[name])
    blocks = list(simulation.blocks(block_steps))
    assert max(block.sizes["time"] for block in blocks) <= block_steps
    joined = xr.concat(
        blocks,
        "time",
        data_vars="minimal",
        coords="minimal",
        compat="equals",
        join="exact",
        combine_attrs="identical",
    )
    xr.testing.assert_identical(joined, simulation.dataset())


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_written_file_holds_the_dataset(name, suffix, tmp_path):
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    simulation = make_simulation(name, **SMALL[name])
    path = simulation.write(tmp_path / f"series{suffix}", block_steps=10)
    engine = {".nc": "netcdf4", ".zarr": "zarr"}[suffix]
    with xr.open_dataset(path, engine=engine) as written:
        xr.testing.assert_equal(written.load(), simulation.dataset())
        assert json.loads(written.attrs["settings"])["seed"] == 0
        assert written.attrs["license"] == "CC0-1.0"
        for variable in simulation.variables():
            assert written[variable].dtype == np.float32
            assert written[variable].attrs["units"]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]  # no scratch left


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    simulation = make_simulation("weather-sim", **SMALL["weather-sim"])
    target = tmp_path / "series.nc"
    target.write_text("precious")

    def breaks(self):
        yield (np.zeros((4, 5)),)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(WeatherSimulation, "frames", breaks)
    with pytest.raises(OutputError, match="No space left"):
        simulation.write(target, block_steps=1)
    assert target.read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_unknown_suffix_is_refused(tmp_path):
    simulation = make_simulation("weather-sim", **SMALL["weather-sim"])
    with pytest.raises(InputError, match=r"suffix '.csv': name it with one of .nc, .zarr"):
        simulation.write(tmp_path / "series.csv")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("trafic-sim", {}, "unknown simulator 'trafic-sim': did you mean 'traffic-sim'"),
        ("traffic-sim", {"sensors": 3}, "unknown setting of traffic-sim 'sensors'.*n_sensors"),
        ("traffic-sim", {"days": 0}, "days is 0: it must be a whole number of at least 1"),
        ("traffic-sim", {"seed": -1}, "seed is -1"),
        ("traffic-sim", {"step_minutes": 7}, "step_minutes is 7: it must divide a day"),
        ("traffic-sim", {"start": "monday"}, "start is 'monday': it must be an ISO date"),
        ("traffic-sim", {"n_sensors": 1}, "n_sensors is 1"),
        ("traffic-sim", {"missing_share": 1.0}, "missing_share is 1.0.*below 1"),
        ("traffic-sim", {"demand": float("nan")}, "demand is nan: it must be a number"),
        ("traffic-sim", {"noise": -1.0}, "noise is -1.0"),
        ("weather-sim", {"n_lat": 1}, "n_lat is 1"),
        ("weather-sim", {"spacing_degrees": 0.0}, "spacing_degrees is 0.0"),
        ("weather-sim", {"centre_lat": 80.0}, "reaches latitude 98.0"),
        ("weather-sim", {"synoptic": -0.5}, "synoptic is -0.5"),
        ("navier-stokes", {"days": 3}, "unknown setting of navier-stokes 'days'.*records"),
        ("navier-stokes", {"step_minutes": 0}, "step_minutes is 0: it must be a whole number"),
        ("navier-stokes", {"trajectories": 0}, "trajectories is 0"),
        ("navier-stokes", {"records": 1}, "records is 1: it must be a whole number of at least 2"),
        ("navier-stokes", {"size": 3}, "size is 3: it must be a whole number of at least 4"),
        ("navier-stokes", {"viscosity": -1e-3}, "viscosity is -0.001: it must be a number of at"),
        ("navier-stokes", {"forcing": float("inf")}, "forcing is inf"),
        ("navier-stokes", {"initial_scale": -1.0}, "initial_scale is -1.0"),
        ("navier-stokes", {"dt": 0.0}, "dt is 0.0: it must be a number above 0, e.g. 0.01"),
        ("navier-stokes", {"dt": 0.3}, "dt is 0.3: a whole number of time steps must make up 1"),
        ("navier-stokes", {"dt": 2.0}, "dt is 2.0: a whole number of time steps must make up 1"),
    ],
)
def test_bad_settings_are_explained(name, settings, message):
    with pytest.raises(InputError, match=message):
        make_simulation(name, **settings)


@pytest.fixture(scope="module")
def traffic():
    return TrafficSimulation(n_sensors=60, days=7, step_minutes=15, start="2024-01-01").dataset()


def test_traffic_is_jammed_in_the_rush_hours_of_weekdays(traffic):
    speed = traffic["speed"]
    hour, weekday = speed["time"].dt.hour, speed["time"].dt.dayofweek < 5

    def jammed(hours, days):
        part = speed.where(hour.isin(hours) & days, drop=True)
        return float((part < 60).sum() / part.notnull().sum())

    morning, evening, night = (
        jammed([7, 8, 9], weekday),
        jammed([16, 17, 18], weekday),
        jammed([1, 2, 3], weekday),
    )
    assert morning > 0.05
    assert evening > 0.02
    assert night < 0.01
    assert jammed([7, 8, 9], ~weekday) < morning / 5


def test_traffic_speeds_and_flows_are_plausible(traffic):
    speed, flow = traffic["speed"], traffic["flow"]
    assert 0 < float(speed.min()) < 50
    assert float(speed.max()) < 135
    assert 80 < float(speed.mean()) < 110
    assert float(flow.min()) >= 0
    assert float(flow.max()) < 6 * 2400
    assert (np.isnan(speed) == np.isnan(flow)).all()
    assert 0.005 < float(np.isnan(speed).mean()) < 0.06


def test_next_sensors_are_more_alike_than_far_ones(traffic):
    values = traffic["speed"].to_pandas()
    values = values - values.groupby(values.index.time).transform("mean")  # beyond the daily cycle
    likeness = values.corr().to_numpy()
    near = likeness[traffic["edge_source"], traffic["edge_target"]]
    assert near.mean() > likeness.mean() + 0.05
    assert float(traffic["edge_length_km"].min()) > 0


def test_true_traffic_has_no_noise_and_no_gaps():
    settings = {"n_sensors": 6, "days": 1, "step_minutes": 15, "incidents_per_100_km_day": 0.0}
    quiet = simulate("traffic-sim", noise=0.0, missing_share=0.0, **settings)
    assert not np.isnan(quiet["speed"]).any()
    assert float(quiet["speed"].max()) <= 112.0


def test_incidents_slow_traffic_down():
    settings = {"n_sensors": 20, "days": 1, "step_minutes": 15, "noise": 0.0, "missing_share": 0.0}
    calm = simulate("traffic-sim", incidents_per_100_km_day=0.0, **settings)
    wild = simulate("traffic-sim", incidents_per_100_km_day=300.0, **settings)
    assert float(wild["speed"].mean()) < float(calm["speed"].mean()) - 3

"""Runs, seeds and time stamps of navier-stokes, and the windows that a task finds in them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from stemdist.data import open_series
from stemdist.data.catalogue import dataset_recipe
from stemdist.data.simulate import NavierStokesSimulation, make_simulation, navier_stokes
from stemdist.data.split import Split
from stemdist.data.time_axis import gap_positions, step_seconds
from stemdist.errors import InputError
from stemdist.forecast import ForecastTask, TaskSettings


def flows(**changes):
    settings = {"trajectories": 5, "records": 4, "size": 16, "dt": 0.05}
    return NavierStokesSimulation(**{**settings, **changes})


def runs(simulation):
    """Return the vorticity (trajectories, records, S, S)."""
    values = simulation.dataset()["vorticity"].values
    return values.reshape(simulation.trajectories, simulation.records, *values.shape[1:])


@pytest.mark.parametrize("points", [1, 2 * 16**2, 100 * 16**2])  # 1, 2 and 5 runs at once
def test_how_many_are_solved_at_once_does_not_change_the_numbers(points, monkeypatch):
    expected = runs(flows())
    monkeypatch.setattr(navier_stokes, "POINTS_AT_ONCE", points)
    np.testing.assert_array_equal(runs(flows()), expected)


def test_a_run_depends_on_the_seed_and_its_number_alone():
    five = runs(flows())
    np.testing.assert_array_equal(runs(flows(trajectories=3)), five[:3])
    np.testing.assert_array_equal(runs(flows(records=2)), five[:, :2])
    others = np.concatenate([five, runs(flows(seed=1))])
    for first in range(10):
        for second in range(first):
            assert np.abs(others[first] - others[second]).max() > 1e-3


def test_a_finer_grid_shows_the_same_flows():
    coarse, fine = runs(flows(viscosity=0.01)), runs(flows(viscosity=0.01, size=32))
    np.testing.assert_allclose(fine[:, :, ::2, ::2], coarse, atol=3e-3)
    assert coarse.std() > 0.05


def test_records_are_one_unit_of_time_apart():
    # From rest the force alone makes 0.1 t (sin + cos)(2 pi (x + y)); at x = y = 0 that is 0.1 t.
    corner = runs(flows(initial_scale=0.0, viscosity=0.0, trajectories=1))[0, :, 0, 0]
    np.testing.assert_allclose(corner, [0.1, 0.2, 0.3, 0.4], rtol=1e-6)


def test_the_initial_scale_multiplies_the_initial_field():
    # A flow 1e-3 as strong is too slow to carry anything in t = 1: it decays mode by mode.
    settings = {"forcing": 0.0, "records": 2}
    weak, twice = (runs(flows(initial_scale=scale, **settings)) for scale in (1e-4, 2e-4))
    np.testing.assert_allclose(twice, 2 * weak, atol=1e-4 * np.abs(twice).max())


def test_time_stamps_have_a_gap_between_runs_only():
    series = xr.Dataset(coords={"time": flows().times})
    assert step_seconds(series) == 60
    assert gap_positions(series).tolist() == [3, 7, 11, 15]
    minutes = (flows().times - np.datetime64("2024-01-01", "ns")) / np.timedelta64(1, "m")
    assert minutes[:9].tolist() == [0, 1, 2, 3, 8, 9, 10, 11, 16]


def test_step_minutes_changes_the_stamps_alone():
    slow = flows(step_minutes=30)
    np.testing.assert_array_equal(runs(slow), runs(flows()))
    assert (slow.times[1] - slow.times[0]) == np.timedelta64(30, "m")
    comment = slow.dataset().attrs["comment"]
    assert "A unit of model time is called 30 minutes" in comment
    assert "a gap of 150 minutes" in comment


def test_a_time_step_that_is_too_long_is_explained():
    wild = flows(dt=1.0, initial_scale=1e4, records=20)
    with pytest.raises(InputError, match=r"grew without bounds before t = \d+: dt 1.0 is too long"):
        wild.dataset()


def test_a_task_has_one_window_per_run(tmp_path):
    path = flows(records=6).write(tmp_path / "flows.nc")
    series = open_series(path, recipe="navier-stokes")
    task = ForecastTask.from_series(series, TaskSettings(lookback=4, horizon=2, calendar=()))
    starts = {part: windows.starts.tolist() for part, windows in task.windows.items()}
    assert starts == {"train": [0, 6, 12], "validation": [18], "test": [24]}
    assert task.graph.method == "grid"
    assert task.graph.cell[[0, 1, 16]].tolist() == [[0, 0], [0, 1], [1, 0]]


def test_the_catalogue_splits_between_runs():
    recipe = dataset_recipe("navier-stokes")
    simulation = make_simulation(str(recipe.simulator), **recipe.settings)
    assert recipe.lookback + recipe.horizon == simulation.records
    train, validation, test = recipe.split
    split = Split(train=train, validation=validation, test=test)
    ends = [end / simulation.records for _, end in split.boundaries(simulation.n_steps).values()]
    assert ends == [30, 40, 50]

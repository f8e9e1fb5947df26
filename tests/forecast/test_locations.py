"""What a trained forecaster keeps of a grid, and what tells two grids apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from stemdist.data import canonical_series
from stemdist.forecast import (
    FittedForecaster,
    ForecastTask,
    Locations,
    TaskSettings,
    TrainingSettings,
    fit_forecaster,
)
from stemdist.graph import GraphSettings


def task_on(lats, lons, hidden=None):
    values = np.random.default_rng(0).normal(280, 4, (40, len(lats), len(lons)))
    if hidden is not None:
        values[:, hidden[0], hidden[1]] = np.nan
    time = pd.date_range("2021-01-01", periods=40, freq="h")
    raw = xr.Dataset(
        {"t": (("time", "lat", "lon"), values)}, {"time": time, "lat": lats, "lon": lons}
    )
    settings = TaskSettings(lookback=4, horizon=2, graph=GraphSettings(method="correlation"))
    return ForecastTask.from_series(canonical_series(raw), settings)


def test_cells_are_kept(tmp_path):
    task = task_on([52.0, 51.0, 50.0], [0.0, 1.0], hidden=(0, 1))
    assert task.graph.cell.tolist() == [[2, 0], [1, 0], [1, 1], [0, 0], [0, 1]]
    Locations.of_task(task).to_dataset().to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    with xr.open_dataset(tmp_path / "a.nc", engine="netcdf4") as stored:
        again = Locations.from_dataset(stored.load())
    assert torch.equal(again.graph.cell, task.graph.cell)


@pytest.mark.parametrize("name", ["simvp", "unet"])
def test_a_loaded_grid_forecaster_forecasts_the_same(name, tmp_path):
    task = task_on([52.0, 51.0, 50.0], [0.0, 1.0], hidden=(0, 1))
    fitted = fit_forecaster(task, name, TrainingSettings(updates=2))
    loaded = FittedForecaster.load(fitted.save(tmp_path / "model"))
    forecast = loaded.predict(task.series)
    assert forecast.isnull().values[0, 0].tolist() == [[False, True], [False] * 2, [False] * 2]
    xr.testing.assert_identical(forecast, fitted.predict(task.series))


def test_grids_with_the_same_values_and_graph_are_told_apart():
    north_first, south_first = task_on([52.0, 51.0], [0.0, 1.0]), task_on([51.0, 52.0], [0.0, 1.0])
    assert torch.equal(north_first.graph.edge_index, south_first.graph.edge_index)
    assert torch.equal(north_first.train.values, south_first.train.values)
    assert north_first.content_hash != south_first.content_hash
    assert north_first.content_hash == task_on([52.0, 51.0], [0.0, 1.0]).content_hash

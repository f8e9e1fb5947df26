"""Scaling each location by its own statistics: units of everything that leaves the package."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from stemdist.data import canonical_series
from stemdist.data.split import Split
from stemdist.errors import InputError
from stemdist.evaluate import evaluate_trained
from stemdist.evaluate.comparison.unseen import hold_out
from stemdist.forecast import (
    FittedForecaster,
    ForecastTask,
    TaskSettings,
    TrainingSettings,
    fit_forecaster,
)
from stemdist.forecast.deploy import Deployable

NAMES = ["a", "b", "c", "d"]
LEVELS, SPREADS = np.array([0.0, 100.0, -50.0, 1e4]), np.array([1.0, 10.0, 0.1, 500.0])
SETTINGS = TaskSettings(lookback=4, horizon=2, scaling="location", neighbour_context=True)
QUICK = TrainingSettings(updates=3)


def series_of(levels=LEVELS, spreads=SPREADS, names=NAMES, steps=120, seed=0) -> xr.Dataset:
    """Noise of the same shape at every location, in units of its own."""
    draws = np.random.default_rng(seed).standard_normal((steps, len(names)))
    values = levels + spreads * draws
    times = pd.date_range("2020-01-01", periods=steps, freq="h")
    raw = xr.Dataset({"z": (("time", "location"), values)}, {"time": times, "location": names})
    return canonical_series(raw, variables=["z"])


@pytest.fixture(scope="module")
def series() -> xr.Dataset:
    return series_of()


@pytest.fixture(scope="module")
def task(series) -> ForecastTask:
    return ForecastTask.from_series(series, SETTINGS)


@pytest.fixture(scope="module")
def fitted(task) -> FittedForecaster:
    return fit_forecaster(task, "linear", QUICK)


def test_every_location_has_mean_0_and_deviation_1_in_training(series, task):
    train = series["z"].values[:72]
    np.testing.assert_allclose(task.scaler.mean[0], train.mean(0), rtol=1e-6)
    np.testing.assert_allclose(task.scaler.scale[0], train.std(0), rtol=1e-6)
    scaled = task.train.values[:72, :, 0].double()
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(0, correction=0), 1, atol=1e-5)
    x = task.scaler.inverse_features(task.train.inputs(torch.arange(2)))
    np.testing.assert_allclose(x[1, :, :, 0], series["z"].values[1:5], rtol=1e-5, atol=1e-4)


def test_global_scaling_is_the_default_and_has_one_number_per_feature(series):
    task = ForecastTask.from_series(series, replace(SETTINGS, scaling="global"))
    assert TaskSettings().scaling == "global"
    assert task.scaler.n_locations is None
    assert task.scaler.scale[0] == pytest.approx(series["z"].values[:72].std(), rel=1e-6)
    with pytest.raises(InputError, match=r"scaling 'locations'.*did you mean 'location'"):
        TaskSettings(scaling="locations")


def test_a_location_that_is_never_observed_takes_its_scale_along(series):
    gone = series.copy()
    gone["z"] = gone["z"].where(gone["location"] != "b")
    task = ForecastTask.from_series(gone, SETTINGS)
    assert task.series["location"].values.tolist() == ["a", "c", "d"]
    np.testing.assert_allclose(task.scaler.mean[0], series["z"].values[:72, [0, 2, 3]].mean(0))


def test_forecasts_are_in_the_units_of_their_location(series, fitted, tmp_path):
    forecast = fitted.predict(series, init_times="test")
    off = np.abs(forecast.mean(("init_time", "horizon")).values - LEVELS)
    assert (off < SPREADS).all()
    again = FittedForecaster.load(fitted.save(tmp_path / "linear"))
    assert again.scaler == fitted.scaler
    assert again.predict(series, init_times="test").equals(forecast)


def test_other_orders_and_subsets_keep_the_statistics_of_training(series, fitted):
    assert fitted.scaler_of(series.isel(location=[3, 1])) == fitted.scaler.at(np.array([3, 1]))
    whole = fitted.predict(series)
    turned = fitted.predict(series.isel(location=[2, 0, 3, 1]))
    np.testing.assert_allclose(turned.sel(location=NAMES), whole.sel(location=NAMES), rtol=1e-6)


def test_unknown_locations_are_scaled_by_their_own_past(fitted):
    other = series_of(np.array([7.0, -3e3]), np.array([2.0, 40.0]), ["u", "v"], seed=3)
    found = fitted.scaler_of(other)
    np.testing.assert_allclose(found.mean[0], other["z"].values[:72].mean(0), rtol=1e-5)
    forecast = fitted.predict(other)
    assert (np.abs(forecast.values - [7.0, -3e3]) < [[[4.0, 80.0]]]).all()


def test_errors_are_those_of_the_predictions(series, fitted):
    errors = evaluate_trained({"own": fitted}, series)
    row = errors.table.set_index("forecaster").loc["own"]
    forecast = fitted.predict(series, init_times="test").isel(init_time=slice(None, -2))
    truth = series["z"].sel(time=forecast["valid_time"]).transpose("init_time", "horizon", ...)
    wrong = forecast.values - truth.values
    assert row["rmse"] == pytest.approx(np.sqrt((wrong**2).mean()), rel=1e-4)
    deviation = series["z"].values[:72].std(0)
    assert row["standardised_mse"] == pytest.approx(((wrong / deviation) ** 2).mean(), rel=1e-4)
    assert row["standardised_mae"] == pytest.approx(np.abs(wrong / deviation).mean(), rel=1e-4)
    assert "standardised_mse" in str(errors)


def test_a_deployed_forecaster_reads_and_writes_physical_units(fitted):
    program = Deployable(fitted)
    scaled = torch.randn(2, 4, 4, 2)
    mean, scale = (torch.tensor(part[0]) for part in (fitted.scaler.mean, fitted.scaler.scale))
    with torch.no_grad():
        found = program(scaled * scale[:, None] + mean[:, None])[:, 0]  # (B, L_out, N)
        rows = fitted.forecaster(scaled, program.graph, program.profile)
    torch.testing.assert_close((found - mean) / scale, rows, rtol=1e-3, atol=1e-3)


def test_held_out_locations_are_scaled_by_their_own_past(task):
    seen, unseen = hold_out(task, 0.25)
    assert seen.scaler.n_locations == 3
    assert unseen.task.scaler.mean[0] == task.scaler.mean[0]


# --- parts in steps, and windows that reach back --------------------


def test_windows_reach_back_into_the_part_before_for_their_inputs_alone(series):
    split = Split(train=50, validation=20, test=30)
    back = ForecastTask.from_series(series, replace(SETTINGS, split=split, reach_back=True))
    assert back.train.starts.tolist() == list(range(45))  # 50 - 6 + 1
    assert back.validation.starts[[0, -1]].tolist() == [46, 64]  # targets from step 50 to 69
    assert back.test.starts[[0, -1]].tolist() == [66, 94]  # targets from step 70 to 99
    apart = ForecastTask.from_series(series, replace(SETTINGS, split=split))
    assert apart.test.starts[[0, -1]].tolist() == [70, 94]


def test_forecasts_of_the_test_part_are_those_of_its_windows(series):
    split = Split(train=50, validation=20, test=30)
    task = ForecastTask.from_series(series, replace(SETTINGS, split=split, reach_back=True))
    forecast = fit_forecaster(task, "linear", QUICK).predict(series, init_times="test")
    times = series["time"].values[[69, 99]]  # the last observed step of the first and last window
    assert forecast["init_time"].values[[0, -1]].tolist() == times.tolist()

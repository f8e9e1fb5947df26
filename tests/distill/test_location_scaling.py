"""Distilled sets of data whose locations are scaled by their own statistics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from stemdist.distill import DistilledSet, distill, train_on_distilled
from stemdist.distill.material import check_streamable
from stemdist.distill.source_range import SourceRange
from stemdist.errors import InputError
from stemdist.forecast import ForecastTask, TrainingSet, TrainingSettings, fit_forecaster
from stemdist.students import ForecasterTeacher, StudentSettings, teach

LEVELS = 100.0 * np.arange(12)


@pytest.fixture(scope="module")
def apart(task) -> ForecastTask:
    """The waves of the task around another level at each location."""
    series = task.series.copy()
    series["t"] = series["t"] + xr.DataArray(LEVELS, dims="location")
    return ForecastTask.from_series(series, replace(task.settings, scaling="location"))


@pytest.fixture(scope="module", params=["medoid", "mean"])
def distilled(request, apart, quick) -> DistilledSet:
    how = {"synthesizer": "selection", "synthesizer_options": {}, "labels": "observed"}
    return distill(apart, replace(quick, representative=request.param, **how))


def test_windows_are_stored_in_the_units_of_their_cluster(apart, distilled):
    physical = distilled.to_xarray()["x"].isel(feature=0)
    levels = torch.from_numpy(LEVELS)
    expected = distilled.clusters.reduce(levels) + 20
    found = physical.mean(("window", "lookback")).values
    np.testing.assert_allclose(found, expected, atol=3)
    y = distilled.to_xarray()["y"].mean(("window", "horizon"))
    np.testing.assert_allclose(y, expected, atol=3)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_round_trip(distilled, tmp_path, suffix):
    again = DistilledSet.load(distilled.save(tmp_path / f"a{suffix}"))
    assert again.scaler.equals(distilled.scaler)
    assert again.scaler.n_locations == 12
    torch.testing.assert_close(again.windows.x, distilled.windows.x, atol=1e-4, rtol=0)
    torch.testing.assert_close(again.windows.y, distilled.windows.y, atol=1e-4, rtol=0)


def test_a_forecaster_of_the_set_forecasts_every_location_in_its_units(apart, distilled):
    fitted = train_on_distilled(distilled, "linear", TrainingSettings(updates=30))
    forecast = fitted.predict(apart.series).isel(init_time=0).mean("horizon")
    np.testing.assert_allclose(forecast, LEVELS + 20, atol=10)


def test_a_teacher_of_the_data_teaches_on_the_set(apart, distilled):
    quick = TrainingSettings(updates=3)
    teacher = ForecasterTeacher(fit_forecaster(apart, "linear", quick))
    given = distilled.training_set()
    rows, _ = teacher.answer(given, torch.arange(2))
    with torch.no_grad():
        x, profile = given.source.inputs(torch.arange(2)), given.source.profile
        expected = teacher.fitted.forecaster(x, given.graph, profile)
    torch.testing.assert_close(rows, expected)
    student = teach(given, [teacher], StudentSettings(student="linear", training=quick))
    assert student.scaler == distilled.scaler


def test_a_teacher_of_other_statistics_is_refused(apart, task):
    teacher = ForecasterTeacher(fit_forecaster(apart, "linear", TrainingSettings(updates=1)))
    with pytest.raises(InputError, match="scaling statistics of 12 locations and global, of other"):
        teacher.check(TrainingSet.of_task(task), ())


def test_a_global_teacher_is_asked_in_physical_units(apart):
    whole = ForecastTask.from_series(apart.series, replace(apart.settings, scaling="global"))
    teacher = ForecasterTeacher(fit_forecaster(whole, "linear", TrainingSettings(updates=20)))
    rows, _ = teacher.answer(TrainingSet.of_task(apart), torch.arange(4))
    own, _ = teacher.answer(TrainingSet.of_task(whole), torch.arange(4))
    there = apart.scaler.inverse_targets(rows)
    torch.testing.assert_close(there, whole.scaler.inverse_targets(own), rtol=1e-3, atol=0.1)


def test_learned_values_stay_in_the_physical_range(apart, distilled):
    within = SourceRange.of_task(apart, clusters=distilled.clusters)
    assert within.low.shape == (4, apart.n_series_features)
    x = within.inputs(torch.full((2, 6, 4, 2), 1e6))
    y = within.targets(torch.full((2, 3, 4), -1e6))
    scaler = distilled.scaler.reduced(distilled.clusters.reduce)
    low, high = within.physical["t"]
    np.testing.assert_allclose(
        scaler.inverse_features(torch.cat([x, x], -1))[..., 0], high, rtol=1e-4
    )
    np.testing.assert_allclose(scaler.inverse_targets(y), low, rtol=1e-3, atol=1e-2)


def test_what_does_not_fit_into_memory_cannot_be_scaled_so(apart, quick):
    with pytest.raises(InputError, match="scaling is 'location', which needs the whole series"):
        check_streamable(quick, apart.settings)

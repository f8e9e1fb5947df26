"""Teacher outputs in files: computed once, never stale, resumed, from any program."""

from __future__ import annotations

import gc
from dataclasses import replace

import netCDF4
import numpy as np
import pytest
import torch
import xarray as xr

from stemdist.errors import InputError
from stemdist.forecast import ForecastTask, TaskSettings, TrainingSet
from stemdist.students import (
    ForecasterTeacher,
    OnlineOutputs,
    Places,
    StoredOutputs,
    load_teacher,
    teach,
    teacher_outputs_of,
)
from stemdist.students import teacher_outputs as module


class Counting(ForecasterTeacher):
    """Counts how many windows it was asked about."""

    def __init__(self, teacher: ForecasterTeacher) -> None:
        super().__init__(teacher.fitted)
        self.asked = 0

    def answer(self, data, index, kinds=()):
        self.asked += len(index)
        return super().answer(data, index, kinds)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr("stemdist.forecast.predict.BLOCK_STEPS", 12 * 16 * 50)  # 50 windows


def test_cached_answers_equal_those_asked_for_again(data, make_teacher, tmp_path, small_blocks):
    kinds = ("features", "tokens")
    online = OnlineOutputs(make_teacher(), data, kinds)
    cached = teacher_outputs_of(make_teacher(), data, kinds, cache=tmp_path)
    assert cached.identity == online.identity
    index, places = torch.tensor([90, 3, 3, 51]), torch.tensor([0, 7])
    for locations in (None, places):
        (rows, states), (again, stored) = (x.at(index, locations) for x in (online, cached))
        torch.testing.assert_close(again, rows, atol=1e-5, rtol=1e-5)
        assert set(stored) == set(kinds)
        for kind in kinds:
            torch.testing.assert_close(stored[kind], states[kind])
    assert rows.shape == (4, 12, 2)
    assert stored["tokens"].shape == (4, 2, 12, 8)


def test_large_files_are_read_window_by_window(data, make_teacher, tmp_path, monkeypatch):
    at_once = teacher_outputs_of(make_teacher(), data, ["features"], cache=tmp_path)
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 0)
    piecewise = teacher_outputs_of(make_teacher(), data, ["features"], cache=tmp_path)
    index = torch.tensor([5, 0, 17])
    (rows, states), (again, stored) = (each.at(index) for each in (at_once, piecewise))
    assert torch.equal(rows, again)
    assert torch.equal(states["features"], stored["features"])


def test_a_large_file_is_open_once_however_many_read_it(data, make_teacher, tmp_path, monkeypatch):
    opened, real = [], netCDF4.Dataset

    def recorded(path):
        opened.append(real(path))
        return opened[-1]

    def outputs():
        return teacher_outputs_of(make_teacher(), data, path=tmp_path / "outputs.nc")

    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 0)
    outputs()
    monkeypatch.setattr(module.netCDF4, "Dataset", recorded)
    first, second = outputs(), outputs()
    assert len(opened) == 1
    del first
    gc.collect()
    assert opened[0].isopen()
    rows, _ = second.at(torch.tensor([1]))
    del second
    gc.collect()
    assert not opened[0].isopen()
    assert torch.equal(outputs().at(torch.tensor([1]))[0], rows)
    assert len(opened) == 2


def test_a_second_student_asks_the_teacher_nothing(data, task, make_teacher, quick, tmp_path):
    teacher, places = Counting(make_teacher()), Places(cache=tmp_path)
    teach(data, [teacher], quick("hints"), validation=task, places=places)
    assert teacher.asked == len(data.source)
    second = Counting(make_teacher())
    teach(data, [second], quick("hints", student="rnn"), validation=task, places=places)
    teach(data, [second], quick("soft-labels"), validation=task, places=places)  # needs less
    assert second.asked == 0
    teach(data, [second], quick("distilts"), validation=task, places=places)  # needs tokens
    assert second.asked == len(data.source)


def test_killed_asking_goes_on_where_it_was(data, make_teacher, tmp_path, small_blocks):
    class Tired(Counting):
        def answer(self, data, index, kinds=()):
            if self.asked >= 100:
                raise RuntimeError("killed")
            return super().answer(data, index, kinds)

    path = tmp_path / "answers.nc"
    with pytest.raises(RuntimeError, match="killed"):
        teacher_outputs_of(Tired(make_teacher()), data, path=path)
    assert not path.exists()
    second = Counting(make_teacher())
    found = teacher_outputs_of(second, data, path=path)
    assert second.asked == len(data.source) - 100
    assert [entry.name for entry in tmp_path.iterdir()] == ["answers.nc"]
    index = torch.arange(len(data.source))
    rows, _ = make_teacher().answer(data, index)
    torch.testing.assert_close(found.at(index)[0], rows, atol=1e-5, rtol=1e-5)


def test_stale_answers_are_refused(data, task, make_teacher, tmp_path):
    path = tmp_path / "answers.nc"
    teacher_outputs_of(make_teacher(), data, path=path)
    with pytest.raises(InputError, match=r"are of another teacher \(gru; now gru\).*Delete the"):
        teacher_outputs_of(make_teacher(seed=1), data, path=path)
    other = ForecastTask.from_series(task.series.isel(time=slice(24, None)), replace(task.settings))
    with pytest.raises(InputError, match=r"for other data than these \(another file, period"):
        teacher_outputs_of(make_teacher(), TrainingSet.of_task(other), path=path)
    with pytest.raises(InputError, match="hold no features"):
        teacher_outputs_of(make_teacher(), data, ["features"], path=path)
    with pytest.raises(InputError, match="give a path or a cache"):
        teacher_outputs_of(make_teacher(), data)


def test_damaged_and_foreign_files_are_refused(data, make_teacher, tmp_path):
    broken, foreign = tmp_path / "broken.nc", tmp_path / "foreign.nc"
    broken.write_bytes(b"CDF not")
    with pytest.raises(InputError, match="cannot be read"):
        StoredOutputs(broken, make_teacher(), data)
    xr.Dataset({"forecast": ("window", [1.0])}).to_netcdf(foreign)
    with pytest.raises(InputError, match="holds no teacher outputs"):
        StoredOutputs(foreign, make_teacher(), data)


def test_answers_are_an_ordinary_file_in_physical_units(data, task, make_teacher, tmp_path):
    path = tmp_path / "answers.nc"
    teacher_outputs_of(make_teacher(), data, path=path)
    with xr.open_dataset(path) as file:
        assert file["forecast"].dims == ("window", "target", "horizon", "location")
        assert file["forecast"].attrs["units"] == "K"
        assert file["init_time"].values[0] == task.series["time"].values[11]
        assert 250 < float(file["forecast"].mean()) < 320
        assert file.attrs["teacher"] == "gru"


# --- forecasts from files ------------------------------------------


def test_predictions_written_by_predict_teach(data, task, make_teacher, tmp_path):
    path = tmp_path / "forecasts.nc"
    forecast = make_teacher().fitted.predict(task.series, init_times="all")
    assert {"lat", "lon"} <= set(forecast.dims)
    forecast.to_netcdf(path)
    teacher = load_teacher(f"file:{path}")
    index = torch.tensor([4, 0, 60])
    teacher.check(data, ())
    rows, states = teacher.answer(data, index)
    expected, _ = make_teacher().answer(data, index)
    torch.testing.assert_close(rows, expected, atol=1e-4, rtol=1e-4)
    assert states == {}


def test_answers_kept_for_one_teacher_teach_as_a_file(data, make_teacher, tmp_path):
    path = tmp_path / "answers.nc"
    teacher_outputs_of(make_teacher(), data, path=path)
    rows, _ = load_teacher(f"file:{path}").answer(data, torch.tensor([2, 1]))
    expected, _ = make_teacher().answer(data, torch.tensor([2, 1]))
    torch.testing.assert_close(rows, expected, atol=1e-4, rtol=1e-4)


def test_two_targets_from_a_file(two_targets, make_teacher, tmp_path):
    given = TrainingSet.of_task(two_targets)
    teacher = make_teacher("gru", on=two_targets)
    path = tmp_path / "forecasts.nc"
    teacher.fitted.predict(two_targets.series, init_times="all").to_netcdf(path)
    rows, _ = load_teacher(f"file:{path}").answer(given, torch.arange(3))
    expected, _ = teacher.answer(given, torch.arange(3))
    torch.testing.assert_close(rows, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.isel(init_time=slice(2, None)), r"lacks 2 of \d+ initial times .* 2024-01-01"),
        (lambda f: f.isel(horizon=slice(3)), r"has 3 of the dimension horizon, and 12 are needed"),
        (lambda f: f.isel(lon=slice(3)), r"lacks 4 of 16 locations"),
        (lambda f: f.rename(horizon="lead"), r"holds no forecasts: a variable with the dimensions"),
        (lambda f: f.where(f.horizon > 1), r"are missing \(NaN\)"),
    ],
)
def test_files_that_do_not_fit(change, message, data, task, make_teacher, tmp_path):
    path = tmp_path / "forecasts.nc"
    change(make_teacher().fitted.predict(task.series, init_times="all")).to_netcdf(path)
    with pytest.raises(InputError, match=message):
        OnlineOutputs(load_teacher(f"file:{path}"), data).at(torch.arange(2))


def test_no_file(tmp_path, data, make_teacher):
    with pytest.raises(InputError, match="does not exist: name one that stemdist predict"):
        load_teacher(f"file:{tmp_path}/none.nc")
    (tmp_path / "text.nc").write_text("text")
    with pytest.raises(InputError, match="cannot be read as NetCDF"):
        load_teacher(f"file:{tmp_path}/text.nc")
    path = tmp_path / "answers.nc"
    synthetic = replace(data, kind="distilled", init_times=None)
    teacher_outputs_of(make_teacher(), synthetic, path=path)
    with pytest.raises(InputError, match="are for synthetic windows"):
        load_teacher(f"file:{path}")


# --- forecasters as teachers ---------------------------------------


def test_another_scaling_is_undone(task, data, make_teacher):
    """A teacher trained on a later part of the series answers in the student's units."""
    shifted = ForecastTask.from_series(task.series.isel(time=slice(48, None)), task.settings)
    teacher = make_teacher("mlp", on=shifted, location_encoder="none")
    assert teacher.fitted.scaler != data.scaler
    rows, _ = teacher.answer(data, torch.arange(20, 23))  # with a past to fill gaps from
    own = teacher.fitted.predict(task.series, init_times="all")
    physical = data.scaler.inverse_targets(rows).numpy()
    expected = own.isel(init_time=slice(20, 23)).values.reshape(3, 12, 16)
    np.testing.assert_allclose(physical, expected, atol=2e-3)


def test_a_teacher_of_quantiles_teaches_its_median(task, data, quick):
    from stemdist.forecast import TrainingSettings, fit_forecaster

    training = TrainingSettings(updates=4, loss="quantile", quantiles=(0.1, 0.5, 0.9))
    fitted = fit_forecaster(task, "linear", training)
    rows, _ = ForecasterTeacher(fitted).answer(data, torch.arange(2))
    whole = fitted.predict(task.series, init_times="all").isel(init_time=slice(2))
    middle = whole.sel(quantile=0.5).values.reshape(2, 12, 16)
    np.testing.assert_allclose(data.scaler.inverse_targets(rows).numpy(), middle, atol=1e-3)


def test_other_inputs_are_refused(task, make_teacher):
    plain = ForecastTask.from_series(task.series, TaskSettings(lookback=6, horizon=12))
    with pytest.raises(
        InputError, match=r"lookback 12 and 6; calendar \('time_of_day',\) and \(\)"
    ):
        OnlineOutputs(make_teacher(), TrainingSet.of_task(plain))

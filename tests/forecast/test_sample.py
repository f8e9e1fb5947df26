"""A sample of a series is that part of the whole task."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from stemdist.data import canonical_series
from stemdist.data.survey import survey
from stemdist.forecast import ForecastTask, TaskSettings
from stemdist.forecast.sample import (
    Sample,
    draw_runs,
    sampled_task,
    shortest_run,
    surveyed_means,
    surveyed_scaler,
)
from stemdist.graph import build_graph

T, ROWS, COLUMNS = 240, 4, 5


@pytest.fixture(scope="module")
def series() -> xr.Dataset:
    chance = np.random.default_rng(1)
    values = 10 + chance.normal(size=(T, ROWS, COLUMNS)).astype(np.float32)
    values[chance.random(values.shape) < 0.1] = np.nan
    known = chance.normal(size=values.shape).astype(np.float32)
    time = pd.date_range("2020", periods=T, freq="h")
    time = time.where(np.arange(T) < 70, time + pd.Timedelta("5h"))  # a gap
    dims = ("time", "lat", "lon")
    raw = xr.Dataset(
        {"t": (dims, values), "rain": (dims, known)},
        {
            "time": time,
            "lat": np.arange(50.0, 54),
            "lon": np.arange(5.0),
            "height": (("lat", "lon"), chance.normal(size=(ROWS, COLUMNS))),
        },
    )
    return canonical_series(raw.chunk(time=16), variables=["t", "rain"], static=["height"])


SETTINGS = TaskSettings(
    targets=("t",),
    future=("rain",),
    static=("height",),
    lookback=4,
    horizon=3,
    calendar=("time_of_day",),
)


def how_of(surveys):
    return {
        "scaler": surveyed_scaler(surveys),
        "mean_windows": partial(surveyed_means, surveys),
    }


def parts(series, settings):
    bounds = settings.split.boundaries(series.sizes["time"])
    until = series.isel(time=slice(0, bounds["validation"][1]))
    surveys = survey(until, bounds["train"][1], settings.n_targets)
    return surveys, build_graph(series, settings.graph)


def test_every_step_at_some_locations_is_the_whole_task_there(series):
    whole = ForecastTask.from_series(series, SETTINGS)
    surveys, graph = parts(series, SETTINGS)
    places = torch.tensor([0, 7, 8, 19])
    bounds = SETTINGS.split.boundaries(T)
    runs = {part: [slice(*bounds[part])] for part in ("train", "validation")}
    task, profile = sampled_task(
        series, SETTINGS, Sample(runs=runs, places=places), **how_of(surveys), graph=graph
    )
    assert task.feature_names == whole.feature_names
    np.testing.assert_allclose(task.scaler.mean, whole.scaler.mean, rtol=1e-6)
    np.testing.assert_allclose(task.scaler.scale, whole.scaler.scale, rtol=1e-6)
    for part in ("train", "validation"):
        mine, theirs = task.windows[part], whole.windows[part]
        assert torch.equal(mine.starts, theirs.starts)
        index = torch.arange(len(mine))
        for one, two in zip(mine.batch(index), theirs.batch(index, places), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)
    assert "test" not in task.windows
    assert profile.shape == whole.train.profile.shape
    torch.testing.assert_close(task.train.profile, profile[places])
    # statistics of all steps against means over windows of a short series
    assert float((profile - whole.train.profile).abs().mean()) < 0.1


def test_stretches_are_filled_from_before_and_cross_no_gap(series):
    whole = ForecastTask.from_series(series, SETTINGS)
    surveys, graph = parts(series, SETTINGS)
    runs = {"train": [slice(30, 50), slice(60, 90)], "validation": [slice(150, 180)]}
    sample = Sample(runs=runs, places=torch.arange(20))
    task, _ = sampled_task(series, SETTINGS, sample, **how_of(surveys), graph=graph)
    steps = np.r_[30:50, 60:90, 150:180]
    assert sample.steps.tolist() == steps.tolist()
    assert task.split_boundaries == {"train": (0, 50), "validation": (50, 80)}
    torch.testing.assert_close(task.train.values, whole.train.values[steps], rtol=1e-5, atol=1e-5)
    begins = steps[task.train.starts.numpy()]
    ends = steps[task.train.starts.numpy() + 6]
    assert (ends - begins == 6).all()
    assert not ((begins < 70) & (ends >= 70)).any()
    assert len(begins) == (20 - 6) + (10 - 6) + (20 - 6)
    assert (task.series["time"].values == series["time"].values[steps]).all()


@pytest.mark.parametrize("n_steps", [1, 20, 50, 99])
@pytest.mark.parametrize("chunk", [1, 5, 40, 1000])
def test_stretches_cover_the_part(n_steps, chunk):
    edges = np.r_[np.arange(0, 1000, chunk), 1000]
    runs = draw_runs(edges, 100, 900, n_steps * 8, shortest=10, seed=0)
    assert all(100 <= run.start < run.stop <= 900 for run in runs)
    assert all(run.stop - run.start >= 10 for run in runs)
    drawn = sum(run.stop - run.start for run in runs)
    assert drawn <= max(1.3 * n_steps * 8, 3 * max(10, min(chunk, n_steps * 8)))
    if n_steps == 99:  # nearly everything: from the first tenth to the last one
        assert runs[0].start < 180
        assert runs[-1].stop > 820
    assert runs == draw_runs(edges, 100, 900, n_steps * 8, shortest=10, seed=0)


def test_everything_is_drawn_where_it_fits():
    assert draw_runs(np.arange(0, 101, 10), 20, 60, 40, shortest=5, seed=0) == [slice(20, 60)]


def test_a_stretch_holds_a_day_and_several_windows(series):
    assert shortest_run(series, SETTINGS) == 28
    assert shortest_run(series, TaskSettings(lookback=2, horizon=1)) == 24

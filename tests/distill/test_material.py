"""A series larger than the budget of memory is sampled, and what comes out is used as ever."""

import dataclasses
import json
import logging

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import stemdist
from stemdist.data import canonical_series
from stemdist.distill import DistilledSet, DistillSettings, Material, distill, prepare
from stemdist.distill import budget as budget_module
from stemdist.distill.budget import Budget, Plan
from stemdist.distill.material import sampled_with
from stemdist.errors import InputError
from stemdist.evaluate import EvaluationSettings, evaluate
from stemdist.forecast import ForecastTask, TaskSettings, TrainingSettings

QUICK = DistillSettings(
    experts=("linear",),
    extra_experts=0,
    expert_training=TrainingSettings(updates=20),
    synthesizer="selection",
    judge_seeds=1,
    judging=TrainingSettings(updates=5),
)
FORECAST = TaskSettings(lookback=4, horizon=2, calendar=("time_of_day",))


@pytest.fixture(scope="module")
def series() -> xr.Dataset:
    chance = np.random.default_rng(1)
    t = np.arange(900)
    groups = np.sin(2 * np.pi * (t[:, None] / 24 + np.arange(3) / 3))  # three kinds of places
    values = 5 * groups[:, np.arange(30) % 3] + chance.normal(size=(900, 30))
    time = pd.date_range("2020", periods=900, freq="h")
    coords = {"time": time, "lat": ("location", np.linspace(50, 55, 30))}
    coords["lon"] = ("location", np.linspace(0, 5, 30))
    raw = xr.Dataset({"t": (("time", "location"), values.astype(np.float32))}, coords)
    return canonical_series(raw.chunk(time=48))


@pytest.fixture
def small(monkeypatch):
    """A budget that holds no series of these tests whole."""
    monkeypatch.setattr(budget_module, "WORK_BYTES", 1000)
    monkeypatch.setattr(budget_module, "FEWEST_LOCATIONS", 6)
    monkeypatch.setattr(Budget, "of", classmethod(lambda cls, memory=None: cls(int(memory))))


def test_clusters_of_the_projection_are_the_kinds(series, small):
    settings = dataclasses.replace(QUICK, clusters=3)
    material = prepare(series, FORECAST, settings, memory=170_000)
    assert isinstance(material, Material)
    labels = material.clusters.labels
    assert len(labels) == 30
    assert all(len(set(labels[kind::3].tolist())) == 1 for kind in range(3))
    assert material.clusters.sizes.tolist() == [10, 10, 10]
    assert torch.isin(material.clusters.medoids, material.places).all()
    assert material.held.sizes.tolist() == [10, 10, 10]
    assert material.task.n_locations == len(material.places) < 30
    read = material.facts["read"]
    assert read["statistics_steps"] == 720  # nothing of the test part
    assert read["sample_steps"]["train"] <= 540
    assert len(material.task.validation) > 0


def test_a_sampled_set_is_used_as_any_other(series, small, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        material = prepare(series, FORECAST, QUICK, memory=400_000)
    assert "a sample of it is distilled" in caplog.text
    made = distill(material)
    settled = material.settings
    assert (made.n_windows, made.n_clusters) == (settled.windows, settled.clusters)
    again = DistilledSet.load(made.save(tmp_path / "tiny.nc"))
    assert len(again.locations) == 30
    assert again.record["training_windows"] == 535
    assert again.record["read"]["sample_locations"] == len(material.places)
    assert json.dumps(again.record)
    fitted = stemdist.train(again, "mlp", updates=30)
    forecast = fitted.predict(series)
    assert forecast.sizes["location"] == 30
    judged = stemdist.evaluate_distilled(
        again, series, forecasters=("linear",), seeds=1, updates=20, references=("random",)
    )
    assert np.isfinite(judged.summary("rmse")["mean"]).all()


def test_a_set_is_evaluated_on_a_sample_where_the_data_do_not_fit(series, small, caplog):
    made = distill(prepare(series, FORECAST, QUICK, memory=400_000))
    with caplog.at_level(logging.WARNING):
        task, matching = sampled_with(made, series, memory=250_000)
    assert "a sample of" in caplog.text
    assert set(task.windows) == {"train", "validation", "test"}
    assert task.n_locations == len(matching.locations) < 30
    assert torch.equal(matching.windows.x, made.windows.x)
    names = series["location"].values
    kept = matching.locations.coords["location"].values
    assert kept[matching.medoids].tolist() == names[made.medoids].tolist()
    judged = evaluate(
        matching,
        task,
        EvaluationSettings(
            forecasters=("linear",),
            seeds=1,
            updates=20,
            references=("full", "distilled", "random", "clustered", "coreset"),
        ),
    )
    assert np.isfinite(judged.table["rmse"]).all()
    # a sample of everything is everything
    whole, same = sampled_with(made, series, memory=10**12)
    assert same is made
    assert whole.n_locations == 30


def test_the_same_seed_gives_the_same_sample_whatever_the_chunks(series, small):
    one = prepare(series, FORECAST, QUICK, memory=400_000)
    two = prepare(series.chunk(time=48, location=30), FORECAST, QUICK, memory=400_000)
    assert torch.equal(one.task.train.values, two.task.train.values)
    assert one.task.content_hash == two.task.content_hash
    other = prepare(series, FORECAST, dataclasses.replace(QUICK, seed=1), memory=400_000)
    assert not torch.equal(one.places, other.places)


def test_what_fits_is_held_whole(series):
    assert isinstance(prepare(series, FORECAST, QUICK, memory="100GiB"), ForecastTask)


def test_numbers_asked_for_must_fit_and_shares_shrink(series, small):
    asked = dataclasses.replace(QUICK, windows=200, clusters=20)
    with pytest.raises(InputError, match=r"200 windows x 20 clusters need .* at most \d+"):
        prepare(series, FORECAST, asked, memory=300_000)
    plan = Plan.of(series, FORECAST, QUICK, Budget(300_000))
    assert plan.settings.windows < 54
    assert plan.settings.clusters <= 3
    counted = Plan.of(series, FORECAST, dataclasses.replace(QUICK, clusters=2), Budget(300_000))
    assert counted.settings.clusters == 2


def test_counts_win_over_shares(series):
    task = ForecastTask.from_series(series, FORECAST)
    made = distill(task, dataclasses.replace(QUICK, windows=7, clusters=4))
    assert (made.n_windows, made.n_clusters) == (7, 4)
    with pytest.raises(InputError, match="clusters is 31, but there are only 30 locations"):
        distill(task, dataclasses.replace(QUICK, clusters=31))


def test_cluster_means_need_the_whole_series(series, small):
    with pytest.raises(InputError, match="representative is 'mean'"):
        prepare(series, FORECAST, DistillSettings(representative="mean"), memory=400_000)


def test_a_location_without_values_is_left_out(series, small, caplog):
    gone = series["t"].where(series["location"] != 4)
    with caplog.at_level(logging.WARNING):
        material = prepare(series.assign(t=gone), FORECAST, QUICK, memory=400_000)
    assert "1 of 30 locations" in caplog.text
    assert len(material.locations) == 29
    assert len(material.clusters.labels) == 29


def test_a_tiny_budget_says_what_it_needs():
    with pytest.raises(InputError, match=r"memory is '10MiB', of which .* give more"):
        Budget.of("10MiB")
    with pytest.raises(InputError, match="no size of memory"):
        Budget.of("much")

"""Python and the command line make the same task, set and models of the same data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import stemdist
from stemdist.cli import main
from stemdist.cli.sources import task_of
from stemdist.data import OpenOptions, dataset_recipe, list_datasets
from stemdist.data.split import PARTS
from stemdist.evaluate import EvaluationSettings
from stemdist.forecast import FittedForecaster, ForecastTask

SIMULATED = [name for name in list_datasets() if dataset_recipe(name).kind == "simulator"]
SHORT = {"updates": 4, "validate_every": 4}
SHORT_LINE = "--updates 4 --validate-every 4 --quiet"


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEMDIST_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as the command line does
    yield
    torch.set_num_threads(before)


def same_weights(one: FittedForecaster, other: FittedForecaster) -> bool:
    mine, theirs = one.forecaster.state_dict(), other.forecaster.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("name", SIMULATED)
def test_the_same_task(name):
    series = stemdist.open_series(name)
    by_command = task_of(name, OpenOptions(), {})
    assert ForecastTask.from_series(series).content_hash == by_command.content_hash


def test_the_same_task_of_a_file_with_a_recipe(real_data):
    path = str(real_data("los_speed.csv"))
    real_data("los_adj.csv")
    series = stemdist.open_series(path, recipe="los-loop")
    for graph in ({}, {"graph": "los-loop"}):
        settings = stemdist.settings_for(series, graph)
        by_command = task_of(path, OpenOptions(recipe="los-loop"), graph)
        by_python = ForecastTask.from_series(series, settings)
        assert by_python.content_hash == by_command.content_hash
        assert by_python.settings.calendar == ("time_of_day",)


def test_the_published_protocol_of_a_recipe(real_data):
    path = real_data("ETTh1.csv")
    task = ForecastTask.from_series(stemdist.open_series(path, recipe="etth1-long-horizon"))
    assert task.feature_names == ("value",)
    assert task.n_locations == 7
    assert [len(task.windows[part]) for part in PARTS] == [8209, 2785, 2785]  # as public code has
    first = task.test.batch(torch.tensor([0])).y[0, 0]  # (N,)
    table = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, 8))
    train = table[: 12 * 30 * 24]
    expected = (table[16 * 30 * 24] - train.mean(0)) / train.std(0)
    np.testing.assert_allclose(first, expected, rtol=1e-4, atol=1e-4)


def test_the_same_set():
    name = "traffic-sim"
    series = stemdist.open_series(name)
    assert main(f"distill {name} --method k-center --judging.updates 2 -o a.nc -q".split()) == 0
    by_command = stemdist.DistilledSet.load("a.nc")
    by_python = stemdist.distill_series(series, method="k-center", judging={"updates": 2})
    by_python.save("b.nc")
    again = stemdist.DistilledSet.load("b.nc")
    assert torch.equal(again.windows.x, by_command.windows.x)
    assert torch.equal(again.windows.y, by_command.windows.y)
    assert again.record["content_hash"] == by_command.record["content_hash"]
    assert again.record["settings"] == by_command.record["settings"]


def test_the_same_training_and_evaluation():
    small = "simulate weather-sim -o w.nc --settings days=8,n_lat=3,n_lon=4 -q"
    assert main(small.split()) == 0
    series = stemdist.open_series("w.nc")
    assert main(f"train w.nc --forecaster linear -o model {SHORT_LINE}".split()) == 0
    fitted = stemdist.train(series, "linear", **SHORT)
    assert same_weights(fitted, FittedForecaster.load("model"))
    line = "distill w.nc --method random --judging.updates 2 -o a.nc -q"
    assert main(line.split()) == 0
    tiny = stemdist.DistilledSet.load("a.nc")
    line = "evaluate a.nc --data w.nc --forecasters linear --references distilled"
    line += " --seeds 1 --learning-rates 0.005 --test-windows 9"
    assert main(f"{line} {SHORT_LINE} -o table".split()) == 0
    settings = {
        "forecasters": ("linear",),
        "references": ("distilled",),
        "seeds": 1,
        "test_windows": 9,
    }
    found = stemdist.evaluate_distilled(tiny, series, learning_rates=(0.005,), **settings, **SHORT)
    found.write_csv("python.csv")
    mine, theirs = (Path(name).read_text() for name in ("python.csv", "table/table.csv"))
    columns = mine.splitlines()[0].split(",").index("correlation") + 1  # costs are behind
    for one, other in zip(mine.splitlines(), theirs.splitlines(), strict=True):
        assert one.split(",")[:columns] == other.split(",")[:columns]
    assert isinstance(EvaluationSettings(**settings), EvaluationSettings)


def test_the_same_student():
    small = "simulate weather-sim -o w.nc --settings days=8,n_lat=3,n_lon=4 -q"
    assert main(small.split()) == 0
    series = stemdist.open_series("w.nc")
    line = "teach --data w.nc --teacher mlp --student linear --teacher-training.updates 3"
    assert main(f"{line} -o student {SHORT_LINE}".split()) == 0
    student = stemdist.teach(
        series,
        "mlp",
        student="linear",
        teacher_training={"updates": 3},
        cache="outputs",  # read back from a file, as by the command
        **SHORT,
    )
    assert same_weights(student, FittedForecaster.load("student"))

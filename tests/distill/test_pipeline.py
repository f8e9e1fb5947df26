from dataclasses import replace

import pytest
import torch

from stemdist.distill import DistillSettings, distill, starting_point
from stemdist.distill.pipeline import problem_of
from stemdist.errors import InputError
from stemdist.forecast import ForecastTask, TrainingSettings


def test_end_to_end(task, quick):
    distilled = distill(task, quick)
    assert distilled.windows.x.shape == (14, 6, 4, 4)
    assert distilled.windows.y.shape == (14, 3, 4)
    assert distilled.y_kind == "expert"
    history = distilled.record["history"]
    assert [row["iteration"] for row in history] == [0, 1, 2, 3, 3, 4, 5, 6]
    assert [row["round"] for row in history] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert distilled.record["seconds"] > 0
    assert distilled.record["peak_memory_bytes"] > 0


def test_same_seed_same_set(task, quick):
    first, second = distill(task, quick), distill(task, quick)
    assert torch.equal(first.windows.x, second.windows.x)
    assert torch.equal(first.windows.y, second.windows.y)


def test_the_test_part_is_never_read(task, quick):
    series = task.series.copy(deep=True)
    begin, end = task.settings.split.boundaries(240)["test"]
    series["t"][begin:end] = 1e6
    series.attrs["opening"] = '{"accept": ["extremes"]}'
    poisoned = ForecastTask.from_series(series, task.settings)
    first, second = distill(task, quick), distill(poisoned, quick)
    assert torch.equal(first.windows.x, second.windows.x)
    assert torch.equal(first.windows.y, second.windows.y)
    assert repr(first.record["history"]) == repr(second.record["history"])


@pytest.mark.parametrize("labels", ["observed", "mixed", "expert"])
@pytest.mark.parametrize("representative", ["medoid", "mean"])
def test_every_kind_of_label_and_representative(task, quick, labels, representative):
    short = {**quick.synthesizer_options, "iterations": 1}
    settings = replace(
        quick, labels=labels, representative=representative, synthesizer_options=short
    )
    assert torch.isfinite(distill(task, settings).windows.x).all()


def test_targets_of_experts_who_see_all_locations_are_not_pointwise(task, quick):
    settings = replace(quick, experts=("stgcn",), synthesizer="selection", synthesizer_options={})
    assert not starting_point(task, settings).windows.pointwise
    assert starting_point(task, replace(settings, experts=("linear",))).windows.pointwise


def test_cached_experts_do_not_look_free(task, quick, tmp_path):
    first = distill(task, quick, experts=tmp_path)
    again = distill(task, quick, experts=tmp_path)
    assert torch.equal(first.windows.y, again.windows.y)
    assert again.record["expert_seconds"] == first.record["expert_seconds"]
    assert again.record["seconds"] > again.record["expert_seconds"]


def test_ratio_of_one_keeps_everything(task, quick):
    settings = replace(
        quick, time_ratio=1.0, space_ratio=1.0, synthesizer="selection", synthesizer_options={}
    )
    distilled = distill(task, settings)
    assert distilled.n_windows == len(task.train)
    assert distilled.n_clusters == task.n_locations


def test_settings_as_json(quick):
    assert DistillSettings.from_json(quick.to_json()) == quick


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_ratio": 0}, "time_ratio is 0: it must be a share above 0 and at most 1"),
        ({"space_ratio": 1.5}, "space_ratio is 1.5"),
        ({"labels": "expret"}, "unknown labels 'expret': did you mean 'expert'"),
        ({"selection": "kmean"}, "unknown window selection"),
        ({"clustering": "kmens"}, "unknown clustering method 'kmens': did you mean 'kmeans'"),
        ({"representative": "mode"}, "unknown representative"),
        ({"experts": ("mlpp",)}, "unknown forecaster 'mlpp': did you mean 'mlp'"),
        ({"experts": ()}, r"experts is \(\): give at least one, and each only once"),
        ({"judges": ("rnnn",)}, "unknown forecaster 'rnnn'"),
        ({"judging": TrainingSettings(loss="quantile")}, "judging has loss='quantile'"),
        ({"judges": ("unet",)}, "'unet' cannot be a judge: it needs a regular grid"),
        ({"synthesizer": "trajectory"}, "unknown synthesizer"),
        ({"synthesizer_options": {"itterations": 1}}, "did you mean 'iterations'"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(InputError, match=message):
        DistillSettings(**options)


@pytest.mark.parametrize(("windows", "learned"), [(1, 4), (2, 4), (3, 2), (27, 2)])
def test_few_windows_learn_their_calendar(task, quick, windows, learned):
    # sine and cosine of the hour over a window span a plane: three windows tell what they do
    settings = replace(quick, labels="observed", time_ratio=windows / len(task.train))
    problem = problem_of(task, settings, starting_point(task, settings))
    assert (problem.n_series, problem.n_learned) == (2, learned)

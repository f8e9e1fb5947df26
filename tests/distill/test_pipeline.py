from dataclasses import replace

import pytest
import torch

from stemdist.distill import DistilledSet, DistillSettings, distill, starting_point
from stemdist.distill.pipeline import problem_of
from stemdist.errors import InputError
from stemdist.forecast import ForecastTask, TrainingSettings


@pytest.fixture(scope="module")
def experts_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("experts")


@pytest.fixture(scope="module")
def distilled(task, quick, experts_folder) -> DistilledSet:
    return distill(task, quick, experts=experts_folder)


def test_end_to_end(distilled):
    assert distilled.windows.x.shape == (14, 6, 4, 4)
    assert distilled.windows.y.shape == (14, 3, 4)
    assert distilled.y_kind == "expert"
    history = distilled.record["history"]
    assert [row["iteration"] for row in history] == [0, 1, 2, 2, 3, 4]
    assert [row["round"] for row in history] == [1, 1, 1, 2, 2, 2]
    assert distilled.record["seconds"] > 0
    assert distilled.record["peak_memory_bytes"] > 0


def test_same_seed_same_set_with_cached_experts_that_do_not_look_free(
    task, quick, distilled, experts_folder
):
    again = distill(task, quick, experts=experts_folder)
    assert torch.equal(distilled.windows.x, again.windows.x)
    assert torch.equal(distilled.windows.y, again.windows.y)
    assert again.record["expert_seconds"] == distilled.record["expert_seconds"]
    assert again.record["seconds"] > again.record["expert_seconds"]


def test_the_test_part_is_never_read(task, quick, distilled):
    series = task.series.copy(deep=True)
    begin, end = task.settings.split.boundaries(240)["test"]
    series["t"][begin:end] = 1e6
    series.attrs["opening"] = '{"accept": ["extremes"]}'
    poisoned = ForecastTask.from_series(series, task.settings)
    same = distill(poisoned, quick)  # with experts of its own, of the same seed
    assert torch.equal(distilled.windows.x, same.windows.x)
    assert torch.equal(distilled.windows.y, same.windows.y)
    assert repr(distilled.record["history"]) == repr(same.record["history"])


@pytest.mark.parametrize("labels", ["observed", "mixed", "expert"])
@pytest.mark.parametrize("representative", ["medoid", "mean"])
def test_every_kind_of_label_and_representative(task, quick, labels, representative):
    short = {**quick.synthesizer_options, "iterations": 1, "final_surrogates": ""}
    settings = replace(
        quick, labels=labels, representative=representative, synthesizer_options=short
    )
    assert torch.isfinite(distill(task, settings).windows.x).all()


def test_targets_of_experts_who_see_all_locations_are_not_pointwise(task, quick):
    settings = replace(quick, experts=("stgcn",), synthesizer="selection", synthesizer_options={})
    assert not starting_point(task, settings).windows.pointwise
    assert starting_point(task, replace(settings, experts=("linear",))).windows.pointwise


def test_ratio_of_one_keeps_everything(task, quick):
    settings = replace(
        quick,
        time_ratio=1.0,
        space_ratio=1.0,
        clusters=None,
        synthesizer="selection",
        synthesizer_options={},
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


def test_no_iteration_begins_after_the_time_limit(task, quick, experts_folder):
    short = distill(task, quick, experts=experts_folder, time_limit=1e-3)
    assert [row["iteration"] for row in short.record["history"]] == [0]
    assert short.record["out_of_time"]
    start = starting_point(task, quick, cache=experts_folder).windows
    assert torch.equal(short.windows.y, start.y)


def test_a_run_in_time_is_the_same_without_a_limit(task, quick, distilled, experts_folder):
    again = distill(task, quick, experts=experts_folder, time_limit="1h")
    assert torch.equal(distilled.windows.x, again.windows.x)
    assert not again.record["out_of_time"]


def test_a_limit_that_is_none(task, quick):
    with pytest.raises(InputError, match="'soon' is no time span"):
        distill(task, quick, time_limit="soon")

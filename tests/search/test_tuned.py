import dataclasses
import math
import os
import socket
import sys
from dataclasses import replace

import optuna
import pandas as pd
import pytest
import torch
import yaml

from stemdist.data.windows import TensorWindows
from stemdist.distill import train_on_distilled
from stemdist.distill.problem import validating_within_reason
from stemdist.errors import InputError, MissingDependencyError
from stemdist.forecast import ForecastTask, TrainingSettings, fit_windows
from stemdist.search import TuneSettings, tune
from stemdist.search import study as studies
from stemdist.search.page import write_page
from stemdist.search.study import configuration_of, ended
from stemdist.search.tuned import best_trials, chosen_finalists, is_default


@pytest.fixture(scope="module")
def found(tiny, task, few, tmp_path_factory):
    return tune(tiny, task, replace(few, finalists=2), folder=tmp_path_factory.mktemp("study"))


def params(study):
    return [(trial.params, trial.value) for trial in ended(study)]


def test_trials_are_trainings_on_the_set_scored_on_real_data(found, tiny, task, few):
    assert len(found.study.trials) == few.trials
    trial = found.study.trials[0]
    chosen = configuration_of(trial.params)
    how = validating_within_reason(few.training(chosen.training), task)
    again = train_on_distilled(
        tiny, chosen.forecaster, how, validation=task, options=chosen.options
    )
    assert trial.value == pytest.approx(math.sqrt(again.record["validation_error"]))


def test_the_winner_is_the_best_finalist(found, few):
    assert found.finalists[0].error <= found.finalists[1].error
    best = {trial.number for trial in best_trials(found.study, 2)}
    assert best <= {one.trial for one in found.finalists}
    assert any(is_default(found.study.trials[one.trial]) for one in found.finalists)
    assert found.winner.number == found.finalists[0].trial
    assert found.configuration["updates"] == few.final_updates
    assert "as of the finalists" in found.sentence


def test_what_is_written(found, tmp_path):
    table, best = found.write(tmp_path)
    rows = pd.read_csv(table)
    assert len(rows) == 4
    assert rows["rmse"].is_monotonic_increasing
    assert yaml.safe_load(best.read_text()) == found.configuration
    page = write_page(tmp_path / "tune.html", found, "Search on <x>").read_text()
    assert "Search on &lt;x&gt;" in page
    assert "http://" not in page.partition("<script")[0]  # no other file, no network
    assert page.count("plotly-graph-div") >= 3
    assert f"{found.finalists[0].error:.4f}" in page
    verdict = page.partition('<p class="verdict">')[2].partition("</p>")[0]
    assert verdict == found.verdict
    described = page.count('<div class="drawing" role="img" aria-label="')
    assert described == page.count('class="plotly-graph-div"')


def test_the_verdict_compares_with_the_default(found):
    first = found.finalists[0]
    name = found.study.trials[first.trial].params["forecaster"]
    said = f"The best of 4 trials is a configuration of {name}, with an RMSE of {first.error:.4f}"
    assert found.verdict.startswith(said)
    assert "default" in found.verdict
    other = next(one for one in found.finalists if is_default(found.study.trials[one.trial]))
    better = dataclasses.replace(first, trial=_not_default(found), error=0.9 * other.error)
    ahead = dataclasses.replace(found, finalists=(better, other))
    assert ", 10.0 % lower than that of the default " in ahead.verdict
    small = dataclasses.replace(found, finalists=())
    assert f"{small.winner.value:.4f} (scaled units)" in small.verdict
    assert "on the small set" in small.verdict
    assert "full data" not in small.verdict


def _not_default(found):
    return next(t.number for t in found.study.trials if not is_default(t))


def test_the_page_names_what_it_needs(found, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "stemdist\[tune\]"'):
        write_page(tmp_path / "tune.html", found, "Search")
    assert not list(tmp_path.iterdir())


def test_a_search_that_was_stopped_goes_on_the_same_way(tiny, task, few, tmp_path, monkeypatch):
    whole = tune(tiny, task, few, folder=tmp_path / "whole")
    score, calls = studies.Search._score, []

    def die_in_the_third(self, trial):
        calls.append(trial.number)
        if len(calls) == 3:
            self._configuration(trial)
            raise KeyboardInterrupt
        return score(self, trial)

    monkeypatch.setattr(studies.Search, "_score", die_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        tune(tiny, task, few, folder=tmp_path / "parts")
    monkeypatch.setattr(studies.Search, "_score", score)
    monkeypatch.setattr(studies, "alive", lambda process: False)
    rest = tune(tiny, task, few, folder=tmp_path / "parts")
    assert params(rest.study) == params(whole.study)
    assert [trial.state.name for trial in rest.study.trials].count("FAIL") == 1


def test_more_trials_continue_a_finished_search(tiny, task, few, tmp_path):
    first = tune(tiny, task, replace(few, trials=2), folder=tmp_path)
    before = params(first.study)
    more = tune(tiny, task, replace(few, trials=3), folder=tmp_path)
    assert params(more.study)[:2] == before
    assert len(more.study.trials) == 3


def test_another_process_that_lives_keeps_its_trial(tiny, task, few, tmp_path):
    tune(tiny, task, replace(few, trials=1), folder=tmp_path)
    storage = studies.default_storage(tmp_path)
    other = optuna.load_study(study_name="stemdist", storage=storage)
    trial = other.ask()
    trial.set_user_attr(studies.PROCESS, f"another-machine {10**9}")
    done = tune(tiny, task, replace(few, trials=3), folder=tmp_path)
    assert [one.state.name for one in done.study.trials] == ["COMPLETE", "RUNNING", "COMPLETE"]


def test_a_study_of_something_else_is_not_continued(tiny, task, few, tmp_path):
    tune(tiny, task, replace(few, trials=1), folder=tmp_path)
    for change in ({"updates": 5}, {"forecasters": ("linear",)}, {"seed": 1}):
        with pytest.raises(InputError, match="was made from other data, settings or search spaces"):
            tune(tiny, task, replace(few, **change), folder=tmp_path)
    with pytest.raises(InputError, match="search spaces"):
        tune(tiny, task, few, folder=tmp_path, space={"training": {"weight_decay": 0.1}})


def test_a_configuration_that_cannot_be_trained_loses(tiny, task, few, tmp_path):
    space = {"mlp": {"hidden": [-1, 16]}}
    settings = replace(few, forecasters=("mlp",), trials=5, sampler="random")
    done = tune(tiny, task, settings, folder=tmp_path, space=space)
    failed = [trial for trial in done.study.trials if trial.params["mlp.hidden"] == -1]
    assert failed
    assert all(trial.value == math.inf for trial in failed)
    assert all("hidden is -1" in trial.user_attrs["failure"] for trial in failed)
    assert done.configuration["hyperparameters"]["hidden"] == 16


@pytest.mark.parametrize("pruner", ["median", "halving", "hyperband"])
def test_pruned_trials_count(tiny, task, few, tmp_path, pruner):
    settings = replace(few, pruner=pruner, updates=10, trials=5)
    done = tune(tiny, task, settings, folder=tmp_path)
    states = [trial.state.name for trial in done.study.trials]
    assert len(states) == 5
    assert set(states) <= {"COMPLETE", "PRUNED"}
    steps = {step for trial in done.study.trials for step in trial.intermediate_values}
    assert steps == set(range(1, 11))


def test_no_trial_begins_after_the_time(tiny, task, few, tmp_path):
    with pytest.raises(InputError, match="no trial was trained to its end: give more trials or"):
        tune(tiny, task, few, folder=tmp_path, time_limit=1e-9)
    assert len(tune(tiny, task, few, folder=tmp_path, time_limit="1h").study.trials) == few.trials


@pytest.mark.slow
def test_two_processes_share_one_study(tiny, task, few, tmp_path):
    done = tune(tiny, task, replace(few, trials=6), folder=tmp_path, n_jobs=2)
    assert 6 <= len(ended(done.study)) <= 7  # both may begin the last one
    where = {trial.user_attrs[studies.PROCESS] for trial in ended(done.study)}
    # on a busy machine one of them may be done before the other has started
    assert 1 <= len(where) <= 2
    assert f"{socket.gethostname()} {os.getpid()}" not in where


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials is 0"),
        ({"forecasters": ("mpl",)}, "unknown forecaster 'mpl'"),
        ({"forecasters": ()}, "forecasters is"),
        ({"sampler": "tpee"}, "unknown sampler 'tpee': did you mean 'tpe'"),
        ({"pruner": "half"}, "unknown pruner 'half'"),
        ({"finalists": -1}, "finalists is -1"),
        ({"pruner": "median", "updates": 9}, "updates is 9, and a trial with the pruner 'median'"),
        ({"locations_per_update": 0}, "locations_per_update is 0"),
    ],
)
def test_settings_that_cannot_be_used(options, message):
    with pytest.raises(InputError, match=message):
        TuneSettings(**options)


def test_shorter_lookbacks_are_searched(tiny, task, few, tmp_path):
    settings = replace(few, lookbacks=(2, 6), forecasters=("linear",), trials=6, finalists=1)
    found = tune(tiny, task, replace(settings, sampler="random"), folder=tmp_path)
    assert set(found.table["lookback"]) == {2, 6}
    assert found.configuration["lookback"] == found.winner.params["lookback"]
    short = next(t for t in found.study.trials if t.params["lookback"] == 2)
    chosen = configuration_of(short.params)
    by_hand = TensorWindows(
        x=tiny.windows.batch(torch.arange(len(tiny.windows))).x[:, -2:],
        y=tiny.windows.batch(torch.arange(len(tiny.windows))).y,
        mask=tiny.windows.batch(torch.arange(len(tiny.windows))).mask,
        weight=tiny.windows.location_weight,
    )
    shorter = ForecastTask.from_series(task.series, replace(task.settings, lookback=2))
    # the same targets: windows of the shorter task begin later
    validation = replace(shorter.validation, starts=task.validation.starts + 4)
    training = validating_within_reason(settings.training(chosen.training), task)
    _, result = fit_windows(
        "linear",
        by_hand,
        tiny.cluster_graph,
        training,
        validation=(validation, task.graph, shorter.train.profile),
    )
    assert short.value == pytest.approx(math.sqrt(result.best_validation_error), rel=1e-5)


def test_longer_lookbacks_than_the_set_has_are_refused(tiny, task, few, tmp_path):
    with pytest.raises(InputError, match="lookback is 7: the windows have 6 input steps"):
        tune(tiny, task, replace(few, lookbacks=(6, 7)), folder=tmp_path)


def test_defaults_are_tried_first_and_the_best_of_them_is_a_finalist(tiny, task, few, tmp_path):
    found = tune(tiny, task, few, folder=tmp_path)
    first, second, *others = found.study.trials
    assert [first.params["forecaster"], second.params["forecaster"]] == ["linear", "mlp"]
    assert second.params["mlp.hidden"] == 64
    assert second.params["mlp.learning_rate"] == TrainingSettings().learning_rate
    assert [is_default(trial) for trial in others] == [False, False]
    numbers = [trial.number for trial in chosen_finalists(found.study, 1)]
    assert min((first, second), key=lambda trial: trial.value).number in numbers
    ranked = best_trials(found.study, len(found.study.trials))
    for family in ("linear", "mlp"):
        assert next(t.number for t in ranked if t.params["forecaster"] == family) in numbers
    assert len(numbers) == len(set(numbers)) <= 3
    assert chosen_finalists(found.study, 0) == []


def test_defaults_outside_of_the_search_space_are_not_tried(tiny, task, few, tmp_path):
    space = {"mlp": {"hidden": [8]}}
    found = tune(tiny, task, replace(few, forecasters=("mlp",)), folder=tmp_path, space=space)
    assert not any(is_default(trial) for trial in found.study.trials)

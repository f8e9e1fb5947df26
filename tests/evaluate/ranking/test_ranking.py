"""Ranking: agreement by hand, trainings that resume, and what is said."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pandas as pd
import pytest

from stemdist.data.split import Split
from stemdist.distill import train_on_distilled
from stemdist.errors import InputError
from stemdist.evaluate import RankingSettings, rank
from stemdist.evaluate.ranking import ranking as rankings
from stemdist.evaluate.ranking.runs import RankingRuns
from stemdist.evaluate.ranking.scores import agreement
from stemdist.search.configurations import Configuration

FEW = RankingSettings(
    forecasters=("linear", "mlp"),
    configurations=5,
    references=("random",),
    updates=4,
    full_updates=12,
    top=3,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranking")


@pytest.fixture(scope="module")
def ranked(distilled, task, folder):
    return rank(distilled, task, FEW, results=folder)


def test_agreement_by_hand():
    # ranks 1 2 3 4 5 and 2 1 3 5 4: d^2 = 1 + 1 + 0 + 1 + 1, so 1 - 6 * 4 / (5 * 24) = 0.8;
    # 8 of 10 pairs in the same order: (8 - 2) / 10
    scores = agreement([1, 2, 3, 4, 5], [0.2, 0.1, 0.3, 0.5, 0.4], top=3)
    assert scores["spearman"] == pytest.approx(0.8)
    assert scores["kendall"] == pytest.approx(0.6)
    # the best three: 1 2 3 and 2 1 3: 1 - 6 * 2 / (3 * 8)
    assert scores["spearman_top"] == pytest.approx(0.5)
    assert scores["kendall_top"] == pytest.approx(1 / 3)
    assert scores["regret"] == 1.0  # the second is chosen: 2 / 1 - 1


@pytest.mark.parametrize("reverse", [False, True])
def test_limits_of_agreement(reverse):
    truth = [3.0, 1.0, 2.0, math.inf]
    scores = agreement(truth, [-each for each in truth] if reverse else truth, top=4)
    assert scores["spearman"] == scores["kendall"] == (-1.0 if reverse else 1.0)
    assert scores["regret"] == (math.inf if reverse else 0.0)


def test_equal_errors_have_no_order():
    assert math.isnan(agreement([1, 2, 3], [1, 1, 1], top=3)["spearman"])


def test_every_method_trains_the_same_configurations(ranked, distilled, task):
    table = ranked.table
    assert list(table["method"].unique()) == ["full", "distilled", "random", "short"]
    names = ["forecaster", "learning_rate", "weight_decay", "hidden"]
    first, *others = (own[names].reset_index(drop=True) for _, own in table.groupby("method"))
    for other in others:
        pd.testing.assert_frame_equal(first, other)
    row = table.query("method == 'distilled' and configuration == 1").iloc[0]
    drawn = FEW.drawn()[1]
    training = FEW.training(drawn, FEW.updates)
    again = train_on_distilled(
        distilled, drawn.forecaster, training, validation=task, options=drawn.options
    )
    assert row["rmse"] == pytest.approx(math.sqrt(again.record["validation_error"]))


def test_short_trainings_cost_what_the_set_costs(ranked):
    updates = ranked.table.groupby("method")["updates"].first()
    assert FEW.updates <= updates["short"] <= FEW.full_updates
    rows = {"full": [{"seconds": 30.0}] * 2, "distilled": [{"seconds": 3.0}] * 2}
    assert rankings.equal_updates(rows, {"distilled": 9.0}, replace(FEW, full_updates=100)) == 25
    assert rankings.equal_updates(rows, {"distilled": 99.0}, replace(FEW, full_updates=100)) == 100


def test_scores_count_the_making_of_the_set(ranked, distilled):
    spent = ranked.table.groupby("method")["seconds"].sum()
    made = distilled.record["seconds"]
    assert ranked.scores.loc["distilled", "seconds"] == pytest.approx(spent["distilled"] + made)
    assert ranked.scores.loc["short", "seconds"] == pytest.approx(spent["short"])
    assert "distilling included" in ranked.sentence


def test_nothing_finished_is_made_again(ranked, distilled, task, folder, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("made again")

    monkeypatch.setattr(Configuration, "validation_rmse", fail)
    monkeypatch.setattr(RankingRuns, "_data", fail)  # random windows would be labelled
    again = rank(distilled, task, FEW, results=folder)
    pd.testing.assert_frame_equal(again.table, ranked.table)
    assert again.made_seconds == ranked.made_seconds


def test_a_configuration_that_fails_is_last(distilled, task):
    space = {"mlp": {"hidden": [-1]}}
    found = rank(distilled, task, replace(FEW, space=space, references=()))
    failed = found.table.query("forecaster == 'mlp'")
    assert failed["rmse"].eq(math.inf).all()
    with pytest.raises(InputError, match="no configuration could be trained on the full data"):
        rank(distilled, task, replace(FEW, space=space, forecasters=("mlp",)))


def test_what_is_written(ranked, tmp_path):
    table, facts = ranked.write(tmp_path)
    assert len(pd.read_csv(table)) == 20
    found = json.loads(facts.read_text())
    assert found["scores"]["random"]["spearman"] == ranked.scores.loc["random", "spearman"]
    assert found["in words"] == ranked.sentence
    assert "random windows" in str(ranked)


def test_data_without_a_validation_part_are_refused(distilled, series, task):
    parts = Split(train=0.8, validation=0.0, test=0.2)
    other = type(task).from_series(series, replace(task.settings, split=parts), scaler=task.scaler)
    with pytest.raises(InputError, match="ranked on the validation part"):
        rank(distilled, other, FEW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"configurations": 2}, "fewer than 3"),
        ({"updates": 3}, "updates is 3"),
        ({"top": 1}, "top is 1"),
        ({"forecasters": ("mpl",)}, "mpl"),
    ],
)
def test_settings_that_cannot_be_used(change, message):
    with pytest.raises(InputError, match=message):
        replace(FEW, **change).drawn()

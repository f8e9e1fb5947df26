"""Budgets: equal updates, convergence by validation, or both side by side."""

from __future__ import annotations

import dataclasses
import json

import pandas as pd
import pytest

from stemdist.errors import InputError
from stemdist.evaluate import EvaluationSettings, evaluate, forecaster_table, text_table
from stemdist.evaluate.comparison import runs
from stemdist.evaluate.comparison.runs import Cell, Run, Tuning
from stemdist.evaluate.comparison.tables import evaluation_tables
from stemdist.evaluate.comparison.trainings import helps, lowest_of_each
from stemdist.forecast import train_forecaster

TRIED = (6, 12, 24)
CELL = ["budget", "method", "forecaster"]


@pytest.fixture(scope="module")
def settings(small):
    return dataclasses.replace(
        small,
        forecasters=("linear", "mlp"),
        references=("full", "random", "distilled"),
        budget="both",
        converged_updates=TRIED,
    )


@pytest.fixture(scope="module")
def used():
    """Training settings of every run, by forecaster."""
    return []


@pytest.fixture(scope="module")
def both(distilled, task, settings, used, tmp_path_factory):
    def train(forecaster, source, graph, training, **rest):
        used.append((forecaster.pointwise, training))
        return train_forecaster(forecaster, source, graph, training, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "train_forecaster", train)
        return evaluate(distilled, task, settings, results=tmp_path_factory.mktemp("both"))


def test_equal_updates_are_as_without_the_other_budget(both, evaluation):
    keys = ["method", "forecaster", "seed"]
    mine = both.at("equal").table.set_index(keys)
    alone = evaluation.table.set_index(keys).loc[mine.index]
    for column in ("relative_rmse", "validation_relative_rmse", "learning_rate"):
        pd.testing.assert_series_equal(mine[column], alone[column])
    assert set(mine.query("forecaster != ''")["updates"]) == {12}


def test_longer_trainings_are_tried_while_they_help(both):
    table = both.table.set_index(CELL)
    column = "validation_relative_rmse"
    for cell, rows in both.search.query("budget == 'converged'").groupby(CELL):
        best = rows.groupby("updates")[column].min()
        assert tuple(best.index) == TRIED[: len(best)]
        rates = rows.groupby("updates")["learning_rate"].nunique()
        assert rates.iloc[0] == 2
        assert set(rates.iloc[1:]) <= {1}  # the best one so far
        lowest = best.cummin()
        gains = [lowest[a] * 0.995 >= best[b] for a, b in zip(TRIED, best.index[1:], strict=False)]
        assert all(gains[:-1])
        assert len(best) == len(TRIED) or not gains[-1]
        chosen = rows.loc[rows[column].idxmin()]
        assert set(table.loc[cell, "updates"]) == {chosen["updates"]}  # of all seeds
        assert set(table.loc[cell, "learning_rate"]) == {chosen["learning_rate"]}
    assert len(both.search["updates"].unique()) > 2


def test_converged_pointwise_forecasters_see_some_locations(both, used):
    assert all(pointwise for pointwise, _ in used)
    seen = {(training.updates, training.locations_per_update) for _, training in used}
    assert (12, None) in seen  # at equal updates they see all
    assert {some for updates, some in seen if updates != 12} == {64}


def test_rules_by_hand():
    def trained(updates, error, cell="a"):
        run = Run(
            cell=Cell("converged", cell, "mlp"),
            seed=0,
            tuning=Tuning(1e-3, "auto", updates),
            identity="",
        )
        return run, {"validation_relative_rmse": error}

    first, second = trained(600, 0.400), trained(2000, 0.398)
    assert helps(None, first)
    assert helps(first, second)  # 0.5 % lower
    assert not helps(first, trained(2000, 0.399))
    assert not helps(first, trained(2000, 0.5))
    other = trained(600, 0.7, "b")
    best = lowest_of_each([first, second, other, trained(5000, 0.398)])
    assert list(best.values()) == [second, other]  # the shortest of equal ones


def test_tables_show_both(both, distilled, tmp_path):
    rows = evaluation_tables(both)["errors"]
    assert rows[0] == ["trained on", "budget", "linear", "mlp"]
    assert [row[:2] for row in rows[1:3]] == [["full data", "equal"], ["full data", "converged"]]
    means = both.at("equal").summary()["mean"]
    assert rows[1][2].startswith(f"{means['full', 'linear']:.4f}")
    excess = evaluation_tables(both)["excess"]
    assert excess[0][0] == "excess over the converged full data"
    assert excess[2][2:] == ["-"] * 3
    distilled_row = next(row for row in excess if row[:2] == ["distilled", "equal"])
    own = both.excess(budget="equal").loc[("distilled", "mean"), "mean"]
    assert distilled_row[-1].startswith(f"{100 * own:.1f} % +- ")
    text = text_table(both)
    assert "equal: 12 updates, converged: 6 or 12 or 24 updates (as many as help on" in text
    assert "the full data at equal updates" in text
    assert "the converged full data" in text
    stored = pd.read_csv(both.write_csv(tmp_path / "t.csv"), keep_default_na=False)
    assert set(stored["budget"]) == {"equal", "converged", ""}
    content = json.loads(both.write_json(tmp_path / "t.json").read_text())
    for name in ("table", "search", "by_target", "by_horizon", "by_stratum", "by_location"):
        assert "budget" in content[name]["columns"]


def test_forecasters_are_compared_at_both(task, settings):
    only = dataclasses.replace(settings, references=("full",), seeds=1)
    lines = forecaster_table(evaluate(None, task, only)).splitlines()
    (head,) = (line for line in lines if line.startswith("forecaster"))
    assert head.split()[:2] == ["forecaster", "budget"]
    assert sorted(line.split()[1] for line in lines if line.startswith("mlp ")) == [
        "converged",
        "equal",
    ]
    assert sum("(window mean)" in line for line in lines) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": "equall"}, "unknown budget 'equall': did you mean 'equal'"),
        ({"converged_updates": (9,)}, r"converged_updates is \(9,\), but budget is 'equal': it is"),
        ({"budget": "converged", "updates": 9}, "updates is 9, but budget is 'converged'"),
        ({"budget": "both", "converged_updates": (9, 8)}, r"\(9, 8\): give them in ascending"),
        ({"budget": "both", "converged_updates": ()}, "give at least one"),
        ({"budget": "both", "converged_updates": (0,)}, "converged_updates is 0"),
    ],
)
def test_messages(changes, message):
    with pytest.raises(InputError, match=message):
        EvaluationSettings(**changes)

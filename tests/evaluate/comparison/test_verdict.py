"""The verdict: sentences and numbers derived by hand."""

from __future__ import annotations

import dataclasses
import math

import pandas as pd
import pytest

from stemdist.errors import InputError
from stemdist.evaluate import Evaluation
from stemdist.evaluate.comparison.verdict import Difference, best_forecaster, footnote, verdict


def difference(mean, half=0.004, other="the converged full data"):
    return Difference(other=other, mean=mean, half_width=half)


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (0.012, 0.004, "1.2 % worse than X (mean of 3 forecasters, +- 0.4 %)"),
        (-0.012, 0.004, "1.2 % better than X (mean of 3 forecasters, +- 0.4 %)"),
        (0.003, 0.004, "not distinguishable from X (mean of 3 forecasters, +0.3 % +- 0.4 %)"),
        (0.0, 0.0, "not distinguishable from X (mean of 3 forecasters, +0.0 % +- 0.0 %)"),
        (
            0.1,
            math.nan,
            "10.0 % worse than X (mean of 3 forecasters, one seed, so of unknown noise)",
        ),
    ],
)
def test_a_difference_is_told_with_its_noise(mean, half, text):
    assert difference(mean, half, "X").text(3) == text


def test_both_differences_and_the_baseline():
    random = difference(-0.008, 0.002, "random windows with the same labels")
    trained = {"linear": 0.50, "mlp": 0.46, "gru": 0.47}
    said = verdict(
        "The distilled set", [difference(0.012), random], trained, {"climatology": 0.441}
    )
    assert said == (
        "The distilled set is 1.2 % worse than the converged full data (mean of 3 forecasters, "
        "+- 0.4 %), 0.8 % better than random windows with the same labels (+- 0.2 %), which is no "
        "win; the climatology (0.441) beats every forecaster trained on it."
    )  # fmt: skip
    some = verdict("The set", [difference(-0.012)], trained, {"persistence": 0.48, "mean": 0.9})
    assert some == (
        "The set is 1.2 % better than the converged full data (mean of 3 forecasters, +- 0.4 %); "
        "persistence (0.48) beats linear trained on it."
    )
    assert "no win" not in verdict("The set", [difference(-0.012)], trained, {"persistence": 0.9})
    assert "no win" not in verdict("The set", [difference(0.01)], trained, {"persistence": 0.1})
    assert verdict("The set", [], {"mlp": 0.4}, {"persistence": 0.3}).startswith(
        "Persistence (0.3)"
    )
    assert verdict("The set", [], {}, {}) == ""


def test_the_mark_is_explained_where_it_is():
    assert footnote([["a", "0.5*"], ["b", "0.6 "]]) == ""
    assert footnote([["a", "0.5!"]]).startswith("! worse than a baseline without training")


# Errors by budget, reference and forecaster, of two seeds.
ERRORS = {
    ("equal", "full", "a"): (0.50, 0.50),
    ("equal", "full", "b"): (0.80, 0.80),
    ("equal", "distilled", "a"): (0.50, 0.51),
    ("equal", "distilled", "b"): (0.80, 0.80),
    ("converged", "full", "a"): (0.40, 0.50),
    ("converged", "full", "b"): (0.50, 0.50),
    ("converged", "distilled", "a"): (0.44, 0.55),
    ("converged", "distilled", "b"): (0.54, 0.54),
    ("converged", "random-expert", "a"): (0.55, 0.60),
    ("converged", "random-expert", "b"): (0.60, 0.60),
    ("equal", "random-expert", "a"): (0.55, 0.60),
    ("equal", "random-expert", "b"): (0.60, 0.60),
}


@pytest.fixture
def both():
    rows = [
        {"method": m, "forecaster": f, "seed": seed, "budget": budget, "relative_rmse": error}
        for (budget, m, f), errors in ERRORS.items()
        for seed, error in enumerate(errors)
    ]
    untrained = {"forecaster": "", "seed": 0, "budget": "", "relative_rmse": 0.52}
    rows.append({"method": "climatology", **untrained})
    table = pd.DataFrame(rows)
    return Evaluation(
        table=table, search=table, by_target=table, by_horizon=table, by_stratum=table,
        by_location=table, facts={},
    )  # fmt: skip


def test_excess_is_over_the_converged_full_data(both):
    converged, equal = both.excess(), both.excess(budget="equal")
    # seeds: a 0.44 / 0.40 and 0.55 / 0.50, b 0.54 / 0.50 twice: 10, 10, 8 and 8 %
    assert converged.loc[("distilled", "a"), "mean"] == pytest.approx(0.10)
    assert converged.loc[("distilled", "mean"), "mean"] == pytest.approx(0.09)
    assert converged.loc[("distilled", "mean"), "half_width"] == pytest.approx(0, abs=1e-9)
    assert equal.loc[("distilled", "b"), "mean"] == pytest.approx(0.80 / 0.50 - 1)
    # that of the full data at equal updates: a 0.25 and 0, b 0.6: means 0.425 and 0.3
    own = equal.loc[("full", "mean")]
    assert own["mean"] == pytest.approx(0.3625)
    assert own["half_width"] == pytest.approx(12.7062 * 0.0625, rel=1e-4)


def test_statistics_are_of_the_headline_budget(both):
    assert both.budgets == ("equal", "converged")
    assert both.summary().loc[("full", "a"), "mean"] == pytest.approx(0.45)
    assert both.at("equal").summary().loc[("full", "a"), "mean"] == pytest.approx(0.50)
    assert both.at("equal").untrained() == {"climatology": 0.52}
    with pytest.raises(InputError, match="unknown budget 'converged'"):
        both.at("equal").at("converged")


def test_a_sentence_for_each_budget(both):
    equal, converged = both.verdict().split(". The")
    # seeds: 0 and 1 % (mean over a and b of 0 and 2, and of 0 and 0)
    assert equal.startswith(
        "The distilled set is not distinguishable from the full data at equal updates (mean of 2 "
        "forecasters, +0.5 % +- 6.4 %), "
    )
    # a 0.505 and b 0.80; the climatology is 0.52
    assert equal.endswith("the climatology (0.52) beats b trained on it")
    # random: a 0.8 and 11 / 12, b 0.9: differences -15 and -9.1667 %
    assert converged == (
        " distilled set is 9.0 % worse than the converged full data (mean of 2 forecasters, "
        "+- 0.0 %), not distinguishable from random windows with the same labels "
        "(-12.1 % +- 37.1 %); the climatology (0.52) beats b trained on it."
    )


def test_the_size_of_the_set_is_said_where_it_is_known(both):
    sized = dataclasses.replace(both, table=both.table.assign(window_ratio=0.0123))
    assert (
        sized.at("equal")
        .verdict()
        .startswith("At 1.23 % of the windows x locations, the distilled set is ")
    )


def test_forecasters_on_the_same_data_are_compared_with_the_next_by_seed():
    clear = Difference(other="mlp, the next", mean=-0.1, half_width=0.02)
    said = best_forecaster({"mlp": 0.5, "gru": 0.45}, clear, {"climatology": 0.47})
    assert said == (
        "gru has the lowest error of 2 forecasters (0.45) and is 10.0 % better than mlp, the next "
        "(+- 2.0 %); the climatology (0.47) beats mlp."
    )
    alone = best_forecaster({"mlp": 0.5}, None, {})
    assert alone == "The error of mlp is 0.5."

from __future__ import annotations

import dataclasses
import json
import math
import re

import pandas as pd
import pytest
from scipy import stats

from stemdist.errors import InputError
from stemdist.evaluate import Evaluation, break_even, gap_closed, text_table

ERRORS = {"full": [0.50, 0.52, 0.51], "random": [0.60, 0.64, 0.56], "distilled": [0.52, 0.53, 0.54]}


@pytest.fixture
def hand_made():
    rows = [
        {
            "method": method,
            "forecaster": "mlp",
            "seed": seed,
            "relative_rmse": error,
            "train_seconds": {"full": 60.0}.get(method, 10.0),
            "data_seconds": {"distilled": 120.0}.get(method, 0.0),
        }
        for method, errors in ERRORS.items()
        for seed, error in enumerate(errors)
    ]
    rows.append({"method": "persistence", "forecaster": "", "seed": 0, "relative_rmse": 0.7})
    empty = pd.DataFrame()
    return Evaluation(
        table=pd.DataFrame(rows),
        search=empty,
        by_target=empty,
        by_horizon=empty,
        by_stratum=empty,
        by_location=empty,
        facts={},
    )


def test_mean_and_interval(hand_made):
    row = hand_made.summary().loc[("random", "mlp")]
    assert row["mean"] == pytest.approx(0.6)
    # standard deviation .04, standard error .04 / sqrt(3), t(.975, 2) = 4.3027
    assert row["half_width"] == pytest.approx(4.3027 * 0.04 / math.sqrt(3), rel=1e-4)
    assert row["seeds"] == 3
    assert math.isnan(hand_made.summary().loc[("persistence", ""), "half_width"])


def test_paired_differences(hand_made):
    row = hand_made.paired("random").loc[("distilled", "mlp")]
    assert row["mean"] == pytest.approx((-0.08 - 0.11 - 0.02) / 3)
    expected = stats.ttest_rel(ERRORS["distilled"], ERRORS["random"])
    assert row["p_value"] == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert row["half_width"] == pytest.approx((high - low) / 2)


def test_quality(hand_made):
    row = hand_made.quality().loc[("distilled", "mlp")]
    assert row["gap_closed"] == pytest.approx((0.60 - 0.53) / (0.60 - 0.51))
    assert row["break_even"] == 3  # 120 s are saved after 120 / 50 = 2.4 trainings


def test_quality_scores():
    assert gap_closed(0.6, 0.6, 0.5) == 0
    assert gap_closed(0.6, 0.5, 0.5) == pytest.approx(1)
    assert math.isnan(gap_closed(0.5, 0.4, 0.5))
    assert math.isinf(break_even(10, 5, 5))
    assert math.isnan(break_even(10, math.nan, 5))


def test_messages(hand_made):
    with pytest.raises(InputError, match="unknown column 'rmsee'"):
        hand_made.summary("rmsee")
    with pytest.raises(InputError, match="unknown reference 'randon': did you mean"):
        hand_made.paired("randon")
    message = r"unknown error 'correlation'.* Choose from: crps, mae, mape"
    with pytest.raises(InputError, match=message):
        text_table(hand_made, "correlation")


def test_text_says_what_was_done(evaluation):
    text = str(evaluation)
    for part in (
        "Test relative_rmse of speed at all 8 locations",
        "windows x 3 clusters",
        "12 updates of 8 windows",
        "2 seeds",
        "validation 172-229",
        "persistence",
        "climatology",
        "window mean",
        "closed-form linear",
        "random windows + expert labels",
        "byte ratio",
    ):
        assert part in text
    # 12 updates are few: no forecaster beats the window mean, so that none is the best
    assert text.count("*") == 1  # the legend
    assert text.count("!") == 7 * 2 + 1  # every reference and forecaster, and the footnote
    assert "! worse than a baseline without training: no win" in text
    assert text.endswith("beats every forecaster trained on it.")
    assert "Test mae of speed" in text_table(evaluation, "mae")


def test_text_shows_the_gap_closed_where_there_is_one(evaluation):
    table = evaluation.table.copy()
    errors = {"full": 0.5, "random": 0.6, "distilled": 0.52}
    table["relative_rmse"] = table["method"].map(errors).fillna(0.7)
    text = str(dataclasses.replace(evaluation, table=table))
    assert "gap from random to full data closed" in text
    assert re.search(r"distilled +80 % / \w+", text)
    table.loc[(table["method"] == "full") & (table["seed"] == 1), "relative_rmse"] = 0.61
    text = str(dataclasses.replace(evaluation, table=table))
    assert re.search(r"distilled +no clear gap / \w+", text)


def test_files(evaluation, tmp_path):
    table = pd.read_csv(evaluation.write_csv(tmp_path / "e.csv"))
    assert table["relative_rmse"].tolist() == pytest.approx(
        evaluation.table["relative_rmse"].tolist()
    )
    text = evaluation.write_json(tmp_path / "e.json").read_text()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert content["facts"]["clusters"] == 3
    assert {"table", "search", "by_horizon", "by_stratum", "by_location"} < set(content)


def test_long_tables(evaluation, task):
    assert len(evaluation.by_horizon) == 3 * len(evaluation.table)
    assert len(evaluation.by_location) == task.n_locations * len(evaluation.table)
    assert len(evaluation.by_stratum) == 6 * len(evaluation.table)
    assert set(evaluation.by_location["location"]) == set(task.series["location"].values)

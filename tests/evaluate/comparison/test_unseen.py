from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import connected_components

from stemdist.data import canonical_series, simulate
from stemdist.errors import InputError
from stemdist.evaluate import (
    BenchmarkSettings,
    Verification,
    benchmark,
    benchmark_text,
    evaluate,
    hold_out,
    report_evaluation,
    text_table,
)
from stemdist.evaluate.metrics.baselines import BASELINES
from stemdist.forecast import ForecastTask
from stemdist.graph import connectivity, subgraph

SHARE, HELD = 0.4, 3  # of 8 locations


@pytest.fixture(scope="module")
def parts(task):
    return hold_out(task, SHARE, seed=1)


@pytest.fixture(scope="module")
def linear(small):
    return dataclasses.replace(small, forecasters=("linear",), references=("full",), options={})


@pytest.fixture(scope="module")
def found(parts, linear):
    seen, unseen = parts
    return evaluate(None, seen, linear, unseen=unseen)


def poisoned(series, unseen, until):
    """Return the series with other values at the held-out locations up to a step."""
    other = series.compute().copy(deep=True)
    other["speed"].values[:until, unseen.index.numpy()] *= 5
    return other


def test_every_location_is_on_one_side(task, parts):
    seen, unseen = parts
    names = task.series["location"].values
    held = names[unseen.index.numpy()]
    assert len(held) == HELD
    assert sorted([*held, *seen.series["location"].values]) == sorted(names)
    assert unseen.task.n_locations == 8
    assert int(seen.graph.num_nodes) == 5
    assert unseen.task.scaler == seen.scaler
    assert unseen.task.scaler != task.scaler


def test_nothing_is_known_of_held_out_locations(series, task_of, parts):
    seen, unseen = parts
    other, _ = hold_out(task_of(poisoned(series, unseen, None)), SHARE, seed=1)
    assert other.content_hash == seen.content_hash


def test_their_past_changes_no_trained_weight(series, task, task_of, parts, linear, found):
    end = task.split_boundaries["validation"][1]
    changed = task_of(poisoned(series, parts[1], end - 6))  # test inputs start at end - lookback
    seen, unseen = hold_out(changed, SHARE, seed=1)
    other = evaluate(None, seen, linear, unseen=unseen)
    column = "validation_relative_rmse"
    assert other.search[column].tolist() == found.search[column].tolist()
    rmse = [each.table.query("forecaster == 'linear'")["rmse"] for each in (other, found)]
    assert rmse[0].tolist() == pytest.approx(rmse[1].tolist(), rel=1e-6)


def test_errors_are_those_at_the_held_out_columns(parts, found):
    seen, unseen = parts
    whole = unseen.task
    everywhere = Verification.of(whole, whole.test)
    for name in ("persistence", "climatology", "closed-form linear"):
        errors = everywhere.errors(BASELINES[name](seen, whole))[0].by_location()
        mine = found.by_location.query("method == @name")
        assert mine["location"].tolist() == whole.series["location"].values[unseen.index].tolist()
        expected = errors["rmse"].to_numpy()[unseen.index.numpy()]
        assert np.allclose(mine["rmse"], expected)
        pooled = found.table.query("method == @name")["rmse"].item()
        # every location has as many targets unless some are missing
        assert min(expected) < pooled < max(expected)
    trained = found.by_location.query("forecaster == 'linear' and seed == 0")
    assert len(trained) == HELD


def test_relative_errors_are_relative_to_the_held_out_targets(parts, found):
    _, unseen = parts
    verification = Verification.of(unseen.task, unseen.task.test, locations=unseen.index)
    index = torch.arange(len(unseen.task.test))
    _, y, mask = unseen.task.test.batch(index, unseen.index)
    target = unseen.task.scaler.inverse_targets(y.double(), 1)[mask > 0]
    assert verification.summaries[0].mean == pytest.approx(float(target.mean()))
    assert verification.summaries[0].spread == pytest.approx(float(target.std(correction=0)))
    row = found.table.query("method == 'persistence'")
    assert row["relative_rmse"].item() == pytest.approx(
        row["rmse"].item() / verification.summaries[0].spread
    )


def test_a_region_is_in_one_piece():
    series = canonical_series(simulate("weather-sim", days=8, n_lat=6, n_lon=8))
    task = ForecastTask.from_series(series)
    pieces = {}
    for pattern in ("scattered", "region"):
        index = hold_out(task, 0.2, pattern=pattern)[1].index
        assert len(index) == 10
        links = connectivity(subgraph(task.graph, index))
        pieces[pattern] = connected_components(links, directed=False)[0]
    assert pieces["region"] == 1
    assert pieces["scattered"] > 2


def test_seeds_draw_differently_and_again(task):
    drawn = [hold_out(task, SHARE, seed=seed)[1].index.tolist() for seed in (0, 0, 1, 2)]
    assert drawn[0] == drawn[1]
    assert len(set(map(tuple, drawn))) > 1


def test_text_and_report_say_where_errors_are(found, parts, tmp_path):
    assert "at 3 held-out locations" in text_table(found)
    page = report_evaluation(tmp_path / "report.html", found, task=parts[0])
    assert "held-out locations are not drawn" in page.read_text(encoding="utf-8")


def test_benchmark_learns_from_some_and_tests_on_the_others(task, linear, tmp_path):
    same = ("updates", "batch_windows", "validate_every", "validation_windows", "learning_rates")
    settings = BenchmarkSettings(
        methods=("kmeans",),
        references=("full",),
        ratios=("0.1x0.4",),
        forecasters=("linear",),
        **{name: getattr(linear, name) for name in same},
        seeds=1,
        hold_out=SHARE,
        distill={"judging": {"updates": 5}},
    )
    result = benchmark({"sim": task}, settings, results=tmp_path)
    assert result.failures == ()
    (facts,) = result.facts["tasks"]
    assert (facts["locations"], facts["held_out_locations"]) == (5, HELD)
    assert f"at held-out locations alone ({HELD})" in benchmark_text(result)
    seen, unseen = hold_out(task, SHARE)
    alone = evaluate(None, seen, dataclasses.replace(linear, seeds=1), unseen=unseen)
    rows = result.table.query("method == 'full data'")
    assert rows["rmse"].tolist() == alone.table.query("method == 'full'")["rmse"].tolist()
    sets = result.table.query("method == 'kmeans'")
    assert sets["training_locations"].tolist() == [5]  # all: there are fewer than six
    assert np.isfinite(result.excess()["mean"]).all()
    # with others held out nothing is taken from the same folder
    other = benchmark({"sim": task}, dataclasses.replace(settings, hold_out=0.6), results=tmp_path)
    pair = [each.table.query("method == 'persistence'")["rmse"].item() for each in (result, other)]
    assert pair[0] != pytest.approx(pair[1])


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.1, float("nan")])
def test_shares_that_leave_nothing(task, share):
    with pytest.raises(InputError, match="above 0 and below 1"):
        hold_out(task, share)


def test_other_messages(task):
    with pytest.raises(InputError, match="which is 0 of 8 locations"):
        hold_out(task, 0.01)
    with pytest.raises(InputError, match="unknown pattern of held-out locations 'regoin'"):
        hold_out(task, SHARE, pattern="regoin")
    with pytest.raises(InputError, match="hold_out is 2: it must be a share"):
        BenchmarkSettings(hold_out=2)
    with pytest.raises(InputError, match="but no locations are held out"):
        BenchmarkSettings(hold_out_pattern="region")

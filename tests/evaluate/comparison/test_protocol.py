from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from stemdist.distill import pipeline
from stemdist.errors import InputError
from stemdist.evaluate import (
    REFERENCES,
    Budget,
    EvaluationSettings,
    Verification,
    evaluate,
    forecaster_table,
)
from stemdist.evaluate.comparison import runs
from stemdist.evaluate.comparison.training_data import draw
from stemdist.evaluate.metrics.baselines import BASELINES, fitting_baselines
from stemdist.evaluate.metrics.targets import BEAUFORT
from stemdist.forecast import TrainingSettings, make_forecaster, predict_windows, train_forecaster

AS_SMALL = ("random", "random-expert", "coreset", "distilled")
TRAINED = ("full", *AS_SMALL, "clustered", "compressed")


@pytest.fixture
def count_trainings(monkeypatch):
    """Count training runs; on request, the n-th one is interrupted as by Ctrl-C."""
    calls = []

    def install(interrupt_at=None):
        calls.clear()

        def train(*args, **kwargs):
            calls.append(args)
            if len(calls) == interrupt_at:
                raise KeyboardInterrupt
            return train_forecaster(*args, **kwargs)

        monkeypatch.setattr(runs, "train_forecaster", train)
        return calls

    return install


def without_costs(table):
    return table.drop(columns=[c for c in table if c.endswith(("seconds", "bytes"))])


def test_every_method_forecaster_and_seed_has_a_row(evaluation, task):
    table = evaluation.table
    trained = table[table["forecaster"] != ""]
    assert len(trained) == len(TRAINED) * 2 * 2
    assert not trained.duplicated(["method", "forecaster", "seed"]).any()
    assert set(table["method"]) == {*TRAINED, *fitting_baselines(task)}
    assert np.isfinite(trained["relative_rmse"]).all()
    # seed 0 tries both rates; the others use the chosen one
    assert len(evaluation.search) == len(TRAINED) * 2 * 2


def test_updates_are_equal_for_all_methods(evaluation, small):
    trained = evaluation.table.query("forecaster != ''")
    assert set(trained["updates"]) == {small.updates}
    assert set(evaluation.search["updates"]) == {small.updates}


def test_sizes_and_ratios(evaluation, task, distilled):
    first = evaluation.table.query("seed == 0 and forecaster == 'mlp'").set_index("method")
    assert first.loc["full", "training_windows"] == len(task.train)
    for method in AS_SMALL:
        row = first.loc[method]
        assert row["training_windows"] == distilled.n_windows
        assert row["training_locations"] == distilled.n_clusters
        m, k, n = distilled.n_windows, distilled.n_clusters, task.n_locations
        assert row["window_ratio"] == pytest.approx(m / len(task.train) * k / n)
        _, end = task.settings.split.boundaries(len(task.train.values))["train"]
        assert row["byte_ratio"] == pytest.approx(m * k * (6 * 2 + 3) / (end * n))
    assert (first.loc["full", ["window_ratio", "training_ratio", "byte_ratio"]] == 1).all()


def test_learning_rate_is_the_best_of_seed_zero_on_validation(evaluation):
    table = evaluation.table.set_index(["method", "forecaster"]).sort_index()
    for pair, rows in evaluation.search.groupby(["method", "forecaster"]):
        best = rows.loc[rows["validation_relative_rmse"].idxmin(), "learning_rate"]
        assert set(table.loc[pair, "learning_rate"]) == {best}


def test_shuffling_is_chosen_on_validation_where_locations_are_mixed(distilled, task, small):
    settings = dataclasses.replace(
        small,
        forecasters=("linear", "stgcn"),
        references=("full", "distilled"),
        learning_rates=(5e-3,),
        shuffles=("always", "never"),
        options={},
    )
    found = evaluate(distilled, task, settings)
    tried = found.search.groupby(["method", "forecaster"])["shuffle"].agg(sorted)
    assert tried["full", "linear"] == ["auto"]  # it makes no difference
    assert tried["distilled", "stgcn"] == ["always", "never"]
    table = found.table.set_index(["method", "forecaster"]).sort_index()
    for pair, rows in found.search.query("forecaster == 'stgcn'").groupby(["method", "forecaster"]):
        assert rows["validation_relative_rmse"].nunique() == 2
        best = rows.loc[rows["validation_relative_rmse"].idxmin(), "shuffle"]
        assert set(table.loc[pair, "shuffle"]) == {best}


def test_decay_and_schedule_are_those_of_every_training(distilled, task, small):
    plain = dataclasses.replace(small, forecasters=("linear",), references=("full",), options={})
    constant = dataclasses.replace(plain, schedule="constant", weight_decay=0.0)
    training = constant.training(seed=0, learning_rate=5e-3)
    assert (training.schedule, training.weight_decay) == ("constant", 0.0)
    column = "validation_relative_rmse"
    found = [evaluate(distilled, task, how).table[column] for how in (plain, constant)]
    assert (found[0] != found[1]).any()


def test_distilled_row_is_what_one_trains_by_hand(evaluation, distilled, task, small):
    row = evaluation.table.query("method == 'distilled' and forecaster == 'linear' and seed == 1")
    torch.manual_seed(1)
    forecaster = make_forecaster("linear", lookback=6, horizon=3, n_features=2)
    settings = small.training(
        seed=1, learning_rate=float(row["learning_rate"].item()), all_locations=True
    )
    profile = task.train.profile
    train_forecaster(
        forecaster,
        distilled.windows,
        distilled.cluster_graph,
        settings,
        validation=(task.validation, task.graph, profile),
    )
    scaled = predict_windows(forecaster, task.test, task.graph, profile)
    _, y, mask = task.test.batch(torch.arange(len(task.test)))
    error = (task.scaler.inverse(scaled) - task.scaler.inverse(y))[mask > 0]
    assert row["rmse"].item() == pytest.approx(float(error.square().mean().sqrt()), rel=1e-4)


def test_a_second_run_trains_nothing(
    evaluation, distilled, task, small, results, count_trainings, monkeypatch
):
    calls = count_trainings()
    monkeypatch.setattr(REFERENCES.get("random"), "data", None)  # not even the data are made
    again = evaluate(distilled, task, small, results=results)
    assert not calls
    pd.testing.assert_frame_equal(again.table, evaluation.table)


def test_a_stopped_run_repeats_no_finished_cell(
    distilled, task, small, tmp_path, count_trainings, evaluation
):
    few = dataclasses.replace(
        small, references=("full", "distilled"), forecasters=("linear",), options={}
    )
    count_trainings(interrupt_at=4)
    with pytest.raises(KeyboardInterrupt):
        evaluate(distilled, task, few, results=tmp_path)
    assert len(list(tmp_path.glob("runs/*.safetensors"))) == 3
    calls = count_trainings()
    finished = evaluate(distilled, task, few, results=tmp_path)
    assert len(calls) == 2 * (2 + 1) - 3
    expected = evaluation.table.query("method in ['full', 'distilled'] and forecaster == 'linear'")
    found = finished.table.query("forecaster == 'linear'")
    pd.testing.assert_frame_equal(
        without_costs(found).reset_index(drop=True), without_costs(expected).reset_index(drop=True)
    )


def test_full_data_runs_are_shared_by_distilled_sets(
    evaluation, distilled, task, small, results, count_trainings
):
    windows = dataclasses.replace(distilled.windows, x=distilled.windows.x + 0.1)
    other = dataclasses.replace(distilled, windows=windows)
    calls = count_trainings()
    chosen = dataclasses.replace(small, references=("full", "random", "distilled"))
    again = evaluate(other, task, chosen, results=results)
    assert len(calls) == 2 * (2 + 1)  # the new distilled set only
    assert (again.summary()["mean"]["distilled"] != evaluation.summary()["mean"]["distilled"]).all()


def test_selection_never_reads_the_test_part(evaluation, series, task_of, distilled, small):
    _, end = task_of(series).settings.split.boundaries(series.sizes["time"])["validation"]
    poisoned = series.compute().copy(deep=True)
    poisoned["speed"].values[end:] = 1e6
    poisoned.attrs["opening"] = '{"accept": ["extremes"]}'
    few = dataclasses.replace(small, references=("full", "random", "distilled"))
    found = evaluate(distilled, task_of(poisoned), few)
    keys = ["method", "forecaster", "learning_rate", "seed"]
    merged = evaluation.search.merge(found.search, on=keys, suffixes=("", "_poisoned"))
    assert len(merged) == len(found.search)
    np.testing.assert_array_equal(
        merged["validation_relative_rmse"], merged["validation_relative_rmse_poisoned"]
    )
    trained = evaluation.table.query("forecaster != ''").merge(
        found.table, on=keys, suffixes=("", "_poisoned")
    )
    assert len(trained) == 3 * 2 * 2
    assert (trained["rmse_poisoned"] > 100 * trained["rmse"]).all()


def test_random_draws_differ_by_seed_and_can_be_moved(task, distilled):
    draws = [draw(Budget(task=task, distilled=distilled, seed=seed)) for seed in (0, 1, 0)]
    (index, locations), (other, _), (same, _) = draws
    assert len(index) == distilled.n_windows
    assert len(locations) == distilled.n_clusters
    assert (index.diff() > 0).all()
    assert not torch.equal(index, other)
    assert torch.equal(index, same)


def test_random_and_random_expert_share_their_inputs(task, distilled, experts_folder):
    budget = Budget(task=task, distilled=distilled, seed=3, cache=experts_folder / "experts")
    observed, labelled = (
        REFERENCES.get(name)().data(budget) for name in ("random", "random-expert")
    )
    assert torch.equal(observed.source.x, labelled.source.x)
    assert torch.equal(observed.graph.edge_index, labelled.graph.edge_index)
    assert not torch.equal(observed.source.y, labelled.source.y)
    assert labelled.source.mask.all()
    assert labelled.recorded_seconds > 0


@pytest.mark.parametrize("method", ["full-expert", "random-expert", "coreset"])
def test_missing_experts_train_where_forecasters_do(method, distilled, task, small, monkeypatch):
    def train(*args, device, **rest):
        raise InputError(f"asked to train on {device}")

    monkeypatch.setattr(pipeline, "train_experts", train)
    few = dataclasses.replace(small, references=(method,), forecasters=("linear",), options={})
    with pytest.raises(InputError, match="asked to train on cuda:7"):
        evaluate(distilled, task, few, device="cuda:7")


def test_references_with_known_answers(task):
    verification = Verification.of(task, task.validation)
    _, y, mask = task.validation.batch(torch.arange(len(task.validation)))
    target = task.scaler.inverse(y.double())
    known = task.series["speed"].values  # (T, N), NaN where missing
    last = np.full((len(target), task.n_locations), task.scaler.mean[0])
    for window, start in enumerate(task.validation.starts.tolist()):
        for step in range(start, start + 6):
            last[window] = np.where(np.isfinite(known[step]), known[step], last[window])
    error = (torch.from_numpy(last)[:, None] - target)[mask > 0]
    found = verification.errors(BASELINES["persistence"](task, task))[0].metrics()
    assert found["mae"] == pytest.approx(float(error.abs().mean()), rel=1e-4)
    assert verification.summaries[0].mean == pytest.approx(float(target[mask > 0].mean()), rel=1e-6)
    closed = verification.errors(BASELINES["closed-form linear"](task, task))[0].metrics()
    climatology = verification.errors(BASELINES["climatology"](task, task))[0].metrics()
    assert closed["rmse"] < climatology["rmse"]


def test_wind_speed_is_measured_by_force(series, task_of):
    wind = series.rename(speed="wind_speed")
    wind["wind_speed"].attrs = {"units": "m s-1"}
    verification = Verification.of(task_of(wind), task_of(wind).test)
    assert verification.summaries[0].edges == BEAUFORT
    assert Verification.of(task_of(series), task_of(series).test).summaries[0].edges != BEAUFORT


def test_fewer_test_windows(evaluation, distilled, task, small, results):
    few = dataclasses.replace(small, references=("full",), test_windows=5)
    found = evaluate(distilled, task, few, results=results)
    assert found.facts["test_windows"] == 5
    assert found.summary()["mean"]["full", "mlp"] != evaluation.summary()["mean"]["full", "mlp"]


def test_messages(distilled, task, series, task_of, small, tmp_path):
    with pytest.raises(InputError, match="unknown reference 'distiled': did you mean 'distilled'"):
        EvaluationSettings(references=("distiled",))
    with pytest.raises(InputError, match="unknown forecaster 'mtgn': did you mean 'mtgnn'"):
        EvaluationSettings(forecasters=("mtgn",))
    with pytest.raises(InputError, match="give at least one, and each only once"):
        EvaluationSettings(references=())
    with pytest.raises(InputError, match="unknown way to shuffle 'alway': did you mean 'always'"):
        EvaluationSettings(shuffles=("alway",))
    with pytest.raises(InputError, match="unknown schedule 'constnt': did you mean 'constant'"):
        EvaluationSettings(schedule="constnt")
    with pytest.raises(InputError, match="learning_rates has -1: every rate must be above 0"):
        EvaluationSettings(learning_rates=(-1,))
    with pytest.raises(InputError, match="updates is 0: it must be a whole number"):
        EvaluationSettings(updates=0)
    with pytest.raises(InputError, match="options are given for 'mtgnn', which is not evaluated"):
        EvaluationSettings(forecasters=("mlp",), options={"mtgnn": {}})
    whole = ("full", "full-expert", "compressed")
    assert EvaluationSettings(forecasters=("unet",), references=whole).references == whole
    with pytest.raises(InputError, match=r"'unet' needs a regular grid, .* random, distilled are"):
        EvaluationSettings(forecasters=("unet",), references=("full", "random", "distilled"))
    with pytest.raises(InputError, match="does not fit the data: locations 8 and 5"):
        evaluate(distilled, task_of(series.isel(location=slice(5))), small)
    with pytest.raises(InputError, match="does not fit the data: scaling"):
        evaluate(distilled, task_of(series * 2), small)
    silent = dataclasses.replace(distilled, record={})
    with pytest.raises(InputError, match="does not record how it was made"):
        evaluate(silent, task, small, results=tmp_path)
    weighted = dataclasses.replace(small, references=("full",), area_weighted=True)
    nowhere = dataclasses.replace(task, series=task.series.drop_vars(["lat", "lon"]))
    with pytest.raises(InputError, match="area_weighted needs the latitude"):
        evaluate(distilled, nowhere, weighted)


def test_damaged_result_is_named(distilled, task, small, tmp_path):
    one = dataclasses.replace(
        small, references=("distilled",), forecasters=("linear",), seeds=1, options={}
    )
    evaluate(distilled, task, one, results=tmp_path)
    for path in tmp_path.glob("runs/*.json"):
        path.write_text("{")
    with pytest.raises(InputError, match=r"cannot be read .* delete it, and it is made again"):
        evaluate(distilled, task, one, results=tmp_path)


def test_training_settings_are_those_of_ordinary_training():
    settings = EvaluationSettings(updates=7, locations_per_update=3)
    own = settings.training(seed=2, learning_rate=0.1)
    assert own == TrainingSettings(
        updates=7, learning_rate=0.1, seed=2, locations_per_update=3, batch_windows=32
    )
    assert (
        settings.training(seed=0, learning_rate=0.1, all_locations=True).locations_per_update
        is None
    )


def test_forecasters_are_compared_without_a_distilled_set(task, small, evaluation):
    full_only = dataclasses.replace(small, references=("full",))
    found = evaluate(None, task, full_only)
    both = [frame.summary()["mean"]["full"] for frame in (found, evaluation)]
    assert both[0].to_dict() == both[1].to_dict()
    table = forecaster_table(found)
    assert table.index("mlp ") > table.index("forecaster ")
    assert "clusters" not in found.facts
    with pytest.raises(InputError, match="random, distilled need a distilled set"):
        evaluate(None, task, dataclasses.replace(small, references=("random", "distilled")))

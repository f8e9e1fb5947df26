from __future__ import annotations

import importlib
import itertools
import json
import math
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stemdist.distill import distill
from stemdist.errors import InputError
from stemdist.evaluate import (
    Benchmark,
    BenchmarkSettings,
    EvaluationSettings,
    benchmark,
    benchmark_text,
    evaluate,
    plot_benchmark,
    rolling_tasks,
)
from stemdist.evaluate.comparison import runs
from stemdist.evaluate.grid import jobs
from stemdist.evaluate.grid.settings import ratio_pair
from stemdist.evaluate.grid.tables import benchmark_tables
from stemdist.forecast import TaskSettings, TrainingSettings, train_forecaster

FAST = {
    "expert_seeds": 1,
    "extra_experts": 0,
    "expert_training": {"updates": 5},
    "judging": {"updates": 3},
    "judge_seeds": 1,
    "synthesizer_options": {"iterations": 1, "steps": 1},
}


def settings(**changes):
    chosen = {
        "ratios": ("0.1x0.4",),
        "forecasters": ("linear",),
        "surrogates": ("linear",),
        "learning_rates": (5e-3,),
        "seeds": 2,
        "updates": 5,
        "validation_windows": 16,
        "test_windows": 16,
        "distill": FAST,
    }
    return BenchmarkSettings(**{**chosen, **changes})


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("benchmark")


@pytest.fixture(scope="module")
def found(task, results):
    return benchmark({"sim": task}, settings(), results=results)


@pytest.fixture
def counted(monkeypatch):
    """Count distillations and trainings; on request, stop at the n-th distillation."""

    def install(stop_at=None, error=KeyboardInterrupt):
        counts = {"distillations": 0, "trainings": 0}

        def counting_distill(*args, **kwargs):
            counts["distillations"] += 1
            if counts["distillations"] == stop_at:
                raise error
            return distill(*args, **kwargs)

        def counting_train(*args, **kwargs):
            counts["trainings"] += 1
            return train_forecaster(*args, **kwargs)

        monkeypatch.setattr(jobs, "distill", counting_distill)
        monkeypatch.setattr(runs, "train_forecaster", counting_train)
        return counts

    return install


def test_every_cell_has_a_row(found):
    trained = found.table[found.table["forecaster"] != ""]
    names = ("full data", "random windows", "random windows + expert labels", "default", "stemdist")
    keys = set(zip(trained["method"], trained["seed"], strict=True))
    assert keys == set(itertools.product(names, (0, 1)))
    assert len(trained) == 2 * len(names)
    assert (trained["seed"] == trained["training_seed"]).all()
    assert np.isfinite(trained["relative_rmse"]).all()
    assert set(trained["updates"]) == {5}
    untrained = found.table[found.table["forecaster"] == ""]
    assert sorted(untrained["method"]) == [
        "climatology",
        "closed-form linear",
        "mean of the location",
        "persistence",
        "window mean",
    ]
    ours = trained[trained["method"] == "default"]
    assert ours["surrogate"].tolist() == ["linear", "linear"]
    assert (ours["distill_seconds"] > ours["expert_seconds"]).all()
    assert np.isfinite(ours["fidelity_spectrum_db"]).all()
    assert found.failures == ()


def test_a_set_is_trained_from_the_weights_of_its_seed(task, results, found):
    grid = settings()
    place = jobs.GridTask(data="sim", split="", task=task)
    lab = jobs.JobContext(settings=grid, folder=results, experts=results / "experts")
    second = lab.made(place.task, grid.distillation("stemdist", "0.1x0.4", 1, "linear"))
    both = evaluate(second, task, grid.evaluation(("distilled",), seeds=2)).table
    row = found.table[(found.table["method"] == "stemdist") & (found.table["seed"] == 1)]
    expected = both[(both["method"] == "distilled") & (both["seed"] == 1)]
    assert row["relative_rmse"].item() == expected["relative_rmse"].item()


def test_seeds_make_different_sets_and_trainings(found):
    ours = found.table[found.table["method"] == "stemdist"]
    assert ours["relative_rmse"].nunique() == 2
    assert ours["fidelity_wasserstein"].nunique() == 2


def test_equal_sets_share_a_training_and_keep_their_own_seconds(task, results, counted):
    same = {"method": "kmeans", "labels": "observed"}
    variants = {"one": same, "other": {**same, "judge_seeds": 2}}  # which no start needs
    own = {"variants": variants, "methods": ("one", "other"), "surrogates": (), "distill": {}}
    grid = settings(**own, references=(), seeds=1)
    counts = counted()
    rows = benchmark({"sim": task}, grid, results=results).table.set_index("method")
    rows = rows.loc[["one", "other"]]
    assert counts == {"distillations": 2, "trainings": 1}
    assert rows["relative_rmse"].nunique() == 1
    assert rows["distill_seconds"].nunique() == 2
    assert (rows["data_seconds"] == rows["distill_seconds"]).all()


def test_a_second_run_repeats_nothing_and_a_larger_grid_only_what_is_new(
    task, results, found, counted
):
    counts = counted()
    again = benchmark({"sim": task}, settings(), results=results)
    assert counts == {"distillations": 0, "trainings": 0}
    pd.testing.assert_frame_equal(again.table, found.table)
    larger = settings(forecasters=("linear", "mlp"), methods=("stemdist",), references=("full",))
    benchmark({"sim": task}, larger, results=results)
    assert counts == {"distillations": 0, "trainings": 4}  # mlp: full and stemdist, two seeds


def test_a_killed_benchmark_goes_on_where_it_was(task, tmp_path, found, counted):
    small = settings(references=("full", "random"), seeds=1)
    counts = counted(stop_at=3)  # the starting point of the references, then two sets
    with pytest.raises(KeyboardInterrupt):
        benchmark({"sim": task}, small, results=tmp_path)
    assert counts["trainings"] == 3  # full, random, the first set
    counts = counted()
    again = benchmark({"sim": task}, small, results=tmp_path)
    assert counts == {"distillations": 1, "trainings": 1}
    keys = ["method", "seed"]
    both = again.table.merge(found.table, on=keys)  # the same errors as without a stop
    assert len(both) == len(again.table)
    assert both["relative_rmse_x"].tolist() == both["relative_rmse_y"].tolist()
    assert not list((tmp_path / "work").iterdir())


def test_a_failing_job_does_not_stop_the_others(task, tmp_path, counted, caplog):
    small = settings(references=())
    counted(stop_at=1, error=RuntimeError("out of luck"))
    found = benchmark({"sim": task}, small, results=tmp_path)
    assert found.failures == (
        {
            "job": "sim 0.1x0.4: default with linear, seed 0",
            "error": "RuntimeError: out of luck",
        },
    )
    assert "seed 0 failed: RuntimeError: out of luck" in caplog.text
    assert len(found.table[found.table["method"] == "default"]) == 1
    assert len(found.table[found.table["method"] == "stemdist"]) == 2
    assert "1 failed\n  sim 0.1x0.4: default with linear, seed 0" in str(found)
    counts = counted()
    assert benchmark({"sim": task}, small, results=tmp_path).failures == ()
    assert counts["distillations"] == 1


def test_pruned_training_is_shared_by_ratios(task, tmp_path, counted):
    both = {"references": ("full", "pruned"), "ratios": ("0.1x0.4", "0.2x0.4")}
    grid = settings(methods=("stemdist",), seeds=1, **both)
    counts = counted()
    found = benchmark({"sim": task}, grid, results=tmp_path)
    assert counts["trainings"] == 1 + 1 + 2  # full, pruned, a set for each ratio
    pruned = found.table[found.table["method"] == "full data, pruned while training"]
    assert pruned["ratio"].tolist() == ["0.1x0.4", "0.2x0.4"]
    assert pruned["relative_rmse"].nunique() == 1


def test_when_all_fail_there_is_a_report(task, tmp_path, counted):
    counted(stop_at=1, error=RuntimeError("no"))
    one = settings(methods=("default",), references=(), seeds=1)
    found = benchmark({"sim": task}, one, results=tmp_path)
    assert "1 failed" in str(found)
    assert found.write(tmp_path)[1].exists()


def test_jobs_can_be_sent_to_workers(task, results, found):
    place = jobs.GridTask(data="sim", split="", task=task)
    lab = jobs.JobContext(settings=settings(), folder=results, experts=results / "experts")
    job = jobs.MethodJob(
        grid_task=place, ratio="0.1x0.4", method="stemdist", surrogate="linear", seed=1
    )
    label, rows, error = jobs.attempt(*pickle.loads(pickle.dumps((job, lab))))
    assert (label, error) == ("sim 0.1x0.4: stemdist with linear, seed 1", "")
    row = found.table[(found.table["method"] == "stemdist") & (found.table["seed"] == 1)]
    assert rows[0]["relative_rmse"] == row["relative_rmse"].item()


def test_surrogates_trainings_and_splits(series, tmp_path):
    tasks = {"sim": rolling_tasks(series, TaskSettings(lookback=6, horizon=3), (1.0, 0.7))}
    grid = settings(
        methods=("stemdist",),
        references=("full",),
        surrogates=("linear", "mlp"),
        seeds=1,
        trainings=2,
    )
    found = benchmark(tasks, grid, results=tmp_path)
    ours = found.table[found.table["method"] == "stemdist"]
    assert len(ours) == 2 * 2 * 2  # splits, surrogates, trainings
    assert set(ours["split"]) == {"100%", "70%"}
    assert set(ours["training_seed"]) == {0, 1}
    assert set(ours["seed"]) == {0}
    matrix = found.cross_architecture()
    assert list(matrix.index) == [("stemdist", "linear"), ("stemdist", "mlp")]
    assert list(matrix.columns) == ["linear"]
    excess = found.excess()
    assert list(excess.index) == [("0.1x0.4", "stemdist[linear]"), ("0.1x0.4", "stemdist[mlp]")]
    assert excess["sets"].tolist() == [2, 2]  # two splits; trainings of one set are no new sets


def test_a_leading_share_has_its_own_split(series):
    tasks = rolling_tasks(series, TaskSettings(lookback=6, horizon=3), (1.0, 0.5))
    n_steps = series.sizes["time"]
    assert len(tasks["100%"].train.values) == n_steps
    assert len(tasks["50%"].train.values) == n_steps // 2
    ends = [int(task.test.starts.max()) for task in tasks.values()]
    assert ends[1] < ends[0] / 1.9
    with pytest.raises(InputError, match="each only once"):
        rolling_tasks(series, shares=(0.5, 0.5))
    with pytest.raises(InputError, match=r"share is 1\.5"):
        rolling_tasks(series, shares=(1.5,))


# Errors by method and seed; forecaster b is always twice as wrong as a.
ERRORS = {
    "full data": [0.50, 0.50],
    "random windows": [0.60, 0.70],
    "random windows + expert labels": [0.58, 0.62],
    "good": [0.52, 0.56],
    "bad": [0.65, 0.75],
}


@pytest.fixture
def by_hand():
    rows = [
        {
            "data": "d",
            "split": "",
            "ratio": "" if method == "full data" else "0.1x0.1",
            "method": method,
            "surrogate": "mlp" if method in ("good", "bad") else "",
            "forecaster": forecaster,
            "seed": seed,
            "training_seed": seed,
            "relative_rmse": error * factor,
            "train_seconds": 60.0 if method == "full data" else 10.0,
            "data_seconds": 120.0 if method == "good" else 0.0,
            "peak_memory_bytes": 5.0,
            "distill_peak_memory_bytes": 9.0 if method == "good" else math.nan,
            "byte_ratio": 0.3,
            "fidelity_coverage": {"good": 0.5}.get(method, math.nan),
        }
        for method, errors in ERRORS.items()
        for seed, error in enumerate(errors)
        for forecaster, factor in (("a", 1.0), ("b", 2.0))
    ]
    reference = {"data": "d", "split": "", "ratio": "", "method": "persistence", "surrogate": ""}
    rows.append({**reference, "forecaster": "", "seed": 0, "training_seed": 0, "relative_rmse": 2})
    return Benchmark(table=pd.DataFrame(rows), failures=(), facts={"tasks": [], "settings": {}})


def test_excess_and_its_interval(by_hand):
    row = by_hand.excess().loc[("0.1x0.1", "good")]
    assert row["mean"] == pytest.approx(0.08)  # 4 % and 12 %
    # two sets, whose forecasters agree: deviation .08/sqrt(2), t(.975, 1) = 12.706
    assert row["half_width"] == pytest.approx(12.706 * 0.04, rel=1e-4)
    assert row["sets"] == 2
    by = by_hand.excess(by=("forecaster",))
    assert by.loc[("b", "0.1x0.1", "bad"), "mean"] == pytest.approx(0.4)
    assert ("0.1x0.1", "full data") not in by_hand.excess().index


def test_paired_tests(by_hand):
    row = by_hand.paired("random windows").loc[("0.1x0.1", "good")]
    differences = [0.52 / 0.60 - 1, 0.56 / 0.70 - 1] * 2
    assert row["mean"] == pytest.approx(np.mean(differences))
    assert row["pairs"] == 4
    assert row["p_value"] == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    # all four signed ranks are negative: 2 / 2^4
    assert row["wilcoxon"] == pytest.approx(0.125, abs=0.07)
    sets = by_hand.paired("random windows", over="set").loc[("0.1x0.1", "good")]
    assert sets["pairs"] == 2
    assert sets["wilcoxon"] == pytest.approx(0.5)
    full = by_hand.paired("full data")  # it has no ratio, and is compared with at every ratio
    assert full.loc[("0.1x0.1", "bad"), "mean"] == pytest.approx(0.4)


def test_scores_ranks_and_costs(by_hand):
    scores = by_hand.quality().loc[("0.1x0.1", "good")]
    assert scores["gap_closed"] == pytest.approx(1 - 0.08 / 0.30)
    assert scores["label_robust"] == pytest.approx(1 - (0.52 / 0.58 + 0.56 / 0.62) / 2)
    assert scores["fidelity_coverage"] == 0.5
    ranks = by_hand.ranks()
    assert ranks["mean_rank"].tolist() == [3, 2, 1, 4]
    assert ranks["first"].tolist() == [0, 0, 1, 0]
    costs = by_hand.costs()
    assert costs.loc[("0.1x0.1", "good"), "break_even"] == 3  # 120 s / 50 s = 2.4
    assert costs.loc[("0.1x0.1", "good"), "peak_memory_bytes"] == 9
    matrix = by_hand.cross_architecture()
    assert matrix.loc[("bad", "mlp")].tolist() == pytest.approx([0.4, 0.4])


def _closed(benchmark):
    rows = benchmark_tables(benchmark)["scores"]
    return {row[0]: row[rows[0].index("gap closed")] for row in rows[1:]}


@pytest.mark.parametrize(
    ("random", "good", "bad"),
    [
        ([0.60, 0.61], "61.9 %", "-90.5 %"),  # excess .21 +- 12.706 * .01
        ([0.60, 0.70], "no clear gap", "no clear gap"),  # .30 +- 12.706 * .1
        ([0.45, 0.46], "no clear gap", "no clear gap"),  # better than full data
    ],
)
def test_no_share_of_a_gap_within_the_noise(by_hand, random, good, bad):
    table = by_hand.table
    own = table["method"] == "random windows"
    factors = table.loc[own, "forecaster"].map({"a": 1.0, "b": 2.0})
    table.loc[own, "relative_rmse"] = table.loc[own, "seed"].map(dict(enumerate(random))) * factors
    closed = _closed(by_hand)
    assert (closed["good"], closed["bad"]) == (good, bad)
    assert closed["random windows"] == "-"


def test_ranks_use_only_cells_that_all_methods_have(by_hand):
    table = by_hand.table
    gone = (table["method"] == "bad") & (table["seed"] == 1)
    ranks = Benchmark(table=table[~gone], failures=(), facts={}).ranks()
    assert ranks["cells"].tolist() == [2] * 4


def test_without_full_data_there_is_no_excess(by_hand):
    table = by_hand.table[by_hand.table["method"] != "full data"]
    partial = Benchmark(table=table, failures=(), facts={})
    with pytest.raises(InputError, match="add full to references"):
        partial.excess()
    assert math.isnan(partial.quality().loc[("0.1x0.1", "good"), "gap_closed"])
    with pytest.raises(InputError, match="unknown reference method 'random'"):
        by_hand.paired("random")
    with pytest.raises(InputError, match="unknown column 'rmsee'"):
        by_hand.excess("rmsee")
    with pytest.raises(InputError, match="unknown unit of pairs 'cel'"):
        by_hand.paired(over="cel")


def test_text_and_files(found, tmp_path):
    text = benchmark_text(found, "mae")
    for part in (
        "Test mae on real data",
        "closed-form linear",
        "excess, mean over all",
        "excess, cross-architecture",
        "against random windows",
        "gap closed",
        "nearest_window",
        "breaks even after",
    ):
        assert part in text
    table, everything = found.write(tmp_path)
    assert len(pd.read_csv(table)) == len(found.table)
    content = json.loads(
        everything.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON")
    )
    assert {row["method"] for row in content["excess"]} >= {"default", "stemdist"}
    assert content["facts"]["settings"]["distill"]["expert_training"] == {"updates": 5}
    assert content["facts"]["tasks"][0]["locations"] == 8


def test_both_budgets_in_one_benchmark(task, tmp_path):
    grid = settings(
        methods=("stemdist",),
        references=("full", "random-expert"),
        budget="both",
        converged_updates=(3, 9),
    )
    found = benchmark({"sim": task}, grid, results=tmp_path)
    assert found.budgets == ("equal", "converged")
    equal, converged = (found.at(name).table.query("forecaster != ''") for name in found.budgets)
    assert len(equal) == len(converged) == 3 * 2
    assert set(equal["updates"]) == {5}
    assert set(converged["updates"]) <= {3, 9}
    title, column = "stemdist", "relative_rmse"
    base = converged.query("method == 'full data'")[column].mean()
    for budget, table in (("equal", equal), ("converged", converged)):
        own = table.query("method == @title")[column] / base - 1
        row = found.excess(budget=budget).loc[("0.1x0.4", title)]
        assert row["mean"] == pytest.approx(own.mean())
    rows = benchmark_tables(found)["excess"]
    assert rows[0] == ["excess, mean over all", "budget", "ratio", "mean"]
    assert {tuple(row[:2]) for row in rows[1:]} == {
        (name, budget)
        for name in ("random windows + expert labels", title)
        for budget in found.budgets
    }
    text = benchmark_text(found)
    assert "equal: 5 updates, converged: 3 or 9 updates (as many as help on validation)" in text
    assert "than the converged full data" in text or "from the converged full data" in text
    assert len(found.verdicts()) == 2
    assert "excess at equal updates" in json.loads(found.write(tmp_path)[1].read_text())
    with pytest.raises(InputError, match="unknown budget 'equall'"):
        found.at("equall")


def test_what_a_baseline_beats_is_no_win(by_hand):
    table = by_hand.table
    table.loc[table["method"] == "persistence", "relative_rmse"] = 0.54
    # forecaster a on the good set: 0.52 and 0.56, b: 1.04 and 1.12; three are above 0.54
    ranks = by_hand.ranks().loc[("0.1x0.1", "good")]
    assert (ranks["mean_rank"], ranks["first"]) == (1, 0.25)
    row = by_hand.excess().loc[("0.1x0.1", "good")]
    assert row["over_untrained"] == pytest.approx((0.52 + 0.56 + 1.04 + 1.12) / 4 / 0.54)
    tables = benchmark_tables(by_hand)
    assert {line[0]: line[2] for line in tables["errors"][1:]} == {
        "full data": "0.7500!",
        "random windows": "0.9750!",
        "random windows + expert labels": "0.9000!",
        "good": "0.8100!",
        "bad": "1.0500!",
        "persistence": "0.5400",
    }
    assert all(line[2].endswith("!") for line in tables["excess"][1:])
    good, bad = by_hand.verdicts()
    # of the sets: 0.52 / 0.58 - 1 and 0.56 / 0.62 - 1
    assert good == (
        "d, 0.1x0.1: the set of good is not distinguishable from the full data at equal updates "
        "(mean of 2 forecasters, +8.0 % +- 50.8 %), 10.0 % better than random windows with the "
        "same labels (+- 4.2 %); persistence (0.54) beats b trained on it."
    )
    assert bad.startswith("d, 0.1x0.1: the set of bad is ")


def test_figure(by_hand):
    axes = plot_benchmark(by_hand).axes[0]
    labels = axes.get_legend_handles_labels()[1]
    assert set(labels) == {*ERRORS}
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.1x0.1"]
    assert "excess" in axes.get_ylabel()


def test_all_trainings_are_as_the_settings_say():
    grid = settings(schedule="constant", weight_decay=0.0, updates=7)
    training = grid.evaluation(("full",)).training(seed=0, learning_rate=1e-3)
    assert (training.schedule, training.weight_decay, training.updates) == ("constant", 0.0, 7)


def test_distillations_of_the_grid():
    grid = settings(
        distill={**FAST, "judging": TrainingSettings(updates=3)},
        methods=("default", "stemdist", "long"),
        variants={
            "long": {"method": "stemdist", "labels": "mixed", "synthesizer_options": {"steps": 9}}
        },
        ratios=("0.10x0.4", "0.05x0.2"),
    )
    assert grid.ratios == ("0.1x0.4", "0.05x0.2")
    long = grid.distillation("long", "0.05x0.2", seed=3, surrogate="mlp")
    assert (long.time_ratio, long.space_ratio, long.seed) == (0.05, 0.2, 3)
    assert (long.labels, long.representative) == ("mixed", "mean")
    options = long.synthesizer_options
    assert (options["steps"], options["iterations"], options["surrogate"]) == (9, 1, "mlp")
    assert options["batch_windows"] == 64  # the method's own
    assert long.expert_training.updates == 5
    assert long.expert_training.locations_per_update == 32  # others stay as they are
    assert options["surrogate_options"] == {}  # the method's own, mtgnn, has some
    assert json.loads(json.dumps(grid.to_json()))["distill"]["judging"]["updates"] == 3
    judging = grid.evaluation(("distilled",), first_seed=4)
    assert isinstance(judging, EvaluationSettings)
    assert (judging.first_seed, judging.updates, judging.forecasters) == (4, 5, ("linear",))
    assert ratio_pair("0.1x0.05") == (0.1, 0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("stemdst",)}, "unknown method 'stemdst': did you mean 'stemdist'"),
        ({"methods": ()}, r"methods is \(\): give at least one, and each only once"),
        ({"methods": ("default", "default")}, "each only once"),
        ({"references": ("ful",)}, "unknown reference 'ful': did you mean 'full'"),
        ({"references": ("distilled",)}, "which is what the methods make"),
        ({"ratios": ("0.1",)}, "ratios has '0.1': give the shares of time and space"),
        ({"ratios": ("2x0.1",)}, "time ratio is 2.0"),
        ({"surrogates": ("mlpp",)}, "unknown forecaster 'mlpp'"),
        ({"distill": {"seed": 1}}, "distill has 'seed'"),
        ({"distill": {"judgng": 1}}, "unknown field of DistillSettings 'judgng'"),
        ({"distill": {"judging": {"update": 1}}}, "unknown field of judging 'update'"),
        ({"distill": {"synthesizer_options": {"stepz": 1}}}, "synthesizers 'stepz': did you mean"),
        ({"variants": {"default": {}}}, "the variant 'default' has the name of a method"),
        ({"forecasters": ("mlpp",)}, "unknown forecaster 'mlpp'"),
        (
            {"forecasters": ("linear", "unet")},
            "'unet' needs a regular grid, and the data of the references distilled are none",
        ),
        (
            {"surrogates": ("unet",)},
            "'unet' cannot be a surrogate: it needs a regular grid",
        ),
        ({"seeds": 0}, "seeds is 0"),
    ],
)
def test_messages(changes, message):
    with pytest.raises(InputError, match=message):
        settings(**changes)


def test_surrogates_need_a_method_that_has_one():
    with pytest.raises(InputError, match="no method has a surrogate"):
        settings(
            methods=("still",),
            variants={"still": {"synthesizer": "selection"}},
            surrogates=("mlp",),
            distill={},
        )


def test_there_must_be_a_task(tmp_path):
    with pytest.raises(InputError, match="there is no task"):
        benchmark({}, settings(), results=tmp_path)


def test_the_module_stands_beside_the_function():
    assert importlib.import_module("stemdist.evaluate.grid.benchmark").benchmark is benchmark

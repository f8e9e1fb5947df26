"""The headlines of STemDist and its balance of time and space, measured with our implementation.

Kwon et al., ICDE 2026 (arXiv 2603.10410), compare sets compressed along time and space with sets of
equal ratio compressed along time alone, made by rivals: training is up to 6 times faster and takes
up to 8 times less memory, and the error is up to 12 % lower. Run with ``STEMDIST_DATA`` naming the
folder with the data of ``evidence.py``::

    python benchmarks/stemdist_headlines.py --output headlines     # a day or more on one core

A brief run, of fewer iterations and updates than a comparison needs, takes about a quarter of an
hour: ``--data los-loop --sweep= --seeds 1 --iterations 2 --updates 100``.

``stemdist`` and ``default`` keep 10 % of the windows x 10 % of the locations, all other methods and
random windows 1 % of the windows at all locations. Then ``stemdist`` keeps 0.5 % in four ways.
Forecasters are trained on every set as in ``evidence.py``: equal updates, or converged, learning
rate chosen on validation.

Costs are those of an epoch: all windows at all locations of a set once, in batches. They follow
from the numbers of windows and locations, and are measured once for each ratio, on real windows, in
a process of its own. They are not the time of a training, which depends on the number of its
updates: an epoch on few windows at all locations has few, large ones. Trainings, as those of
``evidence.py``, take 32 random locations for an update of forecasters that mix locations; epochs
take all.

A killed run resumes when it is started again; a larger one reuses finished results.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from evidence import compared, protocol, task_of
from families import TIMED_UPDATES, costs_of_updates
from headline_table import joined
from isolated_process import Alone, hardware

from stemdist.distill import DistillSettings, starting_point
from stemdist.distill.methods import METHODS
from stemdist.distill.synthesizer import make_synthesizer
from stemdist.evaluate import Benchmark, BenchmarkSettings
from stemdist.evaluate.comparison.budgets import updates_text
from stemdist.evaluate.comparison.statistics import interval
from stemdist.evaluate.comparison.tables import aligned, digits, excess_text, tuning_text
from stemdist.evaluate.grid.settings import ratio_pair, synthesizer_options
from stemdist.files import atomic_path, hash_of, write_json
from stemdist.forecast import ForecastTask
from stemdist.profiling import keep_freed_memory

BOTH_AXES, TIME_ALONE = "0.1x0.1", "0.01x1"
SWEEP = ("0.02x0.25", "0.05x0.1", "0.1x0.05", "0.25x0.02")
ON_BOTH_AXES = ("stemdist", "default")
RIVALS = tuple(name for name in ("condtsf", "mtt", "dm", "idm", "craig") if name in METHODS)
ERRORS = {"relative_rmse": "RMSE", "relative_mae": "MAE"}
FASTER, LESS, LOWER = "up to 6", "up to 8", "down to -12 %"
"""The paper's headlines: times faster, times less memory, difference of the error."""
TIMED_SECONDS, MOST_UPDATES = 2.0, 400
"""An epoch is scaled from updates of about so many seconds, but of no more updates."""
RESOLUTION = 1.0
"""Memory in MiB below which what training adds cannot be told from other use."""
Place = tuple[str, str]
"""A ratio, and a method or the title of a reference; the full data have no ratio."""
Costs = dict[tuple[str, str], dict[str, float]]
"""``epoch_seconds`` and ``added_mib`` by ratio and forecaster."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """The results of one data set."""

    name: str
    task: ForecastTask
    found: Benchmark
    costs: Costs
    forecasters: tuple[str, ...]

    def errors(self, column: str, place: Place, forecaster: str) -> pd.Series:
        """Return the errors on a set by seed; none if its job failed."""
        own = self.rows(place)
        return own[own["forecaster"] == forecaster].set_index("seed")[column].astype(float)

    def rows(self, place: Place) -> pd.DataFrame:
        """Return the trainings on a set."""
        table = self.found.table
        return table[(table["ratio"] == place[0]) & (table["method"] == place[1])]

    def sets(self) -> list[Place]:
        """Return the trained sets, as the grids have them."""
        trained = self.found.table[self.found.table["forecaster"] != ""]
        return list(dict.fromkeys(zip(trained["ratio"], trained["method"], strict=True)))


def grid_of(chosen: argparse.Namespace, ratio: str, n_locations: int) -> BenchmarkSettings:
    """Return the grid of a ratio: what is compared there."""
    methods, references = ("stemdist",), ()
    if ratio == BOTH_AXES:
        methods = tuple(name for name in chosen.methods if name in ON_BOTH_AXES)
        references = ("full",)
    elif ratio == TIME_ALONE:
        methods = tuple(name for name in chosen.methods if name not in ON_BOTH_AXES)
        references = ("random",)
    distill: dict[str, Any] = {"clusters": clusters_of(ratio, n_locations)}
    synthesizers = (DistillSettings.of(name).synthesizer for name in methods)
    if chosen.iterations is not None and any(
        "iterations" in synthesizer_options(s) for s in synthesizers
    ):
        distill["synthesizer_options"] = {"iterations": chosen.iterations}
    names = {"equal": "updates", "converged": "converged_updates"}
    updates = {names[chosen.budget]: chosen.updates} if chosen.updates else {}
    return protocol(
        chosen,
        methods=methods,
        references=references,
        ratios=(ratio,),
        distill=distill,
        batch_windows=chosen.batch_windows,
        **updates,
    )


def clusters_of(ratio: str, n_locations: int) -> int:
    """Return the share of the locations; by default a method would keep at least six."""
    return max(1, round(ratio_pair(ratio)[1] * n_locations))


def case_of(name: str, chosen: argparse.Namespace) -> Case:
    """Run all grids of a data set and measure the costs of training."""
    task = task_of(name)
    ratios = (BOTH_AXES, TIME_ALONE, *chosen.sweep)
    grids = [grid_of(chosen, ratio, task.n_locations) for ratio in ratios]
    found = joined([compared(name, task, settings, chosen) for settings in grids])
    settings = [each.to_json() for each in grids]
    forecasters = grids[0].forecasters
    costs = {
        (ratio, forecaster): cost_of(name, task, ratio, forecaster, chosen)
        for ratio in ("", *ratios)
        for forecaster in forecasters
    }
    return Case(
        name=name,
        task=task,
        found=replace(found, facts={**found.facts, "settings": settings}),
        costs=costs,
        forecasters=forecasters,
    )


def cost_of(
    name: str, task: ForecastTask, ratio: str, forecaster: str, chosen: argparse.Namespace
) -> dict[str, float]:
    """Measure an epoch in a fresh process, unless that was done before on such a machine."""
    what = [name, ratio, forecaster, chosen.batch_windows]
    key = hash_of([version("stemdist"), task.content_hash, hardware(1), *what])
    path = Path(chosen.output) / "costs" / f"{key}.json"
    if not path.exists():
        with Alone(1, keep_memory=True) as process:
            write_json(path, process(epoch, *what))
    costs: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return costs


def epoch(name: str, ratio: str, forecaster: str, batch_windows: int) -> dict[str, float]:
    """Return processor seconds of an epoch on a set of a ratio, and the MiB that training adds."""
    task = task_of(name)
    source, graph = task.train, task.graph
    if ratio:
        clusters = clusters_of(ratio, task.n_locations)
        size = {"time_ratio": ratio_pair(ratio)[0], "clusters": clusters}
        start = starting_point(task, DistillSettings.of("kmeans", **size))
        source, graph = start.windows, start.graph
    brief = costs_of_updates(forecaster, source, graph, batch_windows, 2)["seconds_per_update"]
    updates = min(max(TIMED_UPDATES, round(TIMED_SECONDS / brief)), MOST_UPDATES)
    costs = costs_of_updates(forecaster, source, graph, batch_windows, updates)
    in_epoch = len(source) / min(batch_windows, len(source))
    seconds = costs["seconds_per_update"] * in_epoch
    return {"epoch_seconds": seconds, "added_mib": costs["added_mib"]}


def table_of(case: Case, title: str, places: Iterable[Place]) -> str:
    """Return errors and costs, a row for each set."""
    pairs = [(column, name) for column in ERRORS for name in case.forecasters]
    head = [title, "ratio", "windows x locations"]
    head += [f"{ERRORS[column]} {name}" for column, name in pairs]
    head += [f"epoch s {name}" for name in case.forecasters]
    head += [f"MiB {name}" for name in case.forecasters]
    rows = [[*head, "making s"]]
    for place in places:
        own = case.rows(place)
        first = own.iloc[0]
        cells = [place[1], place[0] or "-"]
        cells.append(f"{first['training_windows']:.0f} x {first['training_locations']:.0f}")
        cells += [error_text(case.errors(column, place, name)) for column, name in pairs]
        costs = [case.costs[place[0], name] for name in case.forecasters]
        cells += [f"{cost['epoch_seconds']:.3g}" for cost in costs]
        cells += [memory_text(cost["added_mib"]) for cost in costs]
        rows.append([*cells, f"{own['data_seconds'].mean():.1f}"])
    return aligned(rows)


def error_text(errors: pd.Series) -> str:
    """Return the mean over seeds and half of its 95 % interval; a dash where a job failed."""
    if errors.empty:
        return "-"
    found = interval(errors.tolist())
    half = found["half_width"]
    return digits(found["mean"]) + ("" if math.isnan(half) else f" +- {digits(half)}")


def memory_text(mib: float) -> str:
    """Return MiB, or that they are too few to be measured."""
    return f"{mib:.1f}" if mib >= RESOLUTION else f"<{RESOLUTION:g}"


def gains(case: Case, forecaster: str) -> tuple[float, float]:
    """Return how many times faster and smaller training is on both axes than on time alone.

    Memory below the resolution counts as much as it, so that the second is never too large.
    """
    both, alone = (case.costs[ratio, forecaster] for ratio in (BOTH_AXES, TIME_ALONE))
    memory = max(alone["added_mib"], RESOLUTION) / max(both["added_mib"], RESOLUTION)
    return alone["epoch_seconds"] / both["epoch_seconds"], memory


def differences(case: Case, column: str, rival: Place, forecaster: str) -> dict[str, float]:
    """Return the mean relative difference of stemdist's error from a rival's, paired by seed."""
    own = case.errors(column, (BOTH_AXES, "stemdist"), forecaster)
    pairs = (own / case.errors(column, rival, forecaster) - 1).dropna().tolist()
    return interval(pairs) if pairs else {"mean": math.nan, "half_width": math.nan}


def rivals_of(case: Case) -> list[Place]:
    """Return the sets that are compressed along time alone."""
    return [place for place in case.sets() if place[0] == TIME_ALONE]


def headlines(case: Case) -> str:
    """Return stemdist on both axes beside sets of time alone, and the paper's headlines."""
    both = [gains(case, name) for name in case.forecasters]
    title = f"stemdist at {BOTH_AXES} against {TIME_ALONE}"
    rows = [
        [title, *case.forecasters, "paper"],
        ["epoch, times faster", *(f"{faster:.2g}" for faster, _ in both), FASTER],
        ["memory, times less", *(f"{less:.2g}" for _, less in both), LESS],
    ]
    for column, name in ERRORS.items():
        for rival in rivals_of(case):
            found = [differences(case, column, rival, each) for each in case.forecasters]
            cells = map(excess_text, found)
            rows.append([f"{name} relative to {rival[1]}", *cells, LOWER])
    return aligned(rows)


def report(case: Case) -> str:
    """Return the tables of a data set, and the jobs that failed."""
    sets, order = case.sets(), ["", BOTH_AXES, TIME_ALONE]
    failed = "\n".join(f"failed: {job['job']}: {job['error']}" for job in case.found.failures)
    if not sets:
        return failed
    main = sorted((s for s in sets if s[0] in order), key=lambda place: order.index(place[0]))
    sweep = [(ratio, method) for ratio, method in sets if ratio not in order]
    best = {name: case.found.untrained(name).groupby(level="method").mean() for name in ERRORS}
    lowest = (f"{ERRORS[name]} {digits(e.min())} ({e.idxmin()})" for name, e in best.items())
    parts = [
        f"{case.name}: {len(case.task.train)} training windows, {case.task.n_locations} locations; "
        f"lowest without training: {', '.join(lowest)}",
        table_of(case, "trained on", main) if main else "",
        headlines(case) if (BOTH_AXES, "stemdist") in sets and rivals_of(case) else "",
        table_of(case, "balance of time and space", sweep) if sweep else "",
        failed,
    ]
    return "\n\n".join(part for part in parts if part)


def heading(chosen: argparse.Namespace) -> str:
    """Return how sets are made, and how forecasters are trained and timed."""
    settings = grid_of(chosen, TIME_ALONE, 1).to_json()
    each = ", ".join(f"{name} {iterations_of(name, chosen)}" for name in chosen.methods)
    return "\n".join(
        [
            f"Test errors relative to the test mean; {chosen.seeds} seed"
            f"{'s: mean +- 95 % interval' if chosen.seeds > 1 else ''}",
            f"outer iterations of the methods (100 of stemdist in the paper): {each}",
            f"{chosen.budget}: {updates_text(settings)} at {settings['locations_per_update']} "
            "locations where forecasters mix them or converge; on validation: "
            f"{tuning_text(settings)}",
            "epoch s: processor seconds of an epoch at all locations of a set, in batches of "
            f"{chosen.batch_windows} windows; MiB: memory that training adds; both on real windows "
            "of the set's size",
            hardware(1),
        ]
    )


def iterations_of(method: str, chosen: argparse.Namespace) -> str:
    """Return the outer iterations of a method as this run has them."""
    ratio = BOTH_AXES if method in ON_BOTH_AXES else TIME_ALONE
    own = grid_of(chosen, ratio, 1).distillation(method, ratio, 0)
    made = make_synthesizer(own.synthesizer, **own.synthesizer_options)
    return str(made.iterations or "none")


def whole(cases: Sequence[Case]) -> Benchmark:
    """Return all results as one, with the settings of every grid and the costs in its facts."""
    found = joined([case.found for case in cases])
    costs = [
        {"data": case.name, "ratio": ratio, "forecaster": forecaster, **cost}
        for case in cases
        for (ratio, forecaster), cost in case.costs.items()
    ]
    settings = {case.name: case.found.facts["settings"] for case in cases}
    return replace(found, facts={**found.facts, "settings": settings, "costs": costs})


def summary(cases: Sequence[Case]) -> str:
    """Return the ranges over data, forecasters and rivals, beside the paper's headlines."""
    both = [gains(case, name) for case in cases for name in case.forecasters]
    lines = [
        f"epoch: {spread(faster for faster, _ in both)} times faster (paper: {FASTER})",
        f"memory: {spread(less for _, less in both)} times less (paper: {LESS})",
    ]
    for column, name in ERRORS.items():
        found = (
            100 * differences(case, column, rival, forecaster)["mean"]
            for case in cases
            for rival in rivals_of(case)
            for forecaster in case.forecasters
        )
        lines.append(f"{name}, difference in per cent: {spread(found)} (paper: {LOWER})")
    title = f"All data sets, forecasters and rivals: stemdist at {BOTH_AXES} against {TIME_ALONE}"
    return "\n".join([title, *(f"  {line}" for line in lines)])


def spread(values: Iterable[float]) -> str:
    """Return the lowest and the highest of values, in three digits."""
    known = [value for value in values if not math.isnan(value)]
    return f"{min(known):.3g} to {max(known):.3g}" if known else "-"


def options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    words = {"type": lambda text: tuple(filter(None, text.split(",")))}
    parser.add_argument("--output", default="stemdist-headlines", help="folder of results")
    parser.add_argument("--data", default="los-loop,era5-uk,melbourne", **words)
    parser.add_argument("--methods", default=",".join([*ON_BOTH_AXES, *RIVALS]), **words)
    parser.add_argument("--sweep", default=",".join(SWEEP), help="ratios; '' for none", **words)
    parser.add_argument("--forecasters", default="mtgnn,mlp")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, help="of methods that have them; default: theirs")
    parser.add_argument("--budget", choices=("equal", "converged"), default="equal")
    parser.add_argument("--updates", help="600; converged: some to try, e.g. 600,2000,5000")
    parser.add_argument("--batch-windows", type=int, default=32, help="of trainings and epochs")
    parser.add_argument("--jobs", type=int, default=1)
    chosen = parser.parse_args()
    if "stemdist" not in chosen.methods or not set(chosen.methods) - set(ON_BOTH_AXES):
        parser.error("--methods needs stemdist and a method to compress along time alone")
    if chosen.updates:
        tried = tuple(int(number) for number in chosen.updates.split(","))
        if chosen.budget == "equal" and len(tried) > 1:
            parser.error("--updates of an equal budget is one number")
        chosen.updates = tried[0] if chosen.budget == "equal" else tried
    return chosen


def main() -> None:
    """Run the methods and print the tables."""
    chosen = options()
    torch.set_num_threads(1)
    keep_freed_memory()
    texts, cases = [heading(chosen)], []
    print(texts[0], flush=True)
    for name in chosen.data:
        cases.append(case_of(name, chosen))
        texts.append(report(cases[-1]))
        print(f"\n{texts[-1]}", flush=True)
    texts.append(summary(cases))
    print(f"\n{texts[-1]}")
    whole(cases).write(Path(chosen.output))
    with atomic_path(Path(chosen.output) / "table.txt") as path:
        path.write_text("\n\n".join(texts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Whether small training sets order configurations as the full data do, and at what cost.

Run with ``STEMDIST_DATA`` naming the folder with the data; it resumes after a stop::

    python benchmarks/search.py --output search               # five data sets, hours on one core
    python benchmarks/search.py --output search --data los-loop --configurations 20
    python benchmarks/search.py --output graphs --data los-loop --graphs   # at all locations

Configurations are drawn at random from the search spaces of five families (narrow widths, see
``SPACE``) and trained on the full data; the order of their errors on validation is taken as the
true one. The same configurations are then trained on the distilled set, on other sets of its size,
and on the full data with short trainings (each with a schedule of its own) and with successive
halving (a third is kept, three rungs, each with a schedule of its own) of the same cost as the
distilled set of ``--ratios``' middle one, distilling included. Costs are processor seconds of
trainings with their validations, and of distilling. An update has 16 windows at 16 locations, with
``--graphs`` at all locations, because graph networks are what is expensive there.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from evidence import percent, task_of
from scipy.stats import rankdata

from stemdist.distill import DistilledSet, DistillSettings, distill
from stemdist.distill.pipeline import experts_of
from stemdist.evaluate import RankingSettings, evaluate_trained
from stemdist.evaluate.ranking.runs import RankingRuns, Row
from stemdist.evaluate.ranking.scores import agreement
from stemdist.evaluate.ranking.settings import VALIDATIONS
from stemdist.files import atomic_path, write_json
from stemdist.forecast import ForecastTask, fit_forecaster
from stemdist.profiling import keep_freed_memory, measure
from stemdist.search.configurations import Configuration

DATA = "los-loop,era5-uk,ncep,beijing,taxi"
FORECASTERS = ("linear", "dlinear", "decomposition-mlp", "mlp", "gru")
GRAPHS = ("stgcn", "mtgnn", "graph-transformer")
SPACE = {
    "mlp": {"hidden": [16, 32, 64, 128], "depth": [1, 2, 3]},
    "decomposition-mlp": {"hidden": [16, 32, 64, 128]},
    "gru": {"hidden": [8, 16, 32], "layers": [1]},
    "stgcn": {"channels": [8, 16, 32]},
    "mtgnn": {"residual_channels": [8, 16], "layers": [1, 2]},
    "graph-transformer": {"hidden": [8, 16, 32], "layers": [1, 2]},
}
RIVALS = {
    "random": "random windows",
    "random-expert": "random windows + expert labels",
    "coreset": "start (selected windows + labels)",
}
SHORT, HALVING = "full data, short trainings", "full data, successive halving"
KEPT = 3
"""One of so many is kept at each rung of successive halving."""
Errors = dict[str, list[float]]


@dataclass
class Found:
    """Errors of all configurations by method, and what each method cost."""

    errors: Errors
    seconds: dict[str, float]

    def add(self, method: str, rows: list[Row], made: float = 0.0) -> None:
        """Add the trainings of a method, and the seconds of making its data."""
        self.errors[method] = [row["rmse"] for row in rows]
        self.seconds[method] = math.fsum(row["cpu_seconds"] for row in rows) + made


def made(
    name: str, task: ForecastTask, ratio: str, folder: Path
) -> tuple[DistilledSet, float, float]:
    """Return the set at a ratio, and the processor seconds of its experts and of the rest."""
    path, experts = folder / "sets" / f"{name}-{ratio}.nc", folder / "experts"
    time_ratio, space_ratio = (float(part) for part in ratio.split("x"))
    settings = DistillSettings.for_series(
        task.series, time_ratio=time_ratio, space_ratio=space_ratio
    )

    def finish() -> None:
        distill(task, settings, experts=experts).save(path)

    first = folder / "sets" / f"{name}.json"
    of_experts = once(first, lambda: experts_of(task, settings, cache=experts))
    of_rest = once(path.with_suffix(".json"), finish)
    return DistilledSet.load(path), of_experts, of_rest


def once(path: Path, work: Callable[[], object]) -> float:
    """Do some work unless that is done, and return the processor seconds it took."""
    if not path.exists():
        with measure() as cost:
            work()
        write_json(path, {"cpu_seconds": cost.cpu_seconds})
    return float(json.loads(path.read_text(encoding="utf-8"))["cpu_seconds"])


def settings_of(chosen: argparse.Namespace) -> RankingSettings:
    """Return how configurations are drawn and trained."""
    families = GRAPHS if chosen.graphs else FORECASTERS
    return RankingSettings(
        forecasters=families,
        configurations=chosen.configurations,
        updates=chosen.updates,
        full_updates=chosen.full_updates,
        locations_per_update=None if chosen.graphs else 16,
        space={name: space for name, space in SPACE.items() if name in families},
    )


def compared(name: str, chosen: argparse.Namespace) -> Found:
    """Train all configurations on everything there is of one data set."""
    folder, task, settings = Path(chosen.output), task_of(name), settings_of(chosen)
    drawn, found = settings.drawn(), Found({}, {})
    ratios = chosen.ratios.split(",")
    middle = ratios[len(ratios) // 2]
    for ratio in ratios:
        distilled, of_experts, of_rest = made(name, task, ratio, folder)
        runs = RankingRuns(
            task=task,
            distilled=distilled,
            settings=settings,
            folder=folder / "runs",
            experts=folder / "experts",
            n_jobs=chosen.jobs,
        )
        if "full" not in found.errors:
            found.add("full", runs.train("full", drawn, settings.full_updates))
        rows = runs.train("distilled", drawn, settings.updates)
        found.add(f"distilled {percent(ratio)}", rows, of_experts + of_rest)
        if ratio == middle:
            for rival, title in RIVALS.items():
                labels = 0.0 if rival == "random" else of_experts
                rows = runs.train(rival, drawn, settings.updates)
                found.add(f"{title} {percent(ratio)}", rows, labels)
            on_full_data(runs, found, f"distilled {percent(ratio)}")
    return found


def on_full_data(runs: RankingRuns, found: Found, equal_to: str) -> None:
    """Add what trains on the full data at the cost of another method."""
    drawn, settings = runs.settings.drawn(), runs.settings
    share = found.seconds[equal_to] / found.seconds["full"]
    updates = min(settings.full_updates, max(KEPT, round(share * settings.full_updates)))
    found.add(SHORT, runs.train("full", drawn, updates))
    rungs = [max(VALIDATIONS, updates // KEPT), updates, min(KEPT * updates, settings.full_updates)]
    left, order, seconds = list(range(len(drawn))), np.full(len(drawn), math.inf), 0.0
    for place, length in enumerate(rungs):
        rows = runs.train("full", [drawn[each] for each in left], length)
        seconds += math.fsum(row["cpu_seconds"] for row in rows)
        errors = np.array([row["rmse"] for row in rows])
        # whoever reaches a later rung is before all who do not
        order[left] = rankdata(errors, method="ordinal") - place * len(drawn)
        keep = np.argsort(errors, kind="stable")[: math.ceil(len(left) / KEPT)]
        left = [left[each] for each in sorted(keep)]
    found.errors[HALVING], found.seconds[HALVING] = list(order), seconds


def winners(name: str, found: Found, chosen: argparse.Namespace) -> pd.DataFrame:
    """Train what each method chose, and the defaults, on everything, and test that once."""
    path = Path(chosen.output) / f"winners-{name}.csv"
    if path.exists():
        return pd.read_csv(path, index_col=0)
    task, settings = task_of(name), settings_of(chosen)
    drawn = settings.drawn()
    configurations = {
        method: drawn[int(np.argmin(errors))] for method, errors in found.errors.items()
    }
    for family in settings.forecasters:
        configurations[f"default {family}"] = Configuration(
            forecaster=family, options={}, training={}
        )
    fitted, tried = {}, {}
    for method, each in configurations.items():
        text = f"{each.forecaster} {dict(each.options)} {dict(each.training)}"
        if text not in fitted:  # several methods may choose the same
            training = settings.training(each, settings.full_updates)
            fitted[text] = fit_forecaster(task, each.forecaster, training, options=each.options)
        tried[method] = text
    errors = evaluate_trained(fitted, task.series, at_most=500).table.set_index("forecaster")
    rows = {
        method: {
            "test relative RMSE": errors.loc[text, "relative_rmse"],
            "validation RMSE": fitted[text].record["validation_error"] ** 0.5,
            "configuration": text,
        }
        for method, text in tried.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    with atomic_path(path) as part:
        table.to_csv(part)
    return table


def scores(found: Found, tops: tuple[int, ...] = (10, 20)) -> pd.DataFrame:
    """Return the agreement with the full data and the cost of each method."""
    rows: dict[str, dict[str, Any]] = {}
    truth = found.errors["full"]
    for method, errors in found.errors.items():
        if method == "full":
            continue
        row = {}
        for top in tops:
            scored = agreement(truth, errors, top)
            row |= {f"{name[:-4]}, top {top}": scored[name] for name in scored if "_top" in name}
        row |= {name: scored[name] for name in ("spearman", "kendall", "regret")}
        rows[method] = row | {
            "seconds": found.seconds[method],
            "cheaper": found.seconds["full"] / found.seconds[method],
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def table(each: Mapping[str, pd.DataFrame]) -> str:
    """Return scores as Markdown: the mean over data sets, then Spearman and regret of each."""
    mean = pd.concat(each.values()).groupby(level=0, sort=False).mean()
    heads = ["training data", "Spearman", "top 20", "top 10", "Kendall", "regret", "times cheaper"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for method, row in mean.iterrows():
        lines.append(
            f"| {method} | {row['spearman']:.2f} | {row['spearman, top 20']:.2f} | "
            f"{row['spearman, top 10']:.2f} | {row['kendall']:.2f} | {100 * row['regret']:.1f} % | "
            f"{row['cheaper']:.1f} |"
        )
    heads = ["Spearman; regret", *each]
    lines += ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for method in mean.index:
        cells = [
            f"{own.loc[method, 'spearman']:.2f}; {100 * own.loc[method, 'regret']:.1f} %"
            for own in each.values()
        ]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(each: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Draw Spearman against the share of the cost on the full data, a point per data set."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    mean = pd.concat(each.values()).groupby(level=0, sort=False).mean()
    for place, method in enumerate(mean.index):
        values = [own.loc[method, "spearman"] for own in each.values()]
        axes.plot(values, [place] * len(values), "o", color="#9ab", markersize=5)
        axes.plot(mean.loc[method, "spearman"], place, "D", color="#036", markersize=7)
        text = f"{mean.loc[method, 'cheaper']:.1f} times cheaper"
        axes.annotate(text, (1.01, place), xycoords=("axes fraction", "data"), va="center", size=8)
    axes.set_yticks(range(len(mean)), list(mean.index), fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("Spearman rank correlation with the full data")
    axes.grid(axis="x", alpha=0.3)
    with atomic_path(path) as part:
        figure.savefig(part, dpi=120, format="png")


def main() -> None:
    """Train what is missing, print the tables, and write them with a figure."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--output", default="search", help="folder of results")
    options.add_argument("--data", default=DATA)
    options.add_argument("--ratios", default="0.1x0.1,0.025x0.1,0.01x0.1")
    options.add_argument("--graphs", action="store_true", help="graph networks, all locations")
    options.add_argument("--configurations", type=int, default=60)
    options.add_argument("--updates", type=int, default=200, help="on small sets")
    options.add_argument("--full-updates", type=int, default=1500)
    options.add_argument("--winners", default="era5-uk,taxi", help="data to test the chosen on")
    options.add_argument("--jobs", type=int, default=1)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    each: dict[str, pd.DataFrame] = {}
    for name in chosen.data.split(","):
        found = compared(name, chosen)
        each[name] = scores(found)
        print(f"\n{name}\n{each[name].round(3).to_string()}", flush=True)
        if name in chosen.winners.split(","):
            chose = winners(name, found, chosen)
            print(f"\ntrained on everything\n{chose.round(4).to_string()}", flush=True)
    folder = Path(chosen.output)
    pd.concat(each).to_csv(folder / "search.csv")
    text = table(each)
    with atomic_path(folder / "search.md") as part:
        part.write_text(text + "\n", encoding="utf-8")
    draw(each, folder / "search.png")
    print("\n" + text)


if __name__ == "__main__":
    main()

"""Every forecaster on full data: errors, seconds per update, memory and weights.

Run with ``STEMDIST_DATA`` naming the folder that holds ``los_speed.csv`` and the ERA5 file::

    python benchmarks/families.py --output families            # hours on one core
    python benchmarks/families.py --output families --jobs 2   # resumes after a stop
    python benchmarks/families.py --output quick --data weather-sim --updates 20 --seeds 1

Each forecaster makes the same number of updates with the same seeds. Its learning rate is chosen
on validation from a small grid with seed 0, as are its final weights; the test part is read once.
Processor seconds and memory are measured afterwards, one fresh process per forecaster and data set.
The baselines are persistence, climatology, window mean and the closed-form linear forecaster.

Reference figures on Los-loop without calendar: persistence 0.606, closed-form linear 0.573, small
MLP with neighbour means 0.515; on ERA5-UK, every second point (here every third): persistence
1.198, linear 0.736.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import xarray as xr
from isolated_process import hardware
from joblib import Parallel, delayed

import stemdist
from stemdist import ForecastTask, GraphSettings, TaskSettings
from stemdist.data import canonical_series, simulate
from stemdist.data.windows import WindowSource
from stemdist.evaluate import EvaluationSettings, evaluate
from stemdist.evaluate.comparison.tables import aligned
from stemdist.figures import SERIES, save_figure
from stemdist.files import atomic_path
from stemdist.forecast import FORECASTERS, TrainingSettings, fresh_forecaster, train_forecaster
from stemdist.profiling import keep_freed_memory, measure

ADAPTERS = ("module", "hf-patchtst", "hf-patchtsmixer")  # left out unless named
DATA = ("los-loop", "traffic-sim", "weather-sim", "era5-uk")
TIMED_UPDATES = 6


def task_of(name: str) -> ForecastTask:
    """Return the forecasting task of a data set: 12 steps from 12, with time of day."""
    settings: dict[str, Any] = {"calendar": ("time_of_day",)}
    if name == "los-loop":
        path = Path(os.environ["STEMDIST_DATA"]) / "los_speed.csv"
        series = stemdist.open_series(path, recipe="los-loop")
        settings["graph"] = GraphSettings(method="correlation", neighbours=8)
    elif name == "era5-uk":
        path = Path(os.environ["STEMDIST_DATA"]) / "era5-2mt-2019-03-uk.nc"
        with xr.open_dataset(path) as raw:
            thin = raw.isel(latitude=slice(None, None, 3), longitude=slice(None, None, 3)).load()
        series = canonical_series(thin, variables=["t2m"])
    elif name == "traffic-sim":
        series = stemdist.open_series(name)
    else:
        series = canonical_series(simulate(name, n_lat=10, n_lon=12), variables=["t2m"])
    return ForecastTask.from_series(series, TaskSettings(**settings))


def forecasters_for(name: str, chosen: list[str]) -> list[str]:
    """Leave out those that need a grid where there is none."""
    on_grid = name in ("era5-uk", "weather-sim")
    return [f for f in chosen if on_grid or not FORECASTERS.get(f).needs_grid]


def settings_of(forecaster: str, options: argparse.Namespace) -> EvaluationSettings:
    """Return the same budget for every forecaster."""
    return EvaluationSettings(
        forecasters=(forecaster,),
        references=("full",),
        seeds=options.seeds,
        learning_rates=tuple(options.learning_rates),
        updates=options.updates,
        batch_windows=options.batch_windows,
        locations_per_update=None,
        validate_every=max(1, options.updates // 6),
        validation_windows=64,
    )


def errors_of(name: str, forecaster: str, options: argparse.Namespace) -> pd.DataFrame:
    """Train and test one forecaster on one data set, unless results are stored."""
    torch.set_num_threads(1)
    keep_freed_memory()
    begin = time.perf_counter()
    folder = Path(options.output) / name
    result = evaluate(None, task_of(name), settings_of(forecaster, options), results=folder)
    print(f"{name} {forecaster}: {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
    return result.table.assign(data=name)


def costs_of(name: str, forecaster: str, options: argparse.Namespace) -> dict[str, float]:
    """Measure seconds per update and memory in a fresh process, unless results are stored."""
    path = Path(options.output) / name / f"{forecaster}.b{options.batch_windows}.cost.json"
    if not path.exists():
        own = ["--cost", name, forecaster, "--batch-windows", str(options.batch_windows)]
        done = subprocess.run(
            [sys.executable, __file__, *own], stdout=subprocess.PIPE, text=True, check=True
        )
        with atomic_path(path) as part:
            part.write_text(done.stdout)
    costs: dict[str, float] = json.loads(path.read_text())
    return costs


def measured_costs(name: str, forecaster: str, batch_windows: int) -> dict[str, float]:
    """Return the costs of training a forecaster on the full data, in this process."""
    torch.set_num_threads(1)
    keep_freed_memory()
    task = task_of(name)
    return costs_of_updates(forecaster, task.train, task.graph, batch_windows, TIMED_UPDATES)


def costs_of_updates(
    forecaster: str, source: WindowSource, graph: Any, batch_windows: int, updates: int
) -> dict[str, float]:
    """Return the median processor seconds of an update and the memory that training adds."""
    module = fresh_forecaster(forecaster, source, seed=0)
    marks: list[float] = []

    class Timed(type(source)):  # type: ignore[misc]
        def batch(self, *args: Any) -> Any:
            marks.append(time.process_time())
            return super().batch(*args)

    timed = Timed(**{k: getattr(source, k) for k in source.__dataclass_fields__})
    timed.profile = source.profile  # so that it is not part of the first update
    training = TrainingSettings(updates=updates + 2, batch_windows=batch_windows)
    with measure() as cost:
        train_forecaster(module, timed, graph, training)
    seconds = sorted(b - a for a, b in itertools.pairwise(marks[1:]))
    return {
        "seconds_per_update": seconds[len(seconds) // 2],
        "added_mib": cost.added_memory_bytes / 2**20,
    }


def collect(options: argparse.Namespace) -> pd.DataFrame:
    """Return one row per data set, forecaster and baseline."""
    pairs = [
        (name, forecaster)
        for name in options.data
        for forecaster in forecasters_for(name, options.forecasters)
    ]
    jobs = (delayed(errors_of)(*pair, options) for pair in pairs)
    tables = pd.concat(Parallel(n_jobs=options.jobs)(jobs), ignore_index=True)
    rows = []
    for (name, method, forecaster), own in tables.groupby(["data", "method", "forecaster"]):
        own = own.drop_duplicates("seed")  # baselines come with every forecaster
        row = {"data": name, "forecaster": forecaster or f"({method})", "seeds": len(own)}
        for metric in ("relative_rmse", "relative_mae"):
            row[metric] = own[metric].mean()
            row[f"{metric}_sd"] = own[metric].std()
        if forecaster:
            row |= {"weights": own["weights"].iloc[0], "rate": own["learning_rate"].iloc[0]}
            row |= costs_of(name, forecaster, options)
        rows.append(row)
    return pd.DataFrame(rows).sort_values(["data", "relative_rmse"], ignore_index=True)


def text(table: pd.DataFrame) -> str:
    """Return the rows of one data set as aligned columns, best first."""
    rows = [["forecaster", "rel. RMSE", "sd", "rel. MAE", "ms/update", "MiB", "weights", "rate"]]
    for row in table.itertuples():
        costs = ["-"] * 4
        if not pd.isna(row.weights):
            costs = [
                f"{1000 * row.seconds_per_update:.0f}",
                f"{row.added_mib:.0f}",
                f"{row.weights:.0f}",
                f"{row.rate:g}",
            ]
        spread = "-" if pd.isna(row.relative_rmse_sd) else f"{row.relative_rmse_sd:.4f}"
        error = [f"{row.relative_rmse:.4f}", spread, f"{row.relative_mae:.4f}"]
        rows.append([row.forecaster, *error, *costs])
    return aligned(rows)


def annotate(axes: Any, labels: pd.Series, x: pd.Series, y: pd.Series) -> None:
    """Write labels beside points, each where it covers no label written before."""
    taken: list[tuple[float, float, float]] = []
    for label, left, up in zip(labels, x, y, strict=True):
        right, height = axes.transData.transform((left, up))
        width = 5.2 * len(label)  # pixels
        for dx, dy in ((6, 4), (6, -10), (-6 - width, 4), (-6 - width, -10), (6, 13), (6, -20)):
            box = (right + dx, right + dx + width, height + dy)
            if all(box[0] > b or box[1] < a or abs(box[2] - c) > 9 for a, b, c in taken):
                break
        taken.append(box)
        points = (0.72 * dx, 0.72 * dy)  # at 100 pixels per inch
        axes.annotate(label, (left, up), fontsize=7, xytext=points, textcoords="offset points")


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw error against seconds per update, one panel per data set; area shows memory."""
    from matplotlib.figure import Figure

    names = [name for name in DATA if name in set(table["data"])]
    figure = Figure(figsize=(11, 4.2 * -(-len(names) // 2)), dpi=100, layout="constrained")
    panels_of: dict[str, tuple[Any, ...]] = {}
    panels = figure.subplots(-(-len(names) // 2), min(2, len(names)), squeeze=False).flat
    for axes, name in zip(panels, names, strict=False):
        own = table[table["data"] == name]
        trained = own[own["weights"].notna()]
        x, y = 1000 * trained["seconds_per_update"], trained["relative_rmse"]
        area = 12 + trained["added_mib"] / 2
        axes.scatter(x, y, s=area, color=SERIES[0], alpha=0.45, edgecolor="#003f63")
        axes.set_xscale("log")
        worst = y.quantile(0.9)
        for label, style in (("(closed-form linear)", "--"), ("(persistence)", ":")):
            value = float(own.loc[own["forecaster"] == label, "relative_rmse"].iloc[0])
            if value < 1.3 * worst:
                axes.axhline(value, color=SERIES[4], ls=style, lw=1.2, label=label.strip("()"))
        axes.set_xlim(x.min() / 1.5, x.max() * 2.5)
        axes.set(
            title=name,
            xlabel="time per update (ms, one core)",
            ylabel="relative RMSE, test (standard deviations)",
        )
        axes.grid(alpha=0.25)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
        panels_of[name] = (axes, trained["forecaster"], x, y)
    figure.suptitle("Forecasters on full data; the area of a point shows the memory training adds")
    figure.draw_without_rendering()  # only now is it known where points lie
    for panel in panels_of.values():
        annotate(*panel)
    save_figure(figure, path)


def main() -> None:
    """Read the command line, run, print the tables and write CSV and figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", help="folder of finished runs, families.csv and families.png")
    parser.add_argument("--data", default=",".join(DATA), help="comma separated")
    parser.add_argument("--forecasters", default="", help="comma separated; default all built-ins")
    parser.add_argument("--updates", type=int, default=250)
    parser.add_argument("--batch-windows", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--learning-rates", default="0.002,0.008")
    parser.add_argument("--jobs", type=int, default=1, help="training runs at the same time")
    parser.add_argument("--cost", nargs=2, metavar=("DATA", "FORECASTER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cost:
        print(json.dumps(measured_costs(*options.cost, options.batch_windows)))
        return
    if options.output is None:
        parser.error("give --output, a folder for the results")
    options.data = options.data.split(",")
    named = options.forecasters.split(",") if options.forecasters else []
    names = named or FORECASTERS.names()
    options.forecasters = [n for n in names if n in named or n not in ADAPTERS]
    options.learning_rates = [float(rate) for rate in options.learning_rates.split(",")]
    table = collect(options)
    rates = ", ".join(map(str, options.learning_rates))
    print(hardware(threads=1))
    print(
        f"{options.updates} updates of {options.batch_windows} windows at all locations, "
        f"{options.seeds} seeds, learning rate chosen on validation from {rates}"
    )
    for name in options.data:
        print(f"\n{name}\n{text(table[table['data'] == name])}")
    with atomic_path(Path(options.output) / "families.csv") as part:
        table.to_csv(part, index=False)
    draw(table, Path(options.output) / "families.png")


if __name__ == "__main__":
    main()

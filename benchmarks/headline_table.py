"""The default method beside published methods: excess over full data at four sizes.

Run with ``STEMDIST_DATA`` naming the folder with ``los_speed.csv`` and
``era5-2mt-2019-03-uk.nc``::

    python benchmarks/headline_table.py --output headline --jobs 2      # hours on two cores
    python benchmarks/headline_table.py --output headline --methods default --ratios 0.01x0.1

Five families of forecasters are trained with the same number of updates and the same small grid of
learning rates (and of shuffled locations, for forecasters that mix them), from which the validation
part chooses, on: Los-loop (speeds only) and traffic-sim, three distillations each, and ERA5-UK
(every third point) in three time splits, one distillation each (``--split-seeds``). With
``--hold-out 0.2`` a fifth of the locations is held out and only they are tested. A killed run
resumes when it is started again; a larger one reuses finished results.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import xarray as xr

import stemdist
from stemdist.evaluate import Benchmark, BenchmarkSettings, benchmark, rolling_tasks
from stemdist.evaluate.grid.result import KEYS
from stemdist.forecast import ForecastTask, TaskSettings
from stemdist.profiling import keep_freed_memory

RATIOS = ("0.1x0.1", "0.025x0.1", "0.01x0.1", "0.005x0.1")
FORECASTERS = ("linear", "mlp", "gru", "patchtst", "graph-transformer")
VARIANTS: dict[str, dict[str, Any]] = {
    "start": {"method": "kmeans", "labels": "expert"},
}
DATA = ("los-loop", "traffic-sim", "era5-uk")


def los_loop() -> ForecastTask:
    """Return speeds of 207 detectors, connected by correlation, without the calendar."""
    path = Path(os.environ["STEMDIST_DATA"]) / "los_speed.csv"
    series = stemdist.open_series(path, recipe="los-loop")
    graph = stemdist.GraphSettings(method="correlation", neighbours=8)
    return ForecastTask.from_series(series, TaskSettings(graph=graph))


def traffic_sim() -> ForecastTask:
    """Return speeds of 100 simulated detectors, with the time of day."""
    return ForecastTask.from_series(
        stemdist.open_series("traffic-sim"), TaskSettings(calendar=("time_of_day",))
    )


def era5_uk() -> dict[str, ForecastTask]:
    """Return a month of temperatures at 187 points, in three time splits (leading shares)."""
    with xr.open_dataset(Path(os.environ["STEMDIST_DATA"]) / "era5-2mt-2019-03-uk.nc") as raw:
        part = raw.isel(latitude=slice(None, None, 3), longitude=slice(None, None, 3)).load()
    series = stemdist.open_series(part, variables=["t2m"])
    return rolling_tasks(series, TaskSettings(calendar=("time_of_day",)))


MAKERS = {"los-loop": los_loop, "traffic-sim": traffic_sim, "era5-uk": era5_uk}


def protocol(**grid: Any) -> BenchmarkSettings:
    """Return how forecasters are trained and tested, the same for every method, with a grid."""
    return BenchmarkSettings(
        learning_rates=(2e-2, 5e-3, 2e-3),
        shuffles=("never", "always"),
        updates=400,
        batch_windows=8,
        validate_every=80,
        validation_windows=48,
        test_windows=256,
        **grid,
    )


def run(arguments: argparse.Namespace, variants: dict[str, dict[str, Any]]) -> Benchmark:
    """Run the grid: several seeds, in each of three splits where there are splits."""
    parts = []
    for name in arguments.data.split(","):
        settings = protocol(
            methods=tuple(arguments.methods.split(",")),
            variants=variants,
            references=tuple(arguments.references.split(",")),
            ratios=tuple(arguments.ratios.split(",")),
            surrogates=tuple(filter(None, arguments.surrogates.split(","))),
            seeds=arguments.split_seeds if name == "era5-uk" else arguments.seeds,
            forecasters=tuple(arguments.forecasters.split(",")),
            hold_out=arguments.hold_out,
            hold_out_pattern=arguments.hold_out_pattern,
        )
        parts.append(
            benchmark(
                {name: MAKERS[name]()},
                settings,
                results=Path(arguments.output) / "runs",
                n_jobs=arguments.jobs,
                progress=None,
            )
        )
    return joined(parts)


def joined(parts: list[Benchmark]) -> Benchmark:
    """Return several benchmarks as one; what several have, such as baselines, once."""
    rows = pd.concat([part.table for part in parts])
    failures = tuple(failure for part in parts for failure in part.failures)
    tasks = {(task["data"], task["split"]): task for part in parts for task in part.facts["tasks"]}
    facts = {**parts[0].facts, "tasks": list(tasks.values())}
    table = rows.drop_duplicates(list(KEYS), ignore_index=True)
    return Benchmark(table=table, failures=failures, facts=facts)


def by_data(excess: pd.Series) -> pd.DataFrame:
    """Return excess in per cent, a column for each data set, and their mean."""
    table = (100 * excess).unstack("data").round(1)
    table.insert(0, "all", table.mean(axis=1).round(1))
    return table


def parser(description: str) -> argparse.ArgumentParser:
    """Return the options of a run."""
    options = argparse.ArgumentParser(description=description.partition("\n")[0])
    options.add_argument("--output", default="headline", help="folder of results")
    options.add_argument("--methods", default="default,start,stemdist,mtt,condtsf,timedc,frepo,dm")
    options.add_argument("--references", default="full,full-expert,random,random-expert")
    options.add_argument("--ratios", default=",".join(RATIOS))
    options.add_argument("--data", default=",".join(DATA))
    options.add_argument("--forecasters", default=",".join(FORECASTERS))
    options.add_argument("--surrogates", default="", help="to distil with, e.g. mlp,gru,mtgnn")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--split-seeds", type=int, default=1, help="in each split of era5-uk")
    options.add_argument("--hold-out", type=float, default=0.0, help="share of the locations")
    options.add_argument("--hold-out-pattern", default="scattered", help="or region")
    options.add_argument("--jobs", type=int, default=2)
    return options


def main() -> None:
    """Run the methods and print the tables."""
    arguments = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    found = run(arguments, VARIANTS)
    found.write(Path(arguments.output))
    print(found)


if __name__ == "__main__":
    main()

"""Ten real data sets: the default method over full data, at equal updates and converged.

Run with ``STEMDIST_DATA`` naming the folder with the data::

    python benchmarks/evidence.py --output evidence --jobs 2       # most of a day on two cores
    python benchmarks/evidence.py --output evidence --data taxi,paris --forecasters linear,mlp

Forecasters train for 600 updates of 32 windows (equal), and for 600, 2,000 and 5,000 as long as
validation improves (converged), at 32 random locations in every update; the validation part chooses
the learning rate and the number of updates. Printed are the excess over full data by data set and
ratio, verdicts, and the seconds of distilling; ``table.md`` in the output folder has the same. A
killed run resumes when it is started again; a larger one reuses finished results.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from headline_table import joined

import stemdist
from stemdist.evaluate import Benchmark, BenchmarkSettings, benchmark
from stemdist.files import atomic_path
from stemdist.forecast import ForecastTask, settings_for
from stemdist.profiling import keep_freed_memory

DATA: dict[str, tuple[str, dict[str, Any]]] = {
    "los-loop": ("los_speed.csv", {"recipe": "los-loop"}),
    "era5-uk": ("era5-2mt-2019-03-uk.nc", {}),
    "melbourne": ("melbourne_scats_2006_flow.nc", {}),
    "taxi": ("nyc_taxi_od_pairs_2018.nc", {}),
    "paris": ("paris_bike_counters_2020.nc", {}),
    "beijing": ("beijing_air_quality_2013_2017.nc", {"variables": ["PM2_5"]}),
    "pjm": ("pjm_load_2013_2018.nc", {}),
    "ncep": ("ncep_slp_2001_2010.nc", {}),
    "sst": ("pacific_sst_1970_2003.nc", {}),
    "ireland": ("ireland_wind_1961_1978.nc", {}),
}
BUILT_IN = ("traffic-sim", "weather-sim")
METHODS = ("default", "start")
VARIANTS: dict[str, dict[str, Any]] = {"start": {"method": "kmeans", "labels": "expert"}}


def task_of(name: str) -> ForecastTask:
    """Return a data set as a user gets it without options."""
    file, options = DATA.get(name, (name, {}))
    source = Path(os.environ["STEMDIST_DATA"]) / file if name in DATA else name
    series = stemdist.open_series(source, **options)
    return ForecastTask.from_series(series, settings_for(series))


def run(chosen: argparse.Namespace) -> Benchmark:
    """Run the grid, one data set after another."""
    settings = protocol(
        chosen,
        methods=tuple(chosen.methods.split(",")),
        variants=VARIANTS,
        references=tuple(chosen.references.split(",")),
        ratios=tuple(chosen.ratios.split(",")),
    )
    parts = []
    for name in chosen.data.split(","):
        found = compared(name, task_of(name), settings, chosen)
        print("\n".join(found.verdicts()), flush=True)
        parts.append(found)
    return joined(parts)


def protocol(chosen: argparse.Namespace, **grid: Any) -> BenchmarkSettings:
    """Return how forecasters are trained and tested, the same for every method, with a grid."""
    return BenchmarkSettings(
        forecasters=tuple(chosen.forecasters.split(",")),
        seeds=chosen.seeds,
        budget=chosen.budget,
        locations_per_update=32,
        test_windows=500,
        **grid,
    )


def compared(
    name: str, task: ForecastTask, settings: BenchmarkSettings, chosen: argparse.Namespace
) -> Benchmark:
    """Run the grid of one data set; the results of all are in one folder."""
    runs = Path(chosen.output) / "runs"
    return benchmark({name: task}, settings, results=runs, n_jobs=chosen.jobs, progress=None)


def markdown(found: Benchmark) -> str:
    """Return a table of excess in per cent: a row for each data set, a column for each ratio."""
    parts = []
    for budget in found.budgets:
        excess = found.excess(by=("data",), budget=budget).reset_index()
        excess["cell"] = [_cell(*row) for row in excess[["mean", "half_width"]].to_numpy()]
        wide = excess.pivot_table(
            index="data", columns=["ratio", "method"], values="cell", aggfunc="first", sort=False
        )
        names = [f"{ratio} {method}" for ratio, method in wide.columns]
        parts.append(f"| {budget} | " + " | ".join(names) + " |")
        parts.append("|---" * (1 + len(names)) + "|")
        for data, cells in zip(wide.index, wide.to_numpy(), strict=True):
            parts.append(f"| {data} | " + " | ".join(map(str, cells)) + " |")
        parts.append("")
    return "\n".join(parts)


def _cell(mean: float, half_width: float) -> str:
    spread = "" if pd.isna(half_width) else f" ± {100 * half_width:.1f}"
    return f"{100 * mean:+.1f}{spread}"


def parser() -> argparse.ArgumentParser:
    """Return the options of a run."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--output", default="evidence", help="folder of results")
    options.add_argument("--data", default=",".join([*DATA, *BUILT_IN]))
    options.add_argument("--methods", default=",".join(METHODS))
    options.add_argument("--references", default="full,pruned,random,random-expert")
    options.add_argument("--ratios", default="0.1x0.1,0.025x0.1,0.01x0.1")
    options.add_argument("--forecasters", default="linear,mlp,gru")
    options.add_argument("--budget", default="both", help="equal, converged or both")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--jobs", type=int, default=2)
    return options


def main() -> None:
    """Run the methods and print the tables."""
    chosen = parser().parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    found = run(chosen)
    found.write(Path(chosen.output))
    table = markdown(found)
    with atomic_path(Path(chosen.output) / "table.md") as path:
        path.write_text(table, encoding="utf-8")
    print(table)
    print(found.costs())


if __name__ == "__main__":
    main()

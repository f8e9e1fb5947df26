"""Distilled sets of equal bytes: more windows or more locations; free windows, series or spectra.

Run with ``STEMDIST_DATA`` naming the folder with ``los_speed.csv`` and
``era5-2mt-2019-03-uk.nc``::

    python benchmarks/equal_bytes.py --output headline --jobs 2            # two hours on two cores

The budget is the number of values that the default method stores at 1 % of the windows x 10 % of
the locations, from which ``x`` and ``y`` are made. Every row has as many windows as fit into it.
Forecasters are trained and tested as in ``headline_table.py``, whose results in the same folder are
reused; ERA5-UK is used without time splits.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import headline_table
import torch

from stemdist.distill.pipeline import n_learned
from stemdist.evaluate import Benchmark, benchmark
from stemdist.forecast import ForecastTask
from stemdist.profiling import keep_freed_memory

TIME, SPACE = 0.01, 0.1  # of the set whose bytes are the budget
CONTIGUOUS = {"selection": "contiguous", "parametrisation": "series"}


def of_tensor(task: ForecastTask, n_clusters: int, n_windows: int) -> int:
    """Return how many values free windows have; very few windows learn their calendar, too."""
    lookback, horizon, _ = shape(task)
    return n_windows * n_clusters * (lookback * n_learned(task, n_windows) + horizon)


def of_series(task: ForecastTask, n_clusters: int, n_windows: int) -> int:
    """Return an upper bound on the values of series from which windows are cut at every step."""
    lookback, horizon, n_series = shape(task)
    ends = (lookback - 1) * n_series + horizon  # of each of the segments that are selected
    return n_clusters * (n_windows * n_series + math.isqrt(n_windows) * ends)


def of_spectrum(task: ForecastTask, n_clusters: int, n_windows: int) -> int:
    """Return how many values half of the frequencies and modes have, and the modes themselves."""
    lookback, horizon, n_series = shape(task)
    modes = round(n_clusters / 2)
    numbers = round(lookback / 2) * n_series + round(horizon / 2)
    return modes * (n_windows * numbers + n_series * n_clusters)


def shape(task: ForecastTask) -> tuple[int, int, int]:
    """Return L_in, L_out and the number of inputs that are learned: series, not the calendar."""
    return task.train.lookback, task.train.horizon, task.n_series_features


@dataclass(frozen=True)
class Row:
    """A kind of distilled set."""

    title: str
    space: float = SPACE
    numbers: Callable[[ForecastTask, int, int], int] = of_tensor
    changes: dict[str, Any] = field(default_factory=dict)

    def ratio(self, task: ForecastTask) -> str:
        """Return the shares of time and space that fit into the budget."""
        total, n_locations = len(task.train), task.n_locations
        budget = of_tensor(task, round(SPACE * n_locations), round(TIME * total))
        n_clusters = round(self.space * n_locations)
        sizes = range(1, total + 1)
        paid = max(n for n in sizes if self.numbers(task, n_clusters, n) <= budget)
        return f"{paid / total:.9f}x{self.space:g}"


ROWS = {
    "default": Row("free windows"),
    "locations": Row("half the windows, twice the locations", 2 * SPACE),
    "windows": Row("twice the windows, half the locations", SPACE / 2),
    "series": Row("windows cut from series", SPACE, of_series, CONTIGUOUS),
    "spectral": Row(
        "half the frequencies, half the modes", SPACE, of_spectrum, {"parametrisation": "spectral"}
    ),
    "stretch": Row(
        "a stretch of the real series",
        SPACE,
        of_series,
        {**CONTIGUOUS, "labels": "observed", "synthesizer": "selection"},
    ),
}


def run(name: str, task: ForecastTask, arguments: argparse.Namespace) -> list[Benchmark]:
    """Run every row on one data set, the first row together with the references."""
    parts = []
    for method in arguments.rows.split(","):
        row, plain = ROWS[method], method == "default"
        settings = headline_table.protocol(
            methods=("default", "start") if plain else (method,),
            variants=headline_table.VARIANTS
            if plain
            else {method: {"method": "default", **row.changes}},
            references=("full", "compressed", "random") if plain else ("full",),
            ratios=(f"{TIME}x{SPACE}" if plain else row.ratio(task),),
            seeds=arguments.seeds,
            forecasters=headline_table.FORECASTERS,
        )
        results = Path(arguments.output) / "runs"
        found = benchmark(
            {name: task}, settings, results=results, n_jobs=arguments.jobs, progress=None
        )
        parts.append(found)
    return parts


def main() -> None:
    """Run the rows on all data sets and print the excess over full data, in per cent."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", default="headline", help="folder of results")
    parser.add_argument("--data", default=",".join(headline_table.DATA))
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    parts = []
    for name in arguments.data.split(","):
        made = headline_table.MAKERS[name]()
        task = made if isinstance(made, ForecastTask) else made["100%"]
        parts += run(name, task, arguments)
    excess = headline_table.joined(parts).excess(by=("data",))["mean"].droplevel("ratio")
    table = headline_table.by_data(excess)
    print(table.rename(index={name: row.title for name, row in ROWS.items()}).to_string())


if __name__ == "__main__":
    main()

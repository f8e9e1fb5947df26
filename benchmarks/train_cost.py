"""An epoch of training on a distilled set beside one on the full data: seconds and memory.

Run ``STEMDIST_DATA=... python benchmarks/train_cost.py`` (three minutes): ERA5 temperatures at
1,617 points, 10 % of the windows x 10 % of the locations, batches of 32 windows. Each training runs
in a separate process; memory is what training adds to the data and the libraries.
"""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

from isolated_process import Alone, hardware

import stemdist
from stemdist.distill import DistillSettings, distill
from stemdist.forecast import ForecastTask, TrainingSettings, fit_windows
from stemdist.profiling import measure

BATCH = 32


def prepare(path: Path, ratio: float) -> tuple[int, int]:
    """Distil and keep task and set in this process; return the windows of both."""
    global TASK, SET
    series = stemdist.open_series(path, variables=["t2m"])
    TASK = ForecastTask.from_series(series)
    quick = DistillSettings.of(
        "kmeans",
        time_ratio=ratio,
        space_ratio=ratio,
        judging=TrainingSettings(updates=1, validation_windows=8),
        judge_seeds=1,
    )
    SET = distill(TASK, quick)
    return len(TASK.train), len(SET.windows)


def epoch(forecaster: str, full: bool) -> tuple[float, float]:
    """Train one epoch, after one update to warm up, and return seconds and MiB it added."""
    source, graph = (TASK.train, TASK.graph) if full else (SET.windows, SET.cluster_graph)
    updates = math.ceil(len(source) / BATCH)
    fit_windows(forecaster, source, graph, TrainingSettings(updates=1, batch_windows=1))
    with measure() as cost:
        training = TrainingSettings(updates=updates, batch_windows=BATCH, validate_every=10_000)
        fit_windows(forecaster, source, graph, training)
    return cost.cpu_seconds, cost.added_memory_bytes / 2**20


def main() -> None:
    """Measure every forecaster and print both sides and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--forecasters", default="mlp,gru,graph-transformer,mtgnn")
    parser.add_argument("--ratio", type=float, default=0.1)
    arguments = parser.parse_args()
    path = Path(os.environ["STEMDIST_DATA"]) / "era5-2mt-2019-03-uk.nc"
    print(hardware(1))
    print("forecaster          full s / MiB     distilled s / MiB    faster   less memory")
    for name in arguments.forecasters.split(","):
        sides = []
        for full in (True, False):
            with Alone(1) as process:
                process(prepare, path, arguments.ratio)
                sides.append(process(epoch, name, full))
        (a, b), (c, d) = sides
        print(
            f"{name:18s} {a:8.2f} / {b:6.0f} {c:12.3f} / {d:6.1f} {a / c:10.0f}x "
            f"{b / max(d, 1e-9):10.0f}x",
            flush=True,
        )


if __name__ == "__main__":
    main()

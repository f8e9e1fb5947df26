"""Seconds and memory of a distillation against the number of locations and of time steps.

Run ``python benchmarks/distill_scale.py`` (an hour), or with ``--quick`` (two minutes). Each case
is simulated weather in a Zarr store, distilled in a separate process with one thread, as the
command line does. ``--locations`` varies N at a fixed number of steps, ``--steps`` varies T at a
fixed N; both with 10 % x 10 % and with a fixed number of clusters and windows (``--fixed``).
Stores are kept in ``--stores`` for the next run.

Printed are, by phase, processor seconds and the highest resident memory, libraries included
(about 0.5 GiB), then the exponents of growth fitted to the largest three cases; ``--output``
writes ``distill_scale.csv`` and ``distill_scale.png``. The synthesizer makes one outer iteration
(``--iterations``); the time of ``matching`` and ``judging`` grows with their number.

Shapes: T steps, N locations.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from isolated_process import Alone, hardware, peak_gib
from matplotlib.figure import Figure
from scaling import draw_slopes

import stemdist
from stemdist.data.simulate import make_simulation
from stemdist.distill import DistillationProblem, DistillSettings, distill, pipeline
from stemdist.figures import MARKERS, SERIES, save_figure
from stemdist.forecast import ForecastTask, TrainingSettings, task
from stemdist.profiling import measure

PHASES = {
    "graph": (task, "build_graph"),
    "clustering": (pipeline, "cluster_locations"),
    "selection": (pipeline, "select_windows"),
    "experts": (pipeline, "train_experts"),
    "labels": (pipeline, "expert_answers"),
    "judging": (DistillationProblem, "score"),
}
COLUMNS = ("loading", *PHASES, "matching", "saving", "total")
LOCATIONS, STEPS = "500,2000,8600,20000,50000", "3400,10000,34000,100000"
HOURS, PLACES = 3400, 200
FIXED_WINDOWS, FIXED_CLUSTERS = 50, 50

AXES = ("locations", "steps")
QUANTITIES = {  # label and ticks of what is drawn
    "total": ("processor seconds", (25, 50, 100, 200, 400, 800)),
    "peak_gib": ("peak resident memory (GiB)", (0.5, 1, 2, 4, 8)),
}

Row = dict[str, float | str]


def store(folder: Path, n: int, steps: int) -> Path:
    """Return a Zarr store of simulated weather, written block by block if it is not there."""
    n_lat = max(2, round(math.sqrt(n / 1.25)))
    n_lon, days = max(2, round(n / n_lat)), math.ceil(steps / 24)
    path = folder / f"weather-{n_lat}x{n_lon}-{days}d.zarr"
    if not path.exists():
        spacing = min(1.0, 50 / n_lat)  # Europe, the finer the larger N
        weather = make_simulation(
            "weather-sim", days=days, n_lat=n_lat, n_lon=n_lon, spacing_degrees=spacing
        )
        weather.write(path)
    return path


@contextmanager
def phase(row: Row, name: str) -> Iterator[None]:
    """Add the processor seconds and the memory of a block to a row."""
    with measure() as cost:
        yield
    row[name] = float(row.get(name, 0.0)) + cost.cpu_seconds
    gib = cost.peak_memory_bytes / 2**30
    row[f"{name}_gib"] = max(float(row.get(f"{name}_gib", 0.0)), gib)


def watch(row: Row) -> None:
    """Make the functions of the phases add their cost to a row."""

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            with phase(row, name):
                return function(*arguments, **options)

        return call

    for name, (owner, function) in PHASES.items():
        setattr(owner, function, watched(name, getattr(owner, function)))


def run(path: str, fixed: bool, iterations: int, updates: int) -> Row:
    """Distil one store in this process and return the cost of each phase."""
    row: Row = dict.fromkeys(PHASES, 0.0)
    watch(row)
    with phase(row, "total"), tempfile.TemporaryDirectory() as folder:
        with phase(row, "loading"):
            weather = ForecastTask.from_series(stemdist.open_series(path))
        shares = {}
        if fixed:
            shares = {
                "time_ratio": min(1.0, FIXED_WINDOWS / len(weather.train)),
                "space_ratio": min(1.0, FIXED_CLUSTERS / weather.n_locations),
            }
        settings = DistillSettings(
            synthesizer_options={"iterations": iterations},
            expert_training=TrainingSettings(updates=updates, locations_per_update=128),
            **shares,
        )
        with phase(row, "matching"):
            distilled = distill(weather, settings)
        with phase(row, "saving"):
            distilled.save(Path(folder) / "small.distilled.nc")
    inside = [name for name in PHASES if name != "graph"]
    row["loading"] = float(row["loading"]) - float(row["graph"])
    row["matching"] = float(row["matching"]) - sum(float(row[name]) for name in inside)
    row.pop("matching_gib")  # of the whole distillation, not of this phase
    row.update(
        locations=weather.n_locations,
        steps=len(weather.train.values),
        windows=len(weather.train),
        sizes="fixed" if fixed else "10 % x 10 %",
        peak_gib=peak_gib(),
    )
    return row


def show(row: Row) -> None:
    """Print one case: seconds, and below them GiB, by phase."""
    head = f"{row['sizes']:>11} N {row['locations']:6} T {row['steps']:6} M {row['windows']:6}"
    print(head, *(f"{float(row[name]):10.1f}" for name in COLUMNS), "s", flush=True)
    gib = (row.get(f"{name}_gib") for name in COLUMNS)
    cells = ("         -" if g is None else f"{float(g):10.2f}" for g in gib)
    print(" " * len(head), *cells, f"GiB, peak {float(row['peak_gib']):.2f}", flush=True)


def exponents(rows: list[Row], axis: str) -> None:
    """Print how seconds and memory grow along an axis, over the three largest cases."""
    last = sorted(rows, key=lambda row: float(row[axis]))[-3:]
    if len(last) < 2:
        return
    at = np.log([float(row[axis]) for row in last])
    found = []
    for name in (*COLUMNS, "peak_gib"):
        values = np.array([float(row[name]) for row in last])
        if name == "peak_gib" or values.min() > 1:  # shorter phases are noise
            found.append(f"{name} {np.polyfit(at, np.log(values), 1)[0]:.2f}")
    print(f"exponents of {axis} ({last[0]['sizes']}):", ", ".join(found), flush=True)


def draw(groups: dict[tuple[str, str], list[Row]]) -> Figure:
    """Draw seconds and peak memory against locations and steps, beside linear growth."""
    figure = Figure(figsize=(9, 6.4), dpi=100, layout="constrained")
    panels = figure.subplots(2, 2, sharey="row")
    for number, ((axis, sizes), rows) in enumerate(groups.items()):
        column = AXES.index(axis)
        style = {"color": SERIES[number % 2], "marker": MARKERS[number % 2], "label": sizes}
        at = [float(row[axis]) for row in rows]
        for line, name in enumerate(QUANTITIES):
            panels[line][column].plot(at, [float(row[name]) for row in rows], **style)
    for line, (label, ticks) in zip(panels, QUANTITIES.values(), strict=True):
        for axes, axis in zip(line, AXES, strict=True):
            if not axes.lines:
                continue  # no case along this axis
            at = sorted({float(value) for curve in axes.lines for value in curve.get_xdata()})
            draw_slopes(axes, {axis: 1})
            axes.set(xscale="log", yscale="log", xlabel=axis)
            axes.set_xticks(at, [f"{value:,.0f}" for value in at])
            axes.minorticks_off()
            axes.grid(alpha=0.3)
            axes.legend(fontsize=8)
        low, high = line[0].get_ylim()
        kept = [tick for tick in ticks if low <= tick <= high]
        line[0].set_yticks(kept, [f"{tick:g}" for tick in kept])
        line[0].set_ylabel(label)
    return figure


def plan(options: argparse.Namespace) -> list[tuple[str, bool, int, int]]:
    """Return (axis, fixed sizes or not, N, T) of every case."""
    sizes = [False, True] if options.fixed == "both" else [options.fixed == "yes"]
    over_n = [int(n) for n in options.locations.split(",") if n]
    over_t = [int(t) for t in options.steps.split(",") if t]
    return [
        *(("locations", fixed, n, options.hours) for fixed in sizes for n in over_n),
        *(("steps", fixed, options.places, t) for fixed in sizes for t in over_t),
    ]


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--locations", default=LOCATIONS, help=f"N; default {LOCATIONS}")
    parser.add_argument("--hours", type=int, default=HOURS, help=f"T then; default {HOURS}")
    parser.add_argument("--steps", default=STEPS, help=f"T; default {STEPS}")
    parser.add_argument("--places", type=int, default=PLACES, help=f"N then; default {PLACES}")
    parser.add_argument("--fixed", choices=("no", "yes", "both"), default="both")
    parser.add_argument("--iterations", type=int, default=1, help="outer iterations; default 1")
    parser.add_argument("--updates", type=int, default=1200, help="of an expert; default 1200")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    parser.add_argument("--quick", action="store_true", help="N 200,800 and T 480,1920 only")
    parser.add_argument("--stores", type=Path, default=Path("scale-stores"), help="folder")
    parser.add_argument("--output", type=Path, help="folder for distill_scale.csv and .png")
    options = parser.parse_args()
    if options.quick:
        options.locations, options.hours = "200,800", 480
        options.steps, options.places = "480,1920", 100
    options.stores.mkdir(parents=True, exist_ok=True)
    print(hardware(options.threads))
    print(" " * 40, *(f"{name:>10}" for name in COLUMNS))
    groups: dict[tuple[str, str], list[Row]] = {}
    for axis, fixed, n, steps in plan(options):
        path = store(options.stores, n, steps)
        try:
            with Alone(options.threads, keep_memory=False) as process:
                row: Row = process(run, str(path), fixed, options.iterations, options.updates)
        except BrokenProcessPool:
            print(f"N {n} T {steps}: the process was ended, too little memory", flush=True)
            continue
        show(row)
        groups.setdefault((axis, str(row["sizes"])), []).append(row)
    for (axis, _), rows in groups.items():
        exponents(rows, axis)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        rows = [row for group in groups.values() for row in group]
        with open(options.output / "distill_scale.csv", "w", newline="") as file:
            names = sorted({name for row in rows for name in row})
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
        save_figure(draw(groups), options.output / "distill_scale.png")


if __name__ == "__main__":
    main()

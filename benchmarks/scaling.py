"""Time and memory of a training step against the number of locations and of windows.

Run ``python benchmarks/scaling.py --output scaling`` (minutes; it needs the extra ``report``).
Each point is measured in a separate process: random windows, a graph of the 8 nearest
neighbours of random places, and steps of forward, mean squared error, backward and an AdamW
update. Written are ``scaling.csv`` and ``scaling.png``; printed are the points and the exponents
of N, fitted to the three largest N.

Seconds are processor seconds, which other programs disturb least. Memory is the most the
process held beyond what it held with the libraries loaded. Freed memory is kept, as by the command
line: at N = 50,000 a third of the time would be page faults. The search is the exact top-k search
of learned graphs, the one part that may grow faster than N log N.

Shapes: B windows, N locations.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from isolated_process import Alone, hardware, peak_gib, timed
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.spatial import KDTree
from torch import Tensor
from torch_geometric.data import Data

from stemdist.figures import MARKERS, SERIES, save_figure
from stemdist.forecast import make_forecaster
from stemdist.forecast.layers import learned_graph, sparse

LOOKBACK, HORIZON, FEATURES, NEIGHBOURS = 12, 12, 2, 8
SIZES, BATCH = "200,800,3200,12800,50000", 4
BATCHES, LOCATIONS = "1,4,16,64", 1617


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measurement; ``seconds`` is the fastest step by the clock, the others the median."""

    forecaster: str
    locations: int
    windows: int
    seconds: float
    processor_seconds: float
    search_seconds: float
    memory_gib: float
    peak_gib: float


def nearest_neighbours(n: int) -> Data:
    """Return a graph of the nearest neighbours of N random places, without an (N, N) tensor."""
    places = np.random.default_rng(0).random((n, 2))
    k = min(NEIGHBOURS, n - 1)
    _, nearest = KDTree(places).query(places, k=k + 1)  # the first is the place itself
    edges = np.stack([nearest[:, 1:].ravel(), np.repeat(np.arange(n), k)])
    number, width = torch.arange(n), math.ceil(math.sqrt(n))
    cell = torch.stack([number // width, number % width], dim=1)  # for forecasters of grids
    return Data(edge_index=torch.from_numpy(edges), num_nodes=n, cell=cell)


def time_searches() -> list[float]:
    """Make every top-k search of this process leave its processor seconds in the list."""
    seconds: list[float] = []
    search = sparse.top_k_products

    def timed_search(*arguments: int | Tensor) -> Tensor:
        found: list[Tensor] = []
        seconds.append(timed(lambda: found.append(search(*arguments)))[1])  # type: ignore[arg-type]
        return found[0]

    sparse.top_k_products = timed_search
    learned_graph.top_k_products = timed_search
    return seconds


def measure(name: str, n: int, b: int, repeats: int) -> Point:
    """Measure training steps in this process, after one that warms up."""
    before, searches = peak_gib(), time_searches()
    torch.manual_seed(0)
    forecaster = make_forecaster(name, lookback=LOOKBACK, horizon=HORIZON, n_features=FEATURES)
    optimizer = torch.optim.AdamW(forecaster.parameters(), lr=1e-4)
    graph, profile = nearest_neighbours(n), torch.randn(n, LOOKBACK * FEATURES)
    x, y = torch.randn(b, LOOKBACK, n, FEATURES), torch.randn(b, HORIZON, n)

    def step() -> None:
        optimizer.zero_grad()
        (forecaster(x, graph, profile) - y).square().mean().backward()
        optimizer.step()

    step()
    searches.clear()
    times = [timed(step) for _ in range(repeats)]
    return Point(
        forecaster=name,
        locations=n,
        windows=b,
        seconds=min(wall for wall, _ in times),
        processor_seconds=float(np.median([processor for _, processor in times])),
        search_seconds=sum(searches) / repeats,
        memory_gib=peak_gib() - before,
        peak_gib=peak_gib(),
    )


def measure_alone(name: str, n: int, b: int, repeats: int, threads: int) -> Point | None:
    """Measure and print one point in a separate process; none if it needs too much memory."""
    try:
        with Alone(threads, keep_memory=True) as process:  # as the command line does
            point: Point = process(measure, name, n, b, repeats)
    except BrokenProcessPool:
        print(f"{name:18} {n:7} {b:4} too little memory", flush=True)
        return None
    share = point.search_seconds / point.processor_seconds
    print(
        f"{name:18} {n:7} {b:4} {point.seconds:8.3f} {point.processor_seconds:11.3f} "
        f"{point.search_seconds:8.3f} {share:6.1%} {point.memory_gib:10.2f} {point.peak_gib:8.2f}",
        flush=True,
    )
    return point


def exponent(points: Sequence[Point], value: Callable[[Point], float]) -> float:
    """Return the slope of log value against log N over the three largest N."""
    last = sorted(points, key=lambda point: point.locations)[-3:]
    logs = np.log([[point.locations, value(point)] for point in last])
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def without_search(point: Point) -> float:
    """Return the processor seconds of a step apart from the search."""
    return point.processor_seconds - point.search_seconds


def print_exponents(points: Sequence[Point]) -> None:
    """Print how a step grows with N."""
    if len(points) < 2:
        return
    name = points[0].forecaster
    print(f"{name}: step without search ~ N^{exponent(points, without_search):.2f}", end=", ")
    if all(point.search_seconds > 0 for point in points):
        print(f"search ~ N^{exponent(points, lambda p: p.search_seconds):.2f}", end=", ")
    print(f"memory ~ N^{exponent(points, lambda p: p.memory_gib):.2f}", flush=True)


def draw(over_n: Sequence[Point], over_b: Sequence[Point]) -> Figure:
    """Draw seconds and memory against N and B, log-log, with slopes to compare with."""
    figure = Figure(figsize=(9, 6.4), dpi=100, layout="constrained")
    panels = figure.subplots(2, 2, sharey="row")
    columns = [
        (over_n, "locations", f"locations N (B = {BATCH} windows)", {"N": 1, "N$^2$": 2}),
        (over_b, "windows", f"windows B (N = {LOCATIONS:,} locations)", {"B": 1}),
    ]
    for column, (points, axis, label, slopes) in enumerate(columns):
        seconds, memory = panels[0][column], panels[1][column]
        for place, name in enumerate(dict.fromkeys(point.forecaster for point in points)):
            own = sorted(
                (p for p in points if p.forecaster == name), key=lambda p: getattr(p, axis)
            )
            style = {"color": SERIES[place % len(SERIES)], "marker": MARKERS[place % len(MARKERS)]}
            at = [getattr(point, axis) for point in own]
            seconds.plot(at, [point.processor_seconds for point in own], label=name, **style)
            memory.plot(at, [point.memory_gib for point in own], label=name, **style)
            if axis == "locations" and all(point.search_seconds > 0 for point in own):
                search = [point.search_seconds for point in own]
                seconds.plot(
                    at, search, "--", mfc="white", label=f"{name}: its top-k search", **style
                )
        for axes in (seconds, memory):
            draw_slopes(axes, slopes)
            axes.set(xscale="log", yscale="log", xlabel=label)
            ticks = sorted({getattr(point, axis) for point in points})
            axes.set_xticks(ticks, labels=[f"{tick:,}" for tick in ticks])
            axes.set_xticks([], minor=True)
            axes.grid(alpha=0.3)
            axes.legend(fontsize=8)
    panels[0][0].set_ylabel("processor seconds per training step")
    panels[1][0].set_ylabel("memory of the step (GiB)")
    figure.suptitle(f"A training step on {hardware_name()}")
    return figure


def draw_slopes(axes: Axes, slopes: dict[str, int]) -> None:
    """Draw dotted lines of given exponents through the last point of the first curve."""
    if not axes.lines:
        return
    at, values = (np.asarray(data, float) for data in axes.lines[0].get_data())
    for grey, (name, slope) in zip(("0.35", "0.65"), slopes.items(), strict=False):
        guide = values[-1] * (at / at[-1]) ** slope
        shown = guide > values[0] / 5  # a steep guide would squeeze the curves
        axes.plot(at[shown], guide[shown], ":", color=grey, label=f"slope of {name}")


def hardware_name() -> str:
    """Return the first parts of :func:`isolated_process.hardware`: processor and threads."""
    return ", ".join(hardware(torch.get_num_threads()).split(", ")[:2])


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--forecasters", default="mtgnn", help="comma separated; default mtgnn")
    parser.add_argument("--sizes", default=SIZES, help=f"N at B = {BATCH}; default {SIZES}")
    parser.add_argument(
        "--batches", default=BATCHES, help=f"B at N = {LOCATIONS}; default {BATCHES}"
    )
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    parser.add_argument("--repeats", type=int, default=2, help="timed steps; default 2")
    parser.add_argument("--output", type=Path, default=Path("scaling"), help="folder")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(hardware(options.threads))
    print(
        "forecaster               N    B  wall s  processor s  search s  share memory GiB peak GiB"
    )
    over_n: list[Point] = []
    over_b: list[Point] = []
    for name in options.forecasters.split(","):
        plans = [(over_n, int(n), BATCH) for n in options.sizes.split(",")]
        plans += [(over_b, LOCATIONS, int(b)) for b in options.batches.split(",")]
        for points, n, b in plans:
            point = measure_alone(name, n, b, options.repeats, options.threads)
            points += [point] if point else []
        print_exponents([point for point in over_n if point.forecaster == name])
    options.output.mkdir(parents=True, exist_ok=True)
    with open(options.output / "scaling.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(Point.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(asdict(point) for point in (*over_n, *over_b))
    save_figure(draw(over_n, over_b), options.output / "scaling.png")
    print(f"wrote {options.output}/scaling.csv and {options.output}/scaling.png")


if __name__ == "__main__":
    main()

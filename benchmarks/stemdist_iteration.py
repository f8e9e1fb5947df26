"""Cost of an outer iteration of gradient matching, beside the public STemDist code.

    python benchmarks/stemdist_iteration.py --data los-loop --public ../STemDist

times some of the 20 matching steps of an outer iteration, each with the training that follows, in
a process of its own (a minute or two), with ``STEMDIST_DATA`` naming the folder of the data;
without ``era5-2mt-2019-03-uk.nc`` simulated weather of the same size takes its place. The cases are
every second point of ERA5-UK (425 locations in 42 clusters, 42 windows) and Los-loop (207 locations
in 21 clusters, 119 windows): 10 % x 10 %, 12 steps in and out, batches of 64, MTGNN with the
attention encoder.

``--public PATH``, or the environment variable ``STEMDIST_PUBLIC``, names a clone of
https://github.com/kbrother/STemDist. Its own training loop then runs in turns with ours on the same
clustered windows (``public_stemdist.py``), and two things are printed of each side: processor
seconds of an outer iteration (the median of a step, times 20), and the mean distance of the first
steps over seeds, which is to agree within the spread of seeds. Our side keeps freed memory, as the
command line does.

``--quality`` distils 10 outer iterations instead, with three seeds, and compares MTGNNs trained on
the results (480 updates of a quarter of the clusters, validated every 20 and at a constant rate of
0.005 without weight decay, as the published code does) with MTGNNs trained on random windows; it
takes half an hour on one core. ``--data los-loop`` does so on 207 detectors, where the test part is
similar to the rest; the last days of ERA5-UK are not, and errors differ by a tenth between seeds
there.

Shapes: M_S synthetic windows, L_in lookback, L_out horizon, K clusters, k clusters of a subset.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import xarray as xr
from isolated_process import Alone, hardware, prepare
from torch import Tensor

import stemdist
from stemdist.data.windows import materialise
from stemdist.distill import DistillationProblem, DistillSettings, starting_point
from stemdist.distill.parametrisation import encode
from stemdist.distill.pipeline import problem_of
from stemdist.distill.selection import random_windows
from stemdist.distill.synthesizer import SyntheticState
from stemdist.distill.synthesizers import gradient_matching
from stemdist.evaluate import BenchmarkSettings, benchmark
from stemdist.evaluate.comparison.evaluation import interval
from stemdist.forecast import ForecastTask, TaskSettings

STEPS, SUBSETS = 20, 4
FILE = "era5-2mt-2019-03-uk.nc"
TASK = TaskSettings(neighbour_context=False)
Record = list[tuple[float, float]]
"""Processor seconds and distance of every subset."""
QUALITY = {  # clusters of an update, and errors of one run of the published code
    "era5-uk": (11, "random 0.759 test / 0.680 validation, published code 0.760 / 0.671"),
    "los-loop": (5, "random 0.573 test / 0.607 validation, published code 0.563 / 0.598"),
}


def series_of_the_case() -> xr.Dataset:
    """Return every second point of ERA5-UK, or simulated weather of the same size."""
    path = Path(os.environ.get("STEMDIST_DATA", ".")) / FILE
    if path.is_file():
        with xr.open_dataset(path) as raw:
            every_second = slice(None, None, 2)
            raw = raw.isel(latitude=every_second, longitude=every_second).load()
    else:
        raw = stemdist.simulate("weather-sim", days=31, n_lat=17, n_lon=25)[["t2m"]]
    return stemdist.open_series(raw)


def los_loop() -> xr.Dataset:
    """Return the speeds of 207 detectors."""
    folder = Path(os.environ.get("STEMDIST_DATA", "."))
    return stemdist.open_series(folder / "los_speed.csv", recipe="los-loop")


def problem_of_the_case(data: str) -> DistillationProblem:
    """Return the clustered task with its random windows to start from."""
    settings = DistillSettings.of("stemdist")
    series = los_loop() if data == "los-loop" else series_of_the_case()
    task = ForecastTask.from_series(series, TASK)
    return problem_of(task, settings, starting_point(task, settings))


def our_steps(data: str, steps: int, seed: int) -> Record:
    """Return the record of the first steps of our side, in this process."""
    problem = problem_of_the_case(data)
    chosen = random_windows(problem.real, len(problem.start), seed)  # as the public code draws
    problem = replace(problem, start=materialise(problem.real, chosen))
    options = DistillSettings.of("stemdist").synthesizer_options
    matching = gradient_matching.GradientMatching(**{**options, "steps": steps})
    parametrisation = encode(problem)
    optimizer = matching.optimizer(parametrisation.tensors)
    measure, seen = gradient_matching.gradient_distance, []

    def recorded(real: list[Tensor], synthetic: list[Tensor]) -> Tensor:
        began, distance = time.process_time(), measure(real, synthetic)
        seen.append((began, float(distance.detach())))
        return distance

    gradient_matching.gradient_distance = recorded
    try:
        state = SyntheticState(parametrisation, optimizer)
        matching.improve(problem, state, torch.Generator().manual_seed(seed))
    finally:
        gradient_matching.gradient_distance = measure
    return seen


def write_case(problem: DistillationProblem, path: Path) -> None:
    """Write the clustered windows as ``public_stemdist.py`` reads them."""
    x, y, _ = problem.real.batch(torch.arange(len(problem.real)), None)
    scaler, settings = problem.task.scaler, DistillSettings.of("stemdist")
    matching = gradient_matching.GradientMatching(**settings.synthesizer_options)
    mean, scale = float(scaler.mean[0]), float(scaler.scale[0])
    np.savez(
        path,
        x=x.numpy(),
        y=y.numpy() * scale + mean,
        mean=mean,
        scale=scale,
        sizes=problem.start.weight.numpy(),
        batch_windows=matching.batch_windows,
        time_ratio=settings.time_ratio,
        learning_rate=matching.learning_rate,
        surrogate_learning_rate=matching.surrogate_learning_rate,
    )


def public_steps(checkout: str, case: Path, steps: int, seed: int, threads: int) -> Record:
    """Return the record of the first steps of the public code, in a process without our package."""
    script = Path(__file__).with_name("public_stemdist.py")
    words = [sys.executable, script, Path(checkout).resolve(), case, steps, seed, threads]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the public code failed:\n{done.stderr[-2000:]}")
    return [(seconds, distance) for seconds, distance in json.loads(done.stdout)]


def compare(data: str, checkout: str | None, steps: int, seeds: int, threads: int) -> None:
    """Run both sides in turns and print seconds of an outer iteration and first distances."""
    records: dict[str, list[Record]] = {"ours": []}
    with TemporaryDirectory() as folder, Alone(threads, keep_memory=True) as ours:
        case = Path(folder, "case.npz")
        if checkout:
            records["public"] = []
            write_case(problem_of_the_case(data), case)
        for seed in range(seeds):
            records["ours"].append(ours(our_steps, data, steps, seed))
            if checkout:
                records["public"].append(public_steps(checkout, case, steps, seed, threads))
    total = {side: report(side, of_side) for side, of_side in records.items()}
    if checkout:
        print(f"ratio {total['public'] / total['ours']:.2f}")
    else:
        print("the public code was not run: --public PATH or STEMDIST_PUBLIC names a clone of it")


def report(side: str, records: list[Record]) -> float:
    """Print the figures of a side and return the processor seconds of an outer iteration."""
    taken, rows = [], []
    for record in records:
        began = [seconds for seconds, _ in record[::SUBSETS]]
        taken += [end - begin for begin, end in pairwise(began)]
        distances = torch.tensor([distance for _, distance in record])
        rows.append(distances.view(-1, SUBSETS).mean(1).tolist())
    seconds = statistics.median(taken) * STEPS
    print(f"{side}: {seconds:.1f} processor seconds per outer iteration ({len(taken)} steps timed)")
    for step, values in enumerate(zip(*rows, strict=True), 1):
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"  step {step}: mean distance {statistics.mean(values):6.1f} +- {spread:.1f}")
    return seconds


def quality(data: str, settings: BenchmarkSettings, results: str) -> None:
    """Distil, train MTGNNs on the results and on random windows, and print the errors of both."""
    series = los_loop() if data == "los-loop" else series_of_the_case()
    task = ForecastTask.from_series(series, TASK)
    found = benchmark({data: task}, settings, results=results, progress=None)
    columns = ["relative_rmse", "validation_relative_rmse"]
    trained = found.table[found.table["forecaster"] == "mtgnn"]
    sets = trained.groupby(["method", "seed"], sort=False)[columns].mean()
    print(sets.round(4).to_string())
    print("mean, and half of its 95 % interval, over distillations or draws of random windows:")
    for method, own in sets.groupby(level="method", sort=False):
        rows = (interval(own[name].tolist()) for name in columns)
        cells = (f"{row['mean']:.4f} +- {row['half_width']:.4f}" for row in rows)
        print(f"  {method:15}", *cells, sep="  ")
    print(f"relative RMSE of the published code, test / validation: {QUALITY[data][1]}")


def as_published(data: str, iterations: int, seeds: int, trainings: int) -> BenchmarkSettings:
    """Return how the published code distils and trains."""
    return BenchmarkSettings(
        methods=("as-published",),
        variants={
            "as-published": {
                "method": "stemdist",
                "synthesizer_options": {"iterations": iterations},
            }
        },
        references=("random",),
        ratios=("0.1x0.1",),
        forecasters=("mtgnn",),
        options={"mtgnn": {"location_encoder": "attention"}},
        seeds=seeds,
        trainings=trainings,
        learning_rates=(5e-3,),
        weight_decay=0.0,
        schedule="constant",
        updates=480,
        validate_every=20,
        batch_windows=64,
        locations_per_update=QUALITY[data][0],
    )


def main() -> None:
    """Read the command line and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--public", default=os.environ.get("STEMDIST_PUBLIC"), help="a clone")
    parser.add_argument("--steps", type=int, default=3, help="first steps of 20, >= 2; default 3")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    parser.add_argument("--data", choices=sorted(QUALITY), default="era5-uk")
    parser.add_argument("--seeds", type=int, default=3, help="runs or distillations; default 3")
    parser.add_argument("--quality", action="store_true", help="errors instead of seconds")
    parser.add_argument("--iterations", type=int, default=10, help="of --quality; default 10")
    parser.add_argument("--trainings", type=int, default=3, help="of --quality, on each set")
    parser.add_argument("--results", help="folder in which --quality keeps what is finished")
    options = parser.parse_args()
    print(hardware(options.threads))
    if options.quality:
        prepare(options.threads, keep_memory=True)
        settings = as_published(options.data, options.iterations, options.seeds, options.trainings)
        with TemporaryDirectory() as folder:
            quality(options.data, settings, options.results or folder)
    else:
        if options.steps < 2:
            parser.error("--steps must be at least 2: a step is timed up to the next one")
        compare(options.data, options.public, options.steps, options.seeds, options.threads)


if __name__ == "__main__":
    main()

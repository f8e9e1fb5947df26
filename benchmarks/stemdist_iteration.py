"""Time one outer iteration of STemDist against the formulation of the published code.

Run ``python benchmarks/stemdist_iteration.py`` (a minute or two) with ``STEMDIST_DATA`` naming
the folder that holds ``era5-2mt-2019-03-uk.nc``; without it simulated weather of the same size
takes its place. The case is every second point of ERA5-UK: 425 locations in 42 clusters and 42
windows (10 % x 10 %), 12 steps in and out, batches of 64, MTGNN with the attention encoder.

The reference computes the same formulas as the published code does: dense mix-hop
propagation in both directions, eight separate convolutions per layer, a deep copy of the
surrogate for every gradient, gradients of all parameters with their graphs, and the subset cut
out of the windows for every update. Its first matching distance is compared with ours (dropout
off) before anything is timed. A few of the 20 matching steps are timed, each side in a separate
process, in turns; the figures are the median processor seconds of a step times 20. Our side keeps
freed memory, as the command line does; the reference returns it, unless ``--same-memory`` is given.

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
import copy
import os
import sys
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import xarray as xr
from isolated_process import Alone, hardware, peak_gib, prepare, timed
from mtgnn_step import reference_forward
from torch import Tensor, nn

import stemdist
from stemdist.distill import DistillationProblem, DistillSettings, starting_point
from stemdist.distill.parametrisation import encode
from stemdist.distill.pipeline import problem_of
from stemdist.distill.synthesizer import SyntheticState
from stemdist.distill.synthesizers.gradient_matching import (
    GradientMatching,
    gradient_distance,
)
from stemdist.distill.synthesizers.subsets import ClusterSubset
from stemdist.evaluate import BenchmarkSettings, benchmark
from stemdist.evaluate.comparison.evaluation import interval
from stemdist.forecast import ForecastTask, TaskSettings, make_forecaster, shape_of

STEPS, PUBLISHED = 20, "90-110"
FILE = "era5-2mt-2019-03-uk.nc"
TASK = TaskSettings(neighbour_context=False)
SIDES = ("ours", "reference")
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


def problem_of_the_case() -> DistillationProblem:
    """Return the clustered task with its random windows to start from."""
    settings = DistillSettings.of("stemdist")
    task = ForecastTask.from_series(series_of_the_case(), TASK)
    start = starting_point(task, settings)
    return problem_of(task, settings, start)


class Side:
    """The common parts of both formulations: data, surrogate, optimizers and random numbers."""

    def __init__(self) -> None:
        self.problem = problem_of_the_case()
        options = DistillSettings.of("stemdist").synthesizer_options
        self.matching = GradientMatching(**options)
        torch.manual_seed(0)
        self.surrogate = make_forecaster(
            self.matching.surrogate,
            **shape_of(self.problem.start),
            **self.matching.surrogate_options,
        )
        self.optimizer = torch.optim.Adam(
            self.surrogate.parameters(), lr=self.matching.surrogate_learning_rate, fused=True
        )
        parametrisation = encode(self.problem)
        optimizer = self.matching.optimizer(parametrisation.tensors)
        self.synthetic = SyntheticState(parametrisation, optimizer)
        self.generator = torch.Generator().manual_seed(0)

    def distance(self) -> float:
        """Return the distance of the first part, without dropout."""
        self.surrogate.eval()
        value = self.match(self.parts()[0])
        self.surrogate.train()
        return value

    def match_all(self, parts: list[ClusterSubset]) -> None:
        """Make one matching step: every part once."""
        for part in parts:
            self.match(part)

    def parts(self) -> list[ClusterSubset]:
        """Split the clusters at random."""
        return self.matching._subsets(self.problem, self.generator)

    def match(self, part: ClusterSubset) -> float:
        """Move the windows at the clusters of a part."""
        return self.matching._match(
            self.problem, self.synthetic, self.surrogate, part, self.generator
        )

    def train(self, parts: list[ClusterSubset]) -> None:
        """Train the surrogate on the windows, part by part."""
        self.matching._train(
            self.problem, self.synthetic, self.surrogate, self.optimizer, parts, self.generator
        )


class ReferenceSide(Side):
    """The formulation of the published code."""

    @cached_property
    def plain_optimizer(self) -> torch.optim.Optimizer:
        """Adam as published: one parameter after the other."""
        return torch.optim.Adam(
            self.surrogate.parameters(), lr=self.matching.surrogate_learning_rate, foreach=False
        )

    def match(self, part: ClusterSubset) -> float:
        """Move the windows at the clusters of a part."""
        problem, here = self.problem, part.index
        index = torch.randint(
            len(problem.real), (self.matching.batch_windows,), generator=self.generator
        )
        batch, profile = problem.real.batch(index, here), problem.real.profile[here]
        wanted = self.gradients(copy.deepcopy(self.surrogate), batch, profile, part.weight)
        x, y = self.synthetic.windows()
        batch = (x[:, :, here], y[:, :, here], problem.start.mask[:, :, here])
        profile = batch[0].mean(0).transpose(0, 1).flatten(1)
        found = self.gradients(copy.deepcopy(self.surrogate), batch, profile, part.weight)
        distance = gradient_distance([g.detach() for g in wanted], found)
        self.synthetic.step(torch.autograd.grad(distance, self.synthetic.tensors))
        return float(distance.detach())

    def gradients(
        self,
        surrogate: nn.Module,
        batch: tuple[Tensor, Tensor, Tensor],
        profile: Tensor,
        weight: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return the gradients of all parameters, with their graph."""
        return torch.autograd.grad(
            self.loss(surrogate, batch, profile, weight),
            list(surrogate.parameters()),
            create_graph=True,
            materialize_grads=True,
        )

    def loss(
        self,
        surrogate: nn.Module,
        batch: tuple[Tensor, Tensor, Tensor],
        profile: Tensor,
        weight: Tensor,
    ) -> Tensor:
        """Return the weighted squared error."""
        x, y, mask = batch
        share = mask * weight
        errors = (reference_forward(surrogate, x, profile) - y) ** 2
        return (errors * share).sum() / share.sum()

    def train(self, parts: list[ClusterSubset]) -> None:
        """Train the surrogate on the windows, part by part."""
        x, y = (tensor.detach() for tensor in self.synthetic.windows())
        mask = self.problem.start.mask
        for part in parts:
            for index in self.matching._batches(len(x), self.generator):
                batch = tuple(whole[index][:, :, part.index] for whole in (x, y, mask))
                profile = x[:, :, part.index].mean(0).transpose(0, 1).flatten(1)
                self.plain_optimizer.zero_grad()
                self.loss(self.surrogate, batch, profile, part.weight).backward()
                self.plain_optimizer.step()


_here: dict[str, Side] = {}  # the one side of a process


def begin(side: str) -> float:
    """Set up a side in this process and return its first distance."""
    _here["side"] = ReferenceSide() if side == "reference" else Side()
    return _here["side"].distance()


def timed_step() -> list[tuple[float, float]]:
    """Return the seconds and the processor seconds of matching and of training, one step."""
    side = _here["side"]
    parts = side.parts()
    return [timed(partial(work, parts)) for work in (side.match_all, side.train)]


def compare(steps: int, threads: int, same_memory: bool) -> None:
    """Time both sides in turns and print the seconds of an outer iteration."""
    with (
        Alone(threads, keep_memory=True) as ours,  # as our command line does
        Alone(threads, keep_memory=same_memory) as reference,
    ):
        sides = dict(zip(SIDES, (ours, reference), strict=True))
        distances = {name: side(begin, name) for name, side in sides.items()}
        difference = abs(distances["ours"] / distances["reference"] - 1)
        if difference > 1e-4:
            sys.exit(f"the two formulations differ: first distances {distances}")
        taken: dict[str, list[Tensor]] = {name: [] for name in SIDES}
        for _ in range(steps + 1):
            for name, side in sides.items():
                taken[name].append(torch.tensor(side(timed_step)))
        peak = {name: side(peak_gib) for name, side in sides.items()}
    print(f"first distance {distances['ours']:.4f}, difference {difference:.0e}")
    print(f"{steps} of {STEPS} steps timed per side and scaled; processor seconds")
    print("           matching  training  iteration  fastest by the clock  peak GiB")
    total = {}
    for name in SIDES:
        rows = torch.stack(taken[name][1:])  # (steps, 2, 2): the first step warms up
        # Training after the last step changes nothing, and ours leaves it out.
        counts = torch.tensor([STEPS, STEPS - (name == "ours")])
        match, train = (rows.median(0).values[:, 1] * counts).tolist()
        clock = float((rows.min(0).values[:, 0] * counts).sum())
        total[name] = match + train
        print(
            f"{name:10} {match:8.1f} {train:9.1f} {total[name]:10.1f} {clock:21.1f} "
            f"{peak[name]:9.2f}"
        )
    print(f"ratio {total['reference'] / total['ours']:.2f}")
    print(f"the published code itself: {PUBLISHED} s on one quiet core")


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
    parser.add_argument("--steps", type=int, default=2, help="timed steps of 20; default 2")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    parser.add_argument(
        "--same-memory", action="store_true", help="glibc: the reference keeps freed memory, too"
    )
    parser.add_argument("--quality", action="store_true", help="errors instead of seconds")
    parser.add_argument("--iterations", type=int, default=10, help="of --quality; default 10")
    parser.add_argument("--data", choices=sorted(QUALITY), default="era5-uk", help="of --quality")
    parser.add_argument("--seeds", type=int, default=3, help="distillations; default 3")
    parser.add_argument("--trainings", type=int, default=3, help="on each set; default 3")
    parser.add_argument("--results", help="folder in which --quality keeps what is finished")
    options = parser.parse_args()
    print(hardware(options.threads))
    if options.quality:
        prepare(options.threads, keep_memory=True)
        settings = as_published(options.data, options.iterations, options.seeds, options.trainings)
        with TemporaryDirectory() as folder:
            quality(options.data, settings, options.results or folder)
    else:
        compare(options.steps, options.threads, options.same_memory)


if __name__ == "__main__":
    main()

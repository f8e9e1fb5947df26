"""Students beside themselves untaught and beside their teachers.

Run with ``STEMDIST_DATA`` naming the folder that holds ``ETTh1.csv``, ``ETTh2.csv`` and
``los_speed.csv``; it continues where it was stopped::

    python benchmarks/students.py ett --output students            # TimeDistill, DistilTS
    python benchmarks/students.py navier-stokes --output students  # SDKD
    python benchmarks/students.py los-loop --output students       # perceptrons of a graph network
    python benchmarks/students.py tiny --output students           # learning from a distilled set

All students make the same updates from the same seeds, with the weights of the terms that the
recipe has. For each of them, taught or not, the learning rate is chosen on validation with seed 0
from .002 and .008. Weights are chosen on validation and the test part is read once. Differences are
paired by seed, with their 95 % t-interval.

Reference figures: TimeDistill (arXiv:2502.15016) reports its student up to 18.6 % better than the
same perceptron untaught, better than its teacher, 7 times faster, with up to 130 times fewer
weights; DistilTS 1/150 of the weights; SDKD (arXiv:2507.02939) MSE .141 alone and .134 to .136
taught for its U-Net on Navier-Stokes. PatchTST (ICLR 2023, table 3), lookback 336, horizon 96, MSE
on the standard test part: ETTh1 .375, ETTh2 .274; DLinear .375 and .289.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from alone import hardware
from torch import Tensor

import stemdist
from stemdist import ForecastTask, GraphSettings, TaskSettings, TrainingSettings
from stemdist.cost import keep_freed_memory
from stemdist.data import canonical_series
from stemdist.data.simulate import make_simulation
from stemdist.distill import DistilledSet, DistillSettings, distill
from stemdist.evaluate.evaluation import interval
from stemdist.evaluate.table import aligned
from stemdist.files import hash_of, write_json
from stemdist.forecast import FittedForecaster, TrainingSet, fresh_forecaster, predict_windows
from stemdist.students import Places, StudentSettings, Term, find_teacher, teach
from stemdist.students.spectral_views import split_bands
from stemdist.students.teachers.forecaster import ForecasterTeacher

SEEDS = (0, 1, 2)
Terms = tuple[Term, ...]
Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Study:
    """One data set, its teacher, and the students that are compared.

    Parameters
    ----------
    name : str
        Of the data set.
    task : ForecastTask
        The data.
    teacher : str
        Forecaster to train.
    teacher_options, teacher_training
        How.
    students : list of (title or recipe, student, options, terms)
        What every student is compared with is the recipe ``undistilled``; terms replace those of
        the recipe.
    training : TrainingSettings
        Of the students; the learning rate is chosen from ``rates``.
    measure : callable
        Returns the errors of a forecast (M, R, N), given truth and mask.
    rates : tuple of float
        Learning rates that are tried.
    data : TrainingSet, optional
        What students learn from; the training part of the task by default.
    """

    name: str
    task: ForecastTask
    teacher: str
    teacher_options: dict[str, Any]
    teacher_training: TrainingSettings
    students: Sequence[tuple[str, str, dict[str, Any], Terms | None]]
    training: TrainingSettings
    measure: Callable[[Study, Tensor, Tensor, Tensor], dict[str, float]]
    rates: tuple[float, ...] = (2e-3, 8e-3)
    data: TrainingSet | None = None


def errors_of(study: Study, forecast: Tensor, truth: Tensor, mask: Tensor) -> dict[str, float]:
    """Return errors in scaled units, and those of the last quarter of the horizon."""
    wrong = (forecast - truth) * mask
    quarter = wrong.shape[1] // 4
    mean = (truth * mask).sum(dtype=torch.float64) / mask.sum(dtype=torch.float64)
    spread = ((truth - mean) * mask).square().sum(dtype=torch.float64)
    return {
        "mse": _mean(wrong.square(), mask),
        "mae": _mean(wrong.abs(), mask),
        "last_quarter_mse": _mean(wrong[:, -quarter:].square(), mask[:, -quarter:]),
        "relative_rmse": float((wrong.square().sum(dtype=torch.float64) / spread).sqrt()),
    }


def band_errors(study: Study, forecast: Tensor, truth: Tensor, mask: Tensor) -> dict[str, float]:
    """Return also the error of high and of low spatial frequencies (cut at .25)."""
    height, width = (study.task.graph.cell.amax(0) + 1).tolist()
    images = (forecast - truth).view(*forecast.shape[:2], height, width)
    bands = zip(("high_mse", "low_mse"), split_bands(images, 0.25), strict=True)
    return {
        **errors_of(study, forecast, truth, mask),
        **{name: float(band.square().mean(dtype=torch.float64)) for name, band in bands},
    }


def _mean(errors: Tensor, mask: Tensor) -> float:
    return float(errors.sum(dtype=torch.float64) / mask.sum(dtype=torch.float64))


def measured(study: Study, fitted: FittedForecaster, part: str) -> dict[str, float]:
    """Return the errors of a forecaster on a part."""
    windows = study.task.windows[part]
    index = torch.arange(len(windows))
    forecast = predict_windows(
        fitted.forecaster, windows, study.task.graph, study.task.train.profile
    )
    batches = [windows.batch(block) for block in torch.split(index, 64)]
    truth, mask = (torch.cat([getattr(b, name) for b in batches]) for name in ("y", "mask"))
    return study.measure(study, forecast, truth, mask)


def size_of(fitted: FittedForecaster) -> int:
    """Return the number of weights."""
    return sum(weight.numel() for weight in fitted.forecaster.parameters())


def side_by_side(study: Study, kinds: dict[str, tuple[str, dict[str, Any]]]) -> dict[str, float]:
    """Return milliseconds per window of untrained forecasters, timed in turns: the least of 5."""
    windows, profile = study.task.test, study.task.train.profile
    index = torch.arange(min(32, len(windows)))
    made = {
        title: fresh_forecaster(name, study.task.train, 0, options)
        for title, (name, options) in kinds.items()
    }
    least = dict.fromkeys(made, float("inf"))
    for _ in range(5):
        for title, forecaster in made.items():
            began = time.perf_counter()
            predict_windows(forecaster, windows, study.task.graph, profile, index=index)
            spent = 1000 * (time.perf_counter() - began) / len(index)
            least[title] = min(least[title], spent)
    return least


class Runs:
    """Runs students and keeps one row of each in a file."""

    def __init__(self, study: Study, output: Path) -> None:
        self.study, self.output = study, output
        self.data = study.data or TrainingSet.of_task(study.task)
        self.teacher: ForecasterTeacher | None = None

    def asked(self) -> ForecasterTeacher:
        """Return the teacher, trained once."""
        if self.teacher is None:
            settings = StudentSettings(
                teacher_options=self.study.teacher_options,
                teacher_training=self.study.teacher_training,
            )
            found = find_teacher(
                self.study.teacher, settings, self.study.task, cache=self.output, progress=None
            )
            self.teacher = found  # type: ignore[assignment]
        return self.teacher  # type: ignore[return-value]

    def teacher_row(self) -> dict[str, Any]:
        """Return the teacher's errors."""
        study = self.study
        key = [study.teacher, study.teacher_options, repr(study.teacher_training)]

        def run() -> dict[str, Any]:
            fitted = self.asked().fitted
            return {
                **measured(study, fitted, "test"),
                "weights": size_of(fitted),
                "seconds": fitted.record["seconds"],
            }

        return self._kept(key, run)

    def row(
        self,
        recipe: str,
        student: str,
        options: dict[str, Any],
        changes: dict[str, Any],
        rate: float,
        seed: int,
    ) -> dict[str, Any]:
        """Train one student and return its errors."""
        training = replace(self.study.training, learning_rate=rate, seed=seed)
        settings = StudentSettings.of(
            recipe, student=student, student_options=options, training=training, **changes
        )

        def run() -> dict[str, Any]:
            teachers = [self.asked()] if settings.active_terms else []
            fitted = teach(
                self.data,
                teachers,
                settings,
                validation=self.study.task,
                places=Places(cache=self.output),
                progress=None,
            )
            return {
                **measured(self.study, fitted, "test"),
                "validation_mse": measured(self.study, fitted, "validation")["mse"],
                "weights": size_of(fitted),
                "seconds": fitted.record["seconds"],
            }

        asked = self.study.teacher_options if settings.active_terms else None
        return self._kept([settings.to_json(), asked, repr(self.study.teacher_training)], run)

    def _kept(self, key: Any, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path = self.output / f"{hash_of([self.data.content_hash, key])}.json"
        if not path.exists():
            write_json(path, run())
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def best_rate(self, recipe: str, student: str, options: dict[str, Any], terms: Terms) -> float:
        """Return the learning rate that is best on validation with seed 0."""
        rows = {
            rate: self.row(recipe, student, options, {"terms": terms}, rate, SEEDS[0])
            for rate in self.study.rates
        }
        return min(rows, key=lambda rate: float(rows[rate]["validation_mse"]))


def report(study: Study, output: Path, columns: Sequence[str]) -> Rows:
    """Run a study, print its table, and return its rows."""
    runs, rows = Runs(study, output), []
    teacher = runs.teacher_row()
    cells = [["", *columns, "taught - untaught", "weights", "ms / window"]]
    kinds = {f"teacher {study.teacher}": (study.teacher, study.teacher_options)}
    kinds |= {student: (student, options) for _, student, options, _ in study.students}
    times = side_by_side(study, kinds)

    def line(name: str, own: Rows, alone: Rows | None) -> None:
        errors = [[row[column] for row in own] for column in columns]
        shown = [text(interval(values)) for values in errors]
        difference = ""
        if alone is not None:
            pairs = [row["mse"] - other["mse"] for row, other in zip(own, alone, strict=True)]
            difference = text(interval(pairs), sign=True)
        spent = next(times[kind] for kind in times if name == kind or name.startswith(f"{kind} "))
        costs = [f"{own[0]['weights']:,}", f"{spent:.3f}"]
        cells.append([name, *shown, difference, *costs])
        rows.extend({"data": study.name, "row": name, "seed": i, **r} for i, r in enumerate(own))

    line(f"teacher {study.teacher}", [teacher], None)

    def taught(recipe: str, student: str, options: dict[str, Any], terms: Terms) -> Rows:
        # With and without horizon weights at one rate, so that the weights are all that differs.
        plain = tuple(replace(term, horizon_tau=0.0) for term in terms)
        rate = runs.best_rate(recipe, student, options, plain if len(terms) == 1 else terms)
        changes = {"terms": terms}
        return [runs.row(recipe, student, options, changes, rate, seed) for seed in SEEDS]

    for name, student, options, given in study.students:
        alone = taught("undistilled", student, options, ())
        if not any(cell[0] == f"{student} untaught" for cell in cells):
            line(f"{student} untaught", alone, None)
        recipe = name.partition(",")[0]
        own = taught(recipe, student, options, given or StudentSettings.of(recipe).terms)
        line(f"{student} by {name}", own, alone)
    smallest = min(row["weights"] for row in rows)
    slowest = times[f"teacher {study.teacher}"]
    print(f"\n{study.name}: {len(study.task.train)} training windows, {hardware(1)}")
    print(aligned(cells))
    print(
        f"the teacher has {teacher['weights'] / smallest:.0f} times the weights of the smallest "
        f"student and takes {slowest / min(times.values()):.0f} times the time of the fastest"
    )
    return rows


def text(found: dict[str, float], sign: bool = False) -> str:
    """Return a mean and its 95 % interval."""
    mean = f"{found['mean']:+.4f}" if sign else f"{found['mean']:.4f}"
    return mean if np.isnan(found["half_width"]) else f"{mean} ± {found['half_width']:.4f}"


def ett_study(name: str, lookback: int, updates: int) -> Study:
    """Return ETTh1 or ETTh2: 12, 4 and 4 months, every variable z-scored by its training part."""
    path = Path(os.environ["STEMDIST_DATA"]) / f"{name}.csv"
    table = pd.read_csv(path, index_col=0, parse_dates=True).iloc[: 20 * 30 * 24]
    train = table.iloc[: 12 * 30 * 24]
    scaled = ((table - train.mean()) / train.std(ddof=0)).astype("float32")
    raw = xr.Dataset(
        {"z": (("time", "location"), scaled.values)},
        {"time": table.index.values, "location": list(table.columns)},
    )
    settings = TaskSettings(lookback=lookback, horizon=96, neighbour_context=False)
    task = ForecastTask.from_series(canonical_series(raw, variables=["z"]), settings)
    small = {"hidden": 16, "level": "reversible"}
    forecasts = tuple((Term(weight=0.5, horizon_tau=tau),) for tau in (1.0, 0.0))
    # Longer patches of longer windows keep the number of tokens, and the teacher 130 times larger.
    more = {"hidden": 320, "feed_forward": 640, "patch": 32, "stride": 16}
    return Study(
        name=f"{name}, {lookback} to 96 hours",
        task=task,
        teacher="patchtst",
        teacher_options={
            "hidden": 256,
            "feed_forward": 512,
            "layers": 3,
            "heads": 8,
            "dropout": 0.2,
            "reversible": True,
            "location_encoder": "none",
            **(more if lookback > 500 else {}),
        },
        teacher_training=TrainingSettings(
            updates=updates, batch_windows=8, learning_rate=3e-4, validate_every=50
        ),
        students=[
            ("timedistill", "decomposition-mlp", small, None),
            ("soft-labels, later steps counting more", "dlinear", {}, forecasts[0]),
            ("soft-labels, all steps alike", "dlinear", {}, forecasts[1]),
            # The tokens of longer windows take tens of gigabytes and minutes per run.
            *([("distilts", "dlinear", {}, None)] if lookback < 500 else []),
        ],
        training=TrainingSettings(updates=600, batch_windows=32, validate_every=50),
        measure=errors_of,
    )


def navier_stokes_study(
    viscosity: float, size: int, trajectories: int, updates: int, output: Path
) -> Study:
    """Return stirred turbulence, 10 frames from 10; it is simulated once."""
    simulation = make_simulation(
        "navier-stokes",
        trajectories=trajectories,
        size=size,
        viscosity=viscosity,
        initial_scale=6.086,
    )
    path = output / f"navier-stokes-{viscosity:g}-{size}-{trajectories}.nc"
    if not path.exists():
        simulation.write(path)
    settings = TaskSettings(lookback=10, horizon=10, neighbour_context=False)
    task = ForecastTask.from_series(stemdist.open_series(path), settings)
    return Study(
        name=f"Navier-Stokes {size} x {size}, viscosity {viscosity:g}",
        task=task,
        teacher="spectral-evolution",
        teacher_options={},
        teacher_training=TrainingSettings(
            updates=updates, batch_windows=4, learning_rate=2e-3, validate_every=50
        ),
        students=[
            ("sdkd", "unet", {"channels": 8}, None),
            ("sdkd", "resnet", {"hidden": 32}, None),
            ("sdkd", "image-mixer", {"hidden": 32}, None),
        ],
        training=TrainingSettings(updates=updates, batch_windows=4, validate_every=50),
        measure=band_errors,
    )


def los_loop_study() -> Study:
    """Return Los-loop with the time of day: perceptrons of a graph network."""
    path = Path(os.environ["STEMDIST_DATA"]) / "los_speed.csv"
    settings = TaskSettings(
        calendar=("time_of_day",), graph=GraphSettings(method="correlation", neighbours=8)
    )
    task = ForecastTask.from_series(stemdist.open_series(path, recipe="los-loop"), settings)
    return Study(
        name="Los-loop",
        task=task,
        teacher="stnorm",
        teacher_options={},
        teacher_training=TrainingSettings(
            updates=800, batch_windows=16, learning_rate=5e-3, validate_every=100
        ),
        students=[
            ("soft-labels", "mlp", {}, None),
            ("hints", "mlp", {}, None),
            ("easyst", "bottleneck-mlp", {}, None),
        ],
        training=TrainingSettings(updates=800, batch_windows=32, validate_every=50),
        measure=errors_of,
    )


def tiny_study(output: Path) -> Study:
    """Return Los-loop distilled to 10 % of windows x 10 % of locations: tiny data, tiny model."""
    whole = los_loop_study()
    path = output / "los-loop.distilled.nc"
    if not path.exists():
        distill(whole.task, DistillSettings(), progress=None).save(path)
    return replace(
        whole,
        name="Los-loop distilled, 10 % x 10 %",
        data=DistilledSet.load(path).training_set(),
        students=[
            ("soft-labels", "mlp", {"hidden": 16}, None),
            ("soft-labels", "linear", {}, None),
            ("soft-labels", "gru", {"hidden": 16}, None),
        ],
    )


def main() -> None:
    """Run one of the studies and print its tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("study", choices=("ett", "navier-stokes", "los-loop", "tiny"))
    parser.add_argument("--output", type=Path, default=Path("students"))
    parser.add_argument("--updates", type=int, default=300, help="of the teachers, but on Los-loop")
    parser.add_argument("--lookbacks", type=int, nargs="+", default=(336, 720))
    parser.add_argument("--size", type=int, default=64, help="grid points per side")
    parser.add_argument("--trajectories", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    studies: list[Callable[[], Study]] = {
        "ett": [
            lambda name=name, steps=steps: ett_study(name, steps, options.updates)  # type: ignore[misc]
            for steps in options.lookbacks
            for name in ("ETTh1", "ETTh2")
        ],
        "navier-stokes": [
            lambda nu=nu: navier_stokes_study(  # type: ignore[misc]
                nu, options.size, options.trajectories, options.updates, options.output
            )
            for nu in (1e-3, 1e-5)
        ],
        "los-loop": [los_loop_study],
        "tiny": [lambda: tiny_study(options.output)],
    }[options.study]
    relative = ["relative_rmse", "mse", "mae"]
    columns = {"navier-stokes": ["mse", "high_mse", "low_mse"], "los-loop": relative}
    columns["tiny"] = relative
    shown = columns.get(options.study, ["mse", "mae", "last_quarter_mse"])
    rows = [row for study in studies for row in report(study(), options.output, shown)]
    pd.DataFrame(rows).to_csv(options.output / f"{options.study}.csv", index=False)


if __name__ == "__main__":
    main()

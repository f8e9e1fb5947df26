"""Students with and without a teacher ("taught", "untaught"), and their teachers.

Run with ``STEMDIST_DATA`` naming the folder that holds the files (``ETTh1.csv``, ``los_speed.csv``
...); it resumes after a stop::

    python benchmarks/students.py timedistill --output students # TimeDistill, four teachers
    python benchmarks/students.py distilts --output students    # DistilTS
    python benchmarks/students.py sdkd --output students        # SDKD, Navier-Stokes and weather
    python benchmarks/students.py classic --output students     # five classic pairs on five fields
    python benchmarks/students.py los-loop --output students    # a graph network as teacher
    python benchmarks/students.py tiny --output students        # training on a distilled set
    python benchmarks/students.py foundation                    # size and speed beside Chronos-Bolt

``--only`` selects studies by a part of their name, e.g. ``--only "ETTh2"`` or ``--only ncep``.

All students make the same number of updates from the same seeds, with the term weights of the
method. For each of them, taught or not, the learning rate is chosen on validation with seed 0 from
0.002 and 0.008. The final weights are chosen on validation and the test part is read once.
Differences are paired by seed, with their 95 % t-interval.

Reference figures: TimeDistill (arXiv:2502.15016) reports its student up to 18.6 % better than the
same perceptron untaught, better than its teacher, 7 times faster, with up to 130 times fewer
weights; DistilTS 1/150 of the weights and up to 6,000 times the speed; SDKD (arXiv:2507.02939) MSE
0.141 untaught and 0.134 to 0.136 taught for its U-Net on Navier-Stokes, and at most -81.3 % MSE
and -52.3 % MAE. PatchTST (ICLR 2023, table 3), lookback 336, horizon 96, MSE: ETTh1 0.375, ETTh2
0.274; DLinear 0.375 and 0.289.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from isolated_process import hardware
from student_fields import (
    FIELDS,
    IMAGES,
    PAIRS,
    classic_study,
    image_study,
    navier_stokes_study,
)
from student_speed import foundation_table
from student_studies import (
    LONG,
    TEACHERS,
    Study,
    distilts_study,
    los_loop_study,
    timedistill_study,
    tiny_study,
)

from stemdist.evaluate.comparison.evaluation import interval
from stemdist.evaluate.comparison.tables import aligned
from stemdist.files import hash_of, write_json
from stemdist.forecast import FittedForecaster, TrainingSet, fresh_forecaster, predict_windows
from stemdist.profiling import keep_freed_memory
from stemdist.students import Places, StudentSettings, find_teacher, teach
from stemdist.students.teachers.forecaster import ForecasterTeacher

Rows = list[dict[str, Any]]
Student = tuple[str, str, dict[str, Any], dict[str, Any]]
"""Method, forecaster, its options, and changes of the method's settings."""
UNTAUGHT = "untaught"


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
    """Runs students and stores one row of each in a file."""

    def __init__(self, study: Study, output: Path) -> None:
        self.study, self.output = study, output
        self.data = study.data or TrainingSet.of_task(study.task)
        self.teacher: ForecasterTeacher | None = None

    def trained_teacher(self) -> ForecasterTeacher:
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

        def run() -> dict[str, Any]:
            fitted = self.trained_teacher().fitted
            return {
                **measured(self.study, fitted, "test"),
                "weights": size_of(fitted),
                "seconds": fitted.record["seconds"],
            }

        return self._kept(self._teacher_key(), run)

    def _teacher_key(self) -> list[Any]:
        study = self.study
        return [study.teacher, study.teacher_options, repr(study.teacher_training)]

    def row(self, how: Student, rate: float, seed: int) -> dict[str, Any]:
        """Train one student and return its errors."""
        method, student, options, changes = how
        training = replace(self.study.training, learning_rate=rate, seed=seed)
        settings = StudentSettings.of(
            method, student=student, student_options=options, training=training, **changes
        )

        def run() -> dict[str, Any]:
            teachers = [self.trained_teacher()] if settings.active_terms else []
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

        key: list[Any] = [settings.to_json()]
        if settings.active_terms:
            key += self._teacher_key()
        return self._kept(key, run)

    def _kept(self, key: Any, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        path = self.output / f"{hash_of([self.data.content_hash, key])}.json"
        if not path.exists():
            write_json(path, run())
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def chosen(self, how: Student, rate: float, seed: int) -> dict[str, Any]:
        """Return the row of the teacher weight that is best on validation, as ``teach`` does.

        The trainings of each weight are rows of their own, so that 0 and 1 are not run again.
        """
        weights = how[3].get("teacher_weight", (1.0,))
        rows = {weight: self.row(_weighed(how, weight), rate, seed) for weight in weights}
        taken = min(rows, key=lambda weight: float(rows[weight]["validation_mse"]))
        return {**rows[taken], "teacher_weight": taken}

    def best_rate(self, how: Student) -> float:
        """Return the learning rate that is best on validation with seed 0."""
        rows = {rate: self.row(_weighed(how, 1.0), rate, 0) for rate in self.study.rates}
        return min(rows, key=lambda rate: float(rows[rate]["validation_mse"]))


def _weighed(how: Student, weight: float) -> Student:
    """Return how a student is taught with one weight of the teacher; 0 is without it."""
    method, student, options, changes = how
    if not weight:
        return "undistilled", student, options, {}
    rest = {name: value for name, value in changes.items() if name != "teacher_weight"}
    return method, student, options, rest if weight == 1 else {**rest, "teacher_weight": weight}


def report(study: Study, output: Path, columns: Sequence[str], seeds: int) -> Rows:
    """Run a study, print its table, and return its rows."""
    runs, rows = Runs(study, output), []
    teacher = runs.teacher_row()
    cells = [["", *columns, "taught - untaught", "weights", "ms / window"]]
    kinds = {f"teacher {study.teacher}": (study.teacher, study.teacher_options)}
    kinds |= {
        f"{student}{size_text(options)}": (student, options)
        for _, student, options, _ in study.students
    }
    times = side_by_side(study, kinds)

    def line(student: str, method: str, own: Rows, alone: Rows | None = None) -> None:
        name = f"{student} {method}"
        errors = [[row[column] for row in own] for column in columns]
        shown = [text(interval(values)) for values in errors]
        difference = ""
        if alone is not None:
            pairs = [row["mse"] - other["mse"] for row, other in zip(own, alone, strict=True)]
            difference = text(interval(pairs), sign=True)
        spent = next(times[kind] for kind in times if name == kind or name.startswith(f"{kind} "))
        costs = [f"{own[0]['weights']:,}", f"{spent:.3f}"]
        cells.append([name, *shown, difference, *costs])
        who = {"data": study.name, "student": student, "method": method}
        rows.extend({**who, "seed": seed, **row} for seed, row in enumerate(own))

    line("teacher", study.teacher, [teacher])

    def taught(how: Student) -> Rows:
        rate = runs.best_rate(how)
        return [runs.chosen(how, rate, seed) for seed in range(seeds)]

    for name, student, options, changes in study.students:
        title = f"{student}{size_text(options)}"
        alone = taught(("undistilled", student, options, {}))
        if not any(cell[0] == f"{title} {UNTAUGHT}" for cell in cells):
            line(title, UNTAUGHT, alone)
        own = taught((name.partition(",")[0], student, options, changes))
        line(title, f"by {name}", own, alone)
    smallest = min(row["weights"] for row in rows)
    slowest = times[f"teacher {study.teacher}"]
    print(f"\n{study.name}: {len(runs.data.source)} training windows, {hardware(1)}")
    print(aligned(cells))
    print(
        f"the teacher has {teacher['weights'] / smallest:.0f} times the weights of the smallest "
        f"student and takes {slowest / min(times.values()):.0f} times the time of the fastest"
    )
    return rows


def summary(rows: Rows) -> str:
    """Return a line for every taught student of all studies: MSE untaught and taught."""
    lines = [["", "student", "teacher", "untaught", "taught", "taught - untaught", "%", "taken"]]
    table = pd.DataFrame(rows)
    for (data, student), own in table.groupby(["data", "student"], sort=False):
        alone = own[own["method"] == UNTAUGHT].set_index("seed")["mse"]
        teacher = table[(table["data"] == data) & (table["student"] == "teacher")]["mse"].mean()
        for method, taught in own[own["method"].str.startswith("by ")].groupby(
            "method", sort=False
        ):
            errors = taught.set_index("seed")["mse"]
            gain = text(interval((errors - alone).tolist()), sign=True)
            percent = f"{100 * (errors.mean() / alone.mean() - 1):+.1f}"
            taken = " ".join(f"{weight:g}" for weight in taught["teacher_weight"])
            known = (f"{error:.4f}" for error in (teacher, alone.mean(), errors.mean()))
            lines.append([data, f"{student} {method}", *known, gain, percent, taken])
    return aligned(lines)


def size_text(options: dict[str, Any]) -> str:
    """Return the width of a student, where it is given."""
    return f" ({options['hidden']} columns)" if "hidden" in options else ""


def text(found: dict[str, float], sign: bool = False) -> str:
    """Return a mean and its 95 % interval."""
    mean = f"{found['mean']:+.4f}" if sign else f"{found['mean']:.4f}"
    return mean if np.isnan(found["half_width"]) else f"{mean} ± {found['half_width']:.4f}"


def main() -> None:
    """Run one of the studies and print its tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("study", choices=(*STUDIES, "foundation"))
    parser.add_argument("--output", type=Path, default=Path("students"))
    parser.add_argument("--updates", type=int, default=300, help="of SDKD's teachers and students")
    parser.add_argument("--lookbacks", type=int, nargs="+", default=(336,))
    parser.add_argument("--horizons", type=int, nargs="+", default=(96, 336))
    parser.add_argument("--wide", action="store_true", help="also TimeDistill's student of 512")
    parser.add_argument("--seeds", type=int, default=3, help="of every student")
    parser.add_argument("--size", type=int, default=64, help="grid points per side")
    parser.add_argument("--trajectories", type=int, default=200)
    parser.add_argument("--only", default="", help="part of the name of the studies to run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    if options.study == "foundation":
        print(foundation_table())
        return
    make, shown = STUDIES[options.study]
    rows = [
        row
        for name, study in make(options).items()
        if options.only in name
        for row in report(study(), options.output, shown, options.seeds)
    ]
    print(f"\nMSE, and the weight of the teacher that validation chose\n{summary(rows)}")
    pd.DataFrame(rows).to_csv(options.output / f"{options.study}.csv", index=False)


Makers = dict[str, Callable[[], Study]]


def _timedistill(options: argparse.Namespace) -> Makers:
    return {
        f"{name}-{steps}-{horizon}-{teacher}": partial(
            timedistill_study, name, steps, teacher, horizon, options.wide
        )
        for steps in options.lookbacks
        for horizon in options.horizons
        for name in LONG
        for teacher in TEACHERS
    }


def _distilts(options: argparse.Namespace) -> Makers:
    return {
        f"{name}-{steps}": partial(distilts_study, name, steps)
        for steps in options.lookbacks
        for name in ("ETTh1", "ETTh2")
    }


def _sdkd(options: argparse.Namespace) -> Makers:
    flows = (options.size, options.trajectories, options.updates, options.output)
    return {
        **{
            f"navier-stokes-{nu:g}": partial(navier_stokes_study, nu, *flows) for nu in (1e-3, 1e-5)
        },
        **{name: partial(image_study, name, options.updates) for name in IMAGES},
    }


def _classic(options: argparse.Namespace) -> Makers:
    return {f"{f}-{pair}": partial(classic_study, pair, f) for f in FIELDS for pair in PAIRS}


_LONG, _RELATIVE = ("mse", "mae", "last_quarter_mse"), ("relative_rmse", "mse", "mae")

STUDIES: dict[str, tuple[Callable[[argparse.Namespace], Makers], Sequence[str]]] = {
    "timedistill": (_timedistill, _LONG),
    "distilts": (_distilts, _LONG),
    "sdkd": (_sdkd, ("mse", "mae", "high_mse", "low_mse")),
    "classic": (_classic, _RELATIVE),
    "los-loop": (lambda options: {"los-loop": los_loop_study}, _RELATIVE),
    "tiny": (lambda options: {"tiny": partial(tiny_study, options.output)}, _RELATIVE),
}
"""What makes the studies of a table by name, and its columns."""


if __name__ == "__main__":
    main()

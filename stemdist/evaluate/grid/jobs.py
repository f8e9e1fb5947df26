"""The jobs of a benchmark: each writes files, so that a stopped benchmark can be resumed."""

from __future__ import annotations

import json
import math
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from stemdist.distill import DistilledSet, DistillSettings, distill
from stemdist.distill.pipeline import experts_of
from stemdist.evaluate.comparison.fidelity import fidelity
from stemdist.evaluate.comparison.protocol import evaluate
from stemdist.evaluate.comparison.settings import EvaluationSettings
from stemdist.evaluate.comparison.training_data import REFERENCES
from stemdist.evaluate.comparison.unseen import Unseen
from stemdist.evaluate.grid.settings import WITHOUT_EXPERTS, BenchmarkSettings
from stemdist.files import hash_of, write_json
from stemdist.forecast import ForecastTask

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class GridTask:
    """One task of a benchmark: a data set, a split of its time axis, and held-out locations."""

    data: str
    split: str
    task: ForecastTask
    unseen: Unseen | None = None

    @property
    def label(self) -> str:
        """Name in messages."""
        return f"{self.data} {self.split}".rstrip()


@dataclass(frozen=True, kw_only=True)
class JobContext:
    """What jobs share: settings, folders, device and the threads of one computation."""

    settings: BenchmarkSettings
    folder: Path
    experts: Path
    device: str = "cpu"
    threads: int = 1
    n_jobs: int | None = 1

    def rows(
        self,
        grid_task: GridTask,
        evaluation: EvaluationSettings,
        distilled: DistilledSet | None = None,
    ) -> list[Row]:
        """Train and test forecasters through :func:`~stemdist.evaluate.evaluate`."""
        found = evaluate(
            distilled,
            grid_task.task,
            evaluation,
            unseen=grid_task.unseen,
            results=self.folder,
            experts=self.experts,
            n_jobs=self.n_jobs,
            device=self.device,
        )
        records: list[Row] = found.table.to_dict("records")  # type: ignore[assignment]
        return [self._named(row, grid_task) for row in records]

    def _named(self, row: Row, grid_task: GridTask) -> Row:
        """Add data set and split to a row; references get their titles, distinct from methods."""
        method = str(row.pop("method"))
        seed = int(row.pop("seed"))
        trained = bool(row["forecaster"])
        return {
            "data": grid_task.data,
            "split": grid_task.split,
            "ratio": "",
            "method": REFERENCES.get(method).title if trained else method,
            "surrogate": "",
            "seed": seed // self.settings.trainings,
            "training_seed": seed,
            **row,
        }

    def made(self, task: ForecastTask, settings: DistillSettings) -> DistilledSet:
        """Return a distilled set, from its file if it was made before.

        A set is always read back, so that a resumed benchmark has the same numbers.
        """
        key = _set_key(task, settings)
        path = self.folder / "sets" / f"{key}.nc"
        if not path.exists():
            work = self.folder / "work" / key
            made = distill(task, settings, work=work, experts=self.experts, device=self.device)
            made.save(path)
            shutil.rmtree(work, ignore_errors=True)
        return DistilledSet.load(path)

    def fidelity(self, task: ForecastTask, distilled: DistilledSet, key: str) -> dict[str, float]:
        """Return the fidelity of a distilled set, from its file if it was measured before."""
        path = self.folder / "sets" / f"{key}.fidelity.json"
        if not path.exists():
            scores = fidelity(distilled, task)
            write_json(path, {k: v if math.isfinite(v) else None for k, v in scores.items()})
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {k: math.nan if v is None else float(v) for k, v in stored.items()}


def _set_key(task: ForecastTask, settings: DistillSettings) -> str:
    return hash_of([version("stemdist"), task.content_hash, settings.to_json()])


@dataclass(frozen=True, kw_only=True)
class Job(ABC):
    """One piece of work that may fail without stopping the others."""

    grid_task: GridTask

    @property
    @abstractmethod
    def label(self) -> str:
        """Name in messages."""

    @abstractmethod
    def run(self, context: JobContext) -> list[Row]:
        """Do the work, unless its files are there, and return rows of the table."""


@dataclass(frozen=True, kw_only=True)
class ExpertJob(Job):
    """Train the experts that several distillations of a task share."""

    settings: DistillSettings

    @property
    def label(self) -> str:
        """Data and experts."""
        return f"{self.grid_task.label}: experts {', '.join(self.settings.experts)}"

    def run(self, context: JobContext) -> list[Row]:
        """Write trained experts to the folder of experts."""
        experts_of(self.grid_task.task, self.settings, cache=context.experts, device=context.device)
        return []


@dataclass(frozen=True, kw_only=True)
class FullJob(Job):
    """Train one forecaster on the full data, by each reference that has them at every ratio."""

    forecaster: str
    methods: tuple[str, ...]

    @property
    def label(self) -> str:
        """Data and forecaster."""
        return f"{self.grid_task.label}: {self.forecaster} on the full data"

    def run(self, context: JobContext) -> list[Row]:
        """Return a row per seed of ``full``, and those of baselines; ratios show the others."""
        settings = context.settings
        evaluation = settings.evaluation(
            self.methods,
            forecasters=(self.forecaster,),
            seeds=settings.seeds * settings.trainings,
        )
        rows = context.rows(self.grid_task, evaluation)
        full = REFERENCES.get("full").title
        return [row for row in rows if row["method"] == full or not row["forecaster"]]


@dataclass(frozen=True, kw_only=True)
class ReferenceJob(Job):
    """Train forecasters on the references at one ratio."""

    ratio: str
    methods: tuple[str, ...]

    @property
    def label(self) -> str:
        """Data and ratio."""
        return f"{self.grid_task.label} {self.ratio}: {', '.join(self.methods)}"

    def run(self, context: JobContext) -> list[Row]:
        """Return a row per reference, forecaster and seed."""
        settings = context.settings
        size = context.made(self.grid_task.task, settings.starting_point(self.ratio))
        evaluation = settings.evaluation(self.methods, seeds=settings.seeds * settings.trainings)
        return _at(self.ratio, context.rows(self.grid_task, evaluation, size), {})


@dataclass(frozen=True, kw_only=True)
class MethodJob(Job):
    """Distil one set, then train forecasters on it."""

    ratio: str
    method: str
    surrogate: str
    seed: int

    @property
    def label(self) -> str:
        """Data, ratio, method and seed."""
        used = f" with {self.surrogate}" if self.surrogate else ""
        return f"{self.grid_task.label} {self.ratio}: {self.method}{used}, seed {self.seed}"

    def settings(self, context: JobContext) -> DistillSettings:
        """Return the settings of the distillation."""
        return context.settings.distillation(self.method, self.ratio, self.seed, self.surrogate)

    def run(self, context: JobContext) -> list[Row]:
        """Return a row per forecaster and training, with costs and fidelity of the set."""
        task, settings = self.grid_task.task, self.settings(context)
        distilled = context.made(task, settings)
        looks = context.fidelity(task, distilled, _set_key(task, settings))
        seconds = float(distilled.record["seconds"])
        n = context.settings.trainings
        evaluation = context.settings.evaluation(("distilled",), seeds=n, first_seed=self.seed * n)
        facts = {
            "method": self.method,
            "surrogate": self.surrogate,
            "distill_seconds": seconds,
            "data_seconds": seconds,  # its own, though equal sets share their trainings
            "expert_seconds": float(distilled.record["expert_seconds"]),
            "distill_peak_memory_bytes": float(distilled.record["peak_memory_bytes"]),
            **{f"fidelity_{name}": value for name, value in looks.items()},
        }
        return _at(self.ratio, context.rows(self.grid_task, evaluation, distilled), facts)


def _at(ratio: str, rows: Iterable[Row], facts: Mapping[str, Any]) -> list[Row]:
    """Add the ratio and facts to rows of trained forecasters."""
    return [{**row, "ratio": ratio, **facts} if row["forecaster"] else row for row in rows]


def stages(
    grid_tasks: list[GridTask], settings: BenchmarkSettings
) -> Iterator[tuple[str, list[Job]]]:
    """Yield the jobs in order: shared work first, so that nothing is computed twice."""
    yield "experts", [job for grid_task in grid_tasks for job in _expert_jobs(grid_task, settings)]
    whole = tuple(name for name in settings.references if not REFERENCES.get(name).sized)
    if whole:
        yield (
            "full data",
            [
                FullJob(grid_task=p, forecaster=name, methods=whole)
                for p in grid_tasks
                for name in settings.forecasters
            ],
        )
    methods = tuple(name for name in settings.references if name != "full")
    if methods:
        yield (
            "references",
            [
                ReferenceJob(grid_task=p, ratio=r, methods=methods)
                for p in grid_tasks
                for r in settings.ratios
            ],
        )
    yield (
        "methods",
        [
            MethodJob(
                grid_task=grid_task, ratio=ratio, method=method, surrogate=surrogate, seed=seed
            )
            for grid_task in grid_tasks
            for ratio in settings.ratios
            for method in settings.methods
            for surrogate in settings.surrogates_of(method)
            for seed in range(settings.seeds)
        ],
    )


def _expert_jobs(grid_task: GridTask, settings: BenchmarkSettings) -> list[Job]:
    """Return a job for each different choice of experts that labels need."""
    ratio = settings.ratios[0]
    needed = [settings.distillation(method, ratio, 0) for method in settings.methods]
    if set(settings.references) - WITHOUT_EXPERTS:
        needed.append(settings.starting_point(ratio))
    different = {hash_of(one.of_experts()): one for one in needed if one.labels != "observed"}
    return [ExpertJob(grid_task=grid_task, settings=one) for one in different.values()]


def attempt(job: Job, context: JobContext) -> tuple[str, list[Row], str]:
    """Run a job; return its label, its rows and the error that stopped it, if any."""
    torch.set_num_threads(context.threads)
    try:
        return job.label, job.run(context), ""
    except Exception as error:  # of any kind: the other jobs continue, and the report lists it
        reason = " ".join(str(error).split()) or "no message"
        return job.label, [], f"{type(error).__name__}: {reason}"

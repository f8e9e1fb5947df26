"""All trainings of a comparison: the search on validation, the other seeds, and the test."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from joblib import delayed

from stemdist.distill.distilled import DistilledSet
from stemdist.evaluate.comparison.budgets import LEAST_GAIN
from stemdist.evaluate.comparison.runs import Cell, Row, Run, RunFolder, Tuning
from stemdist.evaluate.comparison.training_data import REFERENCES, Budget, Reference, TrainingData
from stemdist.evaluate.metrics.baselines import fitting_baselines
from stemdist.evaluate.metrics.verification import Verification
from stemdist.files import hash_of
from stemdist.profiling import measure
from stemdist.scheduling import away, here, results_of

Trained = tuple[Run, Row]


@dataclass(frozen=True)
class Trainings:
    """The runs of a comparison, at the same time where there are several jobs."""

    run_folder: RunFolder
    distilled: DistilledSet | None
    experts: Path
    n_jobs: int | None
    progress: bool | None
    made: dict[tuple[str, int], tuple[TrainingData, float]] = field(default_factory=dict)
    """Training data and seconds by reference and seed."""

    def run(self) -> tuple[list[Row], list[tuple[Row, Row]]]:
        """Train and test everything.

        Returns
        -------
        list of Row, list of (Row, Row)
            Of every training of the search; and, with their test, of the chosen ones and the
            baselines.
        """
        search: list[Trained] = []
        others: list[Trained] = []
        chosen: dict[Cell, Tuning] = {}
        for budget in self.run_folder.settings.budgets:  # in turn: they may share trainings
            tried, best = self._search(budget)
            search += tried
            chosen |= best
            others += self._other_seeds(best)
        return [row for _, row in search], self._test([*search, *others], chosen)

    def _search(self, budget: str) -> tuple[list[Trained], dict[Cell, Tuning]]:
        """Train the first seed over the grid, longer while it helps, and choose by validation.

        Longer trainings have the learning rate and the shuffle that were best before.
        """
        settings = self.run_folder.settings
        names = product(settings.references, settings.forecasters)
        cells = [Cell(budget, method, forecaster) for method, forecaster in names]
        grids = {cell: self._grid(cell.forecaster) for cell in cells}
        tried: list[Trained] = []
        best: dict[Cell, Trained] = {}
        for updates in settings.tried_updates(budget):
            runs = [
                self._run(cell, settings.first_seed, Tuning(rate, shuffle, updates))
                for cell in cells
                for rate, shuffle in grids[cell]
            ]
            found = self._train(runs, f"search, {updates} updates")
            tried += found
            latest = lowest_of_each(found)
            cells = [cell for cell in cells if helps(best.get(cell), latest[cell])]
            best = lowest_of_each([*best.values(), *latest.values()])
            tunings = {cell: run.tuning for cell, (run, _) in best.items()}
            grids = {cell: [(each.learning_rate, each.shuffle)] for cell, each in tunings.items()}
        return tried, {cell: run.tuning for cell, (run, _) in best.items()}

    def _grid(self, family: str) -> list[tuple[float, str]]:
        """Return the grid of a forecaster; shuffled locations matter to some only."""
        settings = self.run_folder.settings
        shuffles = settings.shuffles if self.run_folder.mixes_locations(family) else ("auto",)
        return list(product(settings.learning_rates, shuffles))

    def _other_seeds(self, chosen: Mapping[Cell, Tuning]) -> list[Trained]:
        """Train the other seeds with the chosen settings."""
        first, seeds = self.run_folder.settings.first_seed, self.run_folder.settings.seeds
        runs = [
            self._run(cell, seed, tuning)
            for cell, tuning in chosen.items()
            for seed in range(first + 1, first + seeds)
        ]
        return self._train(runs, "other seeds")

    def _test(self, trained: list[Trained], chosen: Mapping[Cell, Tuning]) -> list[tuple[Row, Row]]:
        """Read the test part, once, for baselines and runs with the chosen settings."""
        verification = self.run_folder.test_verification()
        jobs = [
            delayed(_test)(self.run_folder, run, row, verification, self._sent(run))
            for cell, tuning in chosen.items()
            for run, row in trained
            if (run.cell, run.tuning) == (cell, tuning)
        ]
        names = fitting_baselines(self.run_folder.tested)
        baselines = [_baseline_row(self.run_folder, name, verification) for name in names]
        return [*self._parallel(jobs, "test"), *baselines]

    def _run(self, cell: Cell, seed: int, tuning: Tuning) -> Run:
        kind, budget = self._method(cell.method, seed)
        return Run(cell=cell, seed=seed, tuning=tuning, identity=hash_of(kind.identity(budget)))

    def _method(self, name: str, seed: int) -> tuple[Reference, Budget]:
        kind = REFERENCES.get(name)()
        drawn = self.run_folder.settings.selection_seed + (seed if kind.random else 0)
        return kind, Budget(
            task=self.run_folder.task,
            distilled=self.distilled,
            seed=drawn,
            cache=self.experts,
            device=self.run_folder.device,
        )

    def _train(self, runs: Iterable[Run], title: str) -> list[Trained]:
        jobs, runs = [], list(runs)
        for run in runs:
            if self.run_folder.trained(run) is None:
                kind = REFERENCES.get(run.cell.method)
                data = self._data(run.cell.method, run.seed if kind.random else 0)
                jobs.append(delayed(_train)(self.run_folder, run, *data, away=self._away))
        for files in self._parallel(jobs, title):
            self.run_folder.receive(files)
        rows = [(run, self.run_folder.trained(run)) for run in runs]
        return [(run, {**row, "budget": run.cell.budget}) for run, row in rows if row is not None]

    def _data(self, method: str, seed: int) -> tuple[TrainingData, float]:
        if (method, seed) not in self.made:
            kind, budget = self._method(method, seed)
            with measure() as cost:
                data = kind.data(budget)
            self.made[method, seed] = data, max(cost.wall_seconds, data.recorded_seconds)
        return self.made[method, seed]

    def _sent(self, run: Run) -> dict[str, bytes] | None:
        """Return the trained weights where jobs run on a cluster; None where they share files."""
        return self.run_folder.files(run) if self._away else None

    def _parallel(self, jobs: list[Any], title: str) -> list[Any]:
        with here(away() and not self._away):
            return list(results_of(jobs, self.n_jobs, title, unit="run", progress=self.progress))

    @property
    def _away(self) -> bool:
        """Whether jobs go to a cluster; one that would take a series with it stays here."""
        return away() and self.run_folder.task.reopening is not None


def lowest_of_each(trained: Iterable[Trained]) -> dict[Cell, Trained]:
    """Return the training of each cell with the lowest validation error, the first of equals."""
    best: dict[Cell, Trained] = {}
    for run, row in trained:
        if run.cell not in best or _error(row) < _error(best[run.cell][1]):
            best[run.cell] = run, row
    return best


def helps(before: Trained | None, latest: Trained) -> bool:
    """Tell whether the latest number of updates lowered the error enough to try more."""
    return before is None or _error(latest[1]) <= (1 - LEAST_GAIN) * _error(before[1])


def _error(row: Row) -> float:
    return float(row["validation_relative_rmse"])


def _train(
    run_folder: RunFolder, run: Run, data: TrainingData, seconds: float, *, away: bool
) -> dict[str, bytes]:
    """Train a run; on a cluster return its files, for there need not be a folder that is shared."""
    if not away:
        run_folder.train(run, data, seconds)
        return {}
    with run_folder.elsewhere() as own:
        own.train(run, data, seconds)
        return own.files(run)


def _test(
    run_folder: RunFolder,
    run: Run,
    row: Row,
    verification: Verification,
    files: dict[str, bytes] | None,
) -> tuple[Row, Row]:
    if files is None:
        return row, run_folder.test(run, verification)
    with run_folder.elsewhere() as own:
        own.receive(files)
        return row, own.test(run, verification)


def _baseline_row(run_folder: RunFolder, name: str, verification: Verification) -> tuple[Row, Row]:
    tested = run_folder.test_baseline(name, verification)
    untrained = {"budget": "", "learning_rate": math.nan, "shuffle": ""}
    return {"method": name, "forecaster": "", "seed": 0, **untrained}, tested

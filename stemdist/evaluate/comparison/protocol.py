"""The comparison: train fresh forecasters on each reference, choose on validation, test once.

Shapes: M windows, N locations, M_S synthetic windows, K clusters.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import delayed

from stemdist.distill.distilled import DistilledSet
from stemdist.errors import InputError
from stemdist.evaluate.comparison.evaluation import Evaluation
from stemdist.evaluate.comparison.runs import Row, Run, RunFolder
from stemdist.evaluate.comparison.settings import EvaluationSettings
from stemdist.evaluate.comparison.training_data import REFERENCES, Budget, Reference, TrainingData
from stemdist.evaluate.comparison.unseen import Unseen
from stemdist.evaluate.metrics.baselines import fitting_baselines
from stemdist.evaluate.metrics.errors import METRICS
from stemdist.evaluate.metrics.verification import Verification
from stemdist.files import hash_of
from stemdist.forecast import ForecastTask
from stemdist.profiling import measure
from stemdist.scheduling import away, here, results_of

Tuning = tuple[float, str]
"""Learning rate, and whether locations are shuffled, by its name in ``SHUFFLES``."""
FIRST_COLUMNS = (
    *("method", "forecaster", "seed", "learning_rate", "shuffle"),
    *METRICS,
    *("validation_relative_rmse", "updates", "train_seconds", "data_seconds"),
)


def evaluate(
    distilled: DistilledSet | None,
    task: ForecastTask,
    settings: EvaluationSettings | None = None,
    *,
    unseen: Unseen | None = None,
    results: str | Path | None = None,
    experts: str | Path | None = None,
    n_jobs: int | None = None,
    device: str = "cpu",
    progress: bool | None = False,
) -> Evaluation:
    """Compare a distilled set with full data and with other sets of its size.

    The same fresh forecasters are trained on every reference, with the same optimizer, schedule,
    number of updates and seeds. Learning rates and final weights are chosen on the validation part
    at all N locations; the test part is read once, at the end.

    Parameters
    ----------
    distilled : DistilledSet or None
        The set under test; None compares forecasters on the full data (``references=("full",)``).
    task : ForecastTask
        The real data it was distilled from, prepared with ``distilled.settings``.
    settings : EvaluationSettings, optional
        Defaults are used without it.
    unseen : Unseen, optional
        Held-out locations to test on (see :func:`hold_out`); those of the task by default.
    results : str or Path, optional
        Folder for one file per training run and test, so that an interrupted comparison can be
        resumed.
    experts : str or Path, optional
        Folder of trained experts (``distill`` keeps them in ``WORK/experts``); by default
        ``experts`` in ``results``.
    n_jobs : int, optional
        Training runs at the same time; by default what ``joblib.parallel_config`` says, or one.
    device : str
        Where the computation runs.
    progress : bool, optional
        Show progress bars; None shows them on a terminal only.

    Returns
    -------
    Evaluation
        Its table has one row per reference, forecaster and seed.

    Raises
    ------
    InputError
        If the set does not fit the task, or a setting cannot be used.

    Examples
    --------
    >>> from stemdist.data import canonical_series, simulate
    >>> from stemdist.distill import DistillSettings, distill
    >>> from stemdist.forecast import TrainingSettings
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=4, n_lon=4))
    >>> task = ForecastTask.from_series(series)
    >>> quick = DistillSettings(
    ...     labels="observed", synthesizer="selection", judging=TrainingSettings(updates=5)
    ... )
    >>> settings = EvaluationSettings(
    ...     forecasters=("linear",), references=("full", "distilled"), seeds=1, updates=10
    ... )
    >>> evaluate(distill(task, quick), task, settings).table["method"].unique().tolist()[:2]
    ['full', 'distilled']
    """
    settings = settings or EvaluationSettings()
    if distilled is not None:
        check_fit(distilled, task)
    elif sized := [name for name in settings.references if REFERENCES.get(name).sized]:
        raise InputError(
            f"the references {', '.join(sized)} need a distilled set: give one, or compare "
            "forecasters on the full data with references=('full',)"
        )
    with _folder(results) as folder:
        run_folder = RunFolder(
            task=task, settings=settings, folder=folder / "runs", device=device, unseen=unseen
        )
        cache_folder = folder / "experts" if experts is None else Path(experts)
        comparison = _Comparison(run_folder, distilled, cache_folder, n_jobs, progress)
        search, chosen = comparison.search()
        trained = comparison.train_others(chosen)
        tested = comparison.test([*search, *trained], chosen)
    return _collect(distilled, run_folder, search, tested)


@dataclass(frozen=True)
class _Comparison:
    run_folder: RunFolder
    distilled: DistilledSet | None
    experts: Path
    n_jobs: int | None
    progress: bool | None

    def search(self) -> tuple[list[tuple[Run, Row]], dict[tuple[str, str], Tuning]]:
        """Train the first seed at every point of the grid and choose one by validation error."""
        settings = self.run_folder.settings
        pairs = [(m, f) for m in settings.references for f in settings.forecasters]
        grids = {family: self._grid(family) for family in settings.forecasters}
        rows = self._train(
            self._run(m, f, settings.first_seed, tuning) for m, f in pairs for tuning in grids[f]
        )
        chosen = {}
        for pair in pairs:
            own = [row for run, row in rows if (run.method, run.forecaster) == pair]
            best = min(own, key=lambda row: float(row["validation_relative_rmse"]))
            chosen[pair] = (float(best["learning_rate"]), best["shuffle"])
        return rows, chosen

    def _grid(self, family: str) -> list[Tuning]:
        """Return the grid of a forecaster; shuffled locations matter to some only."""
        settings = self.run_folder.settings
        shuffles = settings.shuffles if self.run_folder.mixes_locations(family) else ("auto",)
        return list(product(settings.learning_rates, shuffles))

    def train_others(self, chosen: dict[tuple[str, str], Tuning]) -> list[tuple[Run, Row]]:
        """Train the other seeds with the chosen settings."""
        first, seeds = self.run_folder.settings.first_seed, self.run_folder.settings.seeds
        return self._train(
            self._run(method, forecaster, seed, tuning)
            for (method, forecaster), tuning in chosen.items()
            for seed in range(first + 1, first + seeds)
        )

    def test(
        self, trained: list[tuple[Run, Row]], chosen: dict[tuple[str, str], Tuning]
    ) -> list[tuple[Row, Row]]:
        """Read the test part, once, for baselines and runs with the chosen settings."""
        verification = self.run_folder.test_verification()
        jobs = [
            delayed(_test)(self.run_folder, run, row, verification, self._sent(run))
            for pair, tuning in chosen.items()
            for run, row in trained
            if (run.method, run.forecaster) == pair and (run.learning_rate, run.shuffle) == tuning
        ]
        names = fitting_baselines(self.run_folder.tested)
        baselines = [_baseline_row(self.run_folder, name, verification) for name in names]
        return [*self._parallel(jobs, "test"), *baselines]

    def _run(self, method: str, forecaster: str, seed: int, tuning: Tuning) -> Run:
        kind, budget = self._method(method, seed)
        return Run(
            method=method,
            forecaster=forecaster,
            seed=seed,
            learning_rate=tuning[0],
            shuffle=tuning[1],
            identity=hash_of(kind.identity(budget)),
        )

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

    def _train(self, runs: Iterable[Run]) -> list[tuple[Run, Row]]:
        make = cache(self._data)
        jobs, runs = [], list(runs)
        for run in runs:
            if self.run_folder.trained(run) is None:
                kind = REFERENCES.get(run.method)
                data = make(run.method, run.seed if kind.random else 0)
                jobs.append(delayed(_train)(self.run_folder, run, *data, away=self._away))
        for files in self._parallel(jobs, "train"):
            self.run_folder.receive(files)
        return [(run, row) for run in runs if (row := self.run_folder.trained(run)) is not None]

    def _data(self, method: str, seed: int) -> tuple[TrainingData, float]:
        kind, budget = self._method(method, seed)
        with measure() as cost:
            data = kind.data(budget)
        return data, max(cost.wall_seconds, data.recorded_seconds)

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
    untrained = {"learning_rate": math.nan, "shuffle": ""}
    return {"method": name, "forecaster": "", "seed": 0, **untrained}, tested


@contextmanager
def _folder(results: str | Path | None) -> Iterator[Path]:
    if results is not None:
        yield Path(results)
        return
    with tempfile.TemporaryDirectory(prefix="stemdist-") as folder:
        yield Path(folder)


def check_fit(distilled: DistilledSet, task: ForecastTask) -> None:
    """Raise with all differences between the set and the task."""
    pairs = {
        "lookback": (distilled.settings.lookback, task.settings.lookback),
        "horizon": (distilled.settings.horizon, task.settings.horizon),
        "features": (distilled.feature_names, task.feature_names),
        "locations": (len(distilled.cluster_of_location), task.n_locations),
    }
    faults = [f"{name} {one} and {other}" for name, (one, other) in pairs.items() if one != other]
    ours, theirs = ((*s.mean, *s.scale) for s in (distilled.scaler, task.scaler))
    if not faults and not np.allclose(ours, theirs, rtol=1e-4):
        faults = [f"scaling (means, then scales) {ours} and {theirs}"]
    if faults:
        raise InputError(
            f"the distilled set does not fit the data: {'; '.join(faults)}. Give the data it was "
            "distilled from, prepared with the same settings and split"
        )


def _collect(
    distilled: DistilledSet | None,
    run_folder: RunFolder,
    search: list[tuple[Run, Row]],
    tested: list[tuple[Row, Row]],
) -> Evaluation:
    locations = run_folder.tested.series["location"].values
    if run_folder.unseen is not None:
        locations = locations[run_folder.unseen.index.numpy()]

    def long(name: str, **more: Any) -> pd.DataFrame:
        keys = ("method", "forecaster", "seed")
        parts = [
            pd.DataFrame({**{key: row[key] for key in keys}, **more, **test[name]})
            for row, test in tested
        ]
        return pd.concat(parts, ignore_index=True)

    table = pd.DataFrame([{**row, **test["metrics"]} for row, test in tested])
    rest = [name for name in sorted(map(str, table)) if name not in FIRST_COLUMNS]
    return Evaluation(
        table=table[[name for name in FIRST_COLUMNS if name in table] + rest],
        search=pd.DataFrame([row for _, row in search]),
        by_target=long("by_target"),
        by_horizon=long("by_horizon"),
        by_stratum=long("by_stratum"),
        by_location=long("by_location", location=locations),
        facts=_facts(distilled, run_folder),
    )


def _facts(distilled: DistilledSet | None, run_folder: RunFolder) -> dict[str, Any]:
    task, settings, tested = run_folder.task, run_folder.settings, len(run_folder.tested.test)
    facts = {
        "stemdist_version": version("stemdist"),
        "content_hash": task.content_hash,
        "target": task.target_name,
        "units": task.units,
        "split_boundaries": task.split_boundaries,
        "training_windows": len(task.train),
        "test_windows": min(settings.test_windows or tested, tested),
        "locations": task.n_locations,
        "settings": settings.to_json(),
    }
    if run_folder.unseen is not None:
        facts["held_out_locations"] = len(run_folder.unseen.index)
    if distilled is None:
        return facts
    return facts | {
        "synthetic_windows": distilled.n_windows,
        "clusters": distilled.n_clusters,
        "distill_seconds": distilled.record.get("seconds"),
        "distill_peak_memory_bytes": distilled.record.get("peak_memory_bytes"),
    }

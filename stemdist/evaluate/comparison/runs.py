"""The runs of a comparison: one training run each, kept in files named by their content.

A run is trained (validation only), then, if its learning rate is chosen, tested. Each step
writes one JSON file, so that an interrupted comparison can be resumed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import pandas as pd
from safetensors.torch import load_file

from stemdist.data.windows import SeriesWindows, TensorWindows
from stemdist.distill.ratios import compression_ratios
from stemdist.errors import InputError
from stemdist.evaluate.comparison.budgets import EQUAL
from stemdist.evaluate.comparison.influence import influence
from stemdist.evaluate.comparison.settings import EvaluationSettings
from stemdist.evaluate.comparison.training_data import TrainingData
from stemdist.evaluate.comparison.unseen import Unseen
from stemdist.evaluate.metrics.baselines import BASELINES
from stemdist.evaluate.metrics.errors import ErrorSums
from stemdist.evaluate.metrics.verification import Verification
from stemdist.files import atomic_path, hash_of, write_json
from stemdist.forecast import (
    Forecaster,
    ForecastTask,
    TrainingSettings,
    fresh_forecaster,
    predict_windows,
    save_weights,
    train_forecaster,
)
from stemdist.profiling import measure

Row = dict[str, Any]


class Cell(NamedTuple):
    """What is compared: a budget of training, a reference and a forecaster."""

    budget: str
    method: str
    forecaster: str


class Tuning(NamedTuple):
    """What validation chooses for a cell; ``shuffle`` is a name of ``SHUFFLES``."""

    learning_rate: float
    shuffle: str
    updates: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run: a cell of the comparison, a seed and what validation chooses."""

    cell: Cell
    seed: int
    tuning: Tuning
    identity: str
    """Hash of all that the training data depend on besides the task."""

    def columns(self) -> Row:
        """Return the columns of the table that identify the training, whatever its budget."""
        return {
            "method": self.cell.method,
            "forecaster": self.cell.forecaster,
            "seed": self.seed,
            "learning_rate": self.tuning.learning_rate,
            "shuffle": self.tuning.shuffle,
        }


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """The task of all runs, the settings they share, and the folder of results.

    With ``unseen`` they are tested at held-out locations, else at those of the task.
    """

    task: ForecastTask
    settings: EvaluationSettings
    folder: Path
    device: str
    unseen: Unseen | None = None

    @property
    def tested(self) -> ForecastTask:
        """The task whose test part is read."""
        return self.task if self.unseen is None else self.unseen.task

    def trained(self, run: Run) -> Row | None:
        """Return the finished training of a run, or None."""
        return _read(self._path(run, "json"))

    def train(self, run: Run, data: TrainingData, data_seconds: float) -> Row:
        """Train a run, unless that is done, and return its costs and validation error."""
        done = self.trained(run)
        if done is not None:
            return done
        forecaster, state = self._fresh(run.cell.forecaster, run.seed), self._path(run, "state")
        settings = self._training(run, forecaster)
        with measure(self.device) as cost:
            result = train_forecaster(
                forecaster,
                data.source,
                data.graph,
                settings,
                objective=None if data.objective is None else data.objective(settings),
                validation=(self.task.validation, self.task.graph, self.task.train.profile),
                checkpoint=state,
                device=self.device,
            )
        verification = self._verification(
            self.task, self.task.validation, at_most=self.settings.validation_windows
        )
        row = {
            **run.columns(),
            "validation_relative_rmse": fmean(
                sums.metrics()["relative_rmse"] for sums in self._errors(forecaster, verification)
            ),
            "weights": sum(weight.numel() for weight in forecaster.parameters()),
            "updates": result.updates,
            "training_windows": len(data.source),
            "training_locations": data.source.n_locations,
            "train_seconds": result.seconds,
            "train_cpu_seconds": cost.cpu_seconds,
            "data_seconds": data_seconds,
            "peak_memory_bytes": cost.peak_memory_bytes,
            "added_memory_bytes": cost.added_memory_bytes,
            "peak_device_bytes": cost.peak_device_bytes,
            **ratios(self.task, data),
        }
        self._keep(run, forecaster, row)
        state.unlink(missing_ok=True)
        return row

    def _keep(self, run: Run, forecaster: Forecaster, row: Row) -> None:
        """Write the weights, then the row, whose presence marks a finished run."""
        with atomic_path(self._path(run, "safetensors")) as path:
            save_weights(forecaster, path)
        write_json(self._path(run, "json"), row)

    def files(self, run: Run) -> dict[str, bytes]:
        """Return the files of a trained run by name, to send them to another folder."""
        paths = [self._path(run, suffix) for suffix in ("safetensors", "json")]
        return {path.name: path.read_bytes() for path in paths}

    def receive(self, files: Mapping[str, bytes]) -> None:
        """Write files that another folder sent, unless they are here; rows come after weights."""
        for name, content in files.items():
            if not (self.folder / name).exists():
                with atomic_path(self.folder / name) as path:
                    path.write_bytes(content)

    @contextmanager
    def elsewhere(self) -> Iterator[RunFolder]:
        """Give a folder for one job on a worker that need not share this one."""
        with tempfile.TemporaryDirectory(prefix="stemdist-") as folder:
            yield replace(self, folder=Path(folder))

    def test(self, run: Run, verification: Verification) -> Row:
        """Test a trained run at all N locations, or held-out ones, unless that is done."""
        restored = cache(lambda: self._restored(run))

        def more() -> Row:
            read = influence(restored(), verification.task.train.profile)
            return {} if read is None else {"influence": verification.measured(read).tolist()}

        return self._tested(self._key(run), lambda: self._errors(restored(), verification), more)

    def test_baseline(self, name: str, verification: Verification) -> Row:
        """Test a forecast that needs no training, unless that is done."""
        identity = [version("stemdist"), self.task.content_hash, name]
        forecast = BASELINES[name]
        return self._tested(
            hash_of(identity), lambda: verification.errors(forecast(self.task, self.tested))
        )

    def test_verification(self) -> Verification:
        """Return the verification on the test part."""
        return self._verification(
            self.tested,
            self.tested.test,
            at_most=self.settings.test_windows,
            locations=None if self.unseen is None else self.unseen.index,
        )

    def _verification(self, task: ForecastTask, windows: SeriesWindows, **how: Any) -> Verification:
        season, weighted = self.settings.season_steps, self.settings.area_weighted
        return Verification.of(task, windows, season_steps=season, area_weighted=weighted, **how)

    def _tested(
        self, key: str, errors: Callable[[], list[ErrorSums]], more: Callable[[], Row] = dict
    ) -> Row:
        """Return errors, from their file if it exists; ``more`` returns columns by location."""
        names = ("test_windows", "season_steps", "area_weighted")
        where = [] if self.unseen is None else [self.unseen.identity]
        how = hash_of([*(getattr(self.settings, name) for name in names), *where])
        path = self.folder / f"{key}.test-{how}.json"
        done = _read(path)
        if done is not None:
            return done
        extra = more()  # first: predicting moves a forecaster to the device
        with measure(self.device) as cost:
            each = errors()
        sums = each[0]
        by_target = pd.DataFrame([own.metrics() for own in each])
        by_target.insert(0, "target", self.task.target_names)
        by_location = sums.by_location()[["rmse", "mae", "bias"]].assign(**extra)
        row = {
            "metrics": {**sums.metrics(), "predict_seconds": cost.wall_seconds},
            "by_target": by_target.to_dict("list"),
            "by_horizon": sums.by_horizon().reset_index().to_dict("list"),
            "by_stratum": sums.by_stratum().reset_index().to_dict("list"),
            "by_location": by_location.to_dict("list"),
        }
        write_json(path, row)
        return row

    def _errors(self, forecaster: Forecaster, verification: Verification) -> list[ErrorSums]:
        graph, profile = verification.task.graph, verification.task.train.profile
        return verification.errors(
            lambda windows, index: predict_windows(
                forecaster, windows, graph, profile, index=index, device=self.device
            ),
            self.settings.quantiles,
        )

    def _restored(self, run: Run) -> Forecaster:
        """Return the forecaster of a trained run."""
        forecaster = self._fresh(run.cell.forecaster, run.seed)
        forecaster.load_state_dict(load_file(self._path(run, "safetensors")))
        return forecaster

    def _fresh(self, family: str, seed: int) -> Forecaster:
        """Return a forecaster with initial weights that depend on the seed only."""
        options, levels = self.settings.options.get(family), self.settings.quantiles
        return fresh_forecaster(family, self.task.train, seed, options, levels)

    def mixes_locations(self, family: str) -> bool:
        """Return whether a forecaster is not pointwise."""
        return not self._fresh(family, 0).pointwise

    def _training(self, run: Run, forecaster: Forecaster) -> TrainingSettings:
        return self.settings.training(
            seed=run.seed,
            learning_rate=run.tuning.learning_rate,
            shuffle=run.tuning.shuffle,
            updates=run.tuning.updates,
            all_locations=forecaster.needs_grid
            or (forecaster.pointwise and run.cell.budget == EQUAL),
        )

    def _key(self, run: Run) -> str:
        """Return a hash of everything the trained weights depend on."""
        forecaster = self._fresh(run.cell.forecaster, run.seed)
        training = self._training(run, forecaster)
        content = [version("stemdist"), self.task.content_hash, run.cell.method, run.identity]
        score = self.settings.area_weighted  # the validation error depends on it
        return hash_of([*content, run.cell.forecaster, forecaster.config, asdict(training), score])

    def _path(self, run: Run, suffix: str) -> Path:
        return self.folder / f"{self._key(run)}.{suffix}"


def ratios(task: ForecastTask, data: TrainingData) -> dict[str, float]:
    """Return the three compression ratios of training data."""
    source, numbers = data.source, data.stored_numbers
    _, end = task.split_boundaries["train"]
    series_bytes = 4 * end * task.n_locations * len(task.series.data_vars)
    if isinstance(source, TensorWindows):
        sizes = (len(task.train), task.n_locations)
        return compression_ratios(source, task.settings, *sizes, series_bytes, numbers)
    locations = source.n_locations / task.n_locations  # the series is stored, not its windows
    share = len(source) / len(task.train) * locations
    stored = locations if numbers is None else 4 * numbers / series_bytes
    return {"window_ratio": share, "training_ratio": share, "byte_ratio": stored}


def _read(path: Path) -> Row | None:
    if not path.exists():
        return None
    try:
        content: Row = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"the result {str(path)!r} cannot be read ({error}): delete it, and it is made again"
        ) from error
    return content

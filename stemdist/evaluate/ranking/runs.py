"""Training configurations on training data: one file each, so that a stopped ranking resumes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from joblib import delayed

from stemdist.distill import DistilledSet
from stemdist.distill.problem import validating_within_reason
from stemdist.evaluate.comparison.training_data import REFERENCES, Budget, TrainingData
from stemdist.evaluate.ranking.settings import RankingSettings
from stemdist.files import hash_of, write_json
from stemdist.forecast import ForecastTask, TrainingSettings, held_out
from stemdist.profiling import measure
from stemdist.scheduling import results_of
from stemdist.search.configurations import Configuration

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RankingRuns:
    """The trainings of a ranking, of which those in the folder are not made again.

    Parameters
    ----------
    task : ForecastTask
        The real data; its test part is not read.
    distilled : DistilledSet, optional
        The set under test; other references have its size.
    settings : RankingSettings
        How configurations are trained.
    folder : Path
        Where finished trainings are kept.
    experts : Path, optional
        Folder of trained experts.
    n_jobs : int, optional
        Trainings at the same time.
    device : str
        Where to train.
    progress : bool, optional
        Show bars; None shows them on a terminal only.
    """

    task: ForecastTask
    distilled: DistilledSet | None
    settings: RankingSettings
    folder: Path
    experts: Path | None = None
    n_jobs: int | None = None
    device: str = "cpu"
    progress: bool | None = False
    _made: dict[str, TrainingData] = field(default_factory=dict)

    def train(
        self, reference: str, configurations: Sequence[Configuration], updates: int
    ) -> list[Row]:
        """Train configurations on the data of a reference.

        Returns
        -------
        list of Row
            Of each configuration: its forecaster, ``updates``, ``rmse`` on validation in scaled
            units (infinite where training failed), ``seconds`` and ``cpu_seconds``.
        """
        trainings = [
            validating_within_reason(self.settings.training(each, updates), self.task)
            for each in configurations
        ]
        runs = list(zip(configurations, trainings, strict=True))
        data_is = self._identity(reference)
        paths = [
            self._path([*data_is, run.forecaster, dict(run.options), asdict(how)])
            for run, how in runs
        ]
        missing = [place for place, path in enumerate(paths) if not path.exists()]
        if missing:
            data = self._data(reference)
            jobs = [delayed(_trained)(self.task, data, *runs[i], self.device) for i in missing]
            shown = f"{REFERENCES.get(reference).title}, {updates} updates"
            rows: Iterable[Row] = results_of(
                jobs, self.n_jobs, shown, unit="run", progress=self.progress
            )
            for place, row in zip(missing, rows, strict=True):
                write_json(paths[place], row)
        return [_read(path) for path in paths]

    def made_seconds(self, reference: str) -> float:
        """Return the recorded time of making the data of a reference."""
        if not REFERENCES.get(reference).sized:
            return 0.0
        path = self._path([*self._identity(reference), "made"])
        if not path.exists():  # making the data again, to resume a ranking, may take long
            write_json(path, {"seconds": self._data(reference).recorded_seconds})
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])

    def _identity(self, reference: str) -> list[Any]:
        return [reference, REFERENCES.get(reference)().identity(self._budget())]

    def _path(self, what: list[Any]) -> Path:
        return self.folder / f"{hash_of([version('stemdist'), self.task.content_hash, what])}.json"

    def _data(self, reference: str) -> TrainingData:
        if reference not in self._made:
            self._made[reference] = REFERENCES.get(reference)().data(self._budget())
        return self._made[reference]

    def _budget(self) -> Budget:
        return Budget(
            task=self.task,
            distilled=self.distilled,
            seed=self.settings.seed,
            cache=self.experts,
            device=self.device,
        )


def _trained(
    task: ForecastTask,
    data: TrainingData,
    configuration: Configuration,
    training: TrainingSettings,
    device: str,
) -> Row:
    with measure(device) as cost:
        error, failure = configuration.validation_rmse(
            data.source,
            data.graph,
            training,
            objective=None if data.objective is None else data.objective(training),
            validation=held_out(task),
            device=device,
        )
    return {
        "forecaster": configuration.forecaster,
        "updates": training.updates,
        "rmse": error if math.isfinite(error) else None,
        "seconds": cost.wall_seconds,
        "cpu_seconds": cost.cpu_seconds,
        "failure": failure,
    }


def _read(path: Path) -> Row:
    row: Row = json.loads(path.read_text(encoding="utf-8"))
    return row | {"rmse": math.inf if row["rmse"] is None else row["rmse"]}

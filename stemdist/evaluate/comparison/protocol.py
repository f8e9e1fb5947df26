"""The comparison: train fresh forecasters on each reference, choose on validation, test once.

Shapes: M windows, N locations, M_S synthetic windows, K clusters.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from stemdist.distill.distilled import DistilledSet
from stemdist.distill.real_windows import check_fit
from stemdist.errors import InputError
from stemdist.evaluate.comparison.evaluation import Evaluation
from stemdist.evaluate.comparison.runs import Row, RunFolder
from stemdist.evaluate.comparison.settings import EvaluationSettings
from stemdist.evaluate.comparison.training_data import REFERENCES
from stemdist.evaluate.comparison.trainings import Trainings
from stemdist.evaluate.comparison.unseen import Unseen
from stemdist.evaluate.metrics.errors import METRICS
from stemdist.forecast import ForecastTask

FIRST_COLUMNS = (
    *("method", "forecaster", "seed", "budget", "learning_rate", "shuffle"),
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
    budget of updates and seeds. Learning rates, final weights and the updates of converged
    forecasters are chosen on the validation part at all N locations; the test part is read once,
    at the end.

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
    with results_folder(results) as folder:
        run_folder = RunFolder(
            task=task, settings=settings, folder=folder / "runs", device=device, unseen=unseen
        )
        cache_folder = folder / "experts" if experts is None else Path(experts)
        trainings = Trainings(run_folder, distilled, cache_folder, n_jobs, progress)
        search, tested = trainings.run()
    return _collect(distilled, run_folder, search, tested)


@contextmanager
def results_folder(results: str | Path | None) -> Iterator[Path]:
    """Give the folder of results, or one that is removed after the block."""
    if results is not None:
        yield Path(results)
        return
    with tempfile.TemporaryDirectory(prefix="stemdist-") as folder:
        yield Path(folder)


def _collect(
    distilled: DistilledSet | None,
    run_folder: RunFolder,
    search: list[Row],
    tested: list[tuple[Row, Row]],
) -> Evaluation:
    locations = run_folder.tested.series["location"].values
    if run_folder.unseen is not None:
        locations = locations[run_folder.unseen.index.numpy()]

    def long(name: str, **more: Any) -> pd.DataFrame:
        keys = ("method", "forecaster", "seed", "budget")
        parts = [
            pd.DataFrame({**{key: row[key] for key in keys}, **more, **test[name]})
            for row, test in tested
        ]
        return pd.concat(parts, ignore_index=True)

    table = pd.DataFrame([{**row, **test["metrics"]} for row, test in tested])
    rest = [name for name in sorted(map(str, table)) if name not in FIRST_COLUMNS]
    return Evaluation(
        table=table[[name for name in FIRST_COLUMNS if name in table] + rest],
        search=pd.DataFrame(search),
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
        "distilled_hash": distilled.content_hash,
        "synthetic_windows": distilled.n_windows,
        "clusters": distilled.n_clusters,
        "distill_seconds": distilled.record.get("seconds"),
        "distill_peak_memory_bytes": distilled.record.get("peak_memory_bytes"),
    }

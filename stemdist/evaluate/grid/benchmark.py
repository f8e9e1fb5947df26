"""The benchmark: methods x ratios x data x forecasters x seeds, resumable."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import xarray as xr
from joblib import delayed

from stemdist.errors import InputError, check_distinct, check_ratio
from stemdist.evaluate.comparison.unseen import hold_out
from stemdist.evaluate.grid.jobs import GridTask, Job, JobContext, Row, attempt, stages
from stemdist.evaluate.grid.result import KEYS, Benchmark
from stemdist.evaluate.grid.settings import BenchmarkSettings
from stemdist.forecast import ForecastTask, TaskSettings
from stemdist.scheduling import away, results_of

log = logging.getLogger(__name__)

Tasks = Mapping[str, ForecastTask | Mapping[str, ForecastTask]]


def benchmark(
    tasks: Tasks,
    settings: BenchmarkSettings | None = None,
    *,
    results: str | Path,
    experts: str | Path | None = None,
    n_jobs: int | None = None,
    device: str = "cpu",
    progress: bool | None = False,
) -> Benchmark:
    """Distil every task by every method, ratio and seed, and train forecasters on every set.

    Each distillation and training run writes a file, named by a hash of all it depends on: a
    stopped benchmark is resumed by the same call, and a larger grid reuses existing results.
    A job that fails does not stop the others; it is listed in ``failures`` and repeated by the
    next call.

    Parameters
    ----------
    tasks : mapping
        Tasks by name of the data set; several splits of one are given as a mapping by name of
        the split (see :func:`rolling_tasks`).
    settings : BenchmarkSettings, optional
        Defaults are used without it.
    results : str or Path
        Folder of distilled sets (``sets``) and training runs (``cells``).
    experts : str or Path, optional
        Folder of trained experts; by default ``experts`` in ``results``.
    n_jobs : int, optional
        Jobs at the same time; by default what ``joblib.parallel_config`` says, or one.
    device : str
        Where to distil, train and predict.
    progress : bool, optional
        Show progress bars; None shows them on a terminal only.

    Returns
    -------
    Benchmark
        Tables and statistics; printing it shows them.

    Raises
    ------
    InputError
        If there is no task, or locations cannot be held out.

    Examples
    --------
    >>> import tempfile
    >>> from stemdist.data import canonical_series, simulate
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=4, n_lon=4))
    >>> quick = BenchmarkSettings(
    ...     methods=("default",), references=("full",), forecasters=("linear",), seeds=1,
    ...     learning_rates=(5e-3,), updates=5,
    ...     distill={
    ...         "labels": "observed", "judging": {"updates": 5},
    ...         "synthesizer_options": {"iterations": 1, "steps": 1},
    ...     },
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = benchmark({"sim": ForecastTask.from_series(series)}, quick, results=folder)
    >>> found.excess().index.tolist()
    [('0.1x0.1', 'default')]
    """
    settings = settings or BenchmarkSettings()
    grid_tasks = _grid_tasks(tasks, settings)
    folder = Path(results)
    context = JobContext(
        settings=settings,
        folder=folder,
        experts=folder / "experts" if experts is None else Path(experts),
        device=device,
        threads=torch.get_num_threads(),
    )
    rows, failures = [], []
    for title, jobs in stages(grid_tasks, settings):
        for label, found, error in _run(jobs, context, title, n_jobs, progress):
            rows.extend(found)
            if error:
                log.warning("%s failed: %s", label, error)
                failures.append({"job": label, "error": error})
    return Benchmark(
        table=_table(rows), failures=tuple(failures), facts=_facts(grid_tasks, settings)
    )


def rolling_tasks(
    series: xr.Dataset,
    settings: TaskSettings | None = None,
    shares: Sequence[float] = (1.0, 0.85, 0.7),
) -> dict[str, ForecastTask]:
    """Return tasks on leading shares of a series, each with its own split.

    Results on several splits show whether a method is better in one period only; no split is
    trained on data after its own test part.

    Parameters
    ----------
    series : xarray.Dataset
        Canonical series.
    settings : TaskSettings, optional
        Settings of every task; the shares of the split are relative to the used steps.
    shares : sequence of float
        Shares of the time steps to use, from the first one on, in (0, 1].

    Returns
    -------
    dict of str to ForecastTask
        By share, e.g. ``"85%"``.

    Examples
    --------
    >>> from stemdist.data import canonical_series, simulate
    >>> series = canonical_series(simulate("weather-sim", days=16, n_lat=3, n_lon=4))
    >>> tasks = rolling_tasks(series, shares=(1.0, 0.5))
    >>> {name: len(task.train.values) for name, task in tasks.items()}
    {'100%': 384, '50%': 192}
    """
    n_steps = series.sizes["time"]
    chosen = [check_ratio("share", share) for share in check_distinct("shares", shares)]
    parts = {f"{100 * share:g}%": slice(round(share * n_steps)) for share in chosen}
    return {
        name: ForecastTask.from_series(series.isel(time=part), settings)
        for name, part in parts.items()
    }


def _grid_tasks(tasks: Tasks, settings: BenchmarkSettings) -> list[GridTask]:
    grid_tasks = []
    for data, given in tasks.items():
        splits = {"": given} if isinstance(given, ForecastTask) else given
        for split, task in splits.items():
            unseen = None
            if settings.hold_out:
                task, unseen = hold_out(task, settings.hold_out, pattern=settings.hold_out_pattern)
            grid_tasks.append(GridTask(data=data, split=split, task=task, unseen=unseen))
    if not grid_tasks:
        raise InputError("there is no task: give at least one data set")
    for grid_task in grid_tasks:
        _ = (
            grid_task.task.content_hash,
            grid_task.unseen and grid_task.unseen.identity,
        )  # not in each worker
    return grid_tasks


def _run(
    jobs: list[Job], context: JobContext, title: str, n_jobs: int | None, progress: bool | None
) -> list[tuple[str, list[Row], str]]:
    if not jobs:
        return []
    if away():  # jobs of a grid share files: they run here in turn, their trainings on the cluster
        inside = replace(context, n_jobs=None)
        return [attempt(job, inside) for job in jobs]
    todo = [delayed(attempt)(job, context) for job in jobs]
    return list(results_of(todo, n_jobs, title, unit="job", progress=progress))


def _table(rows: list[Row]) -> pd.DataFrame:
    """Return the rows of all jobs without duplicates; baselines are in those of many jobs."""
    if not rows:
        return pd.DataFrame(columns=list(KEYS))
    table = pd.DataFrame(rows).drop_duplicates(list(KEYS), ignore_index=True)
    rest = [name for name in map(str, table.columns) if name not in KEYS]
    return table[[*KEYS, *rest]]


def _facts(grid_tasks: list[GridTask], settings: BenchmarkSettings) -> dict[str, Any]:
    return {
        "stemdist_version": version("stemdist"),
        "settings": settings.to_json(),
        "tasks": [
            {
                "data": grid_task.data,
                "split": grid_task.split,
                "content_hash": grid_task.task.content_hash,
                "target": grid_task.task.target_name,
                "units": grid_task.task.units,
                "locations": grid_task.task.n_locations,
                "held_out_locations": 0
                if grid_task.unseen is None
                else len(grid_task.unseen.index),
                "training_windows": len(grid_task.task.train),
                "test_windows": len(grid_task.task.test),
                "split_boundaries": grid_task.task.split_boundaries,
            }
            for grid_task in grid_tasks
        ],
    }

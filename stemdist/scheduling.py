"""Where work runs: in this process, or on the workers of a dask cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import joblib
from joblib import Parallel

from stemdist.dependencies import require
from stemdist.errors import InputError
from stemdist.progress import bar

PROCESSES = "processes"
PATIENCE_SECONDS = 30
"""How long the first worker is waited for."""


@contextmanager
def scheduler(where: str | None) -> Iterator[None]:
    """Read data and train on a dask cluster in the block.

    Passes over data and jobs of :mod:`joblib` go to the cluster; what jobs need of a series they
    read themselves (see :meth:`~stemdist.forecast.ForecastTask.by_reference`), and results come
    back as return values. A job whose worker is lost runs again on another.

    Parameters
    ----------
    where : str, optional
        The address of a scheduler, ``"tcp://host:8786"``; ``"processes"`` for one worker process
        a core on this machine; or None for this process.

    Raises
    ------
    InputError
        If there is no scheduler at the address.
    MissingDependencyError
        Without the extra ``cluster``.

    Examples
    --------
    >>> with scheduler(None):
    ...     away()
    False
    """
    if where is None:
        yield
        return
    distributed = require("distributed", "cluster", f"the scheduler {where!r}")
    with _client(distributed, where) as client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE_SECONDS)
            patience = {"wait_for_workers_timeout": PATIENCE_SECONDS}
            with joblib.parallel_config(backend="dask", **patience):
                yield
        except TimeoutError as error:
            if client.scheduler_info()["workers"]:
                raise
            raise InputError(
                f"the scheduler {where!r} has no workers: start one with `dask worker ADDRESS` "
                "and run the same command again"
            ) from error


def away() -> bool:
    """Say whether jobs run on a dask cluster."""
    backend, _ = joblib.parallel.get_active_backend()
    return type(backend).__name__ == "DaskDistributedBackend"


def results_of(
    jobs: Iterable[Any],
    n_jobs: int | None,
    title: str,
    *,
    unit: str,
    progress: bool | None,
) -> Iterator[Any]:
    """Run jobs of :func:`joblib.delayed` and yield what they return, in their order.

    Parameters
    ----------
    jobs : iterable
        Jobs.
    n_jobs : int, optional
        At the same time; what ``joblib.parallel_config`` says, or one, by default. A cluster
        decides itself.
    title, unit : str
        Of the bar; on a cluster there is none, but the dashboard of dask.
    progress : bool, optional
        Show a bar; None shows it on a terminal only.
    """
    todo = list(jobs)
    n_jobs = None if away() else n_jobs
    done = Parallel(n_jobs=n_jobs, return_as="list" if away() else "generator")(todo)
    yield from bar(done, title, len(todo), unit=unit, progress=progress)


def here(condition: bool = True) -> AbstractContextManager[object]:
    """Keep the jobs of the block in this process if a condition holds."""
    return joblib.parallel_config(backend="sequential") if condition else nullcontext()


def _client(distributed: Any, where: str) -> AbstractContextManager[Any]:
    if where == PROCESSES:
        return _local(distributed)
    if "://" not in where:
        raise InputError(
            f"scheduler is {where!r}: give {PROCESSES!r}, or the address of a dask scheduler such "
            "as tcp://host:8786"
        )
    try:
        return distributed.Client(where, timeout=20)  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise InputError(
            f"there is no dask scheduler at {where!r} ({error}): check the address, or start one "
            "with `dask scheduler`"
        ) from error


@contextmanager
def _local(distributed: Any) -> Iterator[Any]:
    cluster = distributed.LocalCluster(
        n_workers=os.cpu_count() or 1,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        memory_limit=None,
        silence_logs=logging.ERROR,
    )
    with cluster, distributed.Client(cluster) as client:
        yield client

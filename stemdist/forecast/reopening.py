"""Tasks that travel to other processes as the address of their data.

Shapes: T steps, N locations.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import xarray as xr

from stemdist.errors import InputError

if TYPE_CHECKING:
    from stemdist.data.scaling import Scaler
    from stemdist.data.windows import SeriesWindows
    from stemdist.forecast.task_settings import TaskSettings


class Reopenable(Protocol):
    """What is made again: a :class:`~stemdist.forecast.ForecastTask`."""

    @property
    def content_hash(self) -> str:
        """Hash of all of its data."""

    @property
    def train(self) -> SeriesWindows:
        """Training windows."""

    def with_reopening(self, reopening: Reopening) -> Reopenable:
        """Return it with what is sent to other processes in its place."""


KEPT = 2
"""Tasks that a process keeps for its next jobs."""

_one_at_a_time = threading.Lock()
_kept: OrderedDict[str, Reopenable] = OrderedDict()


@dataclass(frozen=True, kw_only=True)
class Reopening:
    """How another process makes a task again: what is sent there instead of a series.

    Parameters
    ----------
    opener : callable
        Opens the series; a function that can be pickled, with paths or addresses that the other
        process can read.
    maker : callable
        Makes the task of a series: ``ForecastTask.from_series``.
    settings : TaskSettings
        What is forecast from what, calendar included.
    scaler : Scaler
        Of all input features.
    content_hash : str
        Of the task, so that other data are noticed.
    """

    opener: Callable[[], xr.Dataset]
    maker: Callable[..., Reopenable]
    settings: TaskSettings
    scaler: Scaler
    content_hash: str

    def task(self) -> Reopenable:
        """Return the task, which this process makes once.

        Raises
        ------
        InputError
            If the data are not those of the process that sent it.
        """
        with _one_at_a_time:
            return self._task()

    def _task(self) -> Reopenable:
        import dask

        found = _kept.pop(self.content_hash, None)
        if found is None:
            # A job that waited for other jobs of its cluster could wait for itself.
            with dask.config.set(scheduler="threads"):
                made = self.maker(self.opener(), self.settings, scaler=self.scaler)
            if made.content_hash != self.content_hash:
                raise InputError(
                    "a worker found other data than the process that sent it there: all must read "
                    "the same files or addresses, with the same versions of stemdist and torch"
                )
            found = made.with_reopening(self)
        _kept[self.content_hash] = found
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
        return found

    def windows(self) -> SeriesWindows:
        """Return the training windows of the task, whose series all its windows share."""
        return self.task().train

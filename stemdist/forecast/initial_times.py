"""From which times a trained forecaster forecasts a series.

Shapes: T steps, M windows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import xarray as xr

from stemdist.data.gaps import gapless_starts
from stemdist.data.time_axis import gap_positions
from stemdist.data.windows import SeriesWindows
from stemdist.errors import InputError, unknown_name
from stemdist.forecast.task_settings import TaskSettings

INIT_TIMES: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "last": lambda starts, first, last: starts[-1:],
    "test": lambda starts, first, last: starts[(starts >= first) & (starts <= last)],
    "all": lambda starts, first, last: starts,
}
"""Choice among the first steps of windows; ``first`` and ``last`` are those of the test part."""


def first_steps(series: xr.Dataset, settings: TaskSettings, init_times: str) -> np.ndarray:
    """Return the first input steps (M,) of the windows to forecast; none crosses a time gap.

    Parameters
    ----------
    series : xarray.Dataset
        Canonical series.
    settings : TaskSettings
        Lookback, horizon, split and variables known ahead of time.
    init_times : {"last", "test", "all"}
        See :meth:`~stemdist.forecast.FittedForecaster.predict`.

    Raises
    ------
    InputError
        If the name is unknown, or there is no such window.
    """
    if init_times not in INIT_TIMES:
        raise unknown_name("init_times", init_times, INIT_TIMES)
    n_steps, lookback = series.sizes["time"], settings.lookback
    # Variables known ahead of time must be there for the whole horizon.
    span = lookback + settings.horizon if settings.future else lookback
    gaps = gap_positions(series)
    starts = gapless_starts(0, n_steps, span, gaps)
    test_begin, test_end = settings.split.boundaries(n_steps)["test"]
    first, last = test_begin - settings.reach, test_end - lookback
    chosen = INIT_TIMES[init_times](starts, first, last)
    if not len(chosen):
        part = f", {test_end - test_begin} of them in the test part," if len(starts) else ""
        need = "the lookback"
        if settings.future:
            need += f", and the horizon, for which {', '.join(settings.future)} is needed"
        raise InputError(
            f"the series has {n_steps} time steps{part} and {len(gaps)} gap(s): no run of "
            f"{span} steps ({need}) to forecast from. Give a longer series"
        )
    return chosen


def check_observed(windows: SeriesWindows, series: xr.Dataset) -> None:
    """Raise if a window to forecast from has no value at any location."""
    seen = windows.observed.flatten(1).any(dim=1)  # (T,)
    before = torch.cat([torch.zeros(1, dtype=torch.int64), seen.cumsum(0)])
    counts = before[windows.starts + windows.lookback] - before[windows.starts]
    if (counts == 0).any():
        start = int(windows.starts[(counts == 0).nonzero()[0, 0]])
        times = series["time"].values
        raise InputError(
            f"all {windows.lookback} steps from {times[start]} to "
            f"{times[start + windows.lookback - 1]} are missing: there is nothing to forecast "
            "from. Give data that have values there, or other initial times"
        )

"""Baselines: forecasts without training, shown in every table beside trained forecasters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stemdist.data.calendar import fitting_calendar
from stemdist.data.time_axis import step_seconds
from stemdist.forecast import ForecastTask, predict_windows
from stemdist.forecast.baselines import Baseline, Climatology, persistence, window_mean
from stemdist.forecast.closed_form import fit_linear

DAY_SECONDS = 86_400


def climatology(task: ForecastTask) -> Climatology:
    """Return the mean by time of day, and by day of year if the training part has two years.

    Parameters
    ----------
    task : ForecastTask
        Its training part is averaged.

    Examples
    --------
    >>> from stemdist.data import canonical_series, simulate
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=3, n_lon=4))
    >>> climatology(ForecastTask.from_series(series)).by_slot.shape
    (24, 12, 1)
    """
    days = np.asarray(task.series["time"].dt.dayofyear, dtype=np.int64) - 1
    seasonal = "day_of_year" in _fitting(task)
    return mean_by(task, _slots_of_day(task), days=days if seasonal else None)


def fitting_baselines(task: ForecastTask) -> list[str]:
    """Return the names of the baselines that say something of their own about a task.

    Means by time of day, day of the week and day of the year need a training part that is long
    enough (see :func:`~stemdist.data.calendar.fitting_calendar`), and a step under a day where
    the day is divided; of two that are one and the same, one is left.

    Examples
    --------
    >>> from stemdist.data import canonical_series, simulate
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=3, n_lon=4))
    >>> "mean by day of week and time" in fitting_baselines(ForecastTask.from_series(series))
    False
    """
    divided = step_seconds(task.series) < DAY_SECONDS
    fitting = _fitting(task)
    left_out = {
        "mean of the location": not divided and "day_of_year" not in fitting,
        "mean by time of day": not (divided and "day_of_year" in fitting),
        "mean by day of week and time": "day_of_week" not in fitting,
    }
    return [name for name in BASELINES if not left_out.get(name)]


def _fitting(task: ForecastTask) -> tuple[str, ...]:
    step = step_seconds(task.series)
    end = task.split_boundaries["train"][1]
    return fitting_calendar(step, end * step, str(task.series["time"].dt.calendar))


def _slots_of_day(task: ForecastTask) -> np.ndarray:
    return np.asarray(second_of_day(task) // _slot_seconds(task), dtype=np.int64)


def _slots_of_week(task: ForecastTask) -> np.ndarray:
    day = np.asarray(task.series["time"].dt.dayofweek, dtype=np.int64)
    seconds = day * DAY_SECONDS + second_of_day(task)
    return np.asarray(seconds // _slot_seconds(task), dtype=np.int64)


def _slot_seconds(task: ForecastTask) -> float:
    return min(step_seconds(task.series), DAY_SECONDS)


def second_of_day(task: ForecastTask) -> np.ndarray:
    """Return the second of the day of each time step, (T,)."""
    clock = task.series["time"].dt
    hour, minute, second = (np.asarray(part) for part in (clock.hour, clock.minute, clock.second))
    return np.asarray(hour * 3600 + minute * 60 + second)


def mean_by(task: ForecastTask, slots: np.ndarray, days: np.ndarray | None = None) -> Climatology:
    """Return the mean of the training part by slot (T,), and by day of year (T,) if given."""
    return Climatology.fit(
        task.train.values[..., : task.train.n_targets].numpy(),
        task.train.observed.numpy(),
        slots=slots,
        end=task.split_boundaries["train"][1],
        days=days,
    )


def closed_form_linear(task: ForecastTask, tested: ForecastTask) -> Baseline:
    """Return the exact ridge solution on all training windows, as a forecast of another task."""
    fitted = fit_linear(task.train)
    graph, profile = tested.graph, tested.train.profile
    return lambda windows, index: predict_windows(fitted, windows, graph, profile, index=index)


BASELINES: dict[str, Callable[[ForecastTask, ForecastTask], Baseline]] = {
    "persistence": lambda task, tested: persistence,
    "mean of the location": lambda task, tested: mean_by(
        tested, np.zeros(tested.series.sizes["time"], dtype=np.int64)
    ),
    "mean by time of day": lambda task, tested: mean_by(tested, _slots_of_day(tested)),
    "mean by day of week and time": lambda task, tested: mean_by(tested, _slots_of_week(tested)),
    "climatology": lambda task, tested: climatology(tested),
    "window mean": lambda task, tested: window_mean,
    "closed-form linear": closed_form_linear,
}
"""Functions of the task that forecasters are trained on and the tested one, often the same.

A table has those of :func:`fitting_baselines`."""

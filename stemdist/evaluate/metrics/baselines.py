"""Baselines: forecasts without training, shown in every table beside trained forecasters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stemdist.data.time_axis import step_seconds
from stemdist.forecast import ForecastTask, predict_windows
from stemdist.forecast.baselines import Baseline, Climatology, persistence, window_mean
from stemdist.forecast.closed_form import fit_linear

DAY_SECONDS = 86_400
YEARS_FOR_SEASON = 2


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
    step = step_seconds(task.series)
    _, end = task.split_boundaries["train"]
    seasonal = end * step >= YEARS_FOR_SEASON * 365 * DAY_SECONDS
    slots = (second_of_day(task) // min(step, DAY_SECONDS)).astype(np.int64)
    days = np.asarray(task.series["time"].dt.dayofyear, dtype=np.int64) - 1
    return mean_by(task, slots, days=days if seasonal else None)


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
    "climatology": lambda task, tested: climatology(tested),
    "window mean": lambda task, tested: window_mean,
    "closed-form linear": closed_form_linear,
}
"""Functions of the task that forecasters are trained on and the tested one, often the same."""

"""What costs nothing: errors of baselines on one part of a task, and who is not better.

Persistence, the means that a series is long enough for, and the exact linear forecaster stand
beside every result, so that nobody takes a forecaster for good that a mean would beat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from stemdist.data.calendar import fitting_calendar
from stemdist.data.time_axis import step_seconds
from stemdist.data.windows import SeriesWindows
from stemdist.evaluate.metrics.baselines import (
    BASELINES,
    DAY_SECONDS,
    climatology,
    mean_by,
    second_of_day,
)
from stemdist.evaluate.metrics.verification import Verification
from stemdist.forecast import ForecastTask
from stemdist.forecast.baselines import Baseline

AT_MOST = 300
"""Windows that are evaluated, evenly spaced."""


def untrained_forecasts(task: ForecastTask) -> dict[str, Callable[[], Baseline]]:
    """Return the baselines that fit a task, by a name a user understands.

    Examples
    --------
    >>> from stemdist.data import canonical_series, simulate
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=3, n_lon=4))
    >>> list(untrained_forecasts(ForecastTask.from_series(series)))[:3]
    ['persistence', 'mean of the location', 'mean by time of day']
    """
    step = step_seconds(task.series)
    _, end = task.split_boundaries["train"]
    calendar = str(task.series["time"].dt.calendar)
    fitting = fitting_calendar(step, end * step, calendar)
    found: dict[str, Callable[[], Baseline]] = {
        "persistence": lambda: BASELINES["persistence"](task, task),
        "mean of the location": lambda: mean_by(
            task, np.zeros(task.series.sizes["time"], np.int64)
        ),
    }
    if step < DAY_SECONDS:
        found["mean by time of day"] = lambda: mean_by(task, second_of_day(task) // int(step or 1))
    if "day_of_week" in fitting and step < DAY_SECONDS:
        found["mean by day of week and time"] = lambda: mean_by(task, _slot_of_week(task, step))
    if "day_of_year" in fitting:
        found["mean by day of year"] = lambda: climatology(task)
    found["closed-form linear"] = lambda: BASELINES["closed-form linear"](task, task)
    return found


def untrained_errors(
    task: ForecastTask,
    windows: SeriesWindows,
    column: str = "relative_rmse",
    at_most: int | None = AT_MOST,
) -> dict[str, float]:
    """Return the error of each baseline on one part of a task, lowest first.

    Parameters
    ----------
    task : ForecastTask
        Its training part is averaged.
    windows : SeriesWindows
        ``task.validation``, or ``task.test`` where a result reads it.
    column : str
        A metric of the first target, e.g. ``relative_rmse`` or ``rmse``.
    at_most : int, optional
        Evaluate so many evenly spaced windows at most.
    """
    verification = Verification.of(task, windows, at_most=at_most)
    errors = {
        name: float(verification.errors(make())[0].metrics()[column])
        for name, make in untrained_forecasts(task).items()
    }
    return dict(sorted(errors.items(), key=lambda item: item[1]))


def better_untrained(errors: Mapping[str, float], reached: float, what: str) -> str | None:
    """Return a sentence where a baseline is at least as good as what was trained, else None.

    Parameters
    ----------
    errors : mapping
        Of the baselines; lower is better.
    reached : float
        The error of what was trained, in the same unit.
    what : str
        Its name, e.g. ``"the forecaster"``.

    Examples
    --------
    >>> better_untrained({"mean by time of day": 0.45}, 0.61, "the forecaster")[:62]
    'The mean by time of day (0.45) is better than the forecaster ('
    >>> better_untrained({"persistence": 0.9}, 0.61, "the forecaster")
    """
    name = min(errors, key=lambda each: errors[each])
    if not errors[name] < reached:
        return None
    remedies = {
        "mean": "add calendar features (--calendar) or a longer --lookback",
        "persistence": "train longer, or check the time step",
        "closed-form linear": "train longer, or use the linear forecaster",
    }
    remedy = next(text for start, text in remedies.items() if name.startswith(start))
    return f"The {name} ({errors[name]:.4g}) is better than {what} ({reached:.4g}): {remedy}."


def _slot_of_week(task: ForecastTask, step: float) -> np.ndarray:
    day = np.asarray(task.series["time"].dt.dayofweek, dtype=np.int64)
    return np.asarray((day * DAY_SECONDS + second_of_day(task)) // int(step or 1))

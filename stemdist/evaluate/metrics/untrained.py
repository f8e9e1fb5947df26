"""What costs nothing: errors of baselines on one part of a task, and who is not better.

Persistence, the means that a series is long enough for, and the exact linear forecaster stand
beside every result, so that nobody takes a forecaster for good that a mean would beat.
"""

from __future__ import annotations

from collections.abc import Mapping

from stemdist.data.windows import SeriesWindows
from stemdist.evaluate.metrics.baselines import BASELINES, fitting_baselines
from stemdist.evaluate.metrics.verification import Verification
from stemdist.forecast import ForecastTask

AT_MOST = 300
"""Windows that are evaluated, evenly spaced."""

_REMEDIES = {
    "persistence": "train longer, or check the time step",
    "closed-form linear": "train longer, or use the linear forecaster",
}


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
        name: float(verification.errors(BASELINES[name](task, task))[0].metrics()[column])
        for name in fitting_baselines(task)
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
    >>> better_untrained({"climatology": 0.45}, 0.61, "the forecaster")[:53]
    'The climatology (0.45) is better than the forecaster '
    >>> better_untrained({"persistence": 0.9}, 0.61, "the forecaster")
    """
    name = min(errors, key=lambda each: errors[each])
    if not errors[name] < reached:
        return None
    remedy = _REMEDIES.get(name, "add calendar features (--calendar) or a longer --lookback")
    return f"The {name} ({errors[name]:.4g}) is better than {what} ({reached:.4g}): {remedy}."

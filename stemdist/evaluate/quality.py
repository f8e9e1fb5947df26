"""How good a synthetic set is, in single numbers."""

from __future__ import annotations

import math


def gap_closed(error_random: float, error: float, error_full: float) -> float:
    """Return the share of the gap between random windows and full data that is closed.

    ``(e_random - e) / (e_random - e_full)``: 0 as random windows, 1 as full data, above 1
    better than full data; NaN where random windows are no worse than full data.

    Parameters
    ----------
    error_random, error, error_full : float
        Errors of forecasters trained on random windows, on the set, and on all data.

    Examples
    --------
    >>> round(gap_closed(0.56, 0.52, 0.51), 3)
    0.8
    """
    gap = error_random - error_full
    return (error_random - error) / gap if gap > 0 else math.nan


def break_even(
    distill_seconds: float, full_train_seconds: float, distilled_train_seconds: float
) -> float:
    """Return how many forecasters must be trained before distilling has paid for itself.

    Parameters
    ----------
    distill_seconds : float
        Time to distil, experts included.
    full_train_seconds, distilled_train_seconds : float
        Time to train one forecaster on all data, and on the distilled set.

    Returns
    -------
    float
        A whole number; infinite if training on the distilled set is no faster, NaN if a time is.

    Examples
    --------
    >>> break_even(100.0, 60.0, 10.0)
    2.0
    """
    saved = full_train_seconds - distilled_train_seconds
    if math.isnan(saved):
        return math.nan
    return float(math.ceil(distill_seconds / saved)) if saved > 0 else math.inf

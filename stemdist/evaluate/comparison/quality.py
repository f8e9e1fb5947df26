"""Scores of a synthetic set."""

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
    """Return after how many trainings distilling breaks even.

    Parameters
    ----------
    distill_seconds : float
        Time to distil, experts included.
    full_train_seconds, distilled_train_seconds : float
        Time to train one forecaster on all data, and on the distilled set.

    Returns
    -------
    float
        A whole number; infinite if the distilled set saves no time, NaN for unknown times.

    Examples
    --------
    >>> break_even(100.0, 60.0, 10.0)
    2.0
    """
    saved = full_train_seconds - distilled_train_seconds
    if math.isnan(saved):
        return math.nan
    return float(math.ceil(distill_seconds / saved)) if saved > 0 else math.inf


def label_robust_score(error_random: float, error: float) -> float:
    """Return how much better a set is than random windows with the same labels.

    ``1 - e / e_random`` with both labelled by the same experts, so that the effect of the labels
    is excluded; above 0 the windows themselves are better. This is the idea of the label-robust
    score of DD-Ranking (Li et al. 2025, arXiv 2505.13300), for regression.

    Parameters
    ----------
    error_random, error : float
        Errors of forecasters trained on random windows with the experts' labels, and on the set.

    Examples
    --------
    >>> round(label_robust_score(0.50, 0.45), 3)
    0.1
    """
    return 1 - error / error_random if error_random > 0 else math.nan

"""How well one order of configurations agrees with another."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from scipy import stats


def agreement(truth: Sequence[float], found: Sequence[float], top: int) -> dict[str, float]:
    """Compare two errors of the same configurations.

    Parameters
    ----------
    truth : sequence of float
        Error of each configuration after training on the full data; infinite where training failed.
    found : sequence of float
        Error of each configuration after another training.
    top : int
        Size of the group of truly best configurations within which both orders are also compared.

    Returns
    -------
    dict
        ``spearman`` and ``kendall``: rank correlations, 1 for the same order and -1 for the
        reverse; ``spearman_top`` and ``kendall_top``: the same within the truly best; ``regret``:
        true error of the configuration with the lowest found error, relative to the lowest true
        error, minus 1. Correlations are NaN where all errors are equal.

    Examples
    --------
    >>> scores = agreement([1.0, 2.0, 3.0, 4.0], [20.0, 10.0, 30.0, 40.0], top=2)
    >>> scores["spearman"], scores["spearman_top"], scores["regret"]
    (0.8, -1.0, 1.0)
    """
    true, other = stats.rankdata(truth), stats.rankdata(found)
    best = np.argsort(truth, kind="stable")[:top]
    chosen = int(np.argmin(found))
    return {
        "spearman": _correlation(stats.spearmanr, true, other),
        "kendall": _correlation(stats.kendalltau, true, other),
        "spearman_top": _correlation(stats.spearmanr, true[best], other[best]),
        "kendall_top": _correlation(stats.kendalltau, true[best], other[best]),
        "regret": float(truth[chosen] / min(truth) - 1),
    }


def _correlation(method: object, one: np.ndarray, other: np.ndarray) -> float:
    if len(one) < 2:
        return math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        return round(float(method(one, other).statistic), 12)  # type: ignore[operator]

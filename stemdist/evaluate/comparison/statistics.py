"""Means, intervals and tests over seeds."""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import Any

import pandas as pd
from scipy import stats

from stemdist.errors import unknown_name
from stemdist.evaluate.comparison.budgets import at_budget, budgets_in

KEYS = ["method", "forecaster"]
Key = tuple[str, str]
"""What a forecaster was trained on, and the forecaster."""
CONFIDENCE = 0.95


def records(frame: pd.DataFrame) -> dict[Key, dict[str, float]]:
    """Return the rows of a summary by method and forecaster."""
    rows: dict[Any, Any] = frame.to_dict("index")
    return rows


def frame_of(rows: dict[Key, dict[str, float]]) -> pd.DataFrame:
    """Return rows keyed by (method, forecaster)."""
    index = pd.MultiIndex.from_tuples(list(rows), names=KEYS) if rows else None
    return pd.DataFrame(list(rows.values()), index=index)


def by_seed(table: pd.DataFrame, column: str) -> dict[Key, dict[int, float]]:
    """Return the values of a column by method and forecaster, then by seed, of one budget.

    Raises
    ------
    InputError
        If the column is not there.
    """
    if column not in table:
        raise unknown_name("column", column, map(str, table.columns))
    found: dict[Key, dict[int, float]] = {}
    own = at_budget(table, budgets_in(table)[-1])
    names = ("method", "forecaster", "seed", column)
    for method, forecaster, seed, value in zip(*(own[name] for name in names), strict=True):
        found.setdefault((method, forecaster), {})[int(seed)] = float(value)
    return found


def summary_of(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return mean and half width of the 95 % t-interval over the seeds of a comparison's table."""
    seeds = by_seed(table, column)
    return frame_of({key: interval(list(own.values())) for key, own in seeds.items()})


def interval(values: list[float]) -> dict[str, float]:
    """Return the mean of values and the half width of its 95 % t-interval."""
    n = len(values)
    half = math.nan
    if n > 1:
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * stdev(values) / math.sqrt(n)
    return {"mean": fmean(values), "half_width": half, "seeds": n}


def paired_p_value(differences: list[float]) -> float:
    """Return the two-sided p-value of the paired t-test; NaN for one seed or no spread."""
    n = len(differences)
    error = stdev(differences) / math.sqrt(n) if n > 1 else 0.0
    if not error > 0:
        return math.nan
    return float(2 * stats.t.sf(abs(fmean(differences)) / error, n - 1))

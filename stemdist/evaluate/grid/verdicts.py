"""What a benchmark says about each method on one data set, in plain sentences."""

from __future__ import annotations

from typing import Any, Protocol

import pandas as pd

from stemdist.evaluate.comparison.budgets import FULL_TEXT
from stemdist.evaluate.comparison.training_data import REFERENCES
from stemdist.evaluate.comparison.verdict import RANDOM_TEXT, Difference, verdict


class OnOneDataSet(Protocol):
    """What verdicts need of a :class:`~stemdist.evaluate.Benchmark` on one data set."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per training run."""

    @property
    def has_full(self) -> bool:
        """Whether forecasters were trained on the full data."""

    def excess(self, column: str = ...) -> pd.DataFrame:
        """Return errors over those on full data, less 1."""

    def paired(self, reference: str, column: str = ..., over: str = ...) -> pd.DataFrame:
        """Return differences from a reference."""

    def untrained(self, column: str = ...) -> pd.Series:
        """Return the errors of the baselines."""

    def errors(self, column: str = ...) -> dict[Any, float]:
        """Return the mean error by ratio, method and forecaster."""


def verdicts_of(benchmark: OnOneDataSet, data: str, budget: str, column: str) -> list[str]:
    """Return a sentence for each method and ratio of one data set at one budget.

    Parameters
    ----------
    benchmark : Benchmark
        Its results on one data set at the budget.
    data, budget : str
        Their names.
    column : str
        The error to judge by; lower is better.
    """
    against: dict[str, dict[Any, Any]] = {}
    if benchmark.has_full:
        against[FULL_TEXT[budget]] = benchmark.excess(column).to_dict("index")
    for name, words in RANDOM_TEXT.items():
        title = REFERENCES.get(name).title
        if title in set(benchmark.table["method"]):
            paired = benchmark.paired(title, column, over="set")
            against[words] = paired.to_dict("index")
            break
    errors: dict[tuple[str, str], dict[str, float]] = {}
    for (ratio, method, forecaster), error in benchmark.errors(column).items():
        errors.setdefault((ratio, method), {})[forecaster] = error
    best = benchmark.untrained(column).groupby(level="method").mean()
    untrained = {str(name): float(error) for name, error in best.items()}
    references = {REFERENCES.get(name).title for name in REFERENCES.names()}
    return [
        verdict(
            f"{data}, {ratio}: the set of {method}",
            [
                Difference(other=other, mean=row["mean"], half_width=row["half_width"])
                for other, rows in against.items()
                if (row := rows.get((ratio, method)))
            ],
            trained,
            untrained,
        )
        for (ratio, method), trained in errors.items()
        if method not in references
    ]

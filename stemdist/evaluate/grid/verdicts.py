"""What a benchmark says about each method on one data set, in plain sentences."""

from __future__ import annotations

import math
from typing import Any, Protocol

import pandas as pd

from stemdist.display import share_text
from stemdist.evaluate.comparison.budgets import FULL_TEXT
from stemdist.evaluate.comparison.training_data import REFERENCES
from stemdist.evaluate.comparison.verdict import RANDOM_TEXT, Difference, verdict
from stemdist.evaluate.grid.settings import ratio_pair


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


def headline_of(benchmark: OnOneDataSet, budget: str, column: str) -> str:
    """Return in one sentence how far the best method is from the full data at the smallest ratio.

    Parameters
    ----------
    benchmark : Benchmark
        Its results, of one or several data sets.
    budget : str
        The budget of its statistics.
    column : str
        The error to judge by; lower is better.

    Returns
    -------
    str
        Empty without the full data or without any set.
    """
    if not benchmark.has_full:
        return ""
    references = {REFERENCES.get(name).title for name in REFERENCES.names()}
    found: dict[Any, Any] = benchmark.excess(column).to_dict("index")
    rows = {key: row for key, row in found.items() if key[1] not in references}
    if not rows:
        return ""
    share = {ratio: math.prod(ratio_pair(ratio)) for ratio, _ in rows}
    smallest = min(share, key=lambda ratio: share[ratio])
    own = {method: row for (ratio, method), row in rows.items() if ratio == smallest}
    best = min(own, key=lambda method: own[method]["mean"])
    row, n_data = own[best], benchmark.table["data"].nunique()
    over = f" of {n_data} data sets" if n_data > 1 else ""
    difference = Difference(
        other=FULL_TEXT[budget], mean=row["mean"], half_width=row["half_width"]
    ).text()
    of = f", the lowest error of {len(own)} methods" if len(own) > 1 else ""
    lost = row["over_untrained"] > 1
    untrained = "; the best baseline without training has a lower mean error" if lost else ""
    size = f"At {share_text(share[smallest])} of the windows x locations{over}"
    return f"{size}, forecasters on the sets of {best} are {difference}{of}{untrained}."


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

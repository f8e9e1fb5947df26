"""The tables of a benchmark as plain text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import pandas as pd

from stemdist.evaluate.comparison.budgets import FULL_TEXT, updates_text
from stemdist.evaluate.comparison.tables import (
    MIB,
    aligned,
    check_error,
    excess_text,
    tuning_text,
)
from stemdist.evaluate.comparison.training_data import REFERENCES
from stemdist.evaluate.comparison.verdict import WORSE_MARK, footnote
from stemdist.page.elements import Rows

EXCESS = (
    ("excess", None, "mean over all"),
    ("excess_by_data", "data", "by data set"),
    ("excess_by_forecaster", "forecaster", "by forecaster trained"),
)
"""Tables of the excess: name, column by which it is grouped, and what that is."""
Grid = Mapping[tuple[Any, ...], Mapping[str, float]]


class BenchmarkResult(Protocol):
    """What the tables need of a :class:`~stemdist.evaluate.Benchmark`."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per training run."""

    @property
    def failures(self) -> tuple[dict[str, str], ...]:
        """Jobs that failed."""

    @property
    def facts(self) -> dict[str, Any]:
        """Tasks and settings."""

    @property
    def has_full(self) -> bool:
        """Whether forecasters were trained on the full data."""

    @property
    def budgets(self) -> tuple[str, ...]:
        """The budgets of training, that of the headline last."""

    def at(self, budget: str) -> BenchmarkResult:
        """Return the benchmark at one budget."""

    def untrained(self, column: str = ...) -> pd.Series:
        """Return the errors of the baselines."""

    def verdicts(self, column: str = ...) -> list[str]:
        """Return what is found about each method."""

    def excess(
        self, column: str = ..., by: Sequence[str] = ..., budget: str | None = ...
    ) -> pd.DataFrame:
        """Return errors over those on full data, less 1."""

    def paired(self, reference: str, column: str = ...) -> pd.DataFrame:
        """Return differences from a reference."""

    def ranks(self, column: str = ...) -> pd.DataFrame:
        """Return the mean rank of each method."""

    def quality(self, column: str = ...) -> pd.DataFrame:
        """Return the scores of each method."""

    def cross_architecture(self, column: str = ...) -> pd.DataFrame:
        """Return the excess by surrogate and forecaster."""

    def costs(self) -> pd.DataFrame:
        """Return the costs of each method."""


def benchmark_text(benchmark: BenchmarkResult, column: str = "relative_rmse") -> str:
    """Return all tables of a benchmark as plain text.

    Parameters
    ----------
    benchmark : Benchmark
        The result.
    column : str
        The error to show, e.g. ``"relative_rmse"`` or ``"mae"``; lower is better.

    Returns
    -------
    str
        Lines without a final line break.
    """
    tables = benchmark_tables(benchmark, column)
    note = footnote([row for rows in tables.values() for row in rows])
    verdicts = "\n".join(benchmark.verdicts(column)) if tables else ""
    parts = [heading(benchmark, column), *map(aligned, tables.values()), note, verdicts]
    parts.append(_failures(benchmark))
    return "\n\n".join(part for part in parts if part)


def benchmark_tables(benchmark: BenchmarkResult, column: str = "relative_rmse") -> dict[str, Rows]:
    """Return the tables of :func:`benchmark_text` for which the benchmark has results.

    Parameters
    ----------
    benchmark : Benchmark
        The result.
    column : str
        The error to show; lower is better.

    Returns
    -------
    dict of str to list of list of str
        ``errors``, ``excess``, ``excess_by_data``, ``excess_by_forecaster``,
        ``cross_architecture``, ``paired``, ``scores`` and ``costs`` as far as available:
        rows of cells, the first of which is the header.
    """
    check_error(column)
    if not len(benchmark.table):
        return {}
    tables = {"errors": _by_budget(benchmark, lambda budget: _errors(benchmark.at(budget), column))}
    if benchmark.has_full:
        tables |= {
            name: _by_budget(benchmark, partial(_excess, benchmark, column, by, title))
            for name, by, title in EXCESS
        }
        tables |= {
            "cross_architecture": _cross(benchmark, column),
        }
    tables |= {
        "paired": _tests(benchmark, column),
        "scores": _scores(benchmark, column),
        "costs": _costs(benchmark),
    }
    return {name: rows for name, rows in tables.items() if rows}


def heading(benchmark: BenchmarkResult, column: str) -> str:
    """Return the lines above the tables: tasks and training."""
    settings = benchmark.facts["settings"]
    places = benchmark.facts["tasks"]
    held = dict.fromkeys(str(n) for task in places if (n := task["held_out_locations"]))
    base = FULL_TEXT[benchmark.budgets[-1]]
    where = f" at held-out locations alone ({', '.join(held)})" if held else ""
    return "\n".join(
        [
            f"Test {column} on real data{where}, lower is better; {len(places)} "
            f"task{'s' if len(places) > 1 else ''} (data x split), {settings['seeds']} "
            f"distillations each, {settings['trainings']} training per set and forecaster",
            f"{updates_text(settings)} for every method; chosen on validation: "
            f"{tuning_text(settings)}",
            f"excess: error over that of the same forecaster on {base}, less 1; +- is the 95 % "
            "interval over sets",
        ]
    )


def _by_budget(benchmark: BenchmarkResult, rows_of: Callable[[str], Rows]) -> Rows:
    """Return the rows of every budget in turn, which they name where there are several."""
    budgets = benchmark.budgets
    each = {budget: rows_of(budget) for budget in budgets}
    first = each[budgets[0]]
    if len(budgets) == 1 or not first:
        return first
    rows = [[name, budget, *cells] for budget in budgets for name, *cells in each[budget][1:]]
    return [[first[0][0], "budget", *first[0][1:]], *rows]


def _errors(benchmark: BenchmarkResult, column: str) -> Rows:
    """Absolute errors by data set, mean over forecasters; baselines too."""
    table = benchmark.table
    names = list(dict.fromkeys(table["data"]))
    trained_on = set(table.loc[table["forecaster"] != "", "method"])
    means = table.groupby(["ratio", "method", "data"], sort=False)[column].mean()
    keys = list(dict.fromkeys((ratio, method) for ratio, method, _ in means.index))
    best = benchmark.untrained(column).groupby(level=["data", "split"]).min()
    untrained = best.groupby(level="data").mean()
    rows = [[column, "ratio", *names]]
    for ratio, method in keys:
        found = {name: float(means.get((ratio, method, name), math.nan)) for name in names}
        cells = [
            _number(error) + (WORSE_MARK if error > untrained.get(name, math.inf) else "")
            for name, error in found.items()
        ]
        trained = method in trained_on
        shown = cells if trained else [cell.rstrip(WORSE_MARK) for cell in cells]
        rows.append([str(method), ratio or "-", *shown])
    return rows


def _excess(
    benchmark: BenchmarkResult, column: str, by: str | None, title: str, budget: str
) -> Rows:
    """Excess with intervals; one column per value of ``by``."""
    groups = () if by is None else (by,)
    grid: Grid = benchmark.excess(column, groups, budget).to_dict("index")  # type: ignore[assignment]
    values = list(dict.fromkeys(key[0] for key in grid)) if by else [""]
    if by and len(values) < 2:
        return []
    rows = [[f"excess, {title}", "ratio", *(values if by else ["mean"])]]
    for ratio, method in dict.fromkeys(key[-2:] for key in grid):
        keys = [(value, ratio, method) if by else (ratio, method) for value in values]
        rows.append([method, ratio, *(_percent(grid.get(key)) for key in keys)])
    return rows


def _cross(benchmark: BenchmarkResult, column: str) -> Rows:
    matrix = benchmark.cross_architecture(column)
    if matrix.empty:
        return []
    rows = [["excess, cross-architecture", "distilled with", *map(str, matrix.columns)]]
    for (method, surrogate), own in zip(matrix.index, matrix.to_numpy(), strict=True):
        rows.append([str(method), str(surrogate), *(_share(float(value)) for value in own)])
    return rows


def _tests(benchmark: BenchmarkResult, column: str) -> Rows:
    reference = REFERENCES.get("random").title
    if reference not in set(benchmark.table["method"]):
        return []
    rows = [[f"against {reference}", "ratio", "difference", "pairs", "t-test p", "Wilcoxon p"]]
    for (ratio, method), row in _items(benchmark.paired(reference, column)):
        tests = (_p_value(row["p_value"]), _p_value(row["wilcoxon"]))
        rows.append([method, ratio, _percent(row), f"{row['pairs']:.0f}", *tests])
    return rows


def _scores(benchmark: BenchmarkResult, column: str) -> Rows:
    """Ranks, quality scores and fidelity."""
    ranks, quality = benchmark.ranks(column), benchmark.quality(column)
    scores = quality.to_dict("index")
    unclear = _ratios_without_gap(benchmark, column)
    looks = [name for name in map(str, quality.columns) if name.startswith("fidelity_")]
    titles = [name.removeprefix("fidelity_") for name in looks]
    rows = [["scores", "ratio", "mean rank", "first", "gap closed", "label-robust", *titles]]
    for (ratio, method), row in _items(ranks):
        own = {str(k): float(value) for k, value in scores.get((ratio, method), {}).items()}
        shares = {name: _share(own.get(name, math.nan)) for name in ("gap_closed", "label_robust")}
        if ratio in unclear and own:
            shares["gap_closed"] = "no clear gap"
        numbers = (_number(own.get(name, math.nan)) for name in looks)
        first = f"{100 * row['first']:.0f} %"
        rank = f"{row['mean_rank']:.2f}"
        rows.append([method, ratio, rank, first, *shares.values(), *numbers])
    return rows


def _ratios_without_gap(benchmark: BenchmarkResult, column: str) -> set[str]:
    """Return ratios at which the excess of random windows over full data is within the noise."""
    if not benchmark.has_full:
        return set()
    random = REFERENCES.get("random").title
    rows = _items(benchmark.excess(column))
    gaps = {ratio: row for (ratio, method), row in rows if method == random}
    return {ratio for ratio, row in gaps.items() if row["mean"] <= row["half_width"]}


def _costs(benchmark: BenchmarkResult) -> Rows:
    rows = [
        ["cost", "ratio", "making s", "training s", "peak MiB", "byte ratio", "breaks even after"]
    ]
    for (ratio, method), row in _items(benchmark.costs()):
        after = row["break_even"]
        count = "-" if math.isnan(after) else "never" if math.isinf(after) else f"{after:.0f}"
        cells: dict[str, Callable[[float], str]] = {
            "make_seconds": "{:.1f}".format,
            "train_seconds": "{:.2f}".format,
            "peak_memory_bytes": lambda value: f"{value / MIB:.0f}",
            "byte_ratio": lambda value: f"{100 * value:.3g} %",
        }
        rows.append([method, ratio, *(show(row[name]) for name, show in cells.items()), count])
    return rows


def _failures(benchmark: BenchmarkResult) -> str:
    lines = [f"  {failure['job']}: {failure['error']}" for failure in benchmark.failures]
    return "\n".join([f"{len(lines)} failed", *lines]) if lines else ""


def _items(frame: pd.DataFrame) -> list[tuple[tuple[str, str], dict[str, float]]]:
    return list(frame.to_dict("index").items())  # type: ignore[arg-type]


def _percent(row: Mapping[str, float] | None) -> str:
    if row is None:
        return "-"
    return excess_text(row) + (WORSE_MARK if row.get("over_untrained", 0.0) > 1 else "")


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"


def _p_value(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2g}"


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"

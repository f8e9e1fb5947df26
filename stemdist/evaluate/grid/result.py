"""The result of a benchmark: one tidy table, and the statistics that follow from it."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from stemdist.display import table_html
from stemdist.errors import InputError, unknown_name
from stemdist.evaluate.comparison.budgets import AtBudgets, at_budget
from stemdist.evaluate.comparison.quality import break_even, gap_closed, label_robust_score
from stemdist.evaluate.comparison.statistics import interval, paired_p_value
from stemdist.evaluate.comparison.training_data import REFERENCES
from stemdist.evaluate.grid.figure import show_excess
from stemdist.evaluate.grid.tables import benchmark_text
from stemdist.evaluate.grid.verdicts import headline_of, verdicts_of
from stemdist.files import atomic_path, write_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEYS = (
    *("data", "split", "ratio", "method", "surrogate", "forecaster", "seed", "training_seed"),
    "budget",
)
PLACE = ["data", "split"]
SET = [*PLACE, "seed"]
"""Columns that identify a distilled set of one method and ratio."""
CELL = [*PLACE, "ratio", "forecaster", "training_seed"]
"""Columns that identify a cell of the results grid, in which methods are compared."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Benchmark(AtBudgets):
    """Result of :func:`~stemdist.evaluate.grid.benchmark`; printing it shows all tables.

    Methods are named as in ``REFERENCES`` (with the surrogate in brackets where there are several),
    references by their titles, e.g. ``random windows``.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per data set, split, ratio, method, surrogate, forecaster, seed (of the
        distillation or the draw) and training_seed (of the weights): test metrics as in
        :class:`~stemdist.evaluate.Evaluation`, costs, ratios, and ``fidelity_...`` of distilled
        sets. The full data have no ratio; baselines have no forecaster.
    failures : tuple of dict
        ``job`` and ``error`` of every failed job.
    facts : dict
        Tasks, settings and version; JSON types.

    Statistics are those of one ``budget`` of training, the ``headline``; :meth:`at` gives another.
    """

    table: pd.DataFrame
    failures: tuple[dict[str, str], ...]
    facts: dict[str, Any]

    @property
    def has_full(self) -> bool:
        """Whether there are errors on full data, to which an excess is relative."""
        return REFERENCES.get("full").title in set(self.table["method"])

    def plot(self, column: str = "relative_rmse", ax: Axes | None = None) -> Axes:
        """Draw the excess of each method; see :func:`~stemdist.evaluate.plot_benchmark`."""
        return show_excess(self, column, ax)

    def headline_verdict(self, column: str = "relative_rmse") -> str:
        """Return in one sentence how far the best method is from the full data."""
        return headline_of(self.at(self.headline), self.headline, column)

    def at(self, budget: str) -> Benchmark:
        """Return the benchmark at one budget."""
        self._check_budget(budget)
        return replace(self, table=at_budget(self.table, budget))

    def excess(
        self,
        column: str = "relative_rmse",
        by: Sequence[str] = (),
        budget: str | None = None,
    ) -> pd.DataFrame:
        """Return the excess of each method over full data: ``e / e_full - 1``.

        ``e_full`` is the mean error over seeds of the same forecaster on the full data of the
        same data set and split. The excess is averaged over the forecasters of a distilled set
        (or draw); these sets are the independent units of the 95 % t-interval.

        Parameters
        ----------
        column : str
            An error of the table.
        by : sequence of str
            Further columns to group by, e.g. ``("data",)`` or ``("forecaster",)``.
        budget : str, optional
            Budget of ``e``, by default the ``headline``; that of ``e_full`` always is.

        Returns
        -------
        pandas.DataFrame
            ``mean``, ``half_width``, ``sets`` and ``over_untrained``, the mean error over that of
            the best baseline without training (above 1 it is worse), indexed by ``by``, ratio and
            method.

        Raises
        ------
        InputError
            If the full data were not a reference, or the column is not there.
        """
        cells = self._relative(column, budget)
        keys = [*by, "ratio", "name"]
        for name in by:
            self._check_column(name)
        units = cells.groupby([*dict.fromkeys([*keys, *SET])], sort=False)["excess"].mean()
        rows = {}
        for key, own in units.groupby(level=keys, sort=False):
            found = interval(own.tolist())
            rows[key] = {"mean": found["mean"], "half_width": found["half_width"], "sets": len(own)}
        over = cells.groupby(keys, sort=False)["over_untrained"].mean()
        return _frame(rows, [*by, "ratio", "method"]).assign(over_untrained=over.to_numpy())

    def paired(
        self,
        reference: str = "random windows",
        column: str = "relative_rmse",
        over: str = "cell",
    ) -> pd.DataFrame:
        """Compare every method with a reference in the cells that both have.

        Parameters
        ----------
        reference : str
            A method, or the title of a reference.
        column : str
            An error of the table.
        over : {"cell", "set"}
            What is paired: every data set, split, ratio, forecaster and seed; or their means
            over the forecasters of a set, which are fewer but independent.

        Returns
        -------
        pandas.DataFrame
            ``mean`` and ``half_width`` (95 % t-interval) of the relative difference
            ``e / e_reference - 1`` (negative is better), ``pairs``, and the two-sided p-values
            of the paired t-test (``p_value``) and of Wilcoxon's signed ranks (``wilcoxon``),
            indexed by ratio and method.
        """
        if over not in ("cell", "set"):
            raise unknown_name("unit of pairs", over, ("cell", "set"))
        cells = self._cells(column)
        names = set(cells["name"])
        if reference not in names:
            raise unknown_name("reference method", reference, names)
        other = cells[cells["name"] == reference]
        match = CELL if other["ratio"].any() else [name for name in CELL if name != "ratio"]
        base = other.groupby(match, sort=False)["error"].mean().rename("base").reset_index()
        others = cells[(cells["name"] != reference) & (cells["ratio"] != "")]
        pairs = others.merge(base, on=match)
        pairs["difference"] = pairs["error"] / pairs["base"] - 1
        rows = {}
        for key, own in pairs.groupby(["ratio", "name"], sort=False):
            values = own["difference"]
            if over == "set":
                values = own.groupby(SET)["difference"].mean()
            rows[key] = _test(values.tolist())
        return _frame(rows, ["ratio", "method"])

    def ranks(self, column: str = "relative_rmse") -> pd.DataFrame:
        """Rank the methods, 1 for the lowest error, in the cells that all methods of a ratio have.

        Returns
        -------
        pandas.DataFrame
            ``mean_rank``, ``first`` (share of cells in which it is first, and not worse than a
            baseline without training) and ``cells``, indexed by ratio and method.
        """
        cells = self._cells(column)
        cells = cells[cells["ratio"] != ""]
        wide = cells.pivot_table(index=CELL, columns="name", values="error", sort=False)
        over = cells.pivot_table(index=CELL, columns="name", values="over_untrained", sort=False)
        rows: dict[Hashable, dict[str, float]] = {}
        for ratio, own in wide.groupby(level="ratio", sort=False):
            ranks = own.dropna(axis=1, how="all").dropna().rank(axis=1)
            beaten = over.reindex(index=ranks.index, columns=ranks.columns) > 1
            for name in ranks.columns:
                rows[ratio, name] = {
                    "mean_rank": float(ranks[name].mean()),
                    "first": float(((ranks[name] == 1) & ~beaten[name]).mean()),
                    "cells": len(ranks),
                }
        return _frame(rows, ["ratio", "method"])

    def quality(self, column: str = "relative_rmse") -> pd.DataFrame:
        """Return scores of the methods, one number each.

        Returns
        -------
        pandas.DataFrame
            ``gap_closed`` of the mean excess (0 as random windows, 1 as full data);
            ``label_robust``, the mean improvement over random windows with the labels of the
            same experts, paired by cell; and the means of ``fidelity_...``; indexed by ratio
            and method. A score whose reference is missing is NaN.
        """
        table, excess = self._cells(column), self._mean_excess(column)
        random, labelled = (REFERENCES.get(name).title for name in ("random", "random-expert"))
        robust: dict[Hashable, float] = {}
        if labelled in set(table["name"]):
            robust = dict(self.paired(labelled, column)["mean"].items())
        looks = [name for name in map(str, table.columns) if name.startswith("fidelity_")]
        rows = {}
        for key, own in table[table["ratio"] != ""].groupby(["ratio", "name"], sort=False):
            ratio, name = key
            if name == random:
                continue
            error, base = (excess.get((ratio, one), math.nan) for one in (name, random))
            rows[key] = {
                "gap_closed": gap_closed(base, error, 0.0),
                "label_robust": label_robust_score(1.0, 1 + robust.get(key, math.nan)),
                **{one: float(own[one].mean()) for one in looks},
            }
        return _frame(rows, ["ratio", "method"])

    def cross_architecture(self, column: str = "relative_rmse") -> pd.DataFrame:
        """Return the mean excess by the surrogate of a set and the forecaster trained on it.

        Returns
        -------
        pandas.DataFrame
            One row per method and surrogate (``distilled with``), one column per forecaster.
        """
        cells = self._relative(column)
        cells = cells[cells["surrogate"] != ""]
        wide = cells.pivot_table(
            index=["method", "surrogate"], columns="forecaster", values="excess", sort=False
        )
        return wide.rename_axis(index=["method", "distilled with"], columns="trained")

    def costs(self) -> pd.DataFrame:
        """Return the costs of each method.

        Returns
        -------
        pandas.DataFrame
            Means of ``make_seconds`` (distilling with its experts, or drawing) and
            ``train_seconds`` of one forecaster, highest ``peak_memory_bytes`` of either,
            ``byte_ratio`` and ``break_even``, the number of trainings after which distilling
            breaks even; indexed by ratio and method.
        """
        cells = self._cells("train_seconds")
        full = cells[cells["name"] == REFERENCES.get("full").title]
        full = full.groupby([*PLACE, "forecaster"])["error"].mean().rename("full").reset_index()
        cells = cells.merge(full, on=[*PLACE, "forecaster"], how="left")
        rows = {}
        for key, own in cells[cells["ratio"] != ""].groupby(["ratio", "name"], sort=False):
            make, train = float(own["data_seconds"].mean()), float(own["error"].mean())
            peaks = [n for n in ("peak_memory_bytes", "distill_peak_memory_bytes") if n in own]
            rows[key] = {
                "make_seconds": make,
                "train_seconds": train,
                "peak_memory_bytes": float(np.nanmax(own[peaks].to_numpy(float))),
                "byte_ratio": float(own["byte_ratio"].mean()),
                "break_even": break_even(make, float(own["full"].mean()), train),
            }
        return _frame(rows, ["ratio", "method"])

    def write(self, folder: str | Path) -> list[Path]:
        """Write ``table.csv`` and ``all.json`` (facts, failures, all statistics), atomically."""
        folder = Path(folder)
        with atomic_path(folder / "table.csv") as part:
            self.table.to_csv(part, index=False)
        tables = {"table": self.table}
        if len(self.table) and self.has_full:
            tables |= {
                "excess": self.excess(),
                "excess_by_data": self.excess(by=("data",)),
                "excess_by_forecaster": self.excess(by=("forecaster",)),
                "cross_architecture": self.cross_architecture(),
            }
            for budget in self.budgets[:-1]:
                tables[f"excess at {budget} updates"] = self.excess(budget=budget)
        if len(self.table):
            tables |= {"ranks": self.ranks(), "quality": self.quality(), "costs": self.costs()}
            references = {
                REFERENCES.get(name).title for name in ("random", "random-expert", "coreset")
            }
            for name in sorted(references & set(self.table["method"])):
                tables[f"paired with {name}"] = self.paired(name)
        plain = {name: _records(frame) for name, frame in tables.items()}
        write_json(
            folder / "all.json", {"facts": self.facts, "failures": list(self.failures), **plain}
        )
        return [folder / "table.csv", folder / "all.json"]

    def __repr__(self) -> str:
        return benchmark_text(self)

    def _repr_html_(self) -> str:
        hidden = {"tables": repr(self), "facts": self.facts}
        return table_html("Benchmark", [], " ".join(self.verdicts()), hidden)

    def _check_column(self, column: str) -> None:
        if column not in self.table:
            raise unknown_name("column", column, map(str, self.table.columns))

    def untrained(self, column: str = "relative_rmse") -> pd.Series:
        """Return the errors of the baselines by data set, split and name (``method``)."""
        self._check_column(column)
        rows = self.table[self.table["forecaster"] == ""]
        return rows.set_index([*PLACE, "method"])[column].astype(float)

    def errors(self, column: str = "relative_rmse") -> dict[Any, float]:
        """Return the mean error by ratio, method and forecaster; the full data have no ratio."""
        keys = ["ratio", "name", "forecaster"]
        return dict(self._cells(column).groupby(keys, sort=False)["error"].mean().items())

    def verdicts(self, column: str = "relative_rmse") -> list[str]:
        """Return what is found about each method: sentences by data set, ratio and budget."""
        found: list[str] = []
        for data, own in self.table.groupby("data", sort=False):
            part = replace(self, table=own)
            for budget in part.budgets:
                found += verdicts_of(part.at(budget), str(data), budget, column)
        return found

    def _cells(self, column: str, budget: str | None = None) -> pd.DataFrame:
        """Return trained rows with their ``name`` and, as ``error``, the values of a column."""
        self._check_column(column)
        table = at_budget(self.table, budget or self.headline)
        cells = table[table["forecaster"] != ""].copy()
        several = cells.groupby("method")["surrogate"].transform("nunique") > 1
        bracket = "[" + cells["surrogate"].astype(str) + "]"
        cells["name"] = cells["method"].where(~several, cells["method"] + bracket)
        cells["error"] = cells[column].astype(float)
        best = self.untrained(column).groupby(level=PLACE).min().rename("untrained")
        cells = cells.merge(best.reset_index(), on=PLACE, how="left")
        cells["over_untrained"] = cells["error"] / cells["untrained"]
        return cells

    def _relative(self, column: str, budget: str | None = None) -> pd.DataFrame:
        """Return cells of methods with their ``excess`` over full data at the headline's budget."""
        title, full = REFERENCES.get("full").title, self._cells(column)
        cells, full = self._cells(column, budget), full[full["name"] == title]
        if full.empty:
            raise InputError(
                "the excess over full data needs the errors on full data: add full to references"
            )
        keys = [*PLACE, "forecaster"]
        base = full.groupby(keys)["error"].mean().rename("full").reset_index()
        cells = cells[cells["name"] != title].merge(base, on=keys)
        cells["excess"] = cells["error"] / cells["full"] - 1
        return cells

    def _mean_excess(self, column: str) -> dict[Hashable, float]:
        if not self.has_full:
            return {}
        return dict(self.excess(column)["mean"].items())


_COLUMNS = ["mean", "half_width", "sets", "pairs", "p_value", "wilcoxon", "mean_rank", "first"]
"""Of tables without a row."""


def _frame(rows: dict[Any, dict[str, float]], names: list[str]) -> pd.DataFrame:
    """Return rows keyed by tuples of index values."""
    if not rows:  # every job failed, or those that would be compared
        index = pd.MultiIndex.from_arrays([[] for _ in names], names=names)
        return pd.DataFrame(columns=_COLUMNS, index=index, dtype=float)
    index = pd.MultiIndex.from_tuples(list(rows), names=names)
    return pd.DataFrame(list(rows.values()), index=index)


def _test(differences: list[float]) -> dict[str, float]:
    """Return the mean of differences, its interval and the p-values of two paired tests."""
    found = interval(differences)
    return {
        "mean": found["mean"],
        "half_width": found["half_width"],
        "pairs": len(differences),
        "p_value": paired_p_value(differences),
        "wilcoxon": _wilcoxon(differences),
    }


def _wilcoxon(differences: list[float]) -> float:
    """Return the two-sided p-value of the signed ranks; NaN where all differences are zero."""
    values = [value for value in differences if value != 0]
    if not values:
        return math.nan
    with warnings.catch_warnings():
        # With ties the exact distribution is unknown; scipy warns that its own is approximate.
        warnings.simplefilter("ignore")
        return float(stats.wilcoxon(values).pvalue)


def _records(frame: pd.DataFrame) -> Any:
    """Return a frame as JSON records, its index among the columns; undefined values are null."""
    flat = frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()
    return json.loads(flat.replace([math.inf, -math.inf], math.nan).to_json(orient="records"))

"""The result of a comparison, its statistics, and its files."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from stemdist.display import share_text, table_html
from stemdist.errors import InputError, unknown_name
from stemdist.evaluate.comparison.budgets import FULL_TEXT, AtBudgets, at_budget
from stemdist.evaluate.comparison.figures import EvaluationPlots
from stemdist.evaluate.comparison.quality import break_even, gap_closed
from stemdist.evaluate.comparison.statistics import (
    Key,
    by_seed,
    frame_of,
    interval,
    paired_p_value,
    records,
    summary_of,
)
from stemdist.evaluate.comparison.tables import evaluation_tables, text_table
from stemdist.evaluate.comparison.verdict import (
    RANDOM_TEXT,
    Difference,
    best_forecaster,
    verdict,
)
from stemdist.files import atomic_path, write_json

_TABLES = ("table", "search", "by_target", "by_horizon", "by_stratum", "by_location")


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation(AtBudgets):
    """Result of :func:`~stemdist.evaluate.evaluate`; printing it shows the headline table.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per reference (column ``method``), forecaster, seed and ``budget`` of training:
        test metrics (see
        :meth:`~stemdist.evaluate.ErrorSums.metrics`), ``validation_relative_rmse``,
        ``learning_rate``, ``updates``, seconds, memory in bytes and compression ratios.
        Baselines have an empty forecaster and budget.
    search : pandas.DataFrame
        The validation error of every training run, other learning rates included.
    by_target : pandas.DataFrame
        Test errors of each row for every target; ``table`` has those of the first.
    by_horizon, by_stratum, by_location : pandas.DataFrame
        Test errors of the first target by horizon step, by its size and by location; for
        forecasters that learn a graph also the weight of a location in it (``influence``, mean 1).
    facts : dict
        Sizes, split, settings and version; JSON types.

    Statistics are those of one budget, the ``headline``; :meth:`at` gives another one.
    """

    table: pd.DataFrame
    search: pd.DataFrame
    by_target: pd.DataFrame
    by_horizon: pd.DataFrame
    by_stratum: pd.DataFrame
    by_location: pd.DataFrame
    facts: dict[str, Any]

    def at(self, budget: str) -> Evaluation:
        """Return the comparison at one budget.

        Raises
        ------
        InputError
            If forecasters were not trained with it.
        """
        self._check_budget(budget)
        tables: dict[str, Any] = {n: at_budget(getattr(self, n), budget) for n in _TABLES}
        return replace(self, **tables)

    @property
    def plot(self) -> EvaluationPlots:
        """Draw it: ``evaluation.plot()`` errors, or ``evaluation.plot.horizon(forecaster)``.

        Needs matplotlib, which the extra ``report`` installs.
        """
        return EvaluationPlots(self)

    def untrained(self, column: str = "relative_rmse") -> dict[str, float]:
        """Return the error of each baseline."""
        rows = records(self.summary(column))
        return {method: row["mean"] for (method, name), row in rows.items() if not name}

    def excess(self, column: str = "relative_rmse", budget: str | None = None) -> pd.DataFrame:
        """Return the excess over the full data, ``e / e_full - 1``, paired by seed.

        Parameters
        ----------
        column : str
            Column of the table.
        budget : str, optional
            Budget of ``e``, by default the ``headline``; that of ``e_full`` always is.

        Returns
        -------
        pandas.DataFrame
            ``mean``, ``half_width`` (95 % t-interval) and ``seeds``, indexed by method and
            forecaster; the forecaster ``"mean"`` has the mean over forecasters of each seed.
            Empty without the reference ``full``.
        """
        own = (self if budget is None else self.at(budget))._by_seed(column)
        return self._relative(own, "full", column)

    def relative(self, reference: str, column: str = "relative_rmse") -> pd.DataFrame:
        """Return ``e / e_reference - 1`` for any reference, otherwise as :meth:`excess`."""
        return self._relative(self._by_seed(column), reference, column)

    def _relative(
        self, own: dict[Key, dict[int, float]], reference: str, column: str
    ) -> pd.DataFrame:
        base = self._by_seed(column)
        found: dict[Key, list[float]] = {}
        for (method, name), errors in own.items():
            if name and (reference, name) in base:
                other = base[reference, name]
                found[method, name] = [errors[seed] / other[seed] - 1 for seed in errors]
        for method in dict.fromkeys(method for method, _ in found):
            each = [values for (one, _), values in found.items() if one == method]
            found[method, "mean"] = [fmean(values) for values in zip(*each, strict=True)]
        return frame_of({key: interval(values) for key, values in found.items()})

    def verdict(self, column: str = "relative_rmse") -> str:
        """Return what the comparison says about the distilled set, a sentence for each budget.

        Where forecasters are compared on the full data, it says which is best.
        """
        parts = [self.at(budget)._verdict(budget, column) for budget in self.budgets]
        return " ".join(part for part in parts if part)

    def _verdict(self, budget: str, column: str) -> str:
        methods = set(self.table["method"])
        if "distilled" not in methods:
            return self._best(column) if self.of_forecasters else ""
        labelled = next((name for name in RANDOM_TEXT if name in methods), "random")
        others = {"full": FULL_TEXT[budget], labelled: RANDOM_TEXT[labelled]}
        differences = []
        for reference, text in others.items():
            if reference in methods:
                row = records(self.relative(reference, column))["distilled", "mean"]
                mean, half = row["mean"], row["half_width"]
                differences.append(Difference(other=text, mean=mean, half_width=half))
        rows = records(self.summary(column))
        trained = {name: row["mean"] for (m, name), row in rows.items() if m == "distilled"}
        return verdict(self._subject, differences, trained, self.untrained(column))

    @property
    def _subject(self) -> str:
        """Return the distilled set with its size, where the table has it."""
        own = self.table[self.table["method"] == "distilled"]
        if "window_ratio" not in own:
            return "The distilled set"
        share = share_text(float(own["window_ratio"].iloc[0]))
        return f"At {share} of the windows x locations, the distilled set"

    @property
    def of_forecasters(self) -> bool:
        """Whether forecasters are compared, all on the full data, and not training data."""
        return list(self.facts["settings"]["references"]) == ["full"]

    def _best(self, column: str) -> str:
        """Return which forecaster is best on the full data, and by how much."""
        errors = {name: own for (_, name), own in self._by_seed(column).items() if name}
        means = {name: fmean(own.values()) for name, own in errors.items()}
        to_next = None
        if len(means) > 1:
            best, other = sorted(means, key=lambda name: means[name])[:2]
            found = interval([errors[best][s] / errors[other][s] - 1 for s in errors[best]])
            to_next = Difference(
                other=f"{other}, the next", mean=found["mean"], half_width=found["half_width"]
            )
        return best_forecaster(means, to_next, self.untrained(column))

    def summary(self, column: str = "relative_rmse") -> pd.DataFrame:
        """Return mean and half width of the 95 % t-interval over seeds of one column.

        Returns
        -------
        pandas.DataFrame
            ``mean``, ``half_width`` (NaN for one seed) and ``seeds``, indexed by method and
            forecaster in the order of the table.
        """
        return summary_of(self.table, column)

    def paired(self, reference: str = "random", column: str = "relative_rmse") -> pd.DataFrame:
        """Compare all training data with one reference, seed by seed.

        Parameters
        ----------
        reference : str
            One of the evaluated references.
        column : str
            Column of the table; a negative ``mean`` is an improvement where lower is better.

        Returns
        -------
        pandas.DataFrame
            ``mean`` and ``half_width`` (95 % t-interval) of the difference, ``seeds`` and
            ``p_value`` of the paired t-test, indexed by method and forecaster.

        Raises
        ------
        InputError
            If the reference was not evaluated or the column is not there.
        """
        seeds = self._by_seed(column)
        methods = {method for method, forecaster in seeds if forecaster}
        if reference not in methods:
            raise unknown_name("reference", reference, methods)
        rows = {}
        for (method, forecaster), own in seeds.items():
            if forecaster and method != reference:
                other = seeds[reference, forecaster]
                difference = [own[seed] - other[seed] for seed in own]
                rows[method, forecaster] = interval(difference) | {
                    "p_value": paired_p_value(difference)
                }
        return frame_of(rows)

    def quality(self, column: str = "relative_rmse") -> pd.DataFrame:
        """Return ``gap_closed`` and ``break_even`` of each reference and forecaster.

        They need the references ``full`` and, for the gap, ``random``; NaN without them.
        """
        error, train, made = (
            {key: row["mean"] for key, row in records(self.summary(name)).items()}
            for name in (column, "train_seconds", "data_seconds")
        )
        rows = {}
        for method, forecaster in error:
            if forecaster == "" or method in ("full", "random"):
                continue
            own, full, random = ((name, forecaster) for name in (method, "full", "random"))
            rows[own] = {
                "gap_closed": gap_closed(
                    error.get(random, math.nan), error[own], error.get(full, math.nan)
                ),
                "break_even": break_even(made[own], train.get(full, math.nan), train[own]),
            }
        return frame_of(rows)

    def write_csv(self, path: str | Path) -> Path:
        """Write the table as CSV, atomically."""
        with atomic_path(path) as part:
            self.table.to_csv(part, index=False)
        return Path(path)

    def write_json(self, path: str | Path) -> Path:
        """Write facts and all tables as JSON, atomically; undefined values are null."""
        tables = {name: json.loads(getattr(self, name).to_json(orient="split")) for name in _TABLES}
        write_json(path, {"facts": self.facts, **tables})
        return Path(path)

    @classmethod
    def read_json(cls, path: str | Path) -> Evaluation:
        """Read what :meth:`write_json` wrote.

        Raises
        ------
        InputError
            If it is not the ``all.json`` of a comparison.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            tables: dict[str, Any] = {name: pd.DataFrame(**content[name]) for name in _TABLES}
            return cls(facts=dict(content["facts"]), **tables)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{str(path)!r} is not the all.json that `stemdist evaluate` wrote ({error})"
            ) from error

    def __repr__(self) -> str:
        return text_table(self)

    def _repr_html_(self) -> str:
        rows = evaluation_tables(self)["errors"]
        return table_html("Evaluation", rows, self.verdict(), {"facts": self.facts})

    def _by_seed(self, column: str) -> dict[Key, dict[int, float]]:
        """Return the values of a column by method and forecaster, then by seed."""
        return by_seed(self.table, column)

"""The headline table as plain text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import pandas as pd

from stemdist.errors import unknown_name
from stemdist.evaluate.comparison.budgets import CONVERGED, FULL_TEXT, updates_text
from stemdist.evaluate.comparison.statistics import records
from stemdist.evaluate.comparison.training_data import REFERENCES
from stemdist.evaluate.comparison.verdict import WORSE_MARK, footnote, is_worse
from stemdist.evaluate.metrics.errors import METRICS
from stemdist.page.elements import Rows

MIB = 2**20
ERRORS = tuple(name for name in METRICS if name not in ("bias", "correlation"))
ERROR_WORDS = {
    "mae": "mean absolute error, in the unit of the target",
    "rmse": "root mean squared error, in the unit of the target",
    "crps": "continuous ranked probability score, in the unit of the target",
    "mape": "mean absolute percentage error",
    "relative_rmse": "root mean squared error over that of the test mean as a forecast",
    "relative_mae": "mean absolute error over that of the test mean as a forecast",
    "mase": "mean absolute error over that of persistence in the training part",
    "standardised_mse": "mean squared error of the standardised target",
    "standardised_mae": "mean absolute error of the standardised target",
}
"""What each error is."""


class Comparison(Protocol):
    """What the tables need of an :class:`~stemdist.evaluate.Evaluation`."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per training run."""

    @property
    def search(self) -> pd.DataFrame:
        """The validation error of every training run."""

    @property
    def facts(self) -> dict[str, Any]:
        """Sizes, split and settings."""

    @property
    def by_horizon(self) -> pd.DataFrame:
        """Test errors by horizon step."""

    @property
    def of_forecasters(self) -> bool:
        """Whether forecasters are compared, all on the full data."""

    @property
    def by_stratum(self) -> pd.DataFrame:
        """Test errors by size of the target."""

    @property
    def budgets(self) -> tuple[str, ...]:
        """The budgets of training, that of the headline last."""

    def at(self, budget: str) -> Comparison:
        """Return the comparison at one budget."""

    def untrained(self, column: str = ...) -> dict[str, float]:
        """Return the error of each baseline."""

    def excess(self, column: str = ..., budget: str | None = ...) -> pd.DataFrame:
        """Return errors over those on full data, less 1."""

    def verdict(self, column: str = ...) -> str:
        """Return what the comparison says about the distilled set."""

    def summary(self, column: str = ...) -> pd.DataFrame:
        """Return means and intervals over seeds."""

    def paired(self, reference: str = ..., column: str = ...) -> pd.DataFrame:
        """Return differences from a reference, seed by seed."""

    def quality(self, column: str = ...) -> pd.DataFrame:
        """Return the scores of training data."""


def check_error(name: str) -> str:
    """Return ``name`` if it is an error for which lower is better, else raise with the choices."""
    if name not in ERRORS:
        raise unknown_name("error", name, ERRORS)
    return name


def text_table(evaluation: Comparison, column: str = "relative_rmse") -> str:
    """Return the comparison as plain text: errors, costs, ratios, settings and a verdict.

    Parameters
    ----------
    evaluation : Evaluation
        The result of a comparison.
    column : str
        The error to show, e.g. ``"relative_rmse"`` or ``"mae"``; lower is better.

    Returns
    -------
    str
        Lines without a final line break.
    """
    tables = evaluation_tables(evaluation, column)
    note = footnote(tables["errors"])
    errors = aligned(tables.pop("errors")) + (f"\n{note}" if note else "")
    rest = map(aligned, tables.values())
    parts = [heading(evaluation, column), errors, *rest, evaluation.verdict(column)]
    return "\n\n".join(part for part in parts if part)


def evaluation_tables(evaluation: Comparison, column: str = "relative_rmse") -> dict[str, Rows]:
    """Return the tables of :func:`text_table`.

    Parameters
    ----------
    evaluation : Evaluation
        The result of a comparison.
    column : str
        The error to show; lower is better.

    Returns
    -------
    dict of str to list of list of str
        ``errors``, ``references``, ``costs`` and, where defined, ``excess`` and ``quality``: rows
        of cells, the first of which is the header. With several budgets ``errors``, ``excess``
        and ``costs`` have a column for them.
    """
    check_error(column)
    tables = {
        "errors": by_budget(evaluation, lambda own, _: _methods(own, column)),
        "references": _references(evaluation, column),
        "excess": by_budget(evaluation, lambda _, budget: _excess(evaluation, column, budget)),
        "costs": by_budget(evaluation, lambda own, _: _costs(own)),
        "quality": _quality(evaluation, column),
    }
    return {name: rows for name, rows in tables.items() if rows}


def forecaster_table(evaluation: Comparison, column: str = "relative_rmse") -> str:
    """Return a comparison of forecasters on the full data: one row each, best first.

    Parameters
    ----------
    evaluation : Evaluation
        Made without a distilled set.
    column : str
        The error to show and sort by, e.g. ``"relative_rmse"`` or ``"mae"``.

    Returns
    -------
    str
        Lines without a final line break.
    """
    rows = forecaster_rows(evaluation, column)
    shown = heading(evaluation, column, "mean +- 95 % interval")
    return "\n".join(part for part in (f"{shown}\n", aligned(rows), footnote(rows)) if part)


def forecaster_rows(evaluation: Comparison, column: str = "relative_rmse") -> Rows:
    """Return the table of :func:`forecaster_table`: rows of cells, the first is the header."""
    check_error(column)
    shown = [column, *(name for name in ("relative_rmse", "relative_mae") if name != column)]
    several = len(evaluation.budgets) > 1
    head = ["forecaster", *(["budget"] if several else []), *shown]
    found: list[tuple[float, list[str]]] = []
    for budget in evaluation.budgets:
        own = evaluation.at(budget)
        errors = [records(own.summary(name)) for name in shown]
        for (method, forecaster), row in errors[0].items():
            if not forecaster and budget != evaluation.budgets[-1]:
                continue  # baselines once
            cells = [_interval_text(error[method, forecaster]) for error in errors]
            if forecaster and is_worse(row["mean"], own.untrained(column)):
                cells[0] += WORSE_MARK
            name = [forecaster or f"({method})"]
            name += [budget if forecaster else "-"] if several else []
            found.append((row["mean"], [*name, *cells, *_training_costs(own, method, forecaster)]))
    rows = [cells for _, cells in sorted(found, key=lambda item: item[0])]
    return [[*head, "ms / update", "added MiB", "weights", "learning rate"], *rows]


def _training_costs(evaluation: Comparison, method: str, forecaster: str) -> list[str]:
    """Return time of an update, memory, weights and learning rate, which baselines do not have."""
    if not forecaster:
        return ["-"] * 4
    table = evaluation.table
    own = table[(table["forecaster"] == forecaster) & (table["method"] == method)]
    return [
        f"{1000 * (own['train_seconds'] / own['updates']).median():.0f}",
        f"{own['added_memory_bytes'].max() / MIB:.0f}",
        f"{own['weights'].iloc[0]:.0f}",
        f"{own['learning_rate'].iloc[0]:g}",
    ]


def _interval_text(row: dict[str, float]) -> str:
    width = "" if math.isnan(row["half_width"]) else f" +- {digits(row['half_width'])}"
    return f"{digits(row['mean'])}{width}"


def tuning_text(settings: Mapping[str, Any]) -> str:
    """Return what is chosen on validation for each reference and forecaster, as text."""
    rates = ", ".join(f"{rate:g}" for rate in settings["learning_rates"])
    more = "; whether locations are shuffled" if len(settings["shuffles"]) > 1 else ""
    return f"learning rate from {rates}{more}"


def heading(
    evaluation: Comparison, column: str, shown: str = "mean +- 95 % interval, * lowest"
) -> str:
    """Return the lines above the tables: target, sizes, split and training."""
    facts, settings = evaluation.facts, evaluation.facts["settings"]
    sizes = f"{facts['training_windows']} training windows x {facts['locations']} locations"
    if "clusters" in facts:
        sizes += f"; distilled: {facts['synthetic_windows']} windows x {facts['clusters']} clusters"
    parts = facts["split_boundaries"].items()
    split = ", ".join(f"{part} {begin}-{end - 1}" for part, (begin, end) in parts if end > begin)
    some = settings["locations_per_update"]
    where = "where they mix or converge" if CONVERGED in evaluation.budgets else "where they mix"
    used = f" ({some} locations per update {where})" if some else ""
    seeds = f"{settings['seeds']} seed{'s' if settings['seeds'] != 1 else ''}"
    held = facts.get("held_out_locations")
    where = f"{held} held-out" if held else f"all {facts['locations']}"
    return "\n".join(
        [
            f"Test {column} of {facts['target']} at {where} locations: {shown}, lower is better",
            f"{sizes}; {facts['test_windows']} test windows",
            f"split (time steps): {split}",
            f"{updates_text(settings)}{used} "
            f"for every reference; {seeds}; "
            f"on validation with seed {settings['first_seed']} chosen: {tuning_text(settings)}",
        ]
    )


def by_budget(evaluation: Comparison, rows_of: Callable[[Comparison, str], Rows]) -> Rows:
    """Return the rows of every budget below each other, which they name where there are several."""
    budgets = evaluation.budgets
    each = [rows_of(evaluation.at(budget), budget) for budget in budgets]
    if len(budgets) == 1 or not each[0]:
        return each[0]
    head = [[each[0][0][0], "budget", *each[0][0][1:]]]
    rows = zip(*(rows[1:] for rows in each), strict=True)  # those of a reference side by side
    return head + [
        [row[0], budget, *row[1:]] for own in rows for budget, row in zip(budgets, own, strict=True)
    ]


def _excess(evaluation: Comparison, column: str, budget: str) -> Rows:
    """Excess over the full data of the headline's budget, and its mean over forecasters."""
    found = records(evaluation.excess(column, budget))
    methods = evaluation.facts["settings"]["references"]
    if not found or list(methods) == ["full"]:
        return []
    forecasters = [*evaluation.facts["settings"]["forecasters"], "mean"]
    headline = evaluation.budgets[-1]
    rows = [[f"excess over {FULL_TEXT[headline]}", *forecasters]]
    for method in methods:
        cells = [excess_text(found[method, name]) for name in forecasters]
        itself = method == "full" and budget == headline
        rows.append([REFERENCES.get(method).title, *(["-"] * len(cells) if itself else cells)])
    return rows


def excess_text(row: Mapping[str, float]) -> str:
    """Return a relative difference in per cent, with its interval where there is one.

    Examples
    --------
    >>> excess_text({"mean": 0.012, "half_width": 0.004})
    '1.2 % +- 0.4'
    """
    mean, half = (100 * row[name] for name in ("mean", "half_width"))
    if math.isnan(mean):
        return "-"
    return f"{mean:.1f} %" + ("" if math.isnan(half) else f" +- {half:.1f}")


def _methods(evaluation: Comparison, column: str) -> Rows:
    summary = records(evaluation.summary(column))
    untrained = evaluation.untrained(column)
    forecasters = evaluation.facts["settings"]["forecasters"]
    best = {
        name: min(row["mean"] for (_, other), row in summary.items() if other == name)
        for name in forecasters
    }
    rows = [["trained on", *forecasters]]
    for method in evaluation.facts["settings"]["references"]:
        cells = []
        for name in forecasters:
            row = summary[method, name]
            mark = "*" if row["mean"] == best[name] else " "
            mark = WORSE_MARK if is_worse(row["mean"], untrained) else mark
            cells.append(f"{_interval_text(row)}{mark}")
        rows.append([REFERENCES.get(method).title, *cells])
    return rows


def _references(evaluation: Comparison, column: str) -> Rows:
    summary = records(evaluation.summary(column))
    rows = [[name, digits(row["mean"])] for (name, trained), row in summary.items() if not trained]
    return [["without training", ""], *rows]


def _costs(evaluation: Comparison) -> Rows:
    """One row per reference; means over forecasters and seeds, the highest peak."""
    rows = [
        [
            "cost",
            "making data s",
            "training s",
            "peak MiB",
            "added MiB",
            "windows x locations",
            "window ratio",
            "training ratio",
            "byte ratio",
        ]
    ]
    for method in evaluation.facts["settings"]["references"]:
        own = evaluation.table[evaluation.table["method"] == method]
        first = own.iloc[0]
        rows.append(
            [
                REFERENCES.get(method).title,
                f"{own['data_seconds'].max():.1f}",
                f"{own['train_seconds'].mean():.1f}",
                f"{own['peak_memory_bytes'].max() / MIB:.0f}",
                f"{own['added_memory_bytes'].max() / MIB:.0f}",
                f"{first['training_windows']:.0f} x {first['training_locations']:.0f}",
                *(
                    f"{100 * first[f'{kind}_ratio']:.3g} %"
                    for kind in ("window", "training", "byte")
                ),
            ]
        )
    return rows


def _quality(evaluation: Comparison, column: str) -> Rows:
    quality = records(evaluation.quality(column))
    if all(math.isnan(row["gap_closed"]) for row in quality.values()):
        return []
    forecasters = evaluation.facts["settings"]["forecasters"]
    gaps = records(evaluation.paired("random", column))
    rows = [["gap from random to full data closed / breaks even after", *forecasters]]
    for method in dict.fromkeys(method for method, _ in quality):
        cells = []
        for name in forecasters:
            closed, after = (quality[method, name][k] for k in ("gap_closed", "break_even"))
            gap = gaps["full", name]  # a share of a gap within the noise is meaningless
            unclear = math.isnan(closed) or abs(gap["mean"]) <= gap["half_width"]
            share = "no clear gap" if unclear else f"{100 * closed:.0f} %"
            plural = "s" * (after != 1)
            count = "never" if math.isinf(after) else f"{after:.0f} training{plural}"
            cells.append(f"{share} / {count}")
        rows.append([REFERENCES.get(method).title, *cells])
    return rows


def digits(value: float) -> str:
    """Return an error with four decimals, or two from 10 on; a dash where it is not defined."""
    return "-" if math.isnan(value) else f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns of text, the first flush left, the others flush right.

    Examples
    --------
    >>> print(aligned([["name", "n"], ["a", "10"]]))
    name   n
    a     10
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)

"""The headline table as plain text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pandas as pd

from stemdist.errors import unknown_name
from stemdist.evaluate.comparison.statistics import records
from stemdist.evaluate.comparison.training_data import REFERENCES
from stemdist.evaluate.metrics.errors import METRICS

MIB = 2**20
Rows = list[list[str]]
"""Cells of a table; the first row is its header."""
ERRORS = tuple(name for name in METRICS if name not in ("bias", "correlation"))


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
    """Return the comparison as plain text: errors, costs, ratios and settings.

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
    return "\n\n".join([heading(evaluation, column), *map(aligned, tables.values())])


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
        ``errors``, ``references``, ``costs`` and, where defined, ``quality``: rows of cells, the
        first of which is the header.
    """
    check_error(column)
    tables = {
        "errors": _methods(evaluation, column),
        "references": _references(evaluation, column),
        "costs": _costs(evaluation),
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
    return f"{heading(evaluation, column, 'mean +- 95 % interval')}\n\n{aligned(rows)}"


def forecaster_rows(evaluation: Comparison, column: str = "relative_rmse") -> Rows:
    """Return the table of :func:`forecaster_table`: rows of cells, the first is the header."""
    check_error(column)
    shown = [column, *(name for name in ("relative_rmse", "relative_mae") if name != column)]
    errors = [records(evaluation.summary(name)) for name in shown]
    rows = [["forecaster", *shown, "ms / update", "added MiB", "weights", "learning rate"]]
    for key in sorted(errors[0], key=lambda key: errors[0][key]["mean"]):
        method, forecaster = key
        cells = [_interval_text(error[key]) for error in errors]
        costs = ["-"] * 4
        if forecaster:
            table = evaluation.table
            own = table[(table["forecaster"] == forecaster) & (table["method"] == method)]
            costs = [
                f"{1000 * (own['train_seconds'] / own['updates']).median():.0f}",
                f"{own['added_memory_bytes'].max() / MIB:.0f}",
                f"{own['weights'].iloc[0]:.0f}",
                f"{own['learning_rate'].iloc[0]:g}",
            ]
        rows.append([forecaster or f"({method})", *cells, *costs])
    return rows


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
    sizes = f"M = {facts['training_windows']} training windows, N = {facts['locations']} locations"
    if "clusters" in facts:
        sizes += f"; distilled M_S = {facts['synthetic_windows']}, K = {facts['clusters']}"
    parts = facts["split_boundaries"].items()
    split = ", ".join(f"{part} {begin}-{end - 1}" for part, (begin, end) in parts if end > begin)
    some = settings["locations_per_update"]
    used = f" ({some} locations per update where they mix)" if some else ""
    updates = sorted(set(evaluation.search["updates"]))
    held = facts.get("held_out_locations")
    where = f"{held} held-out" if held else f"all {facts['locations']}"
    return "\n".join(
        [
            f"Test {column} of {facts['target']} at {where} locations: {shown}, lower is better",
            f"{sizes}; {facts['test_windows']} test windows",
            f"split (time steps): {split}",
            f"{' / '.join(map(str, updates))} updates of {settings['batch_windows']} windows{used} "
            f"for every reference; {settings['seeds']} seeds; on validation with seed "
            f"{settings['first_seed']} chosen: {tuning_text(settings)}",
        ]
    )


def _methods(evaluation: Comparison, column: str) -> Rows:
    summary = records(evaluation.summary(column))
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
            cells.append(f"{_interval_text(row)}{'*' if row['mean'] == best[name] else ' '}")
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

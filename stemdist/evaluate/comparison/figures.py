"""Figures of a comparison; they need the extra ``report``."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stemdist.distill.figures import plot_distilled as plot_distilled  # also public here
from stemdist.errors import InputError, unknown_name
from stemdist.evaluate.comparison.statistics import interval, records, summary_of
from stemdist.evaluate.comparison.tables import Comparison, check_error
from stemdist.evaluate.comparison.training_data import REFERENCES
from stemdist.figures import (
    DASHES,
    MARKERS,
    SERIES,
    axes_or_new,
    cut_intervals,
    new_figure,
    styles,
)
from stemdist.figures import save_figure as save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


WIDTH = 10.0
HEADROOM = 1.4
"""Largest upper limit of an axis as a multiple of the highest mean, for wide intervals."""
FAR = 2.0
"""Baselines beyond this multiple of the highest mean of a forecaster are not drawn in dot plots."""


def plot_evaluation(evaluation: Comparison | pd.DataFrame, column: str = "relative_rmse") -> Figure:
    """Draw the mean test error of every reference and forecaster with its 95 % interval.

    Parameters
    ----------
    evaluation : Evaluation or pandas.DataFrame
        A comparison, or its table as read back from CSV.
    column : str
        Error to draw; lower is better.

    Returns
    -------
    matplotlib.figure.Figure
        A dot plot: one row per reference, one colour and marker per forecaster, and a dashed line
        for each baseline. Intervals that would leave no room for the means are cut and marked, and
        baselines of more than twice the highest mean are in the legend only.

    Raises
    ------
    InputError
        If the table is not one of a comparison, or the error is unknown.
    MissingDependencyError
        If matplotlib is not installed.
    """
    table = _table(evaluation, column)
    figure = new_figure(WIDTH, _height(table))
    axes = figure.subplots()
    figure.legend(
        handles=draw_errors(axes, table, column), loc="outside right center", fontsize="small"
    )
    figure.suptitle(axes.get_title())
    axes.set_title("")
    return figure


class EvaluationPlots:
    """What can be drawn of a comparison, ``evaluation.plot``; every method returns matplotlib axes.

    Axes that are not given are those of a new figure of pyplot, which a notebook shows, and a
    script by ``plt.show()``.

    Parameters
    ----------
    evaluation : Evaluation
        The comparison.
    """

    def __init__(self, evaluation: Comparison) -> None:
        self._evaluation = evaluation

    def __call__(self, column: str = "relative_rmse", ax: Axes | None = None) -> Axes:
        """Draw the mean test error of every reference and forecaster; see :func:`plot_evaluation`.

        Parameters
        ----------
        column : str
            Error to draw; lower is better.
        ax : matplotlib.axes.Axes, optional
            Where to draw.
        """
        table = _table(self._evaluation, column)
        ax = axes_or_new(ax, WIDTH, _height(table))
        handles = draw_errors(ax, table, column)
        ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize="small")
        return ax

    def horizon(
        self, forecaster: str, column: str = "relative_rmse", ax: Axes | None = None
    ) -> Axes:
        """Draw the error of one forecaster by horizon step, with bands of 95 % intervals.

        Parameters
        ----------
        forecaster : str
            One of those that were trained.
        column : str
            Error to draw; lower is better.
        ax : matplotlib.axes.Axes, optional
            Where to draw.

        Raises
        ------
        InputError
            If the forecaster or the error is unknown.
        """
        own = self._evaluation.at(self._evaluation.budgets[-1]).by_horizon
        known = [name for name in dict.fromkeys(own["forecaster"]) if name]
        if forecaster not in known:
            raise unknown_name("forecaster", forecaster, known)
        check_error(column)
        ax = axes_or_new(ax, 7, 5)
        draw_horizon(ax, own, forecaster, column)
        ax.legend(fontsize="small")
        return ax


def draw_errors(axes: Axes, table: pd.DataFrame, column: str) -> list[Any]:
    """Draw the dot plot of a comparison's table; return the handles of its legend."""
    summary = records(summary_of(table, column))
    baselines = {method: row["mean"] for (method, name), row in summary.items() if not name}
    trained = {(method_title(key[0]), key[1]): row for key, row in summary.items() if key[1]}
    rows, kind = list(dict.fromkeys(title for title, _ in trained)), "trained on"
    if len(rows) == 1:  # forecasters are compared, and have a row each
        trained = {(name, title): row for (title, name), row in trained.items()}
        rows, kind = list(dict.fromkeys(name for name, _ in trained)), "forecaster"
    handles, dots = _draw_dots(axes, trained, rows)
    highest = max((row["mean"] for row in trained.values()), default=0.0)
    furthest = FAR * highest if highest > 0 else np.inf
    for (method, value), dash in zip(baselines.items(), cycle(DASHES), strict=False):
        look: dict[str, Any] = {"color": "0.35", "linestyle": dash, "lw": 1.2}
        if value <= furthest:
            handles.append(axes.axvline(value, **look, label=f"{method}: {value:.3f}"))
        else:
            handles += axes.plot([], [], **look, label=f"{method}: {value:.3f}, not drawn")
    near = [value for value in baselines.values() if value <= furthest]
    cut = cut_intervals(axes, "x", dots, near)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel=error_label(column), ylabel=kind)
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    seeds = max((int(row["seeds"]) for row in trained.values()), default=1)
    spread = f"mean and 95 % interval of {seeds} seeds" if seeds > 1 else "one seed"
    more = "; an arrow: the interval is longer" if cut else ""
    axes.set_title(f"Test error, {spread}; lower is better{more}")
    return handles


def draw_horizon(axes: Axes, by_horizon: pd.DataFrame, forecaster: str, column: str) -> None:
    """Draw the error of every reference and baseline by horizon step.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    by_horizon : pandas.DataFrame
        As in :class:`~stemdist.evaluate.Evaluation`, of one budget.
    forecaster : str
        Name of the trained forecaster.
    column : str
        Error to draw; its band is the 95 % interval over seeds.
    """
    from matplotlib.ticker import MaxNLocator

    trained = by_horizon[by_horizon["forecaster"] == forecaster]
    methods = list(dict.fromkeys(trained["method"]))
    for method, style in styles(methods).items():
        steps = trained[trained["method"] == method].groupby("horizon")[column]
        rows = pd.DataFrame([interval(own.tolist()) for _, own in steps], index=list(steps.groups))
        low, high = (rows["mean"] + sign * rows["half_width"] for sign in (-1, 1))
        axes.fill_between(rows.index, low, high, color=style["color"], alpha=0.12, lw=0)
        axes.plot(rows.index, rows["mean"], label=method_title(method), ms=4, **style)
    untrained = by_horizon[by_horizon["forecaster"] == ""]
    for method, dash in zip(dict.fromkeys(untrained["method"]), cycle(DASHES), strict=False):
        own = untrained[untrained["method"] == method]
        axes.plot(own["horizon"], own[column], color="0.45", ls=dash, lw=1.1, label=method)
    worst = float(trained.groupby(["method", "horizon"])[column].mean().max())
    top = min(float(axes.get_ylim()[1]), HEADROOM * worst)
    axes.set(xlabel="horizon (steps)", ylabel=error_label(column).replace(" (", "\n("))
    axes.set_ylim(0, top if top > 0 else None)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_dots(
    axes: Axes, trained: dict[tuple[str, str], dict[str, float]], rows: list[str]
) -> tuple[list[Any], list[tuple[float, float, float, str]]]:
    """Draw means and intervals by row and name; return handles, and what is drawn where."""
    names = list(dict.fromkeys(name for _, name in trained))
    offsets = np.linspace(-0.22, 0.22, len(names)) if len(names) > 1 else [0.0]
    handles: list[Any] = []
    drawn: list[tuple[float, float, float, str]] = []
    looks = zip(names, offsets, cycle(SERIES), cycle(MARKERS), strict=False)
    for name, offset, colour, marker in looks:
        own = [
            (row["mean"], row["half_width"], place + offset, colour)
            for place, title in enumerate(rows)
            if (row := trained.get((title, name)))
        ]
        means, halves, places, _ = zip(*own, strict=True)
        dots = axes.errorbar(
            means,
            places,
            xerr=np.nan_to_num(halves),
            fmt=marker,
            color=colour,
            capsize=3,
            label=name,
        )
        handles.append(dots)
        drawn += own
    return handles, drawn


def _table(evaluation: Comparison | pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the table of a comparison, or check one that was read back."""
    check_error(column)
    if not isinstance(evaluation, pd.DataFrame):
        return evaluation.table
    absent = [n for n in ("method", "forecaster", "seed", column) if n not in evaluation]
    if absent or evaluation.empty:
        lack = f"it has no column {', '.join(absent)}" if absent else "it has no rows"
        raise InputError(
            f"this is not the table of a comparison ({lack}): give the table.csv that `stemdist "
            "evaluate` wrote"
        )
    return evaluation.fillna({"forecaster": "", "budget": ""})  # CSV reads an empty text as missing


def _height(table: pd.DataFrame) -> float:
    """Return inches for the rows of :func:`draw_errors`."""
    trained = table[table["forecaster"] != ""]
    n_methods = trained["method"].nunique()
    return 2 + 0.55 * (n_methods if n_methods != 1 else trained["forecaster"].nunique())


def method_title(method: str) -> str:
    """Return the title of a reference, or its name if a plug-in is not installed here."""
    try:
        return REFERENCES.get(method).title
    except InputError:
        return method


def error_label(column: str) -> str:
    """Return the axis label of an error, with its unit."""
    if column.startswith("relative"):
        return f"{column} (in standard deviations of the target)"
    plain = column in ("mape", "mase")
    return f"{column} ({'ratio, no unit' if plain else 'unit of the target'})"

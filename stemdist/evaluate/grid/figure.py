"""The figure of a benchmark; it needs the extra ``report``."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

from stemdist.evaluate.comparison.tables import check_error
from stemdist.evaluate.grid.settings import ratio_pair
from stemdist.evaluate.grid.tables import BenchmarkResult
from stemdist.figures import MARKERS, SERIES, axes_or_new, cut_intervals, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DODGE = 1.03
"""Methods are shifted horizontally by this factor, so that their intervals do not overlap."""


def plot_benchmark(benchmark: BenchmarkResult, column: str = "relative_rmse") -> Figure:
    """Draw the excess of each method over full data, against the share that is kept.

    Parameters
    ----------
    benchmark : Benchmark
        Its references must include the full data.
    column : str
        Error to draw; lower is better.

    Returns
    -------
    matplotlib.figure.Figure
        One curve per method over the share of windows x locations (log scale), with the 95 %
        intervals of :meth:`Benchmark.excess`; the dashed line is training on the full data.

    Raises
    ------
    InputError
        If the error is unknown or the full data are not among the references.
    MissingDependencyError
        If matplotlib is not installed.
    """
    figure = new_figure(9, 5)
    axes = figure.subplots()
    draw_excess(axes, benchmark, column)
    figure.suptitle(axes.get_title())
    axes.set_title("")
    figure.legend(loc="outside right center", fontsize="small")
    return figure


def show_excess(benchmark: BenchmarkResult, column: str, ax: Axes | None) -> Axes:
    """Draw what :func:`plot_benchmark` does into axes, by default of a new figure of pyplot."""
    check_error(column)
    ax = axes_or_new(ax, 9, 5)
    draw_excess(ax, benchmark, column)
    ax.legend(fontsize="small")
    return ax


def draw_excess(axes: Axes, benchmark: BenchmarkResult, column: str) -> None:
    """Draw the excess of each method against the share that is kept, into axes."""
    check_error(column)
    found = benchmark.excess(column).reset_index()
    share = {ratio: _product(ratio) for ratio in found["ratio"]}
    names = list(dict.fromkeys(found["method"]))
    drawn: list[tuple[float, float, float, str]] = []
    axes.axhline(0.0, color="0.35", linestyle="--", lw=1.2, label="full data")
    styles: Any = zip(names, cycle(SERIES), cycle(MARKERS), cycle(("-", "--", ":")), strict=False)
    for place, (name, colour, marker, dash) in enumerate(styles):
        own = found[found["method"] == name]
        own = own.assign(share=own["ratio"].map(share)).sort_values("share")
        offset = DODGE ** (place - (len(names) - 1) / 2)
        axes.errorbar(
            100 * own["share"] * offset,
            100 * own["mean"],
            yerr=100 * own["half_width"].fillna(0.0),
            color=colour,
            marker=marker,
            linestyle=dash if place >= len(SERIES) else "-",
            capsize=3,
            label=name,
        )
        places = 100 * own["share"] * offset
        rows = zip(100 * own["mean"], 100 * own["half_width"], places, strict=True)
        drawn += [(*row, colour) for row in rows]
    cut = cut_intervals(axes, "y", drawn, [0.0])
    ticks = sorted(share.items(), key=lambda item: item[1])
    axes.set(xscale="log", xlabel="kept share of time x space", ylabel=f"excess of {column} (%)")
    axes.set_xticks([100 * value for _, value in ticks], [name for name, _ in ticks])
    axes.minorticks_off()
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    more = "; an arrow: the interval is longer" if cut else ""
    axes.set_title(f"Error over training on full data, mean and 95 % interval{more}")


def _product(ratio: str) -> float:
    time, space = ratio_pair(ratio)
    return time * space

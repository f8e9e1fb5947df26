"""Figures of the report; each is one panel that is readable on a narrow screen.

Shapes: N locations, K clusters, L_out horizon.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from stemdist.data.windows import WindowSource
from stemdist.distill.cluster_figures import draw_cluster_graph, draw_clusters, highlights
from stemdist.distill.distilled import DistilledSet
from stemdist.distill.figures import draw_windows, share_height
from stemdist.evaluate.comparison.figures import draw_horizon
from stemdist.figures import SERIES, new_figure, styles
from stemdist.graph.location_map import draw_values, positions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 5.6, 4.2
LEAST_TRAININGS = 10.0
"""Smallest range of the number of trainings after which methods break even."""


def plot_horizon(by_horizon: pd.DataFrame, forecaster: str, column: str) -> Figure:
    """Draw the error of every reference and baseline by horizon step."""
    legend_rows = math.ceil(by_horizon["method"].nunique() / 2)
    figure, axes = _panel(height=HEIGHT + 0.2 * max(0, legend_rows - 4))  # the label needs room
    draw_horizon(axes, by_horizon, forecaster, column)
    _legend_below(figure, axes)
    return figure


def plot_costs(costs: Mapping[str, tuple[float, float]]) -> Figure:
    """Draw the seconds to make the training data and to train once, by reference or method.

    Parameters
    ----------
    costs : mapping of str to tuple of float
        Seconds of making the data and of training, by title.
    """
    figure, axes = _panel(height=1.6 + 0.34 * len(costs))
    left = np.zeros(len(costs))
    for place, (label, colour, hatch) in enumerate(
        (("making the data", SERIES[1], "//"), ("training one forecaster", SERIES[0], ""))
    ):
        seconds = np.array([pair[place] for pair in costs.values()])
        axes.barh(
            list(costs), seconds, left=left, color=colour, hatch=hatch, edgecolor="white", lw=0,
            label=label,
        )  # fmt: skip
        left += seconds
    _bar_axes(axes, left, "time (s)", "{:.3g} s")
    _legend_below(figure, axes)
    return figure


def plot_memory(peaks: Mapping[str, tuple[float, float]]) -> Figure:
    """Draw the peak memory of a training run in MiB, by reference.

    Parameters
    ----------
    peaks : mapping of str to tuple of float
        MiB of the whole process, and those added by training, by title.
    """
    figure, axes = _panel(height=1.6 + 0.34 * len(peaks))
    total, added = np.array(list(peaks.values())).T
    names = list(peaks)
    axes.barh(names, total - added, color="0.75", label="before training")
    axes.barh(
        names, added, left=total - added, color=SERIES[0], label="added by training",
        hatch="//", edgecolor="white", lw=0,
    )  # fmt: skip
    _bar_axes(axes, total, "peak resident memory (MiB)", "{:,.0f} MiB")
    _legend_below(figure, axes)
    return figure


def plot_break_even(after: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw after how many trainings each method breaks even, of all forecasters in one chart.

    Parameters
    ----------
    after : mapping of str to mapping of str to float
        Number of trainings by title of the method, then by forecaster: infinite for never, 0 for
        what takes no time to make.

    Returns
    -------
    matplotlib.figure.Figure
        Dots, one row per method, on a logarithmic axis that ends in "never".
    """
    figure, axes = _panel(height=1.9 + 0.34 * len(after))
    found = [number for own in after.values() for number in own.values() if math.isfinite(number)]
    decades = math.ceil(math.log10(max([LEAST_TRAININGS, *found])))
    never = decades + 0.6
    names = list(dict.fromkeys(name for own in after.values() for name in own))
    offsets = np.linspace(-0.2, 0.2, len(names)) if len(names) > 1 else [0.0]
    for (name, style), offset in zip(styles(names).items(), offsets, strict=True):
        numbers = [own.get(name, math.nan) for own in after.values()]
        places = [
            math.log10(max(1.0, n)) if math.isfinite(n) else never if n > 0 else n for n in numbers
        ]
        axes.plot(places, np.arange(len(after)) + offset, ls="", ms=6, label=name, **style)
    axes.axvline(decades + 0.3, color="0.35", lw=1)
    ticks = [f"{10**k:,}" for k in range(decades + 1)]
    axes.set_xticks([*range(decades + 1), never], ["at most 1", *ticks[1:], "never"])
    axes.set_yticks(range(len(after)), list(after))
    axes.set(xlabel="trainings until it breaks even", ylim=(len(after) - 0.5, -0.5))
    axes.set_xlim(-0.3, never + 0.3)
    _legend_below(figure, axes)
    return figure


def plot_clusters(distilled: DistilledSet) -> Figure:
    """Draw the locations by cluster, or their mean windows where a map says nothing."""
    figure, axes = _panel(height=5.2)
    draw_clusters(axes, distilled, highlights(distilled))
    return figure


def plot_cluster_graph(distilled: DistilledSet) -> Figure | None:
    """Draw the graph between the clusters on a map; None where there is none to draw."""
    figure, axes = _panel(height=5.2)
    return figure if draw_cluster_graph(axes, distilled) else None


def plot_location_values(
    coords: xr.Dataset, values: np.ndarray, label: str, *, diverging: bool
) -> Figure | None:
    """Draw one number per location on a map.

    Parameters
    ----------
    coords : xarray.Dataset
        Coordinates of the N locations.
    values : numpy.ndarray
        (N,) numbers; colours range from the 1st to the 99th percentile.
    label : str
        Quantity and unit.
    diverging : bool
        Whether their sign matters; zero is then white.

    Returns
    -------
    matplotlib.figure.Figure or None
        None if no position or no value is known.
    """
    names, known = positions(coords), values[np.isfinite(values)]
    if names is None or not len(known):
        return None
    low, high = np.percentile(known, (1, 99)).tolist()
    if diverging:
        high = max(abs(low), abs(high))
        low = -high
    figure, axes = _panel()
    axes.set_facecolor("0.9" if diverging else "white")
    shown: dict[str, Any] = {"cmap": "PuOr_r" if diverging else "viridis"}
    drawn = draw_values(axes, coords, values, names, vmin=low, vmax=high or 1.0, **shown)
    inside = ((known < low) | (known > high)).any()
    bar = figure.colorbar(drawn, ax=axes, pad=0.02, extend="both" if inside else "neither")
    bar.set_label(label)
    return figure


def plot_windows(distilled: DistilledSet, real: WindowSource) -> list[Figure]:
    """Draw windows of a set and of the data at the largest clusters, on equal axes.

    Parameters
    ----------
    distilled : DistilledSet
        Its windows are drawn first.
    real : WindowSource
        Real windows at its K representatives.
    """
    panels = [_panel(height=4.6) for _ in range(2)]
    sources = (distilled.windows, None), (real, "observed")
    for (_, axes), (source, labels) in zip(panels, sources, strict=True):
        draw_windows(axes, distilled, source, highlights(distilled), labels)
    share_height(*(axes for _, axes in panels))
    return [figure for figure, _ in panels]


def plot_spectra(spectra: pd.DataFrame) -> Figure:
    """Draw mean power against period, of the set and of the training part.

    Parameters
    ----------
    spectra : pandas.DataFrame
        As :func:`~stemdist.evaluate.comparison.fidelity.spectra` returns it.
    """
    figure, axes = _panel()
    drawn = (("real", "training part", "black", "s"), ("synthetic", "set", SERIES[4], "o"))
    for name, label, colour, marker in drawn:
        axes.plot(spectra.index, spectra[name], color=colour, marker=marker, ms=4, label=label)
    axes.set(xscale="log", xlabel="period (steps)", ylabel="mean power (dB, scaled units)")
    axes.invert_xaxis()
    ticks = sorted({float(f"{p:.2g}") for p in np.geomspace(2, spectra.index.max(), 6)})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    _legend_below(figure, axes)
    return figure


def _panel(width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Axes]:
    figure = new_figure(width, height)
    axes = figure.subplots()
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    return figure, axes


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, _ = axes.get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize="small")


def _bar_axes(axes: Axes, totals: np.ndarray, label: str, text: str) -> None:
    for place, total in enumerate(totals):
        axes.annotate(
            text.format(total), (total, place), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize="small",
        )  # fmt: skip
    axes.set(xlabel=label, xlim=(0, 1.3 * (totals.max() or 1.0)))
    axes.grid(visible=False, axis="y")
    axes.invert_yaxis()

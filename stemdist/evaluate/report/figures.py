"""Figures of the report; each is one panel that is readable on a narrow screen.

Shapes: N locations, K clusters, L_out horizon.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from stemdist.data.windows import WindowSource
from stemdist.distill.distilled import DistilledSet
from stemdist.evaluate.comparison.figures import (
    DASHES,
    MARKERS,
    SERIES,
    draw_windows,
    error_label,
    highlights,
    method_title,
    new_figure,
)
from stemdist.evaluate.comparison.location_map import draw_locations, draw_values, positions
from stemdist.evaluate.comparison.statistics import interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 5.6, 4.2
MOST_EDGES = 2000
"""Most edges of the cluster graph that are drawn, the strongest first."""
HEADROOM = 1.4
"""Largest upper limit of an axis as a multiple of the highest mean, for wide intervals."""
LEAST_MODELS = 10
"""Smallest range of the number of trainings in curves of cost."""


def plot_horizon(by_horizon: pd.DataFrame, forecaster: str, column: str) -> Figure:
    """Draw the error of every reference and baseline by horizon step.

    Parameters
    ----------
    by_horizon : pandas.DataFrame
        As in :class:`~stemdist.evaluate.Evaluation`.
    forecaster : str
        Name of the trained forecaster.
    column : str
        Error to draw; its band is the 95 % interval over seeds.
    """
    figure, axes = _panel()
    trained = by_horizon[by_horizon["forecaster"] == forecaster]
    methods = list(dict.fromkeys(trained["method"]))
    for method, style in _styles(methods).items():
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
    _whole_steps(axes)
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


def plot_break_even(costs: Mapping[str, tuple[float, float]], after: Mapping[str, float]) -> Figure:
    """Draw the time against the number of trainings, by reference.

    Parameters
    ----------
    costs : mapping of str to tuple of float
        Seconds of making the data and of training, by title.
    after : mapping of str to float
        Number of trainings after which a method breaks even; infinite for never.
    """
    figure, axes = _panel()
    finite = [value for value in after.values() if math.isfinite(value)]
    models = np.linspace(0, max([LEAST_MODELS, *(2 * value for value in finite)]), 200)
    for name, style in _styles(list(costs)).items():
        making, training = costs[name]
        axes.plot(models, making + training * models, label=name, markevery=25, ms=4, **style)
        if math.isfinite(after.get(name, math.nan)):
            seconds = making + training * after[name]
            axes.plot(after[name], seconds, "o", ms=11, mfc="none", color=style["color"])
    if finite:
        axes.plot([], [], "o", ms=11, mfc="none", color="0.3", label="breaks even")
    axes.set(xlabel="forecasters trained (number)", ylabel="time for data and training (s)")
    axes.set_xlim(0, models[-1])
    axes.set_ylim(bottom=0)
    _legend_below(figure, axes)
    return figure


def plot_clusters(distilled: DistilledSet) -> Figure:
    """Draw the locations by cluster and, if positions are known, the cluster graph."""
    figure, axes = _panel(height=5.4)
    names = positions(distilled.locations.coords)
    if names is not None:
        _draw_edges(axes, distilled, names)
    draw_locations(axes, distilled, highlights(distilled))
    return figure


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
    limits = np.array([axes.get_ylim() for _, axes in panels])
    for _, axes in panels:
        axes.set_ylim(limits[:, 0].min(), limits[:, 1].max())
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


def _styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return colour and marker of each name."""
    styles = zip(names, cycle(SERIES), cycle(MARKERS), strict=False)
    return {name: {"color": colour, "marker": marker} for name, colour, marker in styles}


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, _ = axes.get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize="small")


def _whole_steps(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _bar_axes(axes: Axes, totals: np.ndarray, label: str, text: str) -> None:
    for place, total in enumerate(totals):
        axes.annotate(
            text.format(total), (total, place), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize="small",
        )  # fmt: skip
    axes.set(xlabel=label, xlim=(0, 1.3 * (totals.max() or 1.0)))
    axes.grid(visible=False, axis="y")
    axes.invert_yaxis()


def _draw_edges(axes: Axes, distilled: DistilledSet, names: tuple[str, str]) -> None:
    """Draw the edges between medoids, darker where the weight is larger."""
    from matplotlib.collections import LineCollection
    from matplotlib.patheffects import withStroke

    graph, medoids = distilled.cluster_graph, distilled.medoids.numpy()
    source, target = graph.edge_index.numpy()
    weight = graph.edge_weight.numpy()
    kept = np.nonzero(source != target)[0]
    kept = kept[np.argsort(-weight[kept], kind="stable")][:MOST_EDGES]
    if not len(kept):
        return
    places = np.stack([distilled.locations.coords[name].values[medoids] for name in names], axis=1)
    ends = np.stack([places[source[kept]], places[target[kept]]], axis=1)  # (edges, 2, 2)
    share = weight[kept] / weight[kept].max()
    lines = LineCollection(
        list(ends), colors=[str(0.6 * (1 - float(s))) for s in share],
        linewidths=1.1, zorder=0.8, label="edge of the cluster graph",
        path_effects=[withStroke(linewidth=2.2, foreground="white")],
    )  # fmt: skip
    axes.add_collection(lines)

"""Figures of a distilled set; they need the extra ``report``.

Shapes: N locations, K clusters, L_in lookback, L_out horizon.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr

from stemdist.data.windows import WindowSource
from stemdist.distill.cluster_figures import draw_cluster_graph, draw_clusters, highlights
from stemdist.distill.dataset import SetContents
from stemdist.distill.real_windows import real_windows
from stemdist.errors import InputError
from stemdist.figures import SERIES, axes_or_new, new_figure, shown_figure
from stemdist.forecast import ForecastTask

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WINDOWS_SHOWN = 3


def plot_distilled(distilled: SetContents, real: ForecastTask | None = None) -> Figure:
    """Draw a distilled set: its clusters, some of its windows, and its size.

    Parameters
    ----------
    distilled : DistilledSet
        Locations without positions are drawn as their mean windows instead of a map.
    real : ForecastTask, optional
        The data it was distilled from, prepared with its settings: windows of the training part
        are drawn beside its own.

    Returns
    -------
    matplotlib.figure.Figure
        5 inches high with three panels, or four with real windows; values in physical units.

    Raises
    ------
    InputError
        If the set does not fit the real data.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> from stemdist.distill import DistillSettings, distill
    >>> from stemdist.data import canonical_series, simulate
    >>> from stemdist.forecast import ForecastTask, TrainingSettings
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=3, n_lon=4))
    >>> few = TrainingSettings(updates=2)
    >>> made = distill(
    ...     ForecastTask.from_series(series),
    ...     DistillSettings(synthesizer="selection", expert_training=few, judging=few),
    ... )
    >>> [axes.get_title() for axes in plot_distilled(made).axes[:3]]
    ['Locations by cluster', 'Real windows of the set', 'Size']
    """
    figure = new_figure(*_size(real))
    _draw_all(figure, distilled, real)
    return figure


class DistilledPlots:
    """What can be drawn of a distilled set, ``tiny.plot``; every method returns matplotlib axes.

    Axes that are not given are those of a new figure of pyplot, which a notebook shows, and a
    script by ``plt.show()``.

    Parameters
    ----------
    distilled : DistilledSet
        The set.
    """

    def __init__(self, distilled: SetContents) -> None:
        self._distilled = distilled

    def __call__(self, real: ForecastTask | xr.Dataset | None = None) -> list[Axes]:
        """Draw clusters, windows and size side by side; see :func:`plot_distilled`.

        Parameters
        ----------
        real : ForecastTask or xarray.Dataset, optional
            The series it was distilled from, whose windows are drawn beside its own.

        Returns
        -------
        list of matplotlib.axes.Axes
            One for each panel.
        """
        task = self._task(real)
        return _draw_all(shown_figure(*_size(task)), self._distilled, task)

    def clusters(self, ax: Axes | None = None) -> Axes:
        """Draw the locations by cluster: a map, or mean windows where a map says nothing."""
        ax = axes_or_new(ax, 6.4, 5)
        draw_clusters(ax, self._distilled, highlights(self._distilled))
        return ax

    def graph(self, ax: Axes | None = None) -> Axes:
        """Draw the graph between the clusters on a map.

        Raises
        ------
        InputError
            If there are no positions or no edges to draw.
        """
        ax = axes_or_new(ax, 6.4, 5)
        if not draw_cluster_graph(ax, self._distilled):
            raise InputError(
                "the graph of the clusters is not drawn: it has no edges between clusters, or the "
                "positions of the locations are not known; draw the clusters instead"
            )
        return ax

    def windows(
        self, real: ForecastTask | xr.Dataset | None = None, ax: Axes | None = None
    ) -> Axes:
        """Draw a few windows of the set, or of the data it was distilled from.

        Parameters
        ----------
        real : ForecastTask or xarray.Dataset, optional
            Draw training windows of this series at the same clusters instead of the set's own.
        ax : matplotlib.axes.Axes, optional
            Where to draw.

        Raises
        ------
        InputError
            If the set does not fit the real data.
        """
        ax = axes_or_new(ax, 7, 5)
        made, colours, task = self._distilled, highlights(self._distilled), self._task(real)
        if task is None:
            draw_windows(ax, made, made.windows, colours)
        else:
            draw_windows(ax, made, real_windows(made, task), colours, "observed")
        return ax

    def sizes(self, ax: Axes | None = None) -> Axes:
        """Draw the sizes of the set and of the training part it stands for."""
        ax = axes_or_new(ax, 5.6, 5)
        _draw_sizes(ax, self._distilled)
        return ax

    def _task(self, real: ForecastTask | xr.Dataset | None) -> ForecastTask | None:
        """Return the task of a series with the settings of the set."""
        if not isinstance(real, xr.Dataset):
            return real
        return ForecastTask.from_series(real, self._distilled.settings)


def _size(real: ForecastTask | None) -> tuple[float, float]:
    return (16 if real is None else 21), 5


def _draw_all(figure: Figure, distilled: SetContents, real: ForecastTask | None) -> list[Axes]:
    """Draw all panels side by side and return their axes."""
    given = None if real is None else real_windows(distilled, real)
    widths = (1.2, 1.25, *(() if given is None else (1.25,)), 1)
    places, windows, *beside, sizes = figure.subplots(1, len(widths), width_ratios=widths)
    colours = highlights(distilled)
    draw_clusters(places, distilled, colours)
    draw_windows(windows, distilled, distilled.windows, colours)
    windows.set_title(f"{distilled.window_kind.capitalize()} of the set")
    if given is not None:
        draw_windows(beside[0], distilled, given, colours, "observed")
        beside[0].set_title("Real training windows")
        share_height(windows, beside[0])
    _draw_sizes(sizes, distilled)
    record = distilled.record
    n_windows = "1 window" if distilled.n_windows == 1 else f"{distilled.n_windows:,} windows"
    figure.suptitle(
        f"{record.get('source_name') or distilled.variables[0]}: {record['training_windows']:,} "
        f"windows x {len(distilled.locations):,} locations distilled to {n_windows} x "
        f"{distilled.n_clusters:,} clusters"
    )
    return [places, windows, *beside, sizes]


def share_height(*panels: Axes) -> None:
    """Give panels the same vertical limits, those that show what is in all."""
    limits = np.array([axes.get_ylim() for axes in panels])
    for axes in panels:
        axes.set_ylim(limits[:, 0].min(), limits[:, 1].max())


def draw_windows(
    axes: Axes,
    distilled: SetContents,
    windows: WindowSource,
    colours: dict[int, str],
    labels: str | None = None,
) -> None:
    """Draw a few windows at the largest clusters: inputs, then targets.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    distilled : SetContents
        The distilled set with the clusters, scaling and units of the windows.
    windows : WindowSource
        Its own windows, or real ones at the K representatives; scaled.
    colours : dict of int to str
        Clusters to draw and their colours.
    labels : str, optional
        Kind of the targets, for the legend; by default that of the set.
    """
    scaler = distilled.cluster_scaler
    lags = np.arange(1 - windows.lookback, 1)
    leads = np.arange(1, windows.horizon + 1)
    chosen = np.linspace(0, len(windows) - 1, min(WINDOWS_SHOWN, len(windows))).astype(int)
    inputs, targets, mask = windows.batch(torch.from_numpy(chosen))
    first = slice(windows.horizon)  # the steps of the first target
    for cluster, colour in colours.items():
        size = int(distilled.cluster_sizes[cluster])
        label = f"cluster {cluster} ({size} location{'s' if size > 1 else ''})"
        for window in range(len(chosen)):
            x = scaler.inverse(inputs[window, ..., 0])[:, cluster].numpy()
            y = scaler.inverse(targets[window, first])[:, cluster].numpy()
            y = np.where(mask[window, first, cluster].numpy() > 0, y, np.nan)
            axes.plot(lags, x, color=colour, lw=1.4, label=label)
            axes.plot(leads, y, color=colour, lw=1.4, ls="--", marker=".", ms=4)
            label = "_again"
    axes.plot([], [], color="0.4", label="inputs")
    targets_label = f"targets ({labels or distilled.y_kind})"
    axes.plot([], [], color="0.4", ls="--", marker=".", label=targets_label)
    axes.axvspan(0.5, windows.horizon + 0.5, color="0.95", zorder=0)
    axes.set(
        xlabel="time from the last input (steps)",
        ylabel=f"{distilled.variables[0]} ({distilled.units or 'no unit'})",
        xlim=(0.5 - windows.lookback, windows.horizon + 0.5),
    )
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)


def _draw_sizes(axes: Axes, distilled: SetContents) -> None:
    """Draw the real training part and the distilled set as bars, by number and by bytes."""
    from matplotlib.ticker import EngFormatter

    record = distilled.record
    begin, end = record["split_boundaries"]["train"]
    n_locations = len(distilled.locations)
    number = record["training_windows"] * n_locations
    series_bytes = 4 * (end - begin) * n_locations * len(distilled.variables)
    rows: tuple[tuple[str, int, float, Callable[[float], str]], ...] = (
        ("windows x\nlocations", number, record["ratios"]["training_ratio"], "{:,.0f}".format),
        ("bytes", series_bytes, record["ratios"]["byte_ratio"], EngFormatter("B", places=1)),
    )
    for place, (_, full, ratio, text) in enumerate(rows):
        bars = (
            (-0.19, full, "", "0.65"),
            (0.19, full * ratio, f" = {100 * ratio:.3g} %", SERIES[0]),
        )
        for offset, value, share, colour in bars:
            axes.barh(place + offset, value, height=0.34, color=colour)
            axes.annotate(
                f"{text(value)}{share}",
                (value, place + offset),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    values = [row[1] * min(1.0, row[2]) for row in rows]
    tops = [row[1] * max(1.0, row[2]) for row in rows]
    low, high = np.log10(min(values)) - 1, np.log10(max(tops))
    axes.set(
        title="Size",
        xscale="log",
        xlabel="number, or bytes (log scale)",
        xlim=(10**low, 10 ** (high + 0.55 * (high - low))),  # room for the text
        ylim=(len(rows) - 0.5, -0.5),
    )
    for colour, label in (("0.65", "real training part"), (SERIES[0], "distilled")):
        axes.bar(0, 0, color=colour, label=label)
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)

"""Figures of a distilled set and of a comparison; they need the extra ``report``.

matplotlib is imported when a figure is drawn, and its global state is not changed.
Shapes: N locations, K clusters, L_in lookback, L_out horizon.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from stemdist.data.windows import WindowSource
from stemdist.distill.distilled import DistilledSet
from stemdist.errors import InputError, MissingDependencyError
from stemdist.evaluate.comparison.evaluation import Evaluation
from stemdist.evaluate.comparison.location_map import draw_locations
from stemdist.evaluate.comparison.statistics import records
from stemdist.evaluate.comparison.tables import check_error
from stemdist.evaluate.comparison.training_data import REFERENCES
from stemdist.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of Okabe and Ito, which are distinguishable with colour blindness.
HIGHLIGHTS = ("#D55E00", "#000000", "#CC79A7")
SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
MARKERS = "osD^vPX*"  # one more than colours: pairs repeat after 56 only
WINDOWS_SHOWN = 3
DASHES = ((0, (6, 2)), (0, (2, 2)), (0, (6, 2, 1, 2)), (0, (1, 1)))

# Without a date, the same figure is the same file.
_MADE = "made by stemdist plot"  # see stemdist.markers
FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"Software": _MADE},
    ".svg": {"Date": None, "Creator": _MADE},
    ".pdf": {"CreationDate": None, "Creator": _MADE},
}


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, SVG or PDF, atomically.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        For example from :func:`plot_distilled`.
    path : str or Path
        Its ending, ``.png``, ``.svg`` or ``.pdf``, determines the format.

    Raises
    ------
    InputError
        If the ending is another one.
    OutputError
        If it cannot be written; an existing file is left unchanged.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise InputError(
            f"the figure {str(path)!r} must end in {' or '.join(FORMATS)}, e.g. "
            f"{path.with_suffix('.png').name}"
        )
    with atomic_path(path) as part:
        figure.savefig(part, metadata=FORMATS[path.suffix])
    return path


def plot_distilled(distilled: DistilledSet) -> Figure:
    """Draw a distilled set: its clusters, some of its windows, and its size.

    Parameters
    ----------
    distilled : DistilledSet
        Locations without positions are drawn as their mean windows instead of a map.

    Returns
    -------
    matplotlib.figure.Figure
        16 x 5 inches with three panels, values in physical units.

    Raises
    ------
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
    ['Locations by cluster', 'Real windows', 'Size']
    """
    figure = new_figure(16, 5)
    places, windows, sizes = figure.subplots(1, 3, width_ratios=(1.2, 1.25, 1))
    colours = highlights(distilled)
    draw_locations(places, distilled, colours)
    draw_windows(windows, distilled, distilled.windows, colours)
    windows.set_title(distilled.window_kind.capitalize())
    _draw_sizes(sizes, distilled)
    record = distilled.record
    n_windows = "1 window" if distilled.n_windows == 1 else f"{distilled.n_windows:,} windows"
    figure.suptitle(
        f"{record.get('source_name') or distilled.variables[0]}: {record['training_windows']:,} "
        f"windows x {len(distilled.locations):,} locations distilled to {n_windows} x "
        f"{distilled.n_clusters:,} clusters"
    )
    return figure


def plot_evaluation(evaluation: Evaluation | pd.DataFrame, column: str = "relative_rmse") -> Figure:
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
        for each baseline.

    Raises
    ------
    InputError
        If the table is not one of a comparison, or the error is unknown.
    MissingDependencyError
        If matplotlib is not installed.
    """
    check_error(column)
    summary = records(_comparison(evaluation, column).summary(column))
    baselines = {method: row["mean"] for (method, name), row in summary.items() if not name}
    trained = {key: row for key, row in summary.items() if key[1]}
    methods = list(dict.fromkeys(method for method, _ in trained))
    figure = new_figure(10, 2 + 0.55 * len(methods))
    axes = figure.subplots()
    handles = _draw_dots(axes, trained, methods)
    for (method, value), dash in zip(baselines.items(), cycle(DASHES), strict=False):
        label = f"{method}: {value:.3f}"
        handles.append(axes.axvline(value, color="0.35", linestyle=dash, lw=1.2, label=label))
    axes.set_yticks(range(len(methods)), [method_title(method) for method in methods])
    axes.set(ylim=(len(methods) - 0.5, -0.5), xlabel=error_label(column), ylabel="trained on")
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    seeds = max((int(row["seeds"]) for row in trained.values()), default=1)
    spread = f"mean and 95 % interval of {seeds} seeds" if seeds > 1 else "one seed"
    figure.suptitle(f"Test error, {spread}; lower is better")
    figure.legend(handles=handles, loc="outside right center", fontsize="small")
    return figure


def _draw_dots(
    axes: Axes, trained: dict[tuple[str, str], dict[str, float]], methods: list[str]
) -> list[Any]:
    """Draw means and intervals, one row per reference; return the handles of the legend."""
    forecasters = list(dict.fromkeys(name for _, name in trained))
    offsets = np.linspace(-0.22, 0.22, len(forecasters)) if len(forecasters) > 1 else [0.0]
    handles: list[Any] = []
    styles = zip(forecasters, offsets, cycle(SERIES), cycle(MARKERS), strict=False)
    for name, offset, colour, marker in styles:
        rows = [
            (place, trained[m, name]) for place, m in enumerate(methods) if (m, name) in trained
        ]
        means, halves = ([row[k] for _, row in rows] for k in ("mean", "half_width"))
        dots = axes.errorbar(
            means,
            [place + offset for place, _ in rows],
            xerr=np.nan_to_num(halves),
            fmt=marker,
            color=colour,
            capsize=3,
            label=name,
        )
        handles.append(dots)
    return handles


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure in inches, or raise with the missing dependency."""
    try:
        import matplotlib  # noqa: F401  (submodules that are loaded already would not fail)
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            'figures need matplotlib: pip install "stemdist[report]"'
        ) from error
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def highlights(distilled: DistilledSet) -> dict[int, str]:
    """Return the largest clusters, whose windows are shown, and their colours."""
    shown = distilled.cluster_sizes.argsort(descending=True, stable=True)[: len(HIGHLIGHTS)]
    return dict(zip(shown.tolist(), HIGHLIGHTS, strict=False))


def draw_windows(
    axes: Axes,
    distilled: DistilledSet,
    windows: WindowSource,
    colours: dict[int, str],
    labels: str | None = None,
) -> None:
    """Draw a few windows at the largest clusters: inputs, then targets.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    distilled : DistilledSet
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


def _draw_sizes(axes: Axes, distilled: DistilledSet) -> None:
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


def _comparison(evaluation: Evaluation | pd.DataFrame, column: str) -> Evaluation:
    """Return the comparison itself, or one made of its table only."""
    if isinstance(evaluation, Evaluation):
        return evaluation
    absent = [n for n in ("method", "forecaster", "seed", column) if n not in evaluation]
    if absent or evaluation.empty:
        lack = f"it has no column {', '.join(absent)}" if absent else "it has no rows"
        raise InputError(
            f"this is not the table of a comparison ({lack}): give the table.csv that `stemdist "
            "evaluate` wrote"
        )
    table = evaluation.fillna({"forecaster": ""})  # CSV reads an empty text as missing
    none = pd.DataFrame()
    rest = dict.fromkeys(("search", "by_target", "by_horizon", "by_stratum", "by_location"), none)
    return Evaluation(table=table, facts={}, **rest)


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

"""Figures of a distilled set and of a comparison; they need the extra ``report``.

Shapes: N locations, K clusters, M_S synthetic windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stemdist.distill import DistilledSet
from stemdist.errors import InputError, MissingDependencyError
from stemdist.evaluate.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours, which colour-blind readers can tell apart."""


def _new_figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            'figures need matplotlib: pip install "stemdist[report]"'
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plot_distilled(distilled: DistilledSet) -> Figure:
    """Draw where the clusters are, some synthetic windows, and what was saved.

    Parameters
    ----------
    distilled : DistilledSet
        With positions of its locations, clusters are drawn on a map, else as mean profiles.

    Returns
    -------
    matplotlib.figure.Figure
        Three panels, in physical units.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    figure = _new_figure(15, 4.6)
    places, windows, sizes = figure.subplots(1, 3, width_ratios=(1.25, 1.25, 1))
    coords = distilled.locations.coords
    pairs = (pair for pair in (("lon", "lat"), ("x", "y")) if set(pair) <= set(coords.coords))
    known = next(pairs, None)
    if known is None:
        _profiles(places, distilled)
    else:
        _map(places, distilled, *known)
    _windows(windows, distilled)
    _sizes(sizes, distilled)
    source = distilled.record.get("source_name") or "series"
    figure.suptitle(
        f"{source}: {distilled.n_windows} windows over {distilled.n_clusters} of "
        f"{len(distilled.locations)} locations"
    )
    return figure


def _map(axes: Axes, distilled: DistilledSet, x: str, y: str) -> None:
    across, up = (distilled.locations.coords[name].values for name in (x, y))
    # Neighbouring clusters get different colours: their numbers are spread over the palette.
    colour = distilled.cluster_of_location.numpy() * 7 % 20
    size = max(4.0, min(60.0, 30_000 / len(across)))
    axes.scatter(across, up, c=colour, cmap="tab20", marker="s", s=size, lw=0)
    medoids = distilled.medoids.numpy()
    axes.scatter(across[medoids], up[medoids], marker="x", c="black", s=22, lw=1.2, label="medoid")
    unit = "degrees" if x == "lon" else "m"
    axes.set(xlabel=f"{x} ({unit})", ylabel=f"{y} ({unit})", title="locations by cluster")
    axes.locator_params(axis="x", nbins=6)
    axes.legend(loc="upper right", fontsize="small")


def _profiles(axes: Axes, distilled: DistilledSet) -> None:
    lookback = distilled.settings.lookback
    profiles = distilled.locations.profile
    profiles = profiles.reshape(len(profiles), lookback, -1)[..., 0]  # (N, L_in)
    values = distilled.scaler.inverse(profiles).numpy()
    lags = np.arange(1 - lookback, 1)
    axes.plot(lags, values.T, color="0.8", lw=0.6)
    axes.plot(lags, values[distilled.medoids.numpy()].T, color=COLOURS[0], lw=1.2)
    axes.plot([], [], color="0.8", label="location")
    axes.plot([], [], color=COLOURS[0], label="medoid")
    axes.set(
        xlabel="step of the lookback",
        ylabel=f"mean {distilled.variables[0]} ({distilled.units})",
        title="mean window of each location",
    )
    axes.legend(fontsize="small")


def _windows(axes: Axes, distilled: DistilledSet) -> None:
    data = distilled.windows
    chosen = np.linspace(0, len(data) - 1, min(len(COLOURS), len(data))).round().astype(int)
    largest = int(distilled.cluster_sizes.argmax())
    steps = np.arange(1 - data.lookback, data.horizon + 1)
    for colour, window in zip(COLOURS, chosen, strict=False):
        x = distilled.scaler.inverse(data.x[window, :, largest, 0]).numpy()
        y = distilled.scaler.inverse(data.y[window, :, largest]).numpy()
        y = np.where(data.mask[window, :, largest].numpy() > 0, y, np.nan)
        axes.plot(steps[: data.lookback], x, color=colour, lw=1.5)
        axes.plot(steps[data.lookback :], y, color=colour, lw=1.5, ls="--")
    axes.plot([], [], color="0.3", label="input")
    axes.plot([], [], color="0.3", ls="--", label=f"target ({distilled.y_kind})")
    axes.axvline(0.5, color="0.7", lw=0.8)
    axes.set(
        xlabel="step",
        ylabel=f"{distilled.variables[0]} ({distilled.units})",
        title="windows of the largest cluster",
    )
    axes.legend(fontsize="small")


def _sizes(axes: Axes, distilled: DistilledSet) -> None:
    ratios = distilled.record["ratios"]
    shares = [100 * ratios["training_ratio"], 100 * ratios["byte_ratio"]]
    names = ["location-windows\nper epoch", "bytes"]
    for row, share in enumerate(shares):
        axes.barh(row + 0.2, 100, height=0.36, color="0.8")
        axes.barh(row - 0.2, share, height=0.36, color=COLOURS[0])
        axes.text(share * 1.1, row - 0.2, f"{share:.3g} %", va="center", fontsize="small")
    axes.barh(np.nan, 1, color="0.8", label="training part")
    axes.barh(np.nan, 1, color=COLOURS[0], label="distilled")
    axes.set_yticks(range(len(names)), names)
    axes.set(
        xscale="log",
        xlim=(min(shares) / 3, 400),
        ylim=(-0.7, 2.2),
        xlabel="share of the training part (%)",
        title="size",
    )
    axes.legend(loc="upper left", fontsize="small")


def plot_evaluation(evaluation: Evaluation | pd.DataFrame, column: str = "relative_rmse") -> Figure:
    """Draw the test error of every method and forecaster with its 95 % interval.

    Parameters
    ----------
    evaluation : Evaluation or pandas.DataFrame
        A comparison, or its ``table`` (also as read back from CSV).
    column : str
        Error to draw.

    Raises
    ------
    InputError
        If the table does not have the column.
    """
    table = evaluation.table if isinstance(evaluation, Evaluation) else evaluation
    absent = {"method", "forecaster", column} - set(table.columns)
    if absent:
        raise InputError(
            f"the table has no column {', '.join(sorted(absent))}: give the table.csv that "
            "`stemdist evaluate` wrote"
        )
    table = table.assign(forecaster=table["forecaster"].fillna(""))
    trained, reference = table[table["forecaster"] != ""], table[table["forecaster"] == ""]
    methods, families = trained["method"].unique(), trained["forecaster"].unique()
    figure = _new_figure(9, 1.6 + 0.5 * len(methods))
    axes = figure.subplots()
    for row, family in enumerate(families):
        own = trained[trained["forecaster"] == family].groupby("method")[column]
        mean, half = own.mean()[methods], own.agg(_half_width)[methods]
        place = np.arange(len(methods)) + 0.18 * (row - (len(families) - 1) / 2)
        axes.errorbar(
            mean, place, xerr=half.fillna(0), fmt="o", color=COLOURS[row % 6], label=family
        )
    for method, value in reference.groupby("method")[column].mean().items():
        axes.axvline(value, color="0.6", ls="--", lw=0.9)
        axes.text(value, -0.55, f" {method}", rotation=30, fontsize="x-small", va="bottom")
    axes.set_yticks(range(len(methods)), methods)
    axes.set(ylim=(len(methods) - 0.5, -0.6), xlabel=f"{column} on the test part, 95 % interval")
    axes.legend(fontsize="small", loc="lower right")
    return figure


def _half_width(values: Any) -> float:
    """Half width of the 95 % t-interval of a mean; NaN for one value."""
    from scipy import stats

    n = len(values)
    return float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5) if n > 1 else float("nan")

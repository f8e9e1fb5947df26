"""What all figures share: colours, empty figures, files, and intervals that do not fit.

They need the extra ``report``. matplotlib is imported when a figure is drawn, and its global state
is not changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stemdist.errors import InputError, MissingDependencyError
from stemdist.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of Okabe and Ito, which are distinguishable with colour blindness.
SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
MARKERS = "osD^vPX*"  # one more than colours: pairs repeat after 56 only
DASHES = (
    *((0, (6, 2)), (0, (2, 2)), (0, (6, 2, 1, 2)), (0, (1, 1))),
    *((0, (12, 3)), (0, (6, 2, 1, 2, 1, 2)), (0, (2, 5))),
)
LONGEST = 1.0
"""Intervals are drawn this many ranges of all means beyond them; longer ones are cut and marked."""

# Without a date, the same figure is the same file.
_MADE = "made by stemdist plot"  # see stemdist.markers
FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"Software": _MADE},
    ".svg": {"Date": None, "Creator": _MADE},
    ".pdf": {"CreationDate": None, "Creator": _MADE},
}


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


def shown_figure(width: float, height: float) -> Figure:
    """Return an empty figure of pyplot, which notebooks and ``plt.show()`` show.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    new_figure(width, height)
    from matplotlib import pyplot

    return pyplot.figure(figsize=(width, height), layout="constrained")


def axes_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the axes that were given, or those of a new figure of pyplot."""
    return shown_figure(width, height).subplots() if ax is None else ax


def styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return colour and marker of each name."""
    each = zip(names, cycle(SERIES), cycle(MARKERS), strict=False)
    return {name: {"color": colour, "marker": marker} for name, colour, marker in each}


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, SVG or PDF, atomically.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        For example from :func:`~stemdist.evaluate.plot_distilled`.
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


def cut_intervals(
    axes: Axes,
    direction: Literal["x", "y"],
    intervals: Iterable[tuple[float, float, float, str]],
    others: Iterable[float] = (),
) -> bool:
    """Limit an axis to the means, and mark intervals that reach beyond it with arrows.

    Those of two seeds are thirteen standard errors wide and would hide all differences.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where they are drawn already.
    direction : {"x", "y"}
        The axis of the values.
    intervals : iterable of (float, float, float, str)
        Mean, half width (NaN if unknown), place on the other axis and colour of each.
    others : iterable of float
        Values that must remain visible too, e.g. of baselines.

    Returns
    -------
    bool
        Whether any interval is cut; the axis is left as it is if not.
    """
    rows = [each for each in intervals if not np.isnan(each[0])]
    kept = np.array([*(row[0] for row in rows), *others], dtype=float)
    span = float(np.ptp(kept)) if len(kept) else 0.0
    if span == 0:
        return False
    low, high = kept.min() - LONGEST * span, kept.max() + LONGEST * span
    beyond = [(low, place, colour, 0) for mean, half, place, colour in rows if mean - half < low]
    beyond += [(high, place, colour, 1) for mean, half, place, colour in rows if mean + half > high]
    if not beyond:
        return False
    getattr(axes, f"set_{direction}lim")(low, high)
    markers = {"x": "<>", "y": "v^"}[direction]
    for value, place, colour, end in beyond:
        point = (value, place) if direction == "x" else (place, value)
        axes.plot(*point, markers[end], color=colour, ms=6, clip_on=False, zorder=3, label="_cut")
    return True

"""Size of a distilled set: its bytes, and the ratios that are reported."""

from __future__ import annotations

from stemdist.data.windows import TensorWindows
from stemdist.distill.inputs import split_inputs
from stemdist.forecast import TaskSettings


def stored_bytes(
    distilled: TensorWindows, settings: TaskSettings, n_numbers: int | None = None
) -> int:
    """Return the bytes of windows in single precision, shared features included once.

    Parameters
    ----------
    distilled : TensorWindows
        M_S windows over K clusters.
    settings : TaskSettings
        They say which features are calendar or static ones, shared by clusters or time steps.
    n_numbers : int, optional
        Numbers that encode learned features and targets; by default all of them.
    """
    stored = split_inputs(distilled.x, settings)
    own = stored.own.numel()
    learned = own + distilled.y.numel() if n_numbers is None else n_numbers
    return 4 * (learned + stored.n_numbers - own)


def compression_ratios(
    distilled: TensorWindows,
    settings: TaskSettings,
    n_windows: int,
    n_locations: int,
    series_bytes: int,
    n_numbers: int | None = None,
) -> dict[str, float]:
    """Return the three ratios that are always reported together.

    Parameters
    ----------
    distilled : TensorWindows
        M_S windows over K clusters.
    settings : TaskSettings
        As in :func:`stored_bytes`.
    n_windows, n_locations : int
        M and N of the real training part.
    series_bytes : int
        Bytes of the un-windowed training series.
    n_numbers : int, optional
        As in :func:`stored_bytes`.

    Returns
    -------
    dict
        ``window_ratio`` (M_S/M)(K/N), the ratio of the papers; ``training_ratio``, location-windows
        per epoch; ``byte_ratio``, bytes of the stored numbers over bytes of the series.
    """
    m, k = len(distilled), distilled.n_locations
    return {
        "window_ratio": (m / n_windows) * (k / n_locations),
        "training_ratio": (m * k) / (n_windows * n_locations),
        "byte_ratio": stored_bytes(distilled, settings, n_numbers) / series_bytes,
    }

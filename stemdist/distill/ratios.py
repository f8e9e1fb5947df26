"""Size of a distilled set: its bytes, and the ratios that are reported."""

from __future__ import annotations

import torch

from stemdist.data.windows import TensorWindows
from stemdist.forecast import TaskSettings


def features_of_clusters(windows: TensorWindows, settings: TaskSettings) -> int:
    """Return the number of leading features that differ between clusters and time steps.

    Static features do not. Calendar features are equal at all clusters unless a synthesizer has
    learned them.
    """
    n_varying = windows.n_features - len(settings.static)
    n_series = n_varying - len(settings.calendar_names)
    calendar = windows.x[..., n_series:n_varying]
    return n_series if torch.equal(calendar, calendar[:, :, :1].expand_as(calendar)) else n_varying


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
    m, k = len(distilled), distilled.n_locations
    n_own = features_of_clusters(distilled, settings)
    if n_numbers is None:
        n_numbers = m * k * (distilled.lookback * n_own + distilled.rows)
    shared = (m * distilled.lookback + k) * (distilled.n_features - n_own)
    return 4 * (n_numbers + shared)


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

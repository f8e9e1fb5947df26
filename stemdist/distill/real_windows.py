"""The real windows that a distilled set stands for."""

from __future__ import annotations

from stemdist.data.windows import SeriesWindows
from stemdist.distill.clusters import cluster_windows
from stemdist.distill.dataset import SetContents
from stemdist.errors import InputError
from stemdist.forecast import ForecastTask


def real_windows(distilled: SetContents, task: ForecastTask) -> SeriesWindows:
    """Return the training windows at the representatives of the set's clusters.

    Raises
    ------
    InputError
        If the set does not fit the task.
    """
    check_fit(distilled, task)
    return cluster_windows(task.train, distilled.clusters)


def check_fit(distilled: SetContents, task: ForecastTask) -> None:
    """Raise with all differences between the set and the task."""
    pairs = {
        "lookback": (distilled.settings.lookback, task.settings.lookback),
        "horizon": (distilled.settings.horizon, task.settings.horizon),
        "features": (distilled.feature_names, task.feature_names),
        "locations": (len(distilled.cluster_of_location), task.n_locations),
    }
    faults = [f"{name} {one} and {other}" for name, (one, other) in pairs.items() if one != other]
    if not faults and not distilled.scaler.equals(task.scaler, rtol=1e-4):
        ours, theirs = ((*s.mean, *s.scale) for s in (distilled.scaler, task.scaler))
        faults = [f"scaling (means, then scales) {ours} and {theirs}"]
    if faults:
        raise InputError(
            f"the distilled set does not fit the data: {'; '.join(faults)}. Give the data it was "
            "distilled from, prepared with the same settings and split"
        )

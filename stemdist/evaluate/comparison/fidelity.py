"""How similar synthetic windows are to real ones.

Shapes: M real windows, S of them sampled, M_S synthetic ones, L = L_in + L_out steps of a joined
window, C targets, K clusters, J = C * K series of a window.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import pandas as pd
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from stemdist.data.windows import SeriesWindows, WindowSource, evenly_spaced
from stemdist.distill.distilled import DistilledSet
from stemdist.distill.real_windows import real_windows
from stemdist.forecast import ForecastTask

SAMPLE = 1024
"""Most real windows for statistics; nearest windows are searched among all."""
REAL_QUERIES = 256
GROUPS = 20
LEVELS = 200
BLOCK_WINDOWS = 1024


def fidelity(distilled: DistilledSet, task: ForecastTask) -> dict[str, float]:
    """Compare synthetic windows with the training windows at the same representatives.

    Windows are inputs and targets joined to one series of L steps, in scaled units; a window with
    a missing target is left out at that location. An undefined score (correlation of a single
    cluster) is NaN.

    Parameters
    ----------
    distilled : DistilledSet
        The set under test.
    task : ForecastTask
        The data it was distilled from; its training part is read.

    Returns
    -------
    dict of str to float
        ``spectrum_db``: root mean squared difference of the log power spectra along time (dB,
        Gray and Markel 1976); ``autocorrelation``: that of the autocorrelations at the lags
        up to half a window; ``cross_correlation``: that of the correlations between series;
        ``wasserstein``: distance W_1 of the marginal distributions, mean over series (standard
        deviations); 0 means equal for all four. ``nearest_window``: distance of a synthetic
        input window to the nearest real one, over that between real windows that do not overlap
        in time (medians); 0 means copies. ``coverage``: share of the groups of real input
        windows (k-means) that have a synthetic member; 1 is best.

    Raises
    ------
    InputError
        If the set does not fit the task.

    Examples
    --------
    >>> from stemdist.data import canonical_series, simulate
    >>> from stemdist.distill import DistillSettings, distill
    >>> from stemdist.forecast import TrainingSettings
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=4, n_lon=4))
    >>> task = ForecastTask.from_series(series)
    >>> real = DistillSettings(
    ...     labels="observed", synthesizer="selection", judging=TrainingSettings(updates=2)
    ... )
    >>> fidelity(distill(task, real), task)["nearest_window"]
    0.0
    """
    real = real_windows(distilled, task)
    some = evenly_spaced(len(real), SAMPLE)
    one, other, weight = _both(distilled, real, some)
    return {
        "spectrum_db": _rms(10 * (_log_spectrum(one, weight) - _log_spectrum(other, weight))),
        "autocorrelation": _rms(_autocorrelation(one, weight) - _autocorrelation(other, weight)),
        "cross_correlation": _rms(_off_diagonal(one) - _off_diagonal(other)),
        "wasserstein": _wasserstein(one, other, weight),
        "nearest_window": _nearest_window(distilled.windows, real),
        "coverage": _coverage(distilled.windows, real, some),
    }


def spectra(distilled: DistilledSet, task: ForecastTask) -> pd.DataFrame:
    """Return the power spectra along time whose difference ``spectrum_db`` measures.

    Parameters
    ----------
    distilled : DistilledSet
        The set under test.
    task : ForecastTask
        The data it was distilled from; its training part is read.

    Returns
    -------
    pandas.DataFrame
        ``synthetic`` and ``real`` mean power in dB (of one squared standard deviation), indexed
        by ``period`` in steps, from the longest (the joined window) to the shortest.

    Raises
    ------
    InputError
        If the set does not fit the task.
    """
    real = real_windows(distilled, task)
    one, other, weight = _both(distilled, real, evenly_spaced(len(real), SAMPLE))
    length = real.lookback + real.horizon
    periods = [length / k for k in range(1, length // 2 + 1)]
    power = {
        name: (10 * _log_spectrum(windows, weight)).numpy()
        for name, windows in (("synthetic", one), ("real", other))
    }
    return pd.DataFrame(power, index=pd.Index(periods, name="period"))


@dataclass(frozen=True, kw_only=True)
class _Joined:
    """Windows as series: ``values`` (M, L, J) and ``counts`` (M, J), 0 if a step is missing."""

    values: Tensor
    counts: Tensor

    @property
    def centred(self) -> Tensor:
        """(M, L, J) less the mean of each series; zero in windows that are left out."""
        total = self.counts.sum(0).clamp(min=1) * self.values.shape[1]  # (J,)
        kept = self.counts[:, None]  # (M, 1, J)
        return (self.values - (self.values * kept).sum((0, 1)) / total) * kept


def _both(
    distilled: DistilledSet, real: SeriesWindows, index: Tensor
) -> tuple[_Joined, _Joined, Tensor]:
    """Return synthetic and real windows and the weight of each series, (J,), which sums to 1."""
    synthetic = _joined(distilled.windows, torch.arange(distilled.n_windows))
    weight = distilled.windows.weight.double().repeat(real.n_targets)
    return synthetic, _joined(real, index), weight / weight.sum()


def _joined(windows: WindowSource, index: Tensor) -> _Joined:
    """Join inputs and targets of the windows ``index`` along time."""
    x, y, mask = windows.batch(index)
    past = x[..., : windows.n_targets].movedim(3, 2).flatten(2)  # (M, L_in, J)
    shape = (len(index), windows.n_targets, windows.horizon, windows.n_locations)
    future, seen = (part.reshape(shape).movedim(1, 2).flatten(2) for part in (y, mask))
    values = torch.cat([past, future], dim=1).double()
    return _Joined(values=values, counts=(seen > 0).all(1).double())


def _rms(difference: Tensor) -> float:
    """Return the root mean square; NaN if empty."""
    return float(difference.square().mean().sqrt())


def _log_spectrum(windows: _Joined, weight: Tensor) -> Tensor:
    """Return log10 of the mean power at every frequency but zero, (L // 2,)."""
    series = windows.values - windows.values.mean(1, keepdim=True)
    power = torch.fft.rfft(series, dim=1).abs().square()[:, 1:]  # (M, L // 2, J)
    total = (power * windows.counts[:, None] * weight).sum((0, 2))
    mean = total / (windows.counts * weight).sum()
    spectrum: Tensor = mean.clamp(min=1e-12).log10()
    return spectrum


def _autocorrelation(windows: _Joined, weight: Tensor) -> Tensor:
    """Return the weighted mean autocorrelation at lags 1 to L // 2, (L // 2,)."""
    centred, length = windows.centred, windows.values.shape[1]
    spectrum = torch.fft.rfft(centred, n=2 * length, dim=1).abs().square()
    sums = torch.fft.irfft(spectrum, n=2 * length, dim=1)[:, : length // 2 + 1].sum(0)  # (lags, J)
    pairs = length - torch.arange(length // 2 + 1)
    covariance = sums / pairs[:, None]
    varies = covariance[0] > 0
    share = covariance[1:, varies] / covariance[0, varies]
    mean: Tensor = share @ (weight[varies] / weight[varies].sum())
    return mean


def _off_diagonal(windows: _Joined) -> Tensor:
    """Return the correlations between different series, (J * (J - 1) / 2,)."""
    centred = windows.centred.flatten(0, 1)  # (M * L, J)
    common = windows.counts.T @ windows.counts * windows.values.shape[1]
    covariance = centred.T @ centred / common.clamp(min=1)
    deviation = covariance.diagonal().sqrt().clamp(min=1e-12)
    row, column = torch.triu_indices(len(covariance), len(covariance), 1)
    correlation: Tensor = covariance / deviation / deviation[:, None]
    return correlation[row, column]


def _wasserstein(one: _Joined, other: _Joined, weight: Tensor) -> float:
    """Return the weighted mean over series of the mean distance of their quantiles."""
    distance = (_quantiles(one) - _quantiles(other)).abs().mean(0)  # (J,)
    known = distance.isfinite()
    return float((distance[known] * weight[known]).sum() / weight[known].sum())


def _quantiles(windows: _Joined) -> Tensor:
    """Return (LEVELS, J) quantiles of every series; NaN where all its windows are left out."""
    missing = windows.counts[:, None] == 0
    values = windows.values.masked_fill(missing, math.inf).flatten(0, 1)  # (M * L, J)
    counts = windows.counts.sum(0) * windows.values.shape[1]
    levels = (torch.arange(LEVELS) + 0.5) / LEVELS
    place = (levels[:, None] * counts).long()
    found = values.sort(dim=0).values.gather(0, place)
    return torch.where(counts > 0, found, torch.nan)


def _inputs(windows: WindowSource, index: Tensor) -> Tensor:
    """Return the past of the targets as rows of numbers, (B, L_in * J)."""
    return windows.inputs(index)[..., : windows.n_targets].flatten(1)


def _nearest_window(synthetic: WindowSource, real: SeriesWindows) -> float:
    """Return the median distance to the nearest real window over that among real windows."""
    queries = evenly_spaced(len(real), REAL_QUERIES)
    ours = _inputs(synthetic, torch.arange(len(synthetic)))
    theirs = _inputs(real, queries)
    nearest = torch.full((len(ours),), math.inf)
    usual = torch.full((len(theirs),), math.inf)
    span = real.lookback + real.horizon
    for index in torch.split(torch.arange(len(real)), BLOCK_WINDOWS):
        block = _inputs(real, index)
        nearest = torch.minimum(nearest, _to_nearest(ours, block))
        gap = (real.starts[queries, None] - real.starts[index]).abs()
        usual = torch.minimum(usual, _to_nearest(theirs, block, gap < span))
    usual = usual[usual.isfinite()]
    if not len(usual) or not usual.median() > 0:
        return math.nan
    return float(nearest.median() / usual.median())


def _to_nearest(rows: Tensor, others: Tensor, left_out: Tensor | None = None) -> Tensor:
    """Return the distance of each row to the nearest of ``others`` that is not left out.

    The fast formula finds the nearest one, but is not exactly 0 for copies.
    """
    distances = torch.cdist(rows, others, compute_mode="use_mm_for_euclid_dist")
    if left_out is not None:
        distances = distances.masked_fill(left_out, math.inf)
    found, place = distances.min(1)
    return torch.where(found.isfinite(), (rows - others[place]).norm(dim=1), math.inf)


def _coverage(synthetic: WindowSource, real: SeriesWindows, index: Tensor) -> float:
    """Return the share of the groups of real windows with a synthetic member."""
    rows = _inputs(real, index).double().numpy()
    n_groups = min(GROUPS, len(synthetic), len(rows))
    with warnings.catch_warnings():
        # Repeated windows give fewer groups than requested; they are counted as they are.
        warnings.filterwarnings("ignore", "Number of distinct clusters", ConvergenceWarning)
        groups = KMeans(n_groups, n_init=1, random_state=0).fit(rows)
    ours = _inputs(synthetic, torch.arange(len(synthetic))).double().numpy()
    return len(set(groups.predict(ours).tolist())) / len(set(groups.labels_.tolist()))

"""Baselines: forecasts without training, or from averages of the training part.

Shapes: B windows, L_in lookback, L_out horizon, T steps of the series, N locations, C
targets. The formulas are plain numpy on arrays; :data:`Baseline` objects apply them to windows
of a series and return scaled units, as a forecaster does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stemdist.data.windows import SeriesWindows, target_rows
from stemdist.errors import InputError, check_count

Baseline = Callable[[SeriesWindows, Tensor], Tensor]
"""Maps windows and an index (B,) to a forecast (B, C * L_out, N) in scaled units."""

SEASON_HALF_WIDTH = 15
"""Days on each side that enter a day-of-year mean, to smooth the weather of single years."""


def last_observed(values: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return the latest observed value along axis 1, or 0 where there is none.

    Zero is the training mean in scaled units.

    Parameters
    ----------
    values, observed : numpy.ndarray
        (B, L_in, N, ...) values and whether each was observed.

    Returns
    -------
    numpy.ndarray
        (B, N, ...).

    Examples
    --------
    >>> last_observed(np.array([[[5.0], [7.0]]]), np.array([[[True], [False]]])).tolist()
    [[5.0]]
    """
    step = np.arange(values.shape[1]).reshape(-1, *[1] * (values.ndim - 2))  # (L_in, 1, ...)
    last = np.where(observed, step, -1).max(axis=1)  # (B, N)
    found = np.take_along_axis(values, np.maximum(last, 0)[:, None], axis=1)[:, 0]
    return np.where(last >= 0, found, np.zeros((), values.dtype))


def observed_mean(values: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return the mean of the observed values along axis 1, or 0 where there is none.

    Parameters
    ----------
    values, observed : numpy.ndarray
        (B, L_in, N, ...) values and whether each was observed.

    Returns
    -------
    numpy.ndarray
        (B, N, ...).

    Examples
    --------
    >>> observed_mean(np.array([[[5.0], [7.0]]]), np.array([[[True], [True]]])).tolist()
    [[6.0]]
    """
    total = np.where(observed, values, 0).sum(axis=1)
    return np.asarray(total / np.maximum(observed.sum(axis=1), 1), dtype=values.dtype)


def _from_lookback(
    summary: Callable[[np.ndarray, np.ndarray], np.ndarray], windows: SeriesWindows, index: Tensor
) -> Tensor:
    steps = (windows.starts[index, None] + torch.arange(windows.lookback)).numpy()  # (B, L_in)
    values = windows.values[..., : windows.n_targets].numpy()[steps]  # (B, L_in, N, C)
    level = torch.from_numpy(summary(values, windows.observed.numpy()[steps]))  # (B, N, C)
    return level.transpose(1, 2).repeat_interleave(windows.horizon, dim=1)


def persistence(windows: SeriesWindows, index: Tensor) -> Tensor:
    """Forecast the last observed target of the lookback for every step.

    Parameters
    ----------
    windows : SeriesWindows
        Windows of one scaled series.
    index : Tensor
        (B,) which windows.

    Returns
    -------
    Tensor
        (B, C * L_out, N) in scaled units.
    """
    return _from_lookback(last_observed, windows, index)


def window_mean(windows: SeriesWindows, index: Tensor) -> Tensor:
    """Forecast the mean observed target of the lookback for every step.

    Parameters and the result are those of :func:`persistence`.
    """
    return _from_lookback(observed_mean, windows, index)


@dataclass(frozen=True, kw_only=True)
class Climatology:
    """Mean of each location by time of day, plus its departure by day of year if given.

    Parameters
    ----------
    by_slot : numpy.ndarray
        (S, N, ...) mean of each slot, e.g. hour of the day.
    slots : numpy.ndarray
        (T,) slot of each step of the whole series.
    by_day : numpy.ndarray
        (366, N, ...) departure from the location's mean by day of year; none without a season.
    days : numpy.ndarray
        (T,) day of year from 0 of each step; empty without a season.

    Examples
    --------
    >>> values = np.array([[1.0], [5.0], [3.0], [7.0]])
    >>> climatology = Climatology.fit(values, np.ones((4, 1), bool), slots=[0, 1, 0, 1], end=4)
    >>> climatology.at(np.array([0, 1])).tolist()
    [[2.0], [6.0]]
    """

    by_slot: np.ndarray
    slots: np.ndarray
    by_day: np.ndarray
    days: np.ndarray

    @classmethod
    def fit(
        cls,
        values: np.ndarray,
        observed: np.ndarray,
        *,
        slots: np.ndarray | list[int],
        end: int,
        days: np.ndarray | list[int] | None = None,
    ) -> Climatology:
        """Average the training part.

        A slot or day never observed at a location takes that location's mean; a location
        never observed takes 0, the training mean in scaled units.

        Parameters
        ----------
        values, observed : numpy.ndarray
            (T, N) or (T, N, C) targets, and whether each was observed.
        slots : array of int
            (T,) slot from 0 of each step: time of day, or of the week.
        end : int
            Number of steps of the training part; later ones are not read.
        days : array of int, optional
            (T,) day of year from 0; give it where the training part spans two years or more.

        Raises
        ------
        InputError
            If the lengths differ, ``end`` is outside the series, or a slot is negative.
        """
        slots = np.asarray(slots)
        season = np.asarray([] if days is None else days, dtype=np.int64)
        _check_steps(len(values), check_count("end", end), slots, season)
        part, seen = values[:end].astype(np.float64), observed[:end]
        mean = _group_means(part, seen, np.zeros(end, np.int64), 1, np.zeros(part.shape[1:]))
        by_slot = _group_means(part, seen, slots[:end], int(slots.max()) + 1, mean[0])
        by_day = np.zeros((0, *part.shape[1:]))
        if len(season):
            departure = part - by_slot[slots[:end]]
            by_day = _season_means(departure, seen, season[:end])
        return cls(by_slot=by_slot, slots=slots, by_day=by_day, days=season)

    def at(self, steps: np.ndarray) -> np.ndarray:
        """Return the climatology (..., N, C) at time steps (...) of the series."""
        forecast: np.ndarray = self.by_slot[self.slots[steps]]
        return forecast + self.by_day[self.days[steps]] if len(self.days) else forecast

    def __call__(self, windows: SeriesWindows, index: Tensor) -> Tensor:
        """Forecast (B, C * L_out, N) for windows of the series that it was fitted on."""
        first = windows.starts[index, None] + windows.lookback
        steps = (first + torch.arange(windows.horizon)).numpy()  # (B, L_out)
        forecast = torch.from_numpy(self.at(steps)).to(windows.values.dtype)  # (B, L_out, N, C)
        return target_rows(forecast)


def _check_steps(n_steps: int, end: int, slots: np.ndarray, days: np.ndarray) -> None:
    if len(slots) != n_steps or len(days) not in (0, n_steps) or end > n_steps:
        raise InputError(
            f"a series of {n_steps} steps was given {len(slots)} slots, {len(days)} days of year "
            f"and a training part of {end} steps: give one slot (and day) per step, and a "
            "training part inside the series"
        )
    if slots.min() < 0 or (len(days) and not 0 <= days.min() <= days.max() < 366):
        raise InputError("slots count from 0, and days of year from 0 to 365: subtract 1 from both")


def _group_sums(
    values: np.ndarray, observed: np.ndarray, groups: np.ndarray, n_groups: int
) -> tuple[np.ndarray, np.ndarray]:
    total = np.zeros((n_groups, *values.shape[1:]))
    count = np.zeros((n_groups, *values.shape[1:]))
    np.add.at(total, groups, np.where(observed, values, 0))
    np.add.at(count, groups, observed)
    return total, count


def _group_means(
    values: np.ndarray, observed: np.ndarray, groups: np.ndarray, n_groups: int, empty: np.ndarray
) -> np.ndarray:
    total, count = _group_sums(values, observed, groups, n_groups)
    return np.where(count > 0, total / np.maximum(count, 1), empty)


def _season_means(departure: np.ndarray, observed: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Return (366, N) mean departure around each day of the year, which is a circle."""
    total, count = _group_sums(departure, observed, days, 366)
    shifts = range(-SEASON_HALF_WIDTH, SEASON_HALF_WIDTH + 1)
    total = sum((np.roll(total, shift, axis=0) for shift in shifts), np.zeros_like(total))
    count = sum((np.roll(count, shift, axis=0) for shift in shifts), np.zeros_like(count))
    return np.asarray(total / np.maximum(count, 1))

"""The time axis of a series: order, usual step, calendar steps and gaps.

Shapes: T time steps.
"""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import xarray as xr

from stemdist.errors import InputError

log = logging.getLogger(__name__)

_MOST_REPEATED = 0.05  # share of the times: a series with more is none


def time_seconds(series: xr.Dataset | xr.DataArray) -> np.ndarray:
    """Return the times in seconds since the first, float64 (T,), for any calendar."""
    index = series.indexes["time"]
    elapsed = index - index[0]
    return np.asarray(pd.TimedeltaIndex(elapsed).total_seconds(), dtype=np.float64)


def step_seconds(series: xr.Dataset | xr.DataArray) -> float:
    """Return the usual time step in seconds: the median difference, robust to clock jitter."""
    if series.sizes["time"] < 2:
        raise InputError("the series has one time step: its time step cannot be known")
    return float(np.quantile(np.diff(time_seconds(series)), 0.5, method="lower"))


def calendar_months(series: xr.Dataset | xr.DataArray) -> int | None:
    """Return the months of a step where the series steps by the calendar, else None.

    Examples
    --------
    >>> axis = pd.date_range("2000-01-31", periods=24, freq="ME")
    >>> calendar_months(xr.Dataset(coords={"time": axis}))
    1
    """
    times = series["time"]
    if times.size < 2:
        return None
    number = _month_numbers(times)
    usual = float(np.quantile(np.diff(number), 0.5, method="lower"))
    if usual < 1:
        return None
    days = times.dt.days_in_month.values.astype(float)
    share = (times.dt.day.values - 1 + times.dt.hour.values / 24) / days
    return int(usual) if float(np.ptp(share)) <= 0.1 else None


def _month_numbers(times: xr.DataArray) -> np.ndarray:
    """Return the months since year 0 of each date, int64 (T,)."""
    return np.asarray(times.dt.year.values * 12 + times.dt.month.values, dtype=np.int64)


def gap_positions(series: xr.Dataset | xr.DataArray) -> np.ndarray:
    """Return each i where the step from time i to i+1 is not the usual one, int64.

    Steps of months and years are counted by the calendar; elsewhere deviations of up to 10 %
    count as usual, as clocks jitter.
    """
    months = calendar_months(series)
    if months is not None:
        return np.flatnonzero(np.diff(_month_numbers(series["time"])) != months)
    steps = np.diff(time_seconds(series))
    usual = step_seconds(series)
    return np.flatnonzero(np.abs(steps - usual) > 0.1 * usual)


def with_ordered_times(series: xr.Dataset, repair: bool) -> xr.Dataset:
    """Return a series whose times ascend without repetition.

    Parameters
    ----------
    series : xarray.Dataset
        With a dimension ``time``.
    repair : bool
        Sort the times and keep the first of each duplicate instead of raising.

    Raises
    ------
    InputError
        If there are fewer than two times, missing ones, or disorder that is not to be repaired
        or is too large to be one.
    """
    index = series.indexes.get("time")
    if index is None or len(index) < 2:
        count = 0 if index is None else len(index)
        raise InputError(
            f"the time axis has {count} step(s): forecasting needs at least lookback + horizon"
        )
    if index.hasnans:
        raise InputError(f"{int(index.isna().sum())} times are missing (NaT) in the time axis")
    unsorted = not index.is_monotonic_increasing
    repeated = int(index.duplicated().sum())
    if not (unsorted or repeated):
        return series
    if repeated > max(_MOST_REPEATED * len(index), 10):
        raise InputError(
            f"{repeated} of {len(index)} times are repeated (first at "
            f"{index[index.duplicated()][0]}): this is no series with a few double rows, and "
            "--repair would drop most of it. If several places share the times, they need a "
            "column or dimension of their own: save the table as time, place, value (see "
            "docs/data.md)"
        )
    if not repair:
        fault = f"{repeated} repeated" if repeated else "unsorted"
        first = index[index.duplicated()][0] if repeated else index[np.diff(index).argmin() + 1]
        raise InputError(
            f"the time axis has {fault} times (first at {first}). Pass --repair to sort the times "
            f"and keep the first of each duplicate{_summer_time(index)}"
        )
    if repeated:
        log.warning("%d rows of repeated times are dropped", repeated)
    series = series.isel(time=np.flatnonzero(~index.duplicated()))
    return series.sortby("time")


def _summer_time(index: pd.Index) -> str:
    """Say so where the repeated times look like the end of summer time in a local time."""
    if not isinstance(index, pd.DatetimeIndex) or not index.has_duplicates:
        return ""
    repeated = pd.DatetimeIndex(index[index.duplicated()])
    autumn = repeated.month.isin([4, 9, 10, 11]) & (repeated.day_of_week == 6) & (repeated.hour < 4)
    if not autumn.all():
        return ""
    return (
        ". They look like the end of summer time in a local time: times with their offset, such "
        "as 2023-10-29T02:00:00+02:00, keep both hours"
    )

"""Calendar features: the phase of a time within the day, the week and the year."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from stemdist.errors import InputError, unknown_name

_DAYS_PER_YEAR = {
    "360_day": 360.0,
    "noleap": 365.0,
    "365_day": 365.0,
    "all_leap": 366.0,
    "366_day": 366.0,
}


def _time_of_day(time: xr.DataArray) -> np.ndarray:
    clock = time.dt
    return np.asarray((clock.hour + clock.minute / 60 + clock.second / 3600) / 24)


def _day_of_week(time: xr.DataArray) -> np.ndarray:
    calendar = time.dt.calendar
    if calendar in ("360_day", "noleap", "365_day", "all_leap", "366_day"):
        raise InputError(
            f"calendar feature 'day_of_week' has no meaning in the {calendar!r} calendar of this "
            "file; use 'time_of_day' and 'day_of_year'"
        )
    return np.asarray(time.dt.dayofweek / 7)


def _day_of_year(time: xr.DataArray) -> np.ndarray:
    days = _DAYS_PER_YEAR.get(time.dt.calendar, 365.25)
    return np.asarray((time.dt.dayofyear - 1 + _time_of_day(time)) / days)


_PHASES: dict[str, Callable[[xr.DataArray], np.ndarray]] = {
    "time_of_day": _time_of_day,
    "day_of_week": _day_of_week,
    "day_of_year": _day_of_year,
}

CALENDAR_FEATURES = tuple(_PHASES)

AUTO = ("auto",)
"""Calendar of settings that leave the choice to the series."""

_DAY_SECONDS = 86_400.0


def fitting_calendar(
    step_seconds: float, train_seconds: float, calendar: str = "standard"
) -> tuple[str, ...]:
    """Return the calendar features that a training part is long enough to teach.

    The time of day where the step is under a day and training covers a week, the day of the
    week from four weeks and steps of at most a day, and the day of the year from two years.

    Examples
    --------
    >>> fitting_calendar(3600.0, 30 * 86400.0)
    ('time_of_day', 'day_of_week')
    """
    found = []
    if step_seconds < _DAY_SECONDS and train_seconds >= 7 * _DAY_SECONDS:
        found.append("time_of_day")
    weeks = calendar not in _DAYS_PER_YEAR and step_seconds <= _DAY_SECONDS
    if weeks and train_seconds >= 28 * _DAY_SECONDS:
        found.append("day_of_week")
    if step_seconds <= 92 * _DAY_SECONDS and train_seconds >= 2 * 365 * _DAY_SECONDS:
        found.append("day_of_year")
    return tuple(found)


def check_calendar(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return the name or names of calendar features as a tuple, or raise for an unknown one.

    ``auto`` and ``none`` stand alone; none is the empty tuple.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    if names == AUTO:
        return names
    if names == ("none",):
        return ()
    for name in names:
        if name not in _PHASES:
            raise unknown_name("calendar feature", name, [*_PHASES, "auto", "none"])
    return names


def calendar_names(names: Sequence[str], harmonics: int = 1) -> tuple[str, ...]:
    """Return the names of the columns that :func:`calendar_features` makes.

    Examples
    --------
    >>> calendar_names(["time_of_day"], harmonics=2)
    ('time_of_day_sin', 'time_of_day_cos', 'time_of_day_sin_2', 'time_of_day_cos_2')
    """
    order = ["" if k == 1 else f"_{k}" for k in range(1, harmonics + 1)]
    return tuple(f"{name}_{wave}{k}" for name in names for k in order for wave in ("sin", "cos"))


def calendar_features(time: xr.DataArray, names: Sequence[str], harmonics: int = 1) -> np.ndarray:
    """Return sine and cosine of the phase of each calendar feature, and of its multiples.

    A linear map of these columns is a truncated Fourier series, so the first linear layer of a
    forecaster can represent daily profiles with sharp peaks, such as a rush hour.

    Parameters
    ----------
    time : xarray.DataArray
        (T,) numpy datetimes or cftime dates of any calendar.
    names : sequence of str
        Among ``time_of_day``, ``day_of_week``, ``day_of_year``.
    harmonics : int
        Sine and cosine pairs per feature, with periods of 1, 1/2, 1/3, ... of the cycle.

    Returns
    -------
    numpy.ndarray
        (T, 2 * harmonics * len(names)) float32 in [-1, 1].

    Examples
    --------
    >>> import pandas as pd
    >>> time = xr.DataArray(pd.date_range("2020-01-01", periods=2, freq="6h"), dims="time")
    >>> calendar_features(time, ["time_of_day"]).round(3).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    columns = []
    for name in check_calendar(names):
        angle = 2 * np.pi * _PHASES[name](time)
        for k in range(1, harmonics + 1):
            columns += [np.sin(k * angle), np.cos(k * angle)]
    if not columns:
        return np.zeros((time.size, 0), dtype=np.float32)
    return np.stack(columns, axis=1).astype(np.float32)

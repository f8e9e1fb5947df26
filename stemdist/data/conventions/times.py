"""Times as files write them: CF units and those CF tools refuse, text, and rounded numbers.

Shapes: T time steps.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import cftime
import numpy as np
import pandas as pd
import xarray as xr

from stemdist.data.conventions.units import seconds_per

_SINCE = re.compile(r"^\s*(months?|years?|common_years?)\s+since\s+(\S+)", re.IGNORECASE)
_DAY_AS = re.compile(r"^\s*day as\s+%Y%m%d\.%f\s*$", re.IGNORECASE)
_STANDARD = ("standard", "gregorian", "proleptic_gregorian", "360", "")
_SHORT_CALENDARS = {"360": "360_day", "365": "noleap", "366": "all_leap"}
_TEXT_TIMES = re.compile(r"^\d{4}-\d{2}-\d{2}[ _T]?(\d{2}:\d{2}(:\d{2})?)?")
_NICE_SECONDS = sorted(
    {n for n in range(1, 86401) if 86400 % n == 0} | {86400 * n for n in range(1, 32)}
)


def decoded_times(raw: xr.Dataset) -> xr.Dataset:
    """Return a dataset opened with ``decode_times=False`` with its dates decoded.

    Beside what CF tools understand: months and years since a date (which calendars make
    ambiguous; a whole number is the same day of a later month), ``day as %Y%m%d.%f`` (ICON),
    calendars named ``360``, and numbers rounded to single precision, whose axis is made regular
    again where one step explains all of it within the rounding.

    Raises
    ------
    ValueError
        If the units are those of a time, but xarray cannot decode them.

    Examples
    --------
    >>> units = {"units": "months since 1960-01-01"}
    >>> raw = xr.Dataset(coords={"T": ("T", [0.0, 1.0, 12.0], units)})
    >>> decoded_times(raw)["T"].dt.strftime("%Y-%m-%d").values.tolist()
    ['1960-01-01', '1960-02-01', '1961-01-01']
    """
    raw = raw.copy()
    for name in list(raw.variables):
        array = raw[name]
        units = str(array.attrs.get("units", ""))
        calendar = str(array.attrs.get("calendar", "")).lower()
        since = _SINCE.match(units)
        decode: Callable[[np.ndarray], np.ndarray] | None = None
        if since:
            decode = _months_since(since, calendar)
        elif _DAY_AS.match(units):
            decode = _days_as_digits
        if decode is not None:
            attrs = {k: v for k, v in array.attrs.items() if k not in ("units", "calendar")}
            raw[name] = xr.Variable(array.dims, decode(array.values), attrs)
        elif " since " in units and calendar in _SHORT_CALENDARS:
            raw[name].attrs["calendar"] = _SHORT_CALENDARS[calendar]
    decoded = xr.decode_cf(
        raw, mask_and_scale=False, decode_coords=False, decode_timedelta=False,
        concat_characters=False,
    )  # fmt: skip
    return _regular_where_rounded(_with_text_times(decoded))


def _months_since(since: re.Match[str], calendar: str) -> Callable[[np.ndarray], np.ndarray]:
    months = 12 if "year" in since[1].lower() else 1
    first = np.datetime64(since[2][:10].rstrip("-"), "D")
    year_month, day = first.astype("M8[M]"), first - first.astype("M8[M]").astype("M8[D]")

    def decode(values: np.ndarray) -> np.ndarray:
        elapsed = np.asarray(values, dtype=np.float64) * months
        whole = np.floor(elapsed + 1e-6)
        begin = year_month + whole.astype("timedelta64[M]")
        length = ((begin + 1).astype("M8[D]") - begin.astype("M8[D]")).astype(float)
        share = np.clip(elapsed - whole, 0.0, None)
        times = begin.astype("M8[s]") + day + (share * length * 86400).astype("timedelta64[s]")
        if calendar in _STANDARD:
            return np.asarray(times.astype("M8[ns]"))
        return _in_calendar(times, _SHORT_CALENDARS.get(calendar, calendar))

    return decode


def _in_calendar(times: np.ndarray, calendar: str) -> np.ndarray:
    """Return the same dates as cftime objects; the last days of a month may be the 30th."""
    longest = 30 if calendar == "360_day" else 31
    dates = [pd.Timestamp(time).to_pydatetime() for time in times]
    return np.asarray(
        [
            cftime.datetime(
                d.year, d.month, min(d.day, longest), d.hour, d.minute, calendar=calendar
            )
            for d in dates
        ]
    )


def _days_as_digits(values: np.ndarray) -> np.ndarray:
    """Decode 20130201.75 as 18:00 on 1 February 2013."""
    values = np.asarray(values, dtype=np.float64)
    digits = np.floor(values + 1e-9)
    days = pd.to_datetime(digits.astype(np.int64).astype(str), format="%Y%m%d").to_numpy("M8[s]")
    seconds = np.round((values - digits) * 86400)
    return np.asarray(days + seconds.astype("timedelta64[s]")).astype("M8[ns]")


def _with_text_times(raw: xr.Dataset) -> xr.Dataset:
    """Make times written as text (``xtime`` of MPAS, ``Times`` of WRF) the time coordinate."""
    for name, array in raw.variables.items():
        if array.ndim != 1 or array.dtype.kind not in "SUO" or "time" not in str(name).lower():
            continue
        dim = array.dims[0]
        if any(raw[c].dtype.kind == "M" and raw[c].dims == (dim,) for c in raw.coords):
            continue  # it has dates beside the text
        texts = [_text(value) for value in array.values]
        if not texts or not all(_TEXT_TIMES.match(text) for text in texts):
            continue
        try:
            plain = [text.replace("_", " ") for text in texts]
            times = pd.to_datetime(plain, utc=True, format="ISO8601")
        except ValueError:  # before 1678, or no dates after all
            continue
        return raw.drop_vars(str(name)).assign_coords(
            {dim: (dim, times.tz_localize(None).to_numpy("M8[ns]"))}
        )
    return raw


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("ascii", "replace").strip()
    return value.strip() if isinstance(value, str) else ""


def _regular_where_rounded(raw: xr.Dataset) -> xr.Dataset:
    """Put times that were stored as rounded numbers back on their regular axis."""
    for name in list(raw.coords):
        array = raw[name]
        stored = np.dtype(array.encoding.get("dtype", np.int64))
        unit = seconds_per(str(array.encoding.get("units", "")).split(" since")[0])
        if array.ndim != 1 or stored.kind != "f" or array.dtype.kind != "M" or unit is None:
            continue
        if array.size < 3 or bool(array.isnull().any()):
            continue
        begin = str(array.encoding["units"]).split(" since ")[-1]
        try:
            since = pd.Timestamp(begin).tz_localize(None)
        except (ValueError, TypeError):
            continue
        elapsed = (pd.DatetimeIndex(array.values) - since).total_seconds()
        largest = float(np.abs(elapsed).max()) / unit
        rounding = float(np.spacing(np.asarray(largest, dtype=stored))) * unit
        times = regular_times(array.values, rounding)
        if times is not None:
            raw = raw.assign_coords({name: (array.dims, times, array.attrs)})
            raw[name].encoding = dict(array.encoding)
    return raw


def regular_times(times: np.ndarray, rounding: float) -> np.ndarray | None:
    """Return the regular axis of which ``times`` are roundings, or None if there is none.

    Parameters
    ----------
    times : numpy.ndarray
        (T,) ``datetime64``, ascending; some may be absent.
    rounding : float
        Seconds by which a time may be off.

    Examples
    --------
    >>> times = np.array(["2020-01-01T00:00", "2020-01-01T00:28", "2020-01-01T01:01"], "M8[s]")
    >>> regular_times(times, 300.0).astype("M8[m]").astype(str).tolist()
    ['2020-01-01T00:00', '2020-01-01T00:30', '2020-01-01T01:00']
    """
    elapsed = (times - times[0]) / np.timedelta64(1, "s")
    differences = np.diff(elapsed)
    if not len(differences) or differences.min() <= 0:
        return None
    usual = float(np.median(differences))
    near = [n for n in _NICE_SECONDS if abs(n - usual) <= 2 * rounding and n > 4 * rounding]
    begin = times[0].astype("M8[D]")
    offset = float((times[0] - begin) / np.timedelta64(1, "s"))
    for step in sorted(near, key=lambda n: abs(n - usual)):
        start = round(offset / step) * step
        if abs(start - offset) > rounding:
            start = round(offset)
        number = np.round((elapsed + offset - start) / step)
        off = np.abs(elapsed + offset - start - number * step)
        if off.max() <= rounding * 1.01 + 1e-9 and (np.diff(number) > 0).all():
            seconds = start + number * step
            exact = np.asarray(begin.astype("M8[ns]")) + np.round(seconds * 1e9).astype("m8[ns]")
            return np.asarray(exact)
    return None


def months_later(times: np.ndarray, months: int) -> np.ndarray:
    """Return dates the given number of months later; the last day of a month stays the last.

    Examples
    --------
    >>> months_later(np.array(["2001-02-28", "2000-01-15"], "M8[D]"), 1).astype("M8[D]")
    array(['2001-03-31', '2000-02-15'], dtype='datetime64[D]')
    """
    if times.dtype == object:
        return np.asarray([_cf_months_later(time, months) for time in times])
    index = pd.DatetimeIndex(times)
    later = index + pd.DateOffset(months=months)
    ends = later + pd.offsets.MonthEnd(0)
    return np.where(index.is_month_end, ends.to_numpy(), later.to_numpy()).astype("M8[ns]")


def _cf_months_later(time: Any, months: int) -> Any:
    years, month = divmod(time.month - 1 + months, 12)
    first = time.replace(year=time.year + years, month=month + 1, day=1)
    last = first.daysinmonth
    day = last if time.day == time.daysinmonth else min(time.day, last)
    return first.replace(day=day)

"""Calendar features by hand, for several calendars."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stemdist.data.calendar import CALENDAR_FEATURES, calendar_features
from stemdist.errors import InputError


def phase(features, column=0):
    turn = np.arctan2(features[:, 2 * column], features[:, 2 * column + 1]) / (2 * np.pi)
    return turn % 1


def times(*dates, calendar="standard"):
    if calendar == "standard":
        return xr.DataArray(pd.to_datetime(list(dates)), dims="time")
    index = [xr.date_range(d, periods=1, calendar=calendar, use_cftime=True)[0] for d in dates]
    return xr.DataArray(xr.CFTimeIndex(index), dims="time")


def test_phases_by_hand():
    when = times("2020-01-06 00:00", "2020-01-08 12:00")  # a Monday, a Wednesday
    features = calendar_features(when, CALENDAR_FEATURES)
    assert features.dtype == np.float32
    assert features.shape == (2, 6)
    np.testing.assert_allclose(phase(features, 0), [0, 0.5], atol=1e-6)
    np.testing.assert_allclose(phase(features, 1), [0, 2 / 7], atol=1e-6)
    np.testing.assert_allclose(phase(features, 2), [5 / 365.25, 7.5 / 365.25], atol=1e-6)


@pytest.mark.parametrize(("calendar", "days"), [("360_day", 360), ("noleap", 365)])
def test_the_year_closes_in_model_calendars(calendar, days):
    last = "2001-12-30" if calendar == "360_day" else "2001-12-31"
    when = times("2001-01-01", last, "2002-01-01", calendar=calendar)
    turns = phase(calendar_features(when, ["day_of_year", "time_of_day"]))
    np.testing.assert_allclose(turns, [0, (days - 1) / days, 0], atol=1e-6)


def test_no_week_in_a_calendar_without_one():
    with pytest.raises(InputError, match="'day_of_week' has no meaning in the '360_day' calendar"):
        calendar_features(times("2001-01-01", calendar="360_day"), ["day_of_week"])


def test_unknown_feature():
    with pytest.raises(InputError, match="unknown calendar feature 'time_of_dy': did you mean"):
        calendar_features(times("2001-01-01"), ["time_of_dy"])


def test_no_feature():
    assert calendar_features(times("2001-01-01", "2001-01-02"), []).shape == (2, 0)


def test_harmonics_are_waves_of_a_fraction_of_the_period():
    time = xr.DataArray(pd.date_range("2020-01-01", periods=24, freq="h"), dims="time")
    waves = calendar_features(time, ["time_of_day"], harmonics=3)
    assert waves.shape == (24, 6)
    assert np.array_equal(waves[:, :2], calendar_features(time, ["time_of_day"]))
    hour = np.arange(24)
    np.testing.assert_allclose(waves[:, 4], np.sin(2 * np.pi * hour / 8), atol=1e-6)
    assert np.allclose(waves[:8, 4:], waves[8:16, 4:], atol=1e-6)  # a third of a day

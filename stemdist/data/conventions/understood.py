"""One way in for foreign data sets: every convention in its turn."""

from __future__ import annotations

import pandas as pd
import xarray as xr

from stemdist.data.conventions.attributes import with_clean_attributes
from stemdist.data.conventions.layouts import merged_versions, unfolded_runs, unfolded_stations


def understood(raw: xr.Dataset) -> xr.Dataset:
    """Return a raw data set in the layout that canonical series are made of.

    Applied to its own result it changes nothing.
    """
    raw = _in_utc(with_clean_attributes(raw))
    raw = merged_versions(raw)
    raw = unfolded_runs(raw)
    return unfolded_stations(raw)


def _in_utc(raw: xr.Dataset) -> xr.Dataset:
    """Return dates with a time zone as UTC without one."""
    for name, index in raw.indexes.items():
        if index.dtype == object and len(index) and isinstance(index[0], pd.Timestamp):
            index = pd.DatetimeIndex(index)
        if isinstance(index, pd.DatetimeIndex) and index.tz is not None:
            times = index.tz_convert("UTC").tz_localize(None)
            raw = raw.assign_coords({name: (name, times, raw[name].attrs)})
    return raw

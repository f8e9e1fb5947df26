"""Forecasts as CF data: named axes, the source's coordinates and where they come from.

Shapes: M initial times, Q quantiles, L_out horizon, N locations.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from stemdist.data.conventions.attributes import (
    ATTRIBUTION,
    attribution_of,
    clean_attributes,
)
from stemdist.data.conventions.times import months_later
from stemdist.data.dimensions import position_units
from stemdist.data.series import GRID_DIMS, to_grid
from stemdist.data.time_axis import calendar_months, step_seconds

_OF_WHOLE = ("Conventions", "title", "source", "history")


def labelled_forecast(
    values: np.ndarray,
    series: xr.Dataset,
    init: np.ndarray,
    *,
    name: str,
    units: str,
    quantiles: Sequence[float],
    forecaster: str,
) -> xr.DataArray:
    """Name the axes of forecasts of one target and put them back on the grid of their source.

    Parameters
    ----------
    values : numpy.ndarray
        (M, Q, L_out, N), physical; Q is 1 without quantiles.
    series : xarray.Dataset
        Canonical series that was forecast from.
    init : numpy.ndarray
        (M,) last observed times.
    name, units : str
        Of the target.
    quantiles : sequence of float
        Levels, none for one number.
    forecaster : str
        Its name, for the attributes.

    Returns
    -------
    xarray.DataArray
        (init_time, quantile?, horizon, <grid dims or location>) with ``valid_time`` and, unless
        the series steps by the calendar, ``lead_time``; compressed when written.
    """
    steps = values.shape[2]
    coords: dict[Any, Any] = {
        **{c: v for c, v in series.coords.items() if v.dims in (("location",), ())},
        "init_time": ("init_time", init, {"standard_name": "forecast_reference_time"}),
        "horizon": ("horizon", np.arange(1, steps + 1), {"long_name": "steps ahead", "units": "1"}),
        **_times(series, init, steps),
    }
    attrs = {
        "units": units,
        "long_name": f"{name} forecast by {forecaster}",
        **{k: v for k, v in series.attrs.items() if k == GRID_DIMS},
        **_of_source(series[name]),
    }
    if quantiles:
        coords["quantile"] = ("quantile", np.asarray(quantiles), {"units": "1"})
    dims = ("init_time", *["quantile"] * bool(quantiles), "horizon", "location")
    array = xr.DataArray(values if quantiles else values[:, 0], coords, dims, name, attrs)
    array = to_grid(array)
    array = array.assign_coords({c: _described(v) for c, v in array.coords.items()})
    array.attrs.update(forecast_attributes(series, forecaster, (name,)))
    array.encoding = {"zlib": True}
    return array


def forecast_attributes(
    series: xr.Dataset, forecaster: str, targets: Sequence[str]
) -> dict[str, str]:
    """Return the attributes of a forecast as a whole, with those that its source must be given."""
    made = f"forecast by stemdist {version('stemdist')}, {forecaster}"
    given = str(series.attrs.get("source_name") or "")
    step = f"{made}, from {given}" if given else made
    earlier = str(series.attrs.get("history") or "").strip()
    return {
        **attribution_of(series.attrs),
        "Conventions": "CF-1.11",
        "title": f"{', '.join(targets)} forecast",
        "source": f"stemdist {version('stemdist')}, forecaster {forecaster}",
        "history": f"{step}\n{earlier}" if earlier else step,
    }


def as_dataset(forecast: xr.DataArray | xr.Dataset) -> xr.Dataset:
    """Return a forecast as a dataset; what describes it as a whole becomes the dataset's."""
    if isinstance(forecast, xr.Dataset):
        return forecast
    whole = {
        k: v for k, v in forecast.attrs.items() if k in _OF_WHOLE or str(k).lower() in ATTRIBUTION
    }
    dataset = forecast.to_dataset()
    for name in whole:
        dataset[forecast.name].attrs.pop(name)
    return dataset.assign_attrs(whole)


def _described(coordinate: xr.DataArray) -> xr.Variable:
    """Return a coordinate that every format can hold, with the units that CF asks for."""
    attrs = clean_attributes(coordinate.attrs)
    if "units" not in attrs and coordinate.dtype.kind == "f":
        implied = position_units(coordinate)
        attrs |= {"units": implied} if implied else {}
    filled = coordinate.dtype.kind == "f" and bool(coordinate.isnull().any())
    encoding = dict(coordinate.encoding) if coordinate.dtype.kind in "mM" else {}
    if coordinate.dtype.kind == "f" and not filled:
        encoding["_FillValue"] = None
    return xr.Variable(coordinate.dims, coordinate.values, attrs, encoding)


def _of_source(array: xr.DataArray) -> dict[str, Any]:
    kept = ("standard_name", "cell_methods", "grid_mapping")
    attrs = {k: v for k, v in array.attrs.items() if k in kept}
    if str(attrs.get("grid_mapping", "")) not in array.coords:
        attrs.pop("grid_mapping", None)
    return attrs


def _times(series: xr.Dataset, init: np.ndarray, steps: int) -> dict[str, Any]:
    """Return the times forecast for, (M, L_out), and the time ahead of each step."""
    ahead = np.arange(1, steps + 1)
    months = calendar_months(series)
    if months is not None:
        valid = np.stack([months_later(init, months * int(n)) for n in ahead], axis=1)
        return {"valid_time": (("init_time", "horizon"), valid, {"standard_name": "time"})}
    lead = pd.to_timedelta(ahead * step_seconds(series), "s")
    valid = init[:, None] + (lead.to_pytimedelta() if init.dtype == object else lead.to_numpy())
    whole_hours = (lead.total_seconds() % 3600 == 0).all()
    written = {"units": "hours" if whole_hours else "seconds", "dtype": "float64"}
    period = {"standard_name": "forecast_period", "long_name": "time ahead of init_time"}
    return {
        "valid_time": (("init_time", "horizon"), valid, {"standard_name": "time"}),
        "lead_time": xr.Variable("horizon", lead.to_numpy(), period, written),
    }

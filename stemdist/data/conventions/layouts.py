"""Layouts of foreign files that are one series in other clothes.

Mixed ERA5 and ERA5T, forecast runs with a lead axis, and CF's ragged station files become plain
(time, space) data sets.
"""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import xarray as xr

from stemdist.data.conventions.units import seconds_per
from stemdist.errors import InputError

log = logging.getLogger(__name__)

_LEADS = (
    "step", "lead", "lead_time", "leadtime", "prediction_timedelta", "forecast_period",
    "forecast_hour", "fhour",
)  # fmt: skip
_RUNS = ("time", "init_time", "forecast_reference_time", "reference_time", "run", "initial_time")
_ROW_NAMES = ("row_size", "rowsize", "row_count")


def merged_versions(raw: xr.Dataset) -> xr.Dataset:
    """Return a mix of ERA5 and ERA5T with one value each: ERA5, and ERA5T where it is missing.

    The Copernicus store gives months that are not final yet with a dimension ``expver`` of the
    two experiment versions 1 and 5, each missing where the other one is present.

    Examples
    --------
    >>> values = [[1.0, np.nan], [np.nan, 2.0]]
    >>> raw = xr.Dataset({"t": (("time", "expver"), values)}, {"expver": [1, 5]})
    >>> merged_versions(raw)["t"].values.tolist()
    [1.0, 2.0]
    """
    if "expver" not in raw.dims or "expver" not in raw.coords:
        return raw
    versions = [str(value).lstrip("0") for value in raw["expver"].values]
    if sorted(versions) != ["1", "5"]:
        return raw
    final = raw.isel(expver=versions.index("1"), drop=True)
    early = raw.isel(expver=versions.index("5"), drop=True)
    log.info("expver 1 and 5 are joined: ERA5, and ERA5T where ERA5 is missing")
    names = [name for name in raw.data_vars if "expver" in raw[name].dims]
    return final.assign({name: final[name].fillna(early[name]) for name in names})


def unfolded_runs(raw: xr.Dataset) -> xr.Dataset:
    """Return forecast runs (run, lead, ...) as one series over their valid times.

    Where runs overlap, the most recent run before a time is taken, that is the shortest lead.

    Raises
    ------
    InputError
        If the leads have no unit and there are no valid times.

    Examples
    --------
    >>> raw = xr.Dataset({"t": (("time", "step"), [[1.0, 2.0], [3.0, 4.0]])},
    ...     {"time": pd.date_range("2024", periods=2, freq="2h"),
    ...      "step": ("step", [0, 1], {"units": "hours"})})
    >>> series = unfolded_runs(raw)
    >>> series["t"].values.tolist(), series["time"].dt.hour.values.tolist()
    ([1.0, 2.0, 3.0, 4.0], [0, 1, 2, 3])
    """
    found = _run_and_lead(raw)
    if found is None:
        return raw
    run, lead = found
    valid = _valid_times(raw, run, lead)  # (run, lead)
    table = pd.DataFrame(
        {
            "valid": valid.ravel(),
            "run": np.repeat(np.arange(raw.sizes[run]), raw.sizes[lead]),
            "lead": np.tile(np.arange(raw.sizes[lead]), raw.sizes[run]),
        }
    )
    chosen = table.sort_values(["valid", "run"]).drop_duplicates("valid", keep="last")
    overlap = len(table) - len(chosen)
    log.info(
        "%d runs of %d leads are unfolded to %d times%s",
        raw.sizes[run], raw.sizes[lead], len(chosen),
        f"; {overlap} values of older runs are left out" if overlap else "",
    )  # fmt: skip
    pick = {name: xr.DataArray(chosen[key].to_numpy(), dims="valid_time_") for name, key in
            ((run, "run"), (lead, "lead"))}  # fmt: skip
    flat = raw.drop_vars([c for c in raw.coords if set(raw[c].dims) & {run, lead}]).isel(pick)
    flat = flat.rename({"valid_time_": "time"})
    return flat.assign_coords(time=("time", chosen["valid"].to_numpy()))


def _run_and_lead(raw: xr.Dataset) -> tuple[str, str] | None:
    leads = [str(d) for d in raw.dims if _plays(raw, str(d), _LEADS, "forecast_period")]
    runs = [str(d) for d in raw.dims if _plays(raw, str(d), _RUNS, "forecast_reference_time")]
    for lead in leads:
        for run in runs:
            both = [a for a in raw.data_vars.values() if {run, lead} <= set(map(str, a.dims))]
            if both and raw.sizes[lead] > 1 and raw[run].dtype.kind == "M":
                return run, lead
    return None


def _plays(raw: xr.Dataset, dim: str, names: tuple[str, ...], standard: str) -> bool:
    if dim not in raw.coords:
        return False
    return dim.lower() in names or raw[dim].attrs.get("standard_name") == standard


def _valid_times(raw: xr.Dataset, run: str, lead: str) -> np.ndarray:
    for name in raw.coords:
        if raw[name].dtype.kind == "M" and set(raw[name].dims) == {run, lead}:
            return np.asarray(raw[name].transpose(run, lead).values)
    leads = raw[lead]
    if leads.dtype.kind == "m":
        ahead = leads.values.astype("timedelta64[ns]")
    else:
        unit = seconds_per(str(leads.attrs.get("units", "")))
        if unit is None:
            raise InputError(
                f"the data are forecast runs (dimensions {run!r} and {lead!r}), and {lead!r} has "
                f"no unit: give it one (units = 'hours'), or take one lead of every run with "
                f"--select {lead}={leads.values[0]}, which makes a series with a step of one run"
            )
        ahead = np.round(leads.values.astype(float) * unit * 1e9).astype("timedelta64[ns]")
    return np.asarray(raw[run].values.astype("M8[ns]")[:, None] + ahead[None, :])


def unfolded_stations(raw: xr.Dataset) -> xr.Dataset:
    """Return CF's ragged and incomplete station files as (time, station), missing where absent.

    Contiguous and indexed ragged arrays (CF conventions, sections H.2.4 and H.2.5) and the
    incomplete array with times per station (H.2.2) are read; the values are loaded.

    Raises
    ------
    InputError
        If the rows counted do not fit the observations, or a station has two values of a time.
    """
    found = _contiguous(raw) or _indexed(raw) or _incomplete(raw)
    if found is None:
        return raw
    station, dims, owner, times = found
    unique, slot = np.unique(times, return_inverse=True)
    valid = ~pd.isna(times) & (owner >= 0)
    keys = owner * len(unique) + slot
    if len(np.unique(keys[valid])) < int(valid.sum()):
        raise InputError(
            f"the station file has two values of the same time at one of its {station!r}s: keep "
            "one of them"
        )
    unique_times = unique[~pd.isna(unique)]
    kept = raw.drop_vars([n for n in raw.variables if set(raw[n].dims) & (set(dims) - {station})])
    for name, array in raw.data_vars.items():
        owns = "instance_dimension" in array.attrs
        if owns or not set(dims) <= set(array.dims) or array.dtype.kind not in "fiu":
            continue
        table = np.full((len(unique_times), raw.sizes[station]), np.nan)
        values = array.transpose(*dims).values.ravel()
        table[slot[valid], owner[valid]] = values[valid]
        kept[name] = (("time", station), table, array.attrs)
    return kept.assign_coords(time=("time", unique_times))


_Found = tuple[str, tuple[str, ...], np.ndarray, np.ndarray]


def _contiguous(raw: xr.Dataset) -> _Found | None:
    for name, array in raw.variables.items():
        sample = array.attrs.get("sample_dimension")
        if sample is None and str(name).lower() in _ROW_NAMES:
            others = [d for d in raw.dims if d not in array.dims]
            sample = others[0] if len(others) == 1 else None
        if sample is None or array.ndim != 1 or sample not in raw.dims:
            continue
        counts = np.nan_to_num(array.values).astype(np.int64)
        if counts.min() < 0 or counts.sum() != raw.sizes[sample]:
            raise InputError(
                f"{name!r} counts {counts.sum()} observations, but {sample!r} has "
                f"{raw.sizes[sample]}: the ragged file is damaged"
            )
        station = str(array.dims[0])
        owner = np.repeat(np.arange(len(counts)), counts)
        return station, (str(sample),), owner, _times_along(raw, (str(sample),))
    return None


def _indexed(raw: xr.Dataset) -> _Found | None:
    for name, array in raw.variables.items():
        instance = array.attrs.get("instance_dimension")
        if instance is None or instance not in raw.dims or array.ndim != 1:
            continue
        dims = (str(array.dims[0]),)
        owner = np.nan_to_num(array.values, nan=-1).astype(np.int64)
        if owner.max() >= raw.sizes[instance]:
            raise InputError(f"{name!r} names a station beyond {raw.sizes[instance]}")
        return str(instance), dims, owner, _times_along(raw, dims)
    return None


def _incomplete(raw: xr.Dataset) -> _Found | None:
    """Find times per station, (station, obs)."""
    if str(raw.attrs.get("featureType", "")).lower() != "timeseries":
        return None
    for array in raw.variables.values():
        if array.ndim == 2 and array.dtype.kind == "M":
            dims = (str(array.dims[0]), str(array.dims[1]))
            owner = np.repeat(np.arange(array.shape[0]), array.shape[1])
            return dims[0], dims, owner, array.values.ravel()
    return None


def _times_along(raw: xr.Dataset, dims: tuple[str, ...]) -> np.ndarray:
    for array in raw.variables.values():
        if array.dims == dims and array.dtype.kind == "M":
            return np.asarray(array.values)
    raise InputError(
        f"the ragged station file has no dates along {dims[0]!r}: its time needs units such as "
        "'hours since 2019-03-01'"
    )

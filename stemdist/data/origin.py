"""Where a distilled set or a forecaster comes from, and whether other data fit it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from stemdist.data.conventions.units import same_unit
from stemdist.data.opening import OPENING, OpenOptions, opened_with
from stemdist.data.time_axis import calendar_months, step_seconds
from stemdist.errors import InputError

ORIGIN = ("source_name", "opening", "units_of_variables", "step")
"""Entries of a record that :func:`origin_of` makes."""


def origin_of(series: xr.Dataset) -> dict[str, Any]:
    """Return what a record keeps of a canonical series: its source, opening, units and step.

    Examples
    --------
    >>> from stemdist.data import canonical_series, simulate
    >>> origin = origin_of(canonical_series(simulate("weather-sim", days=8, n_lat=3, n_lon=4)))
    >>> origin["units_of_variables"], origin["step"]
    ({'t2m': 'K'}, {'seconds': 3600.0})
    """
    months = calendar_months(series)
    step = {"seconds": step_seconds(series)} if months is None else {"months": months}
    units = {
        str(n): str(a.attrs["units"]) for n, a in series.data_vars.items() if "units" in a.attrs
    }
    return {
        "source_name": str(series.attrs.get("source_name", "")),
        "opening": json.loads(series.attrs.get(OPENING, "{}")),
        "units_of_variables": units,
        "step": step,
    }


def recalled(opening: OpenOptions, record: Mapping[str, Any], source: str) -> OpenOptions:
    """Return opening options completed with those a record keeps.

    Parameters
    ----------
    opening : OpenOptions
        What the user gave.
    record : mapping
        Of a distilled set or a forecaster.
    source : str
        The data to open now.

    Raises
    ------
    InputError
        If they contradict each other.
    """
    same_file = Path(source).name == record.get("source_name")
    return opening.recalling(record.get("opening") or {}, same_file=same_file)


def check_origin(
    series: xr.Dataset, record: Mapping[str, Any], *, what: str, accept: Sequence[str] = ()
) -> None:
    """Raise unless a series has the units, time step and missing value of a record.

    Parameters
    ----------
    series : xarray.Dataset
        Canonical series.
    record : mapping
        Of a distilled set or a forecaster; entries it does not have are not compared.
    what : str
        What was made from the record's data, for the message, e.g. ``"the forecaster"``.
    accept : sequence of str
        Differences that are meant, beside those the series was opened with.

    Raises
    ------
    InputError
        Naming both sides and what to do.
    """
    accepted = {*accept, *opened_with(series).accept}
    null = (record.get("opening") or {}).get("null_value")
    if null is not None and opened_with(series).null_value != null:
        raise InputError(
            f"{what} was made from data in which {null:g} means 'missing', and these were opened "
            f"without it: open them with null_value={null:g} (--null-value {null:g})"
        )
    for name, unit in (record.get("units_of_variables") or {}).items():
        here = series[name].attrs.get("units") if name in series else None
        if here is not None and not same_unit(str(here), unit) and "units" not in accepted:
            raise InputError(
                f"{name!r} is in {here!r} here, but {what} was made from {unit!r}: convert the "
                "data, or pass --accept units (accept=['units'] in Python) if it is the same unit "
                "by another name"
            )
    _check_step(series, record.get("step") or {}, what, accepted)


def _check_step(
    series: xr.Dataset, step: Mapping[str, float], what: str, accepted: set[str]
) -> None:
    if "step" in accepted or not step or series.sizes["time"] < 2:
        return
    months = calendar_months(series)
    if "months" in step and months == step["months"]:
        return
    seconds = step_seconds(series)
    if "seconds" in step and math.isclose(seconds, step["seconds"], rel_tol=1e-3):
        return
    if "months" in step and months is None and seconds / 86400 >= 28 * step["months"]:
        return  # a step or two do not show that they are months
    raise InputError(
        f"the time step is {_step_text(seconds, months)} here, but {what} was made from steps of "
        f"{_step_text(step.get('seconds'), step.get('months'))}: resample the data, or pass "
        "--accept step (accept=['step'] in Python) if that is meant"
    )


def _step_text(seconds: float | None, months: float | None) -> str:
    if months is not None:
        return f"{months:g} month" + "s" * (months != 1)
    return f"{(seconds or 0.0) / 60:g} minutes"

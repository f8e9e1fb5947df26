"""What ``stemdist info`` finds, for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import xarray as xr

from stemdist.data.time_axis import calendar_months, gap_positions, step_seconds

if TYPE_CHECKING:
    from stemdist.data.checks import ValueSummary
    from stemdist.distill.budget import Plan
    from stemdist.forecast import TaskSettings


def file_values(raw: xr.Dataset, usable: list[str]) -> dict[str, Any]:
    """Return the dimensions and variables of a file as it is."""
    variables = {
        str(name): {
            "dtype": str(array.encoding.get("dtype", array.dtype)),
            "units": array.attrs.get("units"),
            "dimensions": array.dims,
            "usable": name in usable,
        }
        for name, array in raw.data_vars.items()
    }
    return {"distilled": False, "dimensions": raw.sizes, "variables": variables}


def series_values(series: xr.Dataset, settings: TaskSettings) -> dict[str, Any]:
    """Return the time axis, the locations and the task that commands would use."""
    index, gaps = series.indexes["time"], gap_positions(series)
    months = calendar_months(series)
    time = {
        "steps": len(index),
        "first": str(index[0]),
        "last": str(index[-1]),
        "step_seconds": step_seconds(series) if months is None else None,
        "step_months": months,
        "calendar": str(series["time"].dt.calendar),
        "gaps_after": [str(index[place]) for place in gaps],
    }
    return {
        "usable": True,
        "target": str(next(iter(series.data_vars))),
        "time": time,
        "locations": series.sizes["location"],
        "split_steps": settings.split.boundaries(len(index)),
        "task": settings.to_json(),
    }


def checked_values(found: Mapping[str, ValueSummary], series: xr.Dataset) -> dict[str, Any]:
    """Return what the check of values found of each variable."""
    times, names = series.indexes["time"], series["location"].values
    return {
        name: {
            "low": values.low,
            "high": values.high,
            "missing_share": values.missing,
            "zeros": values.zeros,
            "findings": [
                {"kind": each.kind, "text": each.text, "remedy": each.remedy}
                for each in values.findings(times, names)
            ],
        }
        for name, values in found.items()
    }


def plan_values(plan: Plan | None) -> dict[str, Any] | None:
    """Return what distilling would need; None where there is no window to distil."""
    if plan is None:
        return None
    return {
        "in_memory": plan.in_memory,
        "needed_bytes": plan.needed,
        "free_bytes": plan.free,
        "process_bytes": plan.process_bytes,
    }

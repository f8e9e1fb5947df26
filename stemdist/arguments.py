"""What the main functions are given: a series, options, a forecaster; sorted and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import xarray as xr
from torch import nn

from stemdist.data import open_series
from stemdist.distill import DistilledSet
from stemdist.errors import InputError, unknown_name
from stemdist.forecast import ForecastTask, settings_for


def canonical_of(
    series: xr.Dataset | xr.DataArray,
    task: Mapping[str, Any],
    variables: Sequence[str] | None = None,
) -> xr.Dataset:
    """Return the canonical series, with the variables that the options name."""
    if not isinstance(series, xr.Dataset | xr.DataArray):
        raise InputError(
            f"the series is {type(series).__name__}: give an xarray.Dataset or xarray.DataArray; "
            "stemdist.open_series opens files and data sets of the catalogue"
        )
    canonical = "target" in series.attrs and "location" in series.dims
    if canonical and isinstance(series, xr.Dataset):
        return series
    if variables is None and task.get("targets"):
        variables = [*_names(task["targets"]), *_names(task.get("future", ()))]
    return open_series(series, variables=variables, static=task.get("static", ()))


def task_of(series: xr.Dataset | xr.DataArray, task: Mapping[str, Any]) -> ForecastTask:
    """Return the task of a series with the options, or what its recipe says."""
    opened = canonical_of(series, task)
    return ForecastTask.from_series(opened, settings_for(opened, task))


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def matching_task(series: xr.Dataset | xr.DataArray, distilled: DistilledSet) -> ForecastTask:
    """Return the task of real data with the settings of a distilled set."""
    settings = distilled.settings
    opened = canonical_of(series, {"static": settings.static}, distilled.variables)
    return ForecastTask.from_series(opened, settings)


def named_forecaster(
    forecaster: str | nn.Module | Callable[..., nn.Module],
    hyperparameters: Mapping[str, Any] | None,
) -> tuple[str, Mapping[str, Any] | None]:
    """Return a registered name and its options; modules of the user's own are wrapped."""
    if isinstance(forecaster, str):
        return forecaster, hyperparameters
    if not callable(forecaster):
        raise InputError(
            f"the forecaster is {forecaster!r}: give a registered name, an nn.Module, its class, "
            "or a function that makes one"
        )
    return "module", {"factory": forecaster, **(hyperparameters or {})}


def refuse_task_options(task: Mapping[str, Any]) -> None:
    """Raise if options of a task are given where a distilled set has them."""
    if task:
        raise InputError(
            f"{', '.join(sorted(task))}: no use here, because a distilled set fixes what is "
            "forecast from what: leave it out"
        )


def refuse_validation(validation: object) -> None:
    """Raise if validation data are given beside a series in full."""
    if validation is not None:
        raise InputError(
            "validation is for learning from a distilled set: a series in full has its own "
            "validation part (see split)"
        )


def sorted_options(options: Mapping[str, Any], *kinds: type[Any]) -> list[dict[str, Any]]:
    """Return the options of each kind of settings; the first kind that has a name gets it."""
    found: list[dict[str, Any]] = [{} for _ in kinds]
    names = [
        {field.name for field in fields(kind)} if is_dataclass(kind) else set(kind.__annotations__)
        for kind in kinds
    ]
    for key, value in options.items():
        owner = next((i for i, own in enumerate(names) if key in own), None)
        if owner is None:
            raise unknown_name("option", key, set().union(*names))
        found[owner][key] = value
    return found

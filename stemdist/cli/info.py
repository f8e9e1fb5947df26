"""``stemdist info``: what is in a data file, and how it would be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from stemdist.cli.answer import Result
from stemdist.cli.console import (
    Console,
    about_text,
    bytes_text,
    duration_text,
    print_fields,
    print_next,
    quoted,
)
from stemdist.cli.info_values import checked_values, file_values, plan_values, series_values
from stemdist.cli.parser import option_text
from stemdist.cli.sources import distilled_values, is_distilled, raw_of, series_and_settings
from stemdist.data import OpenOptions
from stemdist.data.checks import ValueSummary
from stemdist.data.dimensions import find_dimensions
from stemdist.data.series import GRID_DIMS, time_varying_variables
from stemdist.data.time_axis import calendar_months, gap_positions, step_seconds
from stemdist.display import share_text
from stemdist.errors import InputError
from stemdist.forecast import TaskOptions, TaskSettings

if TYPE_CHECKING:
    from stemdist.distill.budget import Plan

SHOWN_GAPS = 3


def info(
    data: str,
    *,
    scan: bool | None = None,
    memory: str | None = None,
    opening: OpenOptions,
    task: TaskOptions,
    console: Console,
) -> Result:
    """Show what is in a data file and how stemdist would use it.

    Dimensions, time axis, variables and the memory estimate come from the file's metadata;
    missing values and constant variables need its values, which are read block by block.

    Parameters
    ----------
    data : str
        A file or folder, a data set of the catalogue, or a distilled set.
    scan : bool, optional
        Read the values to count missing ones and to look for suspicious ones; --no-scan shows
        the metadata only. Data larger than memory are read with --scan only.
    memory : str, optional
        What distill may use in all, e.g. 4GiB; by default nine tenths of what is free.

    Examples
    --------
      stemdist info era5.nc
      stemdist info cmip.nc --variable tas --select member=3
      stemdist info speeds.csv --start 2012-03-01 --step-minutes 5 --no-scan

    The memory estimate is for float32: the un-windowed series that is kept, and the windows
    that would be needed if they were copied out of it.
    """
    if is_distilled(data):
        return _distilled(data)
    raw = raw_of(data, opening)
    names = time_varying_variables(raw, opening.time_name)
    _print_file(data, raw, opening.time_name)
    values = file_values(raw, names)
    try:
        series, settings = series_and_settings(data, opening, task)
    except InputError as problem:
        _print_variables(raw, names)
        print_fields("before it can be used", [("needed", str(problem))])
        return Result(values={**values, "usable": False, "needed": str(problem)})
    target = str(next(iter(series.data_vars)))
    _print_time(series)
    _print_variables(raw, names, target)
    _print_locations(series)
    n_windows, windows_text = _windows(series, settings)
    plan = _plan(series, settings, memory) if n_windows else None
    fits = plan is None or plan.in_memory
    found = _scanned(series, console) if (fits if scan is None else scan) else {}
    if found:
        print_fields("values", [(name, _values_text(values)) for name, values in found.items()])
        _print_findings(found, series)
    _print_training(series, settings, n_windows, windows_text)
    if plan is not None:
        _print_plan(series, settings, plan)
    if n_windows and (not found or found[target].varied):
        how = ["--time-ratio", "0.1", "--space-ratio", "0.1"]
        if not fits:
            how = [] if memory is None else ["--memory", memory]
        print_next([" ".join([*_suggestion(data, opening, target, len(names)), *how])])
    return Result(
        values={
            **values,
            **series_values(series, settings),
            "training_windows": n_windows,
            "values": checked_values(found, series),
            "plan": plan_values(plan),
        }
    )


def _print_file(data: str, raw: xr.Dataset, time_name: str | None) -> None:
    path = Path(data)
    fields = [("dimensions", ", ".join(f"{name} {size}" for name, size in raw.sizes.items()))]
    if path.is_file():
        fields.insert(0, ("size", bytes_text(path.stat().st_size)))
    time = find_dimensions(raw, [], time_name)
    fields.append(("time axis", time.time_coordinate))
    print_fields(data, fields)


def _print_variables(raw: xr.Dataset, usable: list[str], target: str | None = None) -> None:
    fields = []
    for name, array in raw.data_vars.items():
        role = "target" if name == target else "" if name in usable else "not usable as target"
        units = array.attrs.get("units", "no units")
        text = f"{array.encoding.get('dtype', array.dtype)}, {units}, {array.dims}"
        fields.append((str(name), ", ".join(part for part in (text, role) if part)))
    print_fields("variables", fields)


def _print_time(series: xr.Dataset) -> None:
    index = series.indexes["time"]
    gaps = gap_positions(series)
    where = ", ".join(f"after {index[i]}" for i in gaps[:SHOWN_GAPS])
    more = ", ..." if len(gaps) > SHOWN_GAPS else ""
    print_fields(
        "time",
        [
            ("steps", str(len(index))),
            ("from", str(index[0])),
            ("to", str(index[-1])),
            ("step", _step_text(series)),
            ("calendar", str(series["time"].dt.calendar)),
            ("gaps", f"{len(gaps)}: {where}{more}" if len(gaps) else "none"),
        ],
    )


def _step_text(series: xr.Dataset) -> str:
    months = calendar_months(series)
    if months is None:
        return duration_text(step_seconds(series))
    return f"{months} calendar month" + "s" * (months > 1)


def _print_locations(series: xr.Dataset) -> None:
    count = series.sizes["location"]
    names = str(series.attrs.get(GRID_DIMS, "")).split()
    text = str(count)
    if names:
        sides = " x ".join(f"{len(np.unique(series[name]))} {name}" for name in names)
        text = f"{count}, a grid of {sides}"
    fields = [("number", text)]
    for name in ("lat", "lon", "x", "y"):
        if name in series.coords and series[name].dtype.kind in "fiu":
            values = series[name].values
            fields.append((name, f"{np.nanmin(values):.6g} to {np.nanmax(values):.6g}"))
    print_fields("locations", fields)


def _values_text(values: ValueSummary) -> str:
    """Say in a line what a variable holds."""
    missing = share_text(values.missing)
    if not values.observed:
        return "all missing: it cannot be used"
    if not values.varied:
        return f"constant ({values.low:g}), missing {missing}: nothing to forecast"
    nowhere = ""
    if values.unseen:
        nowhere = f" ({values.unseen} of {values.n_locations} locations have no value)"
    zeros = f", exactly 0 {share_text(values.zeros / values.observed)}" if values.zeros else ""
    return f"{values.low:.6g} to {values.high:.6g}, missing {missing}{nowhere}{zeros}"


def _print_findings(found: dict[str, ValueSummary], series: xr.Dataset) -> None:
    """Print what the check of values has to say, as it would be said before training."""
    times, names = series.indexes["time"], series["location"].values
    lines = [
        (name, str(finding))
        for name, values in found.items()
        for finding in values.findings(times, names)
    ]
    if lines:
        print_fields("look at", lines)


def _scanned(series: xr.Dataset, console: Console) -> dict[str, ValueSummary]:
    """Read every variable once, in blocks."""
    from stemdist.data.survey import survey

    found = survey(series, series.sizes["time"], 0, progress=console.progress)
    names = map(str, series.data_vars)
    return {name: each.summary for name, each in zip(names, found, strict=True)}


def _windows(series: xr.Dataset, settings: TaskSettings) -> tuple[int, str]:
    """Return the number of training windows, and a sentence on why some part has none."""
    from stemdist.forecast.task import part_starts

    try:
        starts = part_starts(series, settings)
    except InputError as problem:
        return 0, str(problem)
    steps = f"windows of {settings.lookback} + {settings.horizon} steps"
    return len(starts["train"]), ", ".join(f"{p} {len(s)}" for p, s in starts.items()) + f" {steps}"


def _print_training(
    series: xr.Dataset, settings: TaskSettings, n_windows: int, windows_text: str
) -> None:
    """Print what training would read."""
    n_steps, n_locations = series.sizes["time"], series.sizes["location"]
    n_features = len(series.data_vars) + int(settings.neighbour_context)
    span = settings.lookback * n_features + settings.horizon
    kept = 4 * n_steps * n_locations * n_features
    copied = 4 * n_windows * n_locations * span
    bounds = settings.split.boundaries(n_steps)
    parts = ", ".join(f"{name} {end - begin}" for name, (begin, end) in bounds.items())
    print_fields(
        "training",
        [
            ("split", f"{parts} steps"),
            ("windows", windows_text),
            ("memory", f"{bytes_text(kept)} series; windows copied out: {bytes_text(copied)}"),
            ("graph", _graph_text(series, settings)),
            ("calendar", _calendar_text(series, settings)),
        ],
    )


def _plan(series: xr.Dataset, settings: TaskSettings, memory: str | None) -> Plan:
    """Return what distill would do with its default settings."""
    from stemdist.distill import DistillSettings
    from stemdist.distill.budget import Budget, Plan

    return Plan.of(series, settings, DistillSettings.for_series(series), Budget.of(memory))


def _print_plan(series: xr.Dataset, settings: TaskSettings, plan: Plan) -> None:
    """Print what distilling would need, and what would be sampled."""
    from stemdist.distill.estimate import estimated_seconds

    memory = f"about {bytes_text(plan.process_bytes)}"
    if plan.in_memory:
        lines = [("memory", f"{memory}, the whole series held"), *_worth(series, settings, plan)]
        print_fields("to distil", lines)
        return
    held = settings.split.boundaries(series.sizes["time"])["validation"][1]
    n_locations = plan.sample_locations + (plan.settings.clusters or 0)
    n_steps = min(held, plan.sample_steps(n_locations))
    seconds = estimated_seconds(series, settings, plan)
    needed = f"{bytes_text(plan.needed)} to hold it, of which {bytes_text(plan.free)} may be taken"
    print_fields(
        "to distil",
        [
            ("needed", f"{needed}: it is read in blocks and sampled"),
            ("read", f"{held} of {series.sizes['time']} steps once, for statistics"),
            ("sample", f"about {n_steps} steps at {n_locations} locations, read again"),
            ("result", f"{plan.settings.windows} windows, {plan.settings.clusters} clusters"),
            ("memory", memory),
            ("time", f"about {about_text(sum(seconds.values()))}: {_parts(seconds)}"),
        ],
    )


def _worth(series: xr.Dataset, settings: TaskSettings, plan: Plan) -> list[tuple[str, str]]:
    """Say how long distilling takes, and whether it saves time."""
    from stemdist.distill.estimate import distilling_seconds, training_seconds

    distilling = distilling_seconds(settings, plan.settings)
    training = training_seconds(settings, series.sizes["location"])
    trained = f"an MLP trains on the full data in about {about_text(training)}"
    if training >= distilling:
        return [("time", f"about {about_text(distilling)}; {trained}")]
    purpose = "to share them, or to search many configurations, not to save one training"
    return [("time", f"about {about_text(distilling)}"), ("worth", f"{trained}: distil {purpose}")]


def _parts(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {about_text(each)}" for name, each in seconds.items())


def _calendar_text(series: xr.Dataset, settings: TaskSettings) -> str:
    from stemdist.data.calendar import AUTO
    from stemdist.forecast.calendar_choice import calendar_candidates

    _, end = settings.split.boundaries(series.sizes["time"])["train"]
    names = ", ".join(calendar_candidates(series, settings, end).calendar) or "none"
    return f"those that help of: {names}" if settings.calendar == AUTO else names


def _graph_text(series: xr.Dataset, settings: TaskSettings) -> str:
    from stemdist.graph.build import chosen_method, usable_locations

    method = chosen_method(series, settings.graph)
    file = f", from {settings.graph.file}" if settings.graph.file else ""
    lost = int((~usable_locations(series, method)).sum())
    file += f"; {lost} locations have no position and are left out" if lost else ""
    count = f", {settings.graph.neighbours} neighbours" if method in ("knn", "correlation") else ""
    return f"{method}{count}{file}"


def _suggestion(data: str, opening: OpenOptions, target: str, n_usable: int) -> list[str]:
    words = ["stemdist", "distill", quoted(data)]
    if opening.recipe:
        words += ["--recipe", opening.recipe]
    elif n_usable > 1 or opening.variables:
        words += ["--variable", ",".join(opening.variables or [target])]
    for name in ("reader", "group", "columns", "start", "time_name", "null_value", "step_minutes"):
        value = getattr(opening, name)
        if value is not None:
            words += [option_text(name), f"{value:g}" if isinstance(value, float) else value]
    for name in ("feature_names", "static", "accept"):
        if getattr(opening, name):
            words += [option_text(name), ",".join(getattr(opening, name))]
    if opening.select:
        words += ["--select", quoted(",".join(f"{k}={v}" for k, v in opening.select.items()))]
    if opening.repair:
        words.append("--repair")
    return words


def _distilled(data: str) -> Result:
    from stemdist.distill import DistilledSet

    stored = DistilledSet.load(data)
    print_fields(f"{data}: a distilled set", stored.fields())
    print_next([f"stemdist train {data} --forecaster mlp"])
    return Result(values={"distilled": True, **distilled_values(stored)})

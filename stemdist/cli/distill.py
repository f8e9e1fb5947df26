"""``stemdist distill``: a data file in, a tiny training set out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemdist.cli.answer import Result
from stemdist.cli.arguments import chosen_options, usual_options
from stemdist.cli.baselines import print_baselines
from stemdist.cli.console import (
    Console,
    about_text,
    bytes_text,
    duration_text,
    print_fields,
    print_next,
    quoted,
)
from stemdist.cli.option_types import Given
from stemdist.cli.outputs import (
    claimed,
    default_output,
    expert_folder,
    output_file,
)
from stemdist.cli.sources import distilled_values, is_distilled, series_and_settings, travelling
from stemdist.data import OpenOptions
from stemdist.display import share_text
from stemdist.distill import DistillSettings
from stemdist.durations import parse_seconds
from stemdist.errors import InputError
from stemdist.forecast import TaskOptions
from stemdist.types import DistillMethod, Effort

if TYPE_CHECKING:
    from stemdist.distill import DistilledSet
    from stemdist.forecast import TaskSettings

WORTH_SAYING = 10
"""Seconds from which on it is said beforehand how long distilling takes."""


@usual_options(
    "method effort output device memory time time_ratio space_ratio windows clusters",
    "seed recipe variables select null_value start step_minutes lookback horizon",
    "calendar graph",
)
def distill(
    data: str,
    *,
    method: DistillMethod = "default",
    effort: Effort = "default",
    output: str | None = None,
    device: str = "cpu",
    memory: str | None = None,
    time: str | None = None,
    scheduler: str | None = None,
    settings: DistillSettings,
    opening: OpenOptions,
    task: TaskOptions,
    console: Console,
    given: Given,
) -> Result:
    """Distil a data set along time and space into a tiny training set.

    The result holds a few windows over a few clusters of locations; forecasters trained on it
    forecast every location. A run that was stopped goes on where it was when the same command is
    run again; its state is in a hidden folder beside OUTPUT until the end.

    Parameters
    ----------
    data : str
        A file or folder (NetCDF, Zarr, GRIB, CSV, npz, HDF), or a data set of the catalogue.
    method : str
        How to distil: the default, a published method, or a choice of real windows. Options that
        are given win over the method's settings.
    effort : str
        How long it may take. quick: real windows with the soft labels of one expert; default:
        learned windows; thorough: more experts and steps, for small sets a final round with more
        families. stemdist has default and thorough (100 iterations as published, instead of 10).
    output : str, optional
        File to write, .nc or .zarr; by default named after DATA, in the working directory. A
        file of that name is replaced.
    device : str
        Where to compute: cpu, cuda, cuda:0.
    memory : str, optional
        What the process may use in all, e.g. 4GiB; by default nine tenths of what is free. Data
        that do not fit are read in blocks, and a sample of them is distilled.
    time : str, optional
        How long windows are learned, e.g. 5min: no further iteration begins afterwards. Experts
        and the final check take their time in any case.
    scheduler : str, optional
        A dask cluster on which data are read and jobs run: its address, tcp://host:8786, or
        processes for all cores of this machine. Workers must be able to read DATA.

    Examples
    --------
      stemdist distill traffic-sim
      stemdist distill era5.nc --variable t2m --time-ratio 0.1 --space-ratio 0.1 -o uk.distilled.nc
      stemdist distill speeds.csv --start 2012-03-01 --step-minutes 5 --calendar time_of_day
      stemdist distill cmip.nc --variable tas --select member=3 --lookback 12 --horizon 12
      stemdist distill large.zarr --memory 4GiB --windows 500 --clusters 300

    Ratios are shares of the training windows and of the locations: 0.1 keeps 10 %.
    """
    from stemdist.distill import Material, prepare
    from stemdist.distill import distill as distill_task
    from stemdist.forecast import ForecastTask

    if is_distilled(data):
        raise InputError(f"{data!r} is a distilled set already: give the data it was made from")
    asked = output or default_output(data, ".distilled.nc")
    target = output_file(asked, (".nc", ".zarr"), data, command="distill", force=console.force)
    series, forecast = series_and_settings(data, opening, task)
    settings = DistillSettings.for_series(
        series, method, effort=effort, **chosen_options(settings, given)
    )
    limit = None if time is None else parse_seconds(time)
    with claimed(target, console) as state:
        real = prepare(series, forecast, settings, memory=memory, progress=console.progress)
        if isinstance(real, ForecastTask):
            real = travelling(real, data, opening, series)
            _say_how_long(settings, forecast, console)
        distilled = distill_task(
            real,
            settings,
            work=state,
            experts=expert_folder(),
            time_limit=limit,
            device=device,
            progress=console.progress,
        )
        distilled.save(target)
    print_fields(f"distilled {data}", _summary(distilled, target))
    reached = float(distilled.record["validation_error"]) ** 0.5
    held = real.task if isinstance(real, Material) else real
    print_baselines(held, reached, "what forecasters trained on the set reached")
    given_data, made = quoted(data), quoted(target)
    model = default_output(str(target), "-mlp")
    print_next(
        [
            f"stemdist train {made} --forecaster mlp -o {model}",
            f"stemdist evaluate {made} --data {given_data} --forecasters linear,mlp --seeds 3",
        ]
    )
    return Result(values=distilled_values(distilled), written=[target])


def _say_how_long(settings: DistillSettings, forecast: TaskSettings, console: Console) -> None:
    """Say about how long a distillation in memory takes, before it begins."""
    from stemdist.distill.estimate import can_estimate, distilling_seconds

    if console.quiet or not can_estimate(settings):
        return
    seconds = distilling_seconds(forecast, settings)
    if seconds >= WORTH_SAYING:
        about = about_text(seconds)
        console.note(f"distilling takes about {about}, less where its experts are in the cache")


def _summary(distilled: DistilledSet, target: Path) -> list[tuple[str, str]]:
    record = distilled.record
    ratios = record["ratios"]
    n_locations = len(distilled.locations)
    windows = distilled.windows
    return [
        ("written", f"{target} ({bytes_text(_size(target))})"),
        ("saved", distilled.contents + _nothing_better(record)),
        ("windows", f"{distilled.n_windows} of {record['training_windows']}"),
        ("clusters", f"{distilled.n_clusters} of {n_locations} locations"),
        ("inputs x", f"{distilled.input_shape} (window, lookback, cluster, feature)"),
        ("targets y", f"{tuple(windows.y.shape)} (window, horizon, cluster), {distilled.y_kind}"),
        *_experts(record["experts"]),
        ("features", ", ".join(distilled.feature_names)),
        ("window ratio", f"{share_text(ratios['window_ratio'])} (share of windows x locations)"),
        ("training ratio", f"{share_text(ratios['training_ratio'])} (location-windows per epoch)"),
        ("byte ratio", f"{share_text(ratios['byte_ratio'])} (bytes of the un-windowed series)"),
        *_errors(record),
        ("time", duration_text(float(record["seconds"]))),
        ("peak memory", bytes_text(float(record["peak_memory_bytes"]))),
        *_device_memory(record["peak_device_bytes"]),
    ]


def _device_memory(peak_bytes: int) -> list[tuple[str, str]]:
    return [("peak GPU memory", bytes_text(float(peak_bytes)))] if peak_bytes else []


def _experts(experts: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the experts' families with their stacking weights."""
    shares: Counter[str] = Counter()
    for expert in experts:
        shares[expert["family"]] += expert["weight"]
    said = ", ".join(f"{family} {share:.2f}" for family, share in shares.most_common() if share)
    return [("experts", said)] if said else []


def _nothing_better(record: Mapping[str, Any]) -> str:
    """Say that a synthesizer worked in vain, where it did, or had too little time."""
    worked = len(record["history"]) > 1
    if worked and not record["learned"]:
        return " (the start: nothing learned was better)"
    if not record["out_of_time"]:
        return ""
    return " (learning ended with the time)" if worked else " (no time was left to learn)"


def _errors(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the validation error of what was saved, and that of the start."""
    own, check = float(record["validation_error"]) ** 0.5, record.get("finalists")
    lines = [("validation", f"relative RMSE {own:.4f} of the saved windows")]
    if record["learned"]:
        first = check["start"] if check else record["history"][0]["validation"]
        lines.append(("", f"relative RMSE {float(first) ** 0.5:.4f} of the real windows before"))
    return lines


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [part for part in path.rglob("*") if part.is_file()]
    return sum(part.stat().st_size for part in files)

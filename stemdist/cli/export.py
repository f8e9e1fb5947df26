"""``stemdist export``: windows as public research code reads them, distilled sets as tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stemdist.cli.answer import Result
from stemdist.cli.console import Console, print_fields, print_next
from stemdist.cli.option_types import Given
from stemdist.cli.outputs import default_output, output_file, output_folder
from stemdist.cli.sources import is_distilled, refuse, task_of
from stemdist.data import OpenOptions
from stemdist.data.time_axis import step_seconds
from stemdist.errors import InputError
from stemdist.files import write_json
from stemdist.forecast import TaskOptions
from stemdist.markers import MADE_BY, MARKER
from stemdist.types import ExportFormat

if TYPE_CHECKING:
    from stemdist.data.windows import SeriesWindows


def export(
    data: str,
    *,
    output: str | None = None,
    format: ExportFormat = "npz",
    missing: float | None = None,
    opening: OpenOptions,
    task: TaskOptions,
    console: Console,
    given: Given,
) -> Result:
    """Write windows of real data as STemDist's code reads them, or a distilled set as a table.

    From real data, train.npz, val.npz and test.npz with windows x and y. x is (windows,
    lookback, locations, variables) and y (windows, horizon, locations, 1), of which that code
    reads y[..., 0], in physical units. Every window is copied out, so the files are up to
    lookback + horizon times as large as the series.

    From a distilled set, with --format parquet, a table with a row for each number: window,
    cluster, location (its medoid), weight, role (x or y), variable, step and value.

    Parameters
    ----------
    data : str
        A file or folder, a data set of the catalogue, or a distilled set.
    output : str, optional
        New or empty folder to write, or the .parquet file; by default named after DATA.
    format : str
        What to write: npz from real data, parquet (needs stemdist[parquet]) from a distilled set.
    missing : float, optional
        Number to write for missing values, e.g. 0; by default NaN.

    Examples
    --------
      stemdist export traffic-sim -o traffic-windows
      stemdist export era5.nc --variable t2m --lookback 12 --horizon 12 -o era5-windows
      stemdist export uk.distilled.nc --format parquet -o uk.parquet
    """
    if format == "parquet":
        for group in (OpenOptions, TaskOptions):
            refuse(given, group, "a distilled set says itself what its windows are")
        return _export_table(data, output, missing, console)
    return _export_windows(data, output, missing, opening, task, console)


def _export_table(data: str, output: str | None, missing: float | None, console: Console) -> Result:
    from stemdist.data.parquet import write_parquet
    from stemdist.distill import DistilledSet

    missing_file = Path(data).suffix in (".nc", ".zarr") and not Path(data).exists()
    if not (is_distilled(data) or missing_file):  # loading says of a missing file that it is
        raise InputError(
            f"--format parquet is for distilled sets, and {data!r} is none: distil it first with "
            f"`stemdist distill {data}`, or leave --format out"
        )
    asked = output or default_output(data, ".parquet")
    target = output_file(asked, (".parquet",), data, command="export", force=console.force)
    frame = DistilledSet.load(data).to_frame()
    if missing is not None:
        frame["value"] = frame["value"].fillna(missing)
    write_parquet(target, [frame], {**frame.attrs, MADE_BY: "stemdist export"})
    shape = f"{len(frame)} rows of {', '.join(frame.columns)}"
    print_fields(f"exported {data}", [("written", str(target)), ("table", shape)])
    values = {"rows": len(frame), "columns": list(frame.columns)}
    return Result(values=values, written=[target])


def _export_windows(
    data: str,
    output: str | None,
    missing: float | None,
    opening: OpenOptions,
    task: TaskOptions,
    console: Console,
) -> Result:
    from stemdist.data import write_windows
    from stemdist.forecast.features import load_values

    if is_distilled(data):
        raise InputError(
            f"windows are cut out of real data, and {data!r} is a distilled set: write its windows "
            "as a table with --format parquet"
        )
    asked = output or default_output(data, "-windows")
    folder = output_folder(asked, data, command="export", force=console.force)
    prepared = task_of(data, opening, task)
    values = load_values(prepared.series)
    if missing is not None:
        values = np.where(np.isfinite(values), values, np.float32(missing))
    parts = {
        name: _windows(values, windows)
        for name, windows in zip(
            ("train", "val", "test"),
            (prepared.train, prepared.validation, prepared.test),
            strict=True,
        )
    }
    write_windows(folder, parts, replace=True)  # the output was checked
    write_json(folder / MARKER, {MADE_BY: "stemdist export"})
    shapes = [(name, f"x {x.shape}, y {y.shape}") for name, (x, y) in parts.items()]
    print_fields(f"exported {data}", [("written", str(folder)), *shapes])
    start = str(prepared.series["time"].values[0])[:19].replace(" ", "T")
    step = step_seconds(prepared.series) / 60
    print_next([f"stemdist distill {folder} --start {start} --step-minutes {step:g}"])
    sizes = {name: {"x": x.shape, "y": y.shape} for name, (x, y) in parts.items()}
    return Result(values={"shapes": sizes}, written=[folder])


def _windows(values: np.ndarray, windows: SeriesWindows) -> tuple[np.ndarray, np.ndarray]:
    """Copy windows (M, L_in, N, F) and first targets (M, L_out, N, 1) out of (T, N, F) values."""
    span = windows.lookback + windows.horizon
    steps = windows.starts.numpy()[:, None] + np.arange(span)
    inputs, targets = steps[:, : windows.lookback], steps[:, windows.lookback :]
    return values[inputs], values[targets, :, :1]

"""``stemdist export``: windows of a data file in the layout that public research code reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stemdist.cli.answer import Result
from stemdist.cli.console import Console, print_fields, print_next
from stemdist.cli.outputs import default_output, output_folder
from stemdist.cli.sources import task_of
from stemdist.data import OpenOptions
from stemdist.data.time_axis import step_seconds
from stemdist.files import write_json
from stemdist.forecast import TaskOptions
from stemdist.markers import MADE_BY, MARKER

if TYPE_CHECKING:
    from stemdist.data.windows import SeriesWindows


def export(
    data: str,
    *,
    output: str | None = None,
    missing: float | None = None,
    opening: OpenOptions,
    task: TaskOptions,
    console: Console,
) -> Result:
    """Write train.npz, val.npz and test.npz with windows x and y, as STemDist's code reads them.

    x is (windows, lookback, locations, variables) and y (windows, horizon, locations, 1), of
    which that code reads y[..., 0], in physical units. Every window is copied out, so the files
    are up to lookback + horizon times as large as the series.

    Parameters
    ----------
    data : str
        A file or folder, or a data set of the catalogue.
    output : str, optional
        New or empty folder to write; by default named after DATA.
    missing : float, optional
        Number to write for missing values, e.g. 0; by default NaN.

    Examples
    --------
      stemdist export traffic-sim -o traffic-windows
      stemdist export era5.nc --variable t2m --lookback 12 --horizon 12 -o era5-windows
    """
    from stemdist.data import write_windows
    from stemdist.forecast.features import load_values

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

"""``stemdist deploy``: a trained forecaster in, one file that runs without stemdist out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from stemdist.cli.answer import Result
from stemdist.cli.console import Console, bytes_text, print_fields
from stemdist.cli.outputs import default_output, output_file

if TYPE_CHECKING:
    from torch import Tensor

    from stemdist.forecast.deploy import (
        Forecast,
    )

_REPEATS = 7


def deploy(
    forecaster: str,
    *,
    output: str | None = None,
    batch: int | None = None,
    console: Console,
) -> Result:
    """Write a trained forecaster as one file that runs without stemdist.

    An .onnx file runs in ONNX Runtime, in any language; a .pt2 file is read with
    torch.export.load. Scaling, graph and locations are inside: physical values go in and come
    out. The file is compared with the forecaster before it is kept.

    Parameters
    ----------
    forecaster : str
        Folder written by stemdist train or stemdist teach.
    output : str, optional
        File to write, .onnx or .pt2; by default named after FORECASTER. A file of that name is
        replaced.
    batch : int, optional
        Number of windows of every call; any number by default.

    Examples
    --------
      stemdist deploy mlp-uk -o mlp-uk.onnx
      stemdist deploy mlp-uk --batch 1 -o mlp-uk.pt2

    ONNX needs pip install "stemdist[deploy]". Times are medians of a few calls on this machine,
    with --threads processors.
    """
    import torch

    from stemdist.forecast import FittedForecaster
    from stemdist.forecast.deploy import FORMATS, Deployable, open_deployed, random_windows
    from stemdist.forecast.deploy import deploy as deploy_forecaster

    fitted = FittedForecaster.load(forecaster)
    asked = output or default_output(f"{forecaster}/", ".onnx")
    path = output_file(asked, tuple(FORMATS), forecaster, command="deploy", force=console.force)
    target = deploy_forecaster(fitted, path, batch=batch)
    metadata, forecast = open_deployed(target)
    windows = random_windows(fitted, batch or 1)
    with torch.no_grad():
        shape = forecast(windows).shape[1:]
        deployed, own = (_milliseconds(f, windows) for f in (forecast, Deployable(fitted)))
    leading = [("quantile", len(fitted.quantiles))] if fitted.quantiles else []
    axes = [*leading, ("target", shape[-3]), ("horizon", shape[-2]), ("location", shape[-1])]
    fields = [
        ("written", f"{target} ({bytes_text(target.stat().st_size)})"),
        ("windows", f"{batch or 'any number'} at a time"),
        (
            "input x",
            _axes(zip(("lookback", "location", "feature"), windows.shape[1:], strict=True)),
        ),
        *_named("feature", metadata["features"], metadata["feature_units"]),
        ("forecast", _axes(axes)),
        *_named("target", metadata["targets"], metadata["units"]),
        (FORMATS[target.suffix].title, f"{deployed:.3g} ms per window"),
        ("stemdist", f"{own:.3g} ms per window"),
    ]
    print_fields(f"deployed {forecaster}", fields)
    times = {"deployed_milliseconds": deployed, "stemdist_milliseconds": own}
    values = {**times, "batch": batch, "bytes": target.stat().st_size, "metadata": metadata}
    return Result(values=values, written=[target])


def _axes(sizes: Iterable[tuple[str, int]]) -> str:
    return ", ".join(["window", *(f"{name} {size}" for name, size in sizes)])


def _named(kind: str, names: Sequence[str], units: Sequence[str | None]) -> list[tuple[str, str]]:
    """Return one field for each name, numbered as in the file."""
    return [
        (f"{kind} {place}", f"{name} ({unit or 'unit of the training data'})")
        for place, (name, unit) in enumerate(zip(names, units, strict=True))
    ]


def _milliseconds(forecast: Forecast, windows: Tensor) -> float:
    """Median time of a call, for each window."""
    seconds = []
    for _ in range(_REPEATS):
        begin = perf_counter()
        forecast(windows)
        seconds.append(perf_counter() - begin)
    return 1000 * median(seconds) / len(windows)

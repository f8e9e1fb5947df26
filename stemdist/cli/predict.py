"""``stemdist predict``: a trained forecaster and a data file in, forecasts out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import xarray as xr

from stemdist.cli.answer import Result
from stemdist.cli.console import Console, print_fields
from stemdist.cli.option_types import Given
from stemdist.cli.outputs import default_output, output_file
from stemdist.cli.sources import refuse, series_for
from stemdist.data import OpenOptions
from stemdist.markers import MADE_BY
from stemdist.types import InitTimes


def predict(
    forecaster: str,
    data: str,
    *,
    output: str | None = None,
    init_times: InitTimes = "last",
    stride: int = 1,
    device: str = "cpu",
    verify: bool = False,
    opening: OpenOptions,
    console: Console,
    given: Given,
) -> Result:
    """Forecast a data file at every location, in physical units, on the grid it came from.

    Parameters
    ----------
    forecaster : str
        Folder written by stemdist train.
    data : str
        A file or folder, or a data set of the catalogue, with the variables the forecaster was
        trained on; they are chosen for you.
    output : str, optional
        File to write, .nc, .zarr or .parquet (a table with a row per time, step and location;
        needs stemdist[parquet]); by default named after DATA. A file of that name is replaced.
        Forecasts are written block by block, so that any number of them fits.
    init_times : str
        From when to forecast: last (the end of the data), test (every step of the test part)
        or all (every step with enough past).
    stride : int
        Use every n-th of these times, counted back from the last.
    device : str
        Where to compute: cpu, cuda, cuda:0.
    verify : bool
        Also print the errors on the test part of the data, beside those of baselines.

    Examples
    --------
      stemdist predict mtgnn-uk era5.nc -o forecast.nc
      stemdist predict mtgnn-uk era5.nc --init-times test --stride 12 -o test-forecasts.nc

    The file has the dimensions init_time (last observed time), horizon (steps ahead) and those
    of the grid or the locations, and quantile where the forecaster was trained for quantiles;
    valid_time is the time forecast for.
    """
    from stemdist.forecast import FittedForecaster
    from stemdist.forecast.forecast_array import as_dataset
    from stemdist.forecast.forecast_file import SUFFIXES, write_forecast

    refuse(given & {"variables", "static"}, OpenOptions, "the forecaster chooses its variables")
    fitted = FittedForecaster.load(forecaster)
    asked = output or default_output(data, ".forecast.nc")
    target = output_file(asked, SUFFIXES, data, forecaster, command="predict", force=console.force)
    series = series_for(fitted, data, opening)
    blocks = fitted.predict_blocks(series, init_times=init_times, stride=stride, device=device)
    marked = (as_dataset(each).assign_attrs({MADE_BY: "stemdist predict"}) for each in blocks)
    written = _Written()
    write_forecast(target, written.noting(marked))
    errors = None
    if verify:
        from stemdist.evaluate import evaluate_trained

        errors = evaluate_trained({forecaster: fitted}, series, device=device)
        print(errors.text())
        print()
    console.note(f"forecast by {fitted.name}, trained on {fitted.record.get('trained_on')} data")
    print_fields(f"forecast {data}", [("written", str(target)), *written.fields()])
    values = {**written.values(), "verification": None if errors is None else errors.table}
    return Result(values=values, written=[target])


class _Written:
    """What goes into a file of forecasts, noted block by block."""

    def __init__(self) -> None:
        self._init: list[np.ndarray] = []
        self._valid: list[np.ndarray] = []
        self._spans: dict[str, tuple[float, float]] = {}

    def noting(self, blocks: Iterable[xr.Dataset]) -> Iterator[xr.Dataset]:
        """Pass on blocks of consecutive initial times."""
        for block in blocks:
            self._init.append(block["init_time"].values)
            self._valid.append(block["valid_time"].values[:, [0, -1]])
            for name, array in block.items():
                ends = self._spans.get(str(name), (np.nan, np.nan))
                low, high = np.fmin(ends[0], array.min()), np.fmax(ends[1], array.max())
                self._spans[str(name)] = float(low), float(high)
            self._last = block
            yield block

    def values(self) -> dict[str, Any]:
        """Return shapes, times and ranges."""
        init, valid = np.concatenate(self._init), np.concatenate(self._valid)
        variables = {
            name: {
                "units": self._last[name].attrs.get("units"),
                "sizes": {**self._last[name].sizes, "init_time": len(init)},
                "low": low,
                "high": high,
            }
            for name, (low, high) in self._spans.items()
        }
        times = {
            "first_init_time": init[0],
            "last_init_time": init[-1],
            "last_valid_time": valid[-1, -1],
        }
        return {"variables": variables, **{name: _time(moment) for name, moment in times.items()}}

    def fields(self) -> list[tuple[str, str]]:
        """Return shapes, times and ranges in words."""
        init, valid = np.concatenate(self._init), np.concatenate(self._valid)
        first = next(iter(self._last.values()))
        sizes = {**first.sizes, "init_time": len(init)}
        shape = ", ".join(f"{name} {size}" for name, size in sizes.items())
        lines = [
            ("dimensions", shape),
            ("from", f"{_time(init[0])}" + (f" to {_time(init[-1])}" if len(init) > 1 else "")),
            ("valid", f"{_time(valid[0, 0])} to {_time(valid[-1, -1])}"),
        ]
        for name, (low, high) in self._spans.items():
            units = self._last[name].attrs.get("units", "")
            lines += [("variable", f"{name} ({units})")]
            lines += [("range", f"{low:.5g} to {high:.5g} {units}")]
        return lines


def _time(moment: object) -> str:
    return str(moment).removesuffix(".000000000")

"""Test errors of forecasters that are already trained.

Shapes: M windows, N locations.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr
from torch import Tensor

from stemdist.data.windows import WindowSource, evenly_spaced
from stemdist.errors import InputError
from stemdist.evaluate.comparison.tables import aligned, check_error, digits
from stemdist.evaluate.metrics.baselines import BASELINES, fitting_baselines
from stemdist.evaluate.metrics.errors import ErrorSums
from stemdist.evaluate.metrics.verification import Verification
from stemdist.files import atomic_path
from stemdist.forecast import FittedForecaster, ForecastTask, predict_windows
from stemdist.forecast.baselines import Baseline
from stemdist.forecast.locations import place_index


@dataclass(frozen=True, kw_only=True)
class TrainedErrors:
    """Test errors of trained forecasters; printing it shows the table.

    Attributes
    ----------
    table : pandas.DataFrame
        One row for each forecaster and each baseline (``weights`` 0): the
        metrics of :meth:`~stemdist.evaluate.ErrorSums.metrics` in physical units, ``weights`` and
        ``milliseconds`` of forecasting one window at all locations.
    by_horizon : pandas.DataFrame
        The metrics of every horizon step.
    facts : dict
        Target, unit, sizes; JSON types.
    """

    table: pd.DataFrame
    by_horizon: pd.DataFrame
    facts: dict[str, Any]

    def text(self, column: str = "relative_rmse") -> str:
        """Return the table for a terminal, the lowest error first."""
        check_error(column)
        usual = ("rmse", "mae", "relative_rmse")
        if self.facts["scaling"] == "location":  # of which physical units may differ
            usual = ("standardised_mse", "standardised_mae", "relative_rmse")
        shown = [column, *(name for name in usual if name != column)]
        rows = [["forecaster", *shown, "ms / window", "weights"]]
        for row in self.table.sort_values(column).to_dict("records"):
            trained = row["weights"] > 0
            costs = (
                [f"{row['milliseconds']:.2f}", f"{row['weights']:.0f}"] if trained else ["-"] * 2
            )
            rows.append([str(row["forecaster"]), *(digits(row[name]) for name in shown), *costs])
        heading = (
            "Test errors of {target} ({units}) at {locations} locations, {test_windows} windows of "
            "{horizon} steps ahead"
        ).format(**self.facts)
        return f"{heading}\n\n{aligned(rows)}"

    def __str__(self) -> str:
        return self.text()

    def write_csv(self, folder: Path) -> list[Path]:
        """Write ``table.csv`` and ``by_horizon.csv`` to a folder, atomically."""
        written = []
        for name in ("table", "by_horizon"):
            written.append(folder / f"{name}.csv")
            with atomic_path(written[-1]) as part:
                getattr(self, name).to_csv(part, index=False)
        return written


def evaluate_trained(
    forecasters: Mapping[str, FittedForecaster],
    series: xr.Dataset,
    *,
    at_most: int | None = None,
    season_steps: int = 1,
    device: str = "cpu",
) -> TrainedErrors:
    """Evaluate trained forecasters and baselines on the test part of a series.

    Parameters
    ----------
    forecasters : mapping of str to FittedForecaster
        Keys are the names in the table; all are trained for the same inputs.
    series : xarray.Dataset
        Canonical series. Locations known from training keep their graph and profile.
    at_most : int, optional
        Evenly spaced windows to use at most; all by default.
    season_steps : int
        Season of the in-sample persistence of MASE, in steps.
    device : str
        Where forecasts are computed.

    Raises
    ------
    InputError
        If no forecaster is given, they need different inputs, or the series has no test part.

    Examples
    --------
    >>> from stemdist.data import canonical_series, simulate
    >>> from stemdist.forecast import TrainingSettings, fit_forecaster
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=3, n_lon=4))
    >>> quick = fit_forecaster(
    ...     ForecastTask.from_series(series), "linear", TrainingSettings(updates=2))
    >>> errors = evaluate_trained({"quick": quick}, series)
    >>> errors.table["forecaster"].tolist()[:2]
    ['quick', 'persistence']
    """
    first = _same_inputs(forecasters)
    series = first.known_locations(series)
    task = ForecastTask.from_series(series, first.settings, scaler=first.scaler_of(series))
    verification = Verification.of(task, task.test, at_most=at_most, season_steps=season_steps)
    rows, steps = [], []
    for name, fitted in forecasters.items():
        forecast = _forecast(fitted, task, device)
        errors = verification.errors(forecast, fitted.quantiles)[0]
        weights = sum(weight.numel() for weight in fitted.forecaster.parameters())
        costs = {"weights": weights, "milliseconds": _milliseconds(forecast, task.test)}
        rows.append({"forecaster": name, **errors.metrics(), **costs})
        steps.append(_steps(name, errors))
    for name in fitting_baselines(task):
        errors = verification.errors(BASELINES[name](task, task))[0]
        rows.append({"forecaster": name, **errors.metrics(), "weights": 0})
        steps.append(_steps(name, errors))
    facts = {
        "target": task.target_name,
        "units": task.units,
        "locations": task.n_locations,
        "test_windows": len(verification.index),
        "horizon": task.settings.horizon,
        "scaling": task.settings.scaling,
    }
    return TrainedErrors(
        table=pd.DataFrame(rows), by_horizon=pd.concat(steps, ignore_index=True), facts=facts
    )


def _same_inputs(forecasters: Mapping[str, FittedForecaster]) -> FittedForecaster:
    if not forecasters:
        raise InputError("there is no forecaster to evaluate: give at least one")
    (name, first), *others = forecasters.items()
    for other, fitted in others:
        if (fitted.settings, fitted.variables) != (first.settings, first.variables):
            raise InputError(
                f"{name!r} and {other!r} were trained for other inputs, horizons or splits, so "
                "their errors are not comparable: evaluate them one by one"
            )
    return first


def _forecast(fitted: FittedForecaster, task: ForecastTask, device: str) -> Baseline:
    """Return a function that forecasts windows of the task in its scaled units."""
    known = place_index(fitted.locations.coords, task.series)
    same = known is not None and len(known) == task.n_locations
    graph, profile = task.graph, task.train.profile
    if same:
        graph, profile = fitted.locations.graph, fitted.locations.profile
    if not fitted.scaler_of(task.series).equals(task.scaler, rtol=1e-6):
        raise InputError(
            f"the forecaster {fitted.name!r} scales its inputs otherwise than the first one: "
            "evaluate them one by one"
        )
    return lambda windows, index: predict_windows(
        fitted.forecaster, windows, graph, profile, index=index, device=device
    )


def _milliseconds(forecast: Baseline, windows: WindowSource, repeats: int = 3) -> float:
    """Return the shortest time per window in ms of repeated forecasts."""
    index: Tensor = evenly_spaced(len(windows), 32)
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        forecast(windows, index)  # type: ignore[arg-type]
        times.append(time.perf_counter() - began)
    return 1000 * min(times) / len(index)


def _steps(name: str, errors: ErrorSums) -> pd.DataFrame:
    table = errors.by_horizon().reset_index()
    table.insert(0, "forecaster", name)
    return table

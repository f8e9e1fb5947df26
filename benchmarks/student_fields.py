"""Studies of students.py on fields of different kinds: images (SDKD), and the classic pairs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from student_studies import Study, errors_of
from torch import Tensor

import stemdist
from stemdist import ForecastTask, GraphSettings, TaskSettings, TrainingSettings
from stemdist.data import canonical_series
from stemdist.data.simulate import make_simulation
from stemdist.forecast.layers.grid import Grid
from stemdist.students import METHODS
from stemdist.students.spectral_views import split_bands

IMAGES = {
    "ncep": ("ncep_slp_2001_2010.nc", {"lookback": 10, "horizon": 5}),
    "era5-uk": ("era5-2mt-2019-03-uk.nc", {"lookback": 12, "horizon": 12}),
    "pacific-sst": ("pacific_sst_1970_2003.nc", {"lookback": 12, "horizon": 6}),
}
"""Files of real fields on grids, and the steps of their windows: days, hours, months."""

PAIRS: dict[str, dict[str, str]] = {
    "lstm-rnn": {},
    "gru-linear": {},
    "cnn-rnn": {},
    "transformer-layer": {},
    "lstm-linear": {"method": "gru-linear", "teacher": "lstm"},
}
"""Classic pairs of teacher and student; the last is a recurrent network and a linear regression."""

FIELDS = ("finance", "weather", "traffic", "load", "pollution")


def band_errors(study: Study, forecast: Tensor, truth: Tensor, mask: Tensor) -> dict[str, float]:
    """Return also the error of high and of low spatial frequencies (cut at 0.25)."""
    wrong = ((forecast - truth) * mask).transpose(1, 2)  # (M, N, R)
    images = Grid.of(study.task.graph).scatter(wrong)[:, :-1]  # the last one is the mask
    bands = zip(("high_mse", "low_mse"), split_bands(images, 0.25), strict=True)
    return {
        **errors_of(study, forecast, truth, mask),
        **{name: float(band.square().mean(dtype=torch.float64)) for name, band in bands},
    }


def navier_stokes_study(
    viscosity: float, size: int, trajectories: int, updates: int, output: Path
) -> Study:
    """Return stirred turbulence, 10 frames from 10; it is simulated once."""
    simulation = make_simulation(
        "navier-stokes",
        trajectories=trajectories,
        size=size,
        viscosity=viscosity,
        initial_scale=6.086,
    )
    path = output / f"navier-stokes-{viscosity:g}-{size}-{trajectories}.nc"
    if not path.exists():
        simulation.write(path)
    settings = TaskSettings(lookback=10, horizon=10, neighbour_context=False)
    task = ForecastTask.from_series(stemdist.open_series(path), settings)
    return sdkd_study(f"Navier-Stokes {size} x {size}, viscosity {viscosity:g}", task, updates)


def image_study(name: str, updates: int) -> Study:
    """Return SDKD on a real field: the students of Navier-Stokes."""
    file, steps = IMAGES[name]
    series = stemdist.open_series(Path(os.environ["STEMDIST_DATA"]) / file)
    settings = TaskSettings(**steps, neighbour_context=False)
    return sdkd_study(name, ForecastTask.from_series(series, settings), updates)


def sdkd_study(name: str, task: ForecastTask, updates: int) -> Study:
    """Return the teacher of SDKD and its three students on images."""
    return Study(
        name=name,
        task=task,
        teacher="spectral-evolution",
        teacher_options={},
        teacher_training=TrainingSettings(
            updates=updates, batch_windows=4, learning_rate=2e-3, validate_every=50
        ),
        students=[
            ("sdkd", "unet", {"channels": 8}, {}),
            ("sdkd", "resnet", {"hidden": 32}, {}),
            ("sdkd", "image-mixer", {"hidden": 32}, {}),
        ],
        training=TrainingSettings(updates=updates, batch_windows=4, validate_every=50),
        measure=band_errors,
    )


def classic_study(pair: str, field: str) -> Study:
    """Return one classic pair on one field."""
    how = PAIRS[pair]
    method = how.get("method", pair)
    teacher = how.get("teacher", METHODS[method]["teachers"][0])
    student = METHODS[method].get("student", "mlp")
    task = field_task(field)
    at_once = 32 if task.n_locations > 32 else None
    training = TrainingSettings(
        updates=400, batch_windows=32, validate_every=50, locations_per_update=at_once
    )
    return Study(
        name=f"{field}, {teacher} -> {student}",
        task=task,
        teacher=teacher,
        teacher_options=METHODS[method].get("teacher_options", {}),
        teacher_training=training,
        students=[
            (method, student, METHODS[method].get("student_options", {}), {}),
            (
                f"{method}, weight by validation",
                student,
                METHODS[method].get("student_options", {}),
                {"teacher_weight": (0.0, 0.25, 1.0)},
            ),
        ],
        training=training,
        measure=errors_of,
    )


def field_task(field: str) -> ForecastTask:
    """Return the data of a field: each location scaled by itself, windows of a natural length."""
    folder = Path(os.environ["STEMDIST_DATA"])
    daily = TaskSettings(lookback=30, horizon=7, scaling="location")
    hourly = TaskSettings(lookback=48, horizon=24, scaling="location", calendar=("time_of_day",))
    correlated = GraphSettings(method="correlation", neighbours=8)
    if field == "finance":
        return ForecastTask.from_series(canonical_series(volatilities()), daily)
    opened = {
        "weather": lambda: (stemdist.open_series(folder / "ireland_wind_1961_1978.nc"), daily),
        "traffic": lambda: (
            stemdist.open_series(folder / "los_speed.csv", recipe="los-loop"),
            TaskSettings(calendar=("time_of_day",), graph=correlated),
        ),
        "load": lambda: (
            stemdist.open_series(folder / "pjm_load_2013_2018.nc"),
            replace(hourly, calendar=("time_of_day", "day_of_week")),
        ),
        "pollution": lambda: (
            stemdist.open_series(folder / "beijing_air_quality_2013_2017.nc", variables=("PM2_5",)),
            hourly,
        ),
    }
    return ForecastTask.from_series(*opened[field]())


def volatilities(n_rates: int = 8, n_days: int = 5000, seed: int = 0) -> xr.Dataset:
    """Simulate log volatilities of five days of daily exchange rates, with a common factor.

    The rates themselves are random walks, of which no forecaster knows more than the last value;
    what can be forecast of them is how much they move. Stochastic volatility of Taylor (1986) as
    in Kim, Shephard & Chib, *Stochastic Volatility*, Review of Economic Studies 65 (1998),
    equation 1, with their estimates for the pound and the dollar: returns
    ``y_t = exp(h_t / 2) e_t`` in per cent with ``h_t = mu + phi (h_{t-1} - mu) + sigma n_t``,
    phi = 0.978, sigma = 0.158 and exp(mu / 2) = 0.65. Half of the variance of a return is that
    of a factor that all rates share.
    """
    chance = np.random.default_rng(seed)
    level, phi, sigma = 2 * np.log(0.65), 0.978, 0.158
    volatility = np.full(n_rates + 1, level)
    returns = np.empty((n_days, n_rates))
    for day in range(n_days):
        news, surprise = chance.standard_normal((2, n_rates + 1))
        volatility = level + phi * (volatility - level) + sigma * news
        shocks = np.exp(volatility / 2) * surprise
        returns[day] = np.sqrt(0.5) * (shocks[1:] + shocks[0])
    days = pd.date_range("2005-01-01", periods=n_days, freq="D")
    rates = [f"rate{number}" for number in range(n_rates)]
    squares = xr.DataArray(returns**2, {"time": days, "location": rates}, ("time", "location"))
    week = squares.rolling(time=5).mean().dropna("time")
    return (np.log(week) / 2).assign_attrs(units="1").to_dataset(name="log_volatility")

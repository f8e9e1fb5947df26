"""However a file is laid out, the forecast at a place is the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stemdist.data import canonical_series, open_series
from stemdist.forecast import ForecastTask, TaskSettings, TrainingSettings, fit_forecaster

DIMS = ["time", "latitude", "longitude"]
LONGITUDES = np.array([-3.0, -1.0, 1.0, 3.0])  # over Greenwich


def raw_grid() -> xr.Dataset:
    """Values in hundredths, which an int16 holds exactly."""
    rng = np.random.default_rng(0)
    clock = np.arange(96)[:, None, None]
    values = 10 + 5 * np.sin(2 * np.pi * clock / 24) + rng.normal(0, 1, (96, 3, 4))
    coords = {
        "time": pd.date_range("2020-01-01", periods=96, freq="h"),
        "latitude": ("latitude", [50.0, 51.0, 52.0], {"units": "degrees_north"}),
        "longitude": ("longitude", LONGITUDES, {"units": "degrees_east"}),
    }
    return xr.Dataset({"t": (DIMS, values.round(2).astype("float32"), {"units": "degC"})}, coords)


@pytest.fixture(scope="module")
def forecaster():
    task = ForecastTask.from_series(
        canonical_series(raw_grid()), TaskSettings(lookback=6, horizon=3)
    )
    return fit_forecaster(task, "mlp", TrainingSettings(updates=20, validate_every=20))


@pytest.fixture(scope="module")
def expected(forecaster):
    return forecaster.predict(canonical_series(raw_grid()))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    order=st.permutations(DIMS),
    southward=st.booleans(),
    westward=st.booleans(),
    positive=st.booleans(),
    packed=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_the_same_forecast_at_the_same_place(
    forecaster, expected, tmp_path, order, southward, westward, positive, packed, dtype
):
    raw = raw_grid().astype({"t": dtype})
    if positive:  # 0 to 360: the domain is at both ends of the axis
        raw = raw.assign_coords(longitude=raw["longitude"] % 360)
        raw = raw.sortby("longitude")
        raw["longitude"].attrs["units"] = "degrees_east"
    raw = raw.isel(
        latitude=slice(None, None, -1 if southward else 1),
        longitude=slice(None, None, -1 if westward else 1),
    ).transpose(*order)
    packing = {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -32768}
    path = tmp_path / "variant.nc"
    path.unlink(missing_ok=True)
    raw.to_netcdf(path, encoding={"t": packing} if packed else None)
    found = forecaster.predict(open_series(path))
    lon = next(str(name) for name in found.dims if str(name).startswith("lon"))
    lat = next(str(name) for name in found.dims if str(name).startswith("lat"))
    found = found.assign_coords({lon: (found[lon] + 180) % 360 - 180}).sortby([lat, lon])
    found = found.transpose("init_time", "horizon", lat, lon)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5, atol=1e-5)

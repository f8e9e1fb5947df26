"""Forecasts written block by block are those written at once."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stemdist.data import canonical_series
from stemdist.errors import InputError
from stemdist.forecast import ForecastTask, TaskSettings, TrainingSettings, fit_forecaster
from stemdist.forecast import fitted as fitted_module
from stemdist.forecast.forecast_array import as_dataset
from stemdist.forecast.forecast_file import write_forecast

SETTINGS = TaskSettings(lookback=3, horizon=2, calendar=())


def raw_grid(time) -> xr.Dataset:
    values = np.random.default_rng(0).normal(size=(len(time), 2, 3)).astype("float32")
    coords = {"time": time, "lat": [50.0, 51.0], "lon": [0.0, 1.0, 2.0]}
    return xr.Dataset({"t": (("time", "lat", "lon"), values, {"units": "K"})}, coords)


def fit(series, **training):
    task = ForecastTask.from_series(series, SETTINGS)
    settings = TrainingSettings(updates=2, **training)
    return fit_forecaster(task, "linear", settings)


@pytest.fixture(params=["standard", "noleap"])
def series(request) -> xr.Dataset:
    time = xr.date_range(
        "2001-02-27", periods=60, freq="90min", calendar=request.param, use_cftime=None
    )
    return canonical_series(raw_grid(time))


@pytest.mark.parametrize(
    ("series", "suffix", "quantiles"),
    [
        ("standard", ".nc", ()),
        ("standard", ".zarr", (0.1, 0.9)),
        ("noleap", ".zarr", ()),
        ("noleap", ".nc", (0.1, 0.9)),
    ],
    indirect=["series"],
)
def test_blocks_are_written_as_the_whole(series, suffix, quantiles, tmp_path, monkeypatch):
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    fitted = fit(series, **({"loss": "quantile", "quantiles": quantiles} if quantiles else {}))
    whole = as_dataset(fitted.predict(series, init_times="all"))
    monkeypatch.setattr(fitted_module, "BLOCK_VALUES", 6 * 10)
    blocks = [as_dataset(each) for each in fitted.predict_blocks(series, init_times="all")]
    assert len(blocks) > 5
    path = write_forecast(tmp_path / f"f{suffix}", iter(blocks))
    engine = "zarr" if suffix == ".zarr" else "netcdf4"
    with xr.open_dataset(path, engine=engine) as written:
        xr.testing.assert_allclose(written, whole)
        assert written.attrs == whole.attrs
        assert written["t"].attrs == whole["t"].attrs
        assert (written["valid_time"].values == whole["valid_time"].values).all()


@pytest.mark.parametrize("series", ["standard", "noleap"], indirect=True)
def test_a_table_has_the_numbers_of_the_array(series, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    fitted = fit(series)
    whole = as_dataset(fitted.predict(series, init_times="all"))
    monkeypatch.setattr(fitted_module, "BLOCK_VALUES", 6 * 10)
    blocks = (as_dataset(each) for each in fitted.predict_blocks(series, init_times="all"))
    frame = pd.read_parquet(write_forecast(tmp_path / "f.parquet", blocks))
    assert frame.attrs["title"] == whole.attrs["title"]
    assert frame.attrs["units"] == '{"t": "K"}'
    again = frame.set_index(["init_time", "horizon", "lat", "lon"]).to_xarray()
    again = again.transpose("init_time", "horizon", "lat", "lon")
    np.testing.assert_array_equal(again["t"], whole["t"])
    valid = whole["valid_time"].values
    if valid.dtype == object:
        assert again["valid_time"][0, 0, 0, 0] == valid[0, 0].isoformat(sep=" ")
    else:
        np.testing.assert_array_equal(again["valid_time"][:, :, 0, 0], valid)
        assert frame["lead_time"].unique().tolist() == [pd.Timedelta("90min"), pd.Timedelta("3h")]


def test_the_first_of_many_times_does_not_limit_the_unit_of_the_others(tmp_path):
    time = pd.date_range("2020-01-01", periods=40, freq="6h")
    series = canonical_series(raw_grid(time))
    fitted = fit(series)
    blocks = [as_dataset(fitted.predict(series.isel(time=slice(0, n)))) for n in (21, 22, 23)]
    path = write_forecast(tmp_path / "f.nc", iter(blocks))
    with xr.open_dataset(path) as written:
        np.testing.assert_array_equal(written["init_time"], time[20:23])


def test_an_error_half_way_leaves_the_old_file(series, tmp_path):
    fitted = fit(series)
    path = tmp_path / "f.nc"
    path.write_text("old")

    def breaking():
        block = as_dataset(fitted.predict(series))
        yield block
        yield block
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        write_forecast(path, breaking())
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["f.nc"]


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.nc, \.zarr, \.parquet"):
        write_forecast(tmp_path / "f.csv", iter([]))

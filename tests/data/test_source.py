"""One way in: files, names and xarray objects."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stemdist.data import OpenOptions, dataset_recipe, open_raw, open_series
from stemdist.data.source import find_recipe
from stemdist.errors import InputError


@pytest.fixture
def raw():
    time = pd.date_range("2020", periods=5, freq="h")
    values = np.arange(10.0).reshape(5, 2)
    return xr.Dataset({"v": (("time", "station"), values)}, {"time": time})


def test_xarray_objects(raw):
    series = open_series(raw)
    assert series["v"].values.tolist() == raw["v"].values.tolist()
    assert "source_name" not in series.attrs
    assert open_series(raw["v"])["v"].equals(series["v"])
    assert list(open_series(raw["v"].rename(None)).data_vars) == ["value"]


def test_a_file_gives_what_its_dataset_gives(raw, tmp_path):
    path = tmp_path / "small.nc"
    raw.to_netcdf(path)
    series = open_series(path, null_value=3.0)
    assert series.attrs["source_name"] == "small.nc"
    assert "recipe" not in series.attrs
    xr.testing.assert_equal(series, open_series(raw, null_value=3.0))
    assert int(series["v"].isnull().sum()) == 1


def test_simulated_data_set():
    series = open_series("traffic-sim")
    recipe = dataset_recipe("traffic-sim")
    assert series.attrs["recipe"] == series.attrs["source_name"] == "traffic-sim"
    assert series.attrs["license"] == recipe.licence
    assert series.attrs["target"] == recipe.variables[0]


def test_options_given_win_over_the_recipe():
    recipe = dataset_recipe("traffic-sim")
    assert OpenOptions().filled_from(recipe).variables == recipe.variables
    given = OpenOptions(variables=["flow"], null_value=-1.0).filled_from(recipe)
    assert given.variables == ["flow"]
    assert given.null_value == -1.0
    assert OpenOptions(repair=True).filled_from(None) == OpenOptions(repair=True)


def test_a_file_is_not_mistaken_for_a_data_set(raw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_recipe("weather-sim").name == "weather-sim"
    raw.to_netcdf("weather-sim")
    assert find_recipe("weather-sim") is None
    assert find_recipe(raw) is None
    assert find_recipe("weather-sim", "traffic-sim").name == "traffic-sim"


def test_wrong_names(raw):
    with pytest.raises(InputError, match="unknown option of open_series 'varables': did you mean"):
        open_series(raw, varables=["v"])
    with pytest.raises(InputError, match=r"unknown file or data set 'wether-sim': .*'weather-sim'"):
        open_series("wether-sim")
    with pytest.raises(InputError, match=r"missing\.nc"):
        open_series("missing.nc")
    with pytest.raises(InputError, match="did you mean 'weather-sim'"):
        open_series(raw, recipe="weather-simm")


def test_raw_keeps_every_variable(raw):
    raw["w"] = raw["v"] * 2
    assert set(open_raw(raw, OpenOptions()).data_vars) == {"v", "w"}


def test_los_loop(real_data):
    path = real_data("los_speed.csv")
    series = open_series(path, recipe="los-loop")
    assert dict(series.sizes) == {"time": 2016, "location": 207}
    assert series.attrs["recipe"] == "los-loop"
    assert series.attrs["source_name"] == "los_speed.csv"
    table = pd.read_csv(path).to_numpy(dtype=np.float32)
    (name,) = series.data_vars
    values = series[name].values
    observed = np.isfinite(values)
    np.testing.assert_array_equal(values[observed].astype(np.float32), table[observed])
    assert pd.Timestamp(series["time"].values[1]) == pd.Timestamp("2012-03-01 00:05")


def test_era5_netcdf_and_grib_agree(real_data):
    netcdf = open_series(real_data("era5-2mt-2019-03-uk.nc")).isel(time=slice(0, 12))
    grib = open_series(real_data("era5-2mt-2019-03-uk.grib")).isel(time=slice(0, 12))
    assert dict(netcdf.sizes) == {"time": 12, "location": 1617}
    np.testing.assert_array_equal(netcdf["t2m"].values, grib["t2m"].values)
    for name in ("time", "lat", "lon", "location"):
        np.testing.assert_array_equal(netcdf[name].values, grib[name].values)
    assert netcdf["t2m"].attrs["units"] == grib["t2m"].attrs["units"] == "K"

"""Data sets laid out in less common ways, each a file somebody has."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from stemdist.data import Scaler, Split, canonical_series, dataset_recipe, open_series, to_grid
from stemdist.data.source import find_recipe
from stemdist.data.time_axis import gap_positions, step_seconds
from stemdist.errors import InputError

TIME = pd.date_range("2020-01-01", periods=4, freq="h")
PLACES = np.array([[50.0, 50.1, 50.2], [51.0, 51.1, 51.2]])


def field(dims=("time", "y", "x"), **coords):
    values = np.arange(24.0, dtype="float32").reshape(4, 2, 3)
    return xr.Dataset({"v": (dims, values)}, {"time": TIME, **coords})


def stations(**coords):
    values = np.arange(12.0).reshape(4, 3)
    return xr.Dataset({"v": (("time", "station"), values)}, {"time": TIME, **coords})


# --- space -------------------------------------------------------------------------------------


def test_ocean_grid_whose_dimensions_have_no_telling_name():
    where = {"standard_name": "latitude"}, {"standard_name": "longitude"}
    raw = field(
        ("time", "nj", "ni"),
        TLAT=(("nj", "ni"), PLACES, where[0]),
        TLON=(("nj", "ni"), PLACES - 50, where[1]),
    )
    series = canonical_series(raw)
    assert series.attrs["grid_dims"] == "nj ni"
    assert series["lat"].values.tolist() == PLACES.ravel().tolist()
    assert to_grid(series["v"]).values.tolist() == raw["v"].values.tolist()


def test_unstructured_cells_with_a_level():
    raw = stations().rename(station="nface").expand_dims(lev=[1, 2], axis=1)
    raw = raw.assign_coords(lat=("nface", [1.0, 2.0, 3.0]), lon=("nface", [4.0, 5.0, 6.0]))
    with pytest.raises(InputError, match="dimension 'lev' has 2 entries"):
        canonical_series(raw)
    series = canonical_series(raw, select={"lev": 2})
    assert series["lon"].values.tolist() == [4, 5, 6]


def test_wrf_repeats_positions_at_every_time():
    dims = ("Time", "south_north", "west_east")
    repeated = (dims, np.stack([PLACES] * 4))
    raw = xr.Dataset(
        {"T2": (dims, np.zeros((4, 2, 3)))},
        {"XTIME": ("Time", TIME), "XLAT": repeated, "XLONG": repeated},
    )
    series = canonical_series(raw)
    assert series["lat"].values.tolist() == series["lon"].values.tolist() == PLACES.ravel().tolist()


def test_positions_that_are_not_marked_as_coordinates():
    raw = field()
    raw["lat"], raw["lon"] = (("y", "x"), PLACES), (("y", "x"), PLACES - 50)
    series = canonical_series(raw)
    assert list(series.data_vars) == ["v"]
    assert series["lat"].dims == ("location",)


def test_a_grid_the_user_has_stacked():
    grid = field(("time", "lat", "lon"), lat=[1.0, 2.0], lon=[3.0, 4.0, 5.0])
    series = canonical_series(grid.stack(location=("lat", "lon")))
    assert series["location"].values.tolist() == [0, 1, 2, 3, 4, 5]
    assert series["lat"].values.tolist() == [1, 1, 1, 2, 2, 2]
    series.to_netcdf()  # a MultiIndex cannot be written


def test_stations_that_have_a_location_coordinate():
    series = canonical_series(stations(location=("station", ["x", "y", "z"])))
    assert series["location"].values.tolist() == ["x", "y", "z"]
    series = canonical_series(stations(location="Kent"))
    assert series["location"].values.tolist() == [0, 1, 2]


def test_one_chosen_station_keeps_its_name():
    one = stations(station=["a", "b", "c"]).rename(station="location").isel(location=1)
    series = canonical_series(one)
    assert series["location"].values.tolist() == ["b"]
    assert series["v"].values.ravel().tolist() == [1, 4, 7, 10]


def test_a_row_that_occurs_twice_cannot_be_put_back():
    raw = field(("time", "lat", "lon"), lat=[1.0, 1.0], lon=[3.0, 4.0, 5.0])
    with pytest.raises(InputError, match=r"the lat 1\.0 occurs more than once along 'lat'"):
        canonical_series(raw)


# --- chunks, selection ---------------------------------------------------------------------------


def test_variables_may_be_chunked_differently():
    raw = field()
    raw["w"] = (("time", "y", "x"), da.from_array(raw["v"].values, chunks=(1, 2, 3)))
    raw["u"] = (("time", "y", "x"), da.from_array(raw["v"].values, chunks=(3, 2, 3)))
    series = canonical_series(raw, variables=["w", "u", "v"])
    assert all(series[name].chunks is not None for name in series.data_vars)
    assert (series["w"] == series["u"]).all()
    assert (series["w"] == series["v"]).all()
    assert raw["v"].chunks is None  # the caller's data set is left as it was


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ([850, 500], "500"),
        ([850.0, 500.0], "5e2"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), "2020-01-02"),
        (pd.to_timedelta([6, 12], "h"), "12h"),
    ],
)
def test_select_by_text(values, value):
    raw = stations().expand_dims(run=values, axis=1).copy(deep=True)
    raw["v"][:, 0] = -1.0
    assert canonical_series(raw, select={"run": value}, time_name="time")["v"].min() == 0
    with pytest.raises(InputError, match="'run' has the values"):
        canonical_series(raw, select={"run": "noon"}, time_name="time")


def test_one_static_feature_by_its_name():
    raw = stations()
    raw["height"] = ("station", [1.0, 2.0, 3.0])
    assert canonical_series(raw, static="height")["height"].values.tolist() == [1, 2, 3]


# --- time, numbers -------------------------------------------------------------------------------


def test_a_jittering_clock_has_no_gaps():
    seconds = 300 * np.arange(60) + np.random.default_rng(0).uniform(-12, 12, 60)
    series = xr.Dataset(coords={"time": pd.Timestamp("2020") + pd.to_timedelta(seconds, "s")})
    assert abs(step_seconds(series) - 300) < 5
    assert gap_positions(series).tolist() == []


def test_column_densities_do_not_overflow():
    values = np.array([[[1e22]], [[3e22]], [[np.nan]]], dtype=np.float32)
    scaler = Scaler.fit(values, ("no2",))
    assert scaler.mean[0] == pytest.approx(2e22)
    assert scaler.scale[0] == pytest.approx(1e22)
    assert scaler.scale_features(torch.from_numpy(values))[:2].ravel().tolist() == [-1, 1]
    with pytest.raises(InputError, match="above 0 and finite"):
        Scaler(mean=(0.0,), scale=(np.inf,))


def test_rounded_shares_do_not_run_past_the_end():
    bounds = Split(train=0.6, validation=0.4000009, test=0.0).boundaries(10_000_000)
    assert bounds["test"] == (10_000_000, 10_000_000)


# --- sources -------------------------------------------------------------------------------------


def test_options_for_files_are_refused_where_there_is_no_file():
    with pytest.raises(InputError, match=r"reader, start cannot be used.*an xarray object, not a"):
        open_series(stations(), reader="csv", start="2020-01-01")
    with pytest.raises(InputError, match="chunks cannot be used: the source is simulated"):
        open_series("traffic-sim", chunks="auto")


def test_what_a_source_may_be():
    assert find_recipe(Path("traffic-sim")) == dataset_recipe("traffic-sim")
    with pytest.raises(InputError, match="the source is ndarray: give a file"):
        open_series(np.zeros((3, 2)))  # type: ignore[arg-type]

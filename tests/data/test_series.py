"""The canonical series, from any raw data set and back to its grid."""

from __future__ import annotations

import cftime
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from stemdist.data import canonical_series, to_grid
from stemdist.data.series import time_varying_variables
from stemdist.data.time_axis import gap_positions, step_seconds, time_seconds
from stemdist.errors import InputError

TIME = pd.date_range("2020-01-01", periods=4, freq="h")


def stations(values, time=TIME, **attrs):
    values = np.asarray(values)
    return xr.Dataset({"v": (("time", "station"), values, attrs)}, {"time": time})


def grid(n_time=4, lats=(52.0, 51.0, 50.0), lons=(0.0, 1.0), dtype="float64"):
    shape = (n_time, len(lats), len(lons))
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    time = pd.date_range("2020-01-01", periods=n_time, freq="h")
    coords = {"time": time, "latitude": list(lats), "longitude": list(lons)}
    return xr.Dataset({"t": (("time", "latitude", "longitude"), values)}, coords)


def explode(*_args, **_kwargs):
    raise AssertionError("the data were loaded")


# --- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [">f4", ">i2", "int16", ">f8", "int32", "uint8"])
def test_any_number_becomes_a_native_float(dtype):
    series = canonical_series(stations(np.arange(8).reshape(4, 2).astype(dtype)))
    precise = np.dtype(dtype).itemsize > 2 and dtype != ">f4"
    assert series["v"].dtype == np.dtype("float64" if precise else "float32")
    assert series["v"].values.dtype.isnative
    assert series["v"].values.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_missing_values():
    values = np.array([[1.0, np.inf], [-np.inf, np.nan], [-999.0, 0.0], [1e20, 5.0]])
    raw = stations(values, missing_value=-999.0, _FillValue=1e20)
    series = canonical_series(raw, null_value=0)
    np.testing.assert_array_equal(
        series["v"].values, [[1, np.nan], [np.nan, np.nan], [np.nan] * 2, [np.nan, 5]]
    )
    assert series["v"].attrs == {}  # nothing is coded any more: the file would mask twice


def test_packed_file(tmp_path):
    values = np.array([[10.5, 11.0], [np.nan, 12.0], [13.0, 13.5], [14.0, 14.5]])
    packing = {"dtype": "int16", "scale_factor": 0.5, "add_offset": 10.0, "_FillValue": -1}
    stations(values).to_netcdf(tmp_path / "packed.nc", encoding={"v": packing})
    with xr.open_dataset(tmp_path / "packed.nc") as raw:
        series = canonical_series(raw).load()
    np.testing.assert_array_equal(series["v"].values, values)
    assert not series["v"].encoding


def test_opening_never_loads():
    lazy = da.map_blocks(explode, chunks=((4,), (2,), (3,)), dtype="float64", meta=np.empty(0))
    raw = xr.Dataset(
        {"t": (("time", "lat", "lon"), lazy)}, {"time": TIME, "lat": [1.0, 2], "lon": [3.0, 4, 5]}
    )
    series = canonical_series(raw, null_value=0)
    with pytest.raises(AssertionError, match="were loaded"):
        series["t"].load()


@pytest.mark.parametrize("dims", [("time",), ("time", "station"), ("time", "lat", "lon")])
def test_opening_a_file_never_loads_its_variables(dims, tmp_path):
    shape = {"time": 4, "station": 3, "lat": 2, "lon": 2}
    values = np.zeros([shape[d] for d in dims])
    xr.Dataset({"v": (dims, values)}, {"time": TIME}).to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as raw:
        series = canonical_series(raw)
        assert series["v"].chunks is not None
        assert "v" not in [name for name in raw.variables if raw[name].variable._in_memory]


# --- variables, selection ------------------------------------------------------------------------


def test_first_variable_is_the_target():
    raw = stations(np.zeros((4, 2)))
    raw["w"] = raw["v"] + 1
    series = canonical_series(raw, variables=["w", "v"])
    assert list(series.data_vars) == ["w", "v"]
    assert series.attrs["target"] == "w"
    assert list(canonical_series(raw, variables="w").data_vars) == ["w"]
    with pytest.raises(InputError, match="several variables could be the target: v, w"):
        canonical_series(raw)


def test_wrong_variables():
    raw = stations(np.zeros((4, 2)))
    raw["height"] = ("station", [1.0, 2.0])
    with pytest.raises(InputError, match=r"'height' .* cannot be forecast.*Choose from: v"):
        canonical_series(raw, variables=["height"])
    with pytest.raises(InputError, match="unknown variable 'V2': did you mean"):
        canonical_series(raw.rename(v="v2"), variables=["V2"])
    for names, said in ((["v", "v"], r"\('v', 'v'\)"), ([], r"\(\)")):
        once = f"--variable is {said}: give at least one, and each only once$"
        with pytest.raises(InputError, match=once):
            canonical_series(raw, variables=names)
    text = xr.Dataset({"v": (("time",), list("abcd"))}, {"time": TIME})
    with pytest.raises(InputError, match=r"no numeric variable varies along 'time'.*v \(<U1\)"):
        canonical_series(text)


def test_candidates_are_largest_first_without_bounds():
    raw = grid()
    raw["mean"] = ("time", np.zeros(4))
    raw["time_bnds"] = (("time", "bnds"), np.zeros((4, 2)))
    assert time_varying_variables(raw) == ["t", "mean"]


def levels(coordinate):
    raw = stations(np.zeros((4, 2))).expand_dims(level=3).copy()
    raw["v"] = raw["v"] + xr.DataArray([0.0, 1.0, 2.0], dims="level")
    return raw if coordinate is None else raw.assign_coords(level=coordinate)


@pytest.mark.parametrize(
    ("coordinate", "value"),
    [
        ([1000, 850, 500], 850),
        ([1000, 850, 500], np.int64(850)),
        ([1000.0, 850.0, 500.0], 850),
        (["low", "mid", "high"], "mid"),
        (np.array(["low", "mid", "high"], dtype=object), "mid"),
        (None, 1),
    ],
)
def test_select(coordinate, value):
    series = canonical_series(levels(coordinate), select={"level": value})
    assert (series["v"] == 1).all()
    assert "level" not in series.coords


def test_wrong_selection():
    with pytest.raises(InputError, match=r"level=700: 'level' has the values 1000, 850, 500"):
        canonical_series(levels([1000, 850, 500]), select={"level": 700})
    with pytest.raises(InputError, match=r"'level' has the values 1000, 850"):
        canonical_series(levels([1000, 850, 500]), select={"level": "low"})
    with pytest.raises(InputError, match="unknown dimension 'levl': did you mean 'level'"):
        canonical_series(levels([1000, 850, 500]), select={"levl": 850})
    with pytest.raises(InputError, match="no coordinate values; give a position from 0 to 2"):
        canonical_series(levels(None), select={"level": 3})


def test_static_features():
    raw = grid()
    raw["orography"] = (("latitude", "longitude"), np.arange(6.0).reshape(3, 2))
    series = canonical_series(raw, variables=["t"], static=["orography", "latitude"])
    assert series["orography"].dims == ("location",)
    assert series["orography"].values.tolist() == [0, 1, 2, 3, 4, 5]
    assert list(series.data_vars) == ["t"]
    with pytest.raises(InputError, match="unknown static feature 'orografy': did you mean 'orog"):
        canonical_series(raw, static=["orografy"])


def test_location_ids():
    raw = stations(np.zeros((4, 2))).assign_coords(station=["north", "south"])
    assert canonical_series(raw)["location"].values.tolist() == ["north", "south"]
    twice = stations(np.zeros((4, 2))).assign_coords(station=["north", "north"])
    with pytest.raises(InputError, match="location 'north' occurs more than once along 'station'"):
        canonical_series(twice)


# --- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("calendar", ["360_day", "noleap"])
def test_other_calendars(calendar):
    time = xr.date_range("2000-02-27", periods=4, freq="D", calendar=calendar, use_cftime=True)
    series = canonical_series(stations(np.zeros((4, 2)), time))
    assert time_seconds(series).tolist() == [0, 86400, 172800, 259200]
    assert step_seconds(series) == 86400
    assert gap_positions(series).tolist() == []
    dates = series["time"].values
    assert isinstance(dates[0], cftime.datetime)


@pytest.mark.parametrize("calendar", ["standard", "360_day"])
def test_unsorted_and_repeated_times(calendar):
    time = xr.date_range("2000-01-01", periods=4, freq="h", calendar=calendar)
    raw = stations(np.arange(8.0).reshape(4, 2), time)
    unsorted = raw.isel(time=[0, 2, 1, 3])
    with pytest.raises(InputError, match=r"unsorted times \(first at 2000-01-01 01:00:00\).*--rep"):
        canonical_series(unsorted)
    assert canonical_series(unsorted, repair=True)["v"].equals(canonical_series(raw)["v"])
    repeated = raw.isel(time=[0, 1, 2, 2, 3]).copy(deep=True)
    repeated["v"][3] = 99.0
    with pytest.raises(InputError, match=r"1 repeated times \(first at 2000-01-01 02:00:00\)"):
        canonical_series(repeated)
    assert canonical_series(repeated, repair=True)["v"].equals(canonical_series(raw)["v"])


def test_useless_times():
    with pytest.raises(InputError, match=r"the time axis has 1 step\(s\)"):
        canonical_series(stations(np.zeros((1, 2)), TIME[:1]))
    with pytest.raises(InputError, match=r"1 times are missing \(NaT\)"):
        canonical_series(stations(np.zeros((4, 2)), [*TIME[:3], pd.NaT]))
    series = canonical_series(stations(np.zeros((4, 2))))
    with pytest.raises(InputError, match="one time step"):
        gap_positions(series.isel(time=[0]))


def test_steps_and_gaps_by_hand():
    minutes = [0, 5, 10, 25, 30, 35, 36, 41]
    time = pd.Timestamp("2020-01-01") + pd.to_timedelta(minutes, "min")
    series = canonical_series(stations(np.zeros((8, 1)), time))
    assert time_seconds(series).tolist() == [60.0 * m for m in minutes]
    assert step_seconds(series) == 300
    assert gap_positions(series).tolist() == [2, 5]


def test_months_are_one_step_each_but_a_lost_month_is_a_gap():
    time = pd.date_range("2001-01-01", periods=24, freq="MS")
    series = canonical_series(stations(np.zeros((24, 1)), time))
    assert gap_positions(series).tolist() == []
    assert gap_positions(series.drop_isel(time=10)).tolist() == [9]


# --- grids ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lats", "lons"),
    [
        ((52.0, 51.0, 50.0), (0.0, 1.0)),
        ((50.0, 51.0), (350.0, 355.0, 0.0, 5.0)),
        ((50.0,), (3.0, 2.0)),
        ((50.0,), (3.0,)),
    ],
)
def test_to_grid_gives_the_grid_back(lats, lons):
    raw = grid(lats=lats, lons=lons, dtype="float32")
    back = to_grid(canonical_series(raw)["t"])
    xr.testing.assert_identical(back.compute(), raw["t"])


def test_dropped_points_are_missing_on_the_grid():
    raw = grid(dtype="float32")
    series = canonical_series(raw)
    back = to_grid(series["t"].isel(location=[1, 2, 3, 4, 5])).compute()
    expected = raw["t"].copy()
    expected[:, 0, 0] = np.nan
    xr.testing.assert_identical(back, expected)


def test_to_grid_leaves_other_arrays_alone():
    series = canonical_series(stations(np.zeros((4, 2))))
    assert to_grid(series["v"]) is series["v"] or to_grid(series["v"]).identical(series["v"])
    alone = canonical_series(grid())["t"].isel(location=0)
    assert to_grid(alone).identical(alone)


def test_canonical_form_is_its_own_canonical_form():
    series = canonical_series(grid())
    assert canonical_series(series).identical(series)


def test_one_chosen_location_keeps_its_id_and_place():
    one = canonical_series(canonical_series(grid()).sel(location=3))
    assert one["location"].values.tolist() == [3]
    assert one["lat"].values.tolist() == [51.0]
    assert "grid_dims" not in {**one.attrs, **one["t"].attrs}


@settings(max_examples=15, deadline=None)
@given(
    n_lat=st.integers(1, 4),
    n_lon=st.integers(1, 4),
    descending=st.booleans(),
    order=st.permutations(["time", "latitude", "longitude"]),
    missing=st.floats(0, 0.9),
    seed=st.integers(0, 99),
)
def test_round_trip(n_lat, n_lon, descending, order, missing, seed):
    lats = np.arange(n_lat, dtype=float)[:: -1 if descending else 1]
    raw = grid(lats=lats, lons=np.arange(n_lon, dtype=float), dtype="float32")
    hidden = np.random.default_rng(seed).random(raw["t"].shape) < missing
    raw["t"] = raw["t"].where(~hidden).transpose(*order)
    series = canonical_series(raw)
    assert series["t"].dims == ("time", "location")
    back = to_grid(series["t"]).transpose(*order).compute()
    xr.testing.assert_identical(back, raw["t"])

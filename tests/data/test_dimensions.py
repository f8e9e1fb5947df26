"""Which dimension is time, which are space, and where locations lie."""

from __future__ import annotations

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stemdist.data import canonical_series
from stemdist.data.dimensions import find_dimensions
from stemdist.errors import InputError

TIME = pd.date_range("2020-01-01", periods=3, freq="h")


def raw(dims, shape, **coords):
    array = (dims, np.arange(float(np.prod(shape))).reshape(shape))
    return xr.Dataset({"v": array}, {"time": TIME, **coords})


@pytest.mark.parametrize(
    ("dims", "shape", "space"),
    [
        (("time",), (3,), ()),
        (("time", "station"), (3, 2), ("station",)),
        (("time", "anything"), (3, 2), ("anything",)),
        (("time", "lat", "lon"), (3, 2, 4), ("lat", "lon")),
        (("lon", "time", "lat"), (4, 3, 2), ("lon", "lat")),
        (("time", "rlat", "rlon"), (3, 2, 4), ("rlat", "rlon")),
        (("time", "south_north", "west_east"), (3, 2, 4), ("south_north", "west_east")),
        (("time", "lat", "lon"), (3, 1, 1), ("lat", "lon")),
        (("time", "level", "station"), (3, 1, 2), ("station",)),
        (("time", "level"), (3, 1), ("level",)),
        (("time", "level", "member"), (3, 1, 1), ()),
    ],
)
def test_space(dims, shape, space):
    assert find_dimensions(raw(dims, shape), ["v"], None).space == space


def test_space_by_axis_and_standard_name():
    source = raw(("time", "a", "b"), (3, 2, 2), a=[1.0, 2.0], b=[5.0, 6.0])
    source["a"].attrs["axis"] = "Y"
    source["b"].attrs["standard_name"] = "longitude"
    found = find_dimensions(source, ["v"], None)
    assert found.space == ("a", "b")
    assert found.positions == {"lon": "b"}


def test_length_one_dimensions_are_dropped():
    series = canonical_series(raw(("time", "height", "lat", "lon"), (3, 1, 2, 2), height=[2.0]))
    assert dict(series.sizes) == {"time": 3, "location": 4}
    assert "height" not in series.coords


def test_a_level_must_be_chosen():
    source = raw(("time", "level", "lat", "lon"), (3, 2, 2, 2), level=[850, 500])
    message = r"dimension 'level' has 2 entries \(850, 500\).*--select level=850"
    with pytest.raises(InputError, match=message):
        canonical_series(source)


def test_variables_on_different_grids():
    source = raw(("time", "lat", "lon"), (3, 2, 2))
    source["w"] = (("time", "station"), np.zeros((3, 5)))
    with pytest.raises(InputError, match=r"'v' \('time', 'lat', 'lon'\) and 'w'.*different dim"):
        canonical_series(source, variables=["v", "w"])


def test_order_of_dimensions_may_differ_between_variables():
    source = raw(("time", "lat", "lon"), (3, 2, 2))
    source["w"] = source["v"].transpose("lon", "time", "lat")
    series = canonical_series(source, variables=["v", "w"])
    assert (series["v"].values == series["w"].values).all()


def test_wrf_like_time():
    source = xr.Dataset({"T2": (("Time", "station"), np.zeros((3, 2)))}, {"XTIME": ("Time", TIME)})
    series = canonical_series(source)
    assert list(series.indexes["time"]) == list(TIME)
    assert "XTIME" not in series.coords


def test_time_dimension_with_numbers_beside_a_date_coordinate():
    source = xr.Dataset(
        {"v": (("time", "station"), np.zeros((3, 2)))},
        {"time": [0, 1, 2], "valid_time": ("time", TIME)},
    )
    assert list(canonical_series(source).indexes["time"]) == list(TIME)


def test_other_coordinates_along_time_do_not_matter():
    dates = np.array([cftime.Datetime360Day(2000, 1, d) for d in (1, 2, 3)])
    source = raw(("time", "lat", "lon"), (3, 2, 2)).assign_coords(run=("time", dates))
    assert "run" not in canonical_series(source, time_name="time").coords


def test_time_named_by_the_user():
    source = raw(("time", "station"), (3, 2)).assign_coords(
        other=("time", TIME + pd.Timedelta("1D"))
    )
    assert canonical_series(source, time_name="other").indexes["time"][0] == pd.Timestamp(
        "2020-01-02"
    )
    with pytest.raises(InputError, match="unknown time axis 'tme': did you mean 'time'"):
        canonical_series(source, time_name="tme")
    with pytest.raises(InputError, match="'v' holds float64 values, not dates"):
        canonical_series(source, time_name="v")


def test_no_time_axis():
    source = xr.Dataset({"v": (("time", "x"), np.zeros((3, 2)))}, {"time": [0.0, 1.0, 2.0]})
    with pytest.raises(
        InputError, match=r"no time axis.*'time' holds float64.*time \(3\), x \(2\)"
    ):
        canonical_series(source)


def test_curvilinear_positions():
    lat = np.array([[50.0, 50.1], [51.0, 51.1]])
    source = raw(("time", "y", "x"), (3, 2, 2), lat=(("y", "x"), lat), lon=(("y", "x"), lat - 50))
    series = canonical_series(source)
    assert series["lat"].values.tolist() == lat.ravel().tolist()
    assert series["lon"].dims == ("location",)
    assert series.attrs["grid_dims"] == "y x"


def test_projected_positions():
    series = canonical_series(raw(("time", "y", "x"), (3, 2, 2), y=[10.0, 20.0], x=[1.0, 2.0]))
    assert series["y"].values.tolist() == [10, 10, 20, 20]
    assert series["x"].values.tolist() == [1, 2, 1, 2]


def test_one_location_with_a_scalar_position():
    series = canonical_series(raw(("time",), (3,), latitude=52.0, longitude=-1.5))
    assert series["lat"].values.tolist() == [52.0]
    assert series["lon"].values.tolist() == [-1.5]
    assert dict(series.sizes) == {"time": 3, "location": 1}

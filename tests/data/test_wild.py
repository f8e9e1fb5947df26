"""Files as people have them: a small one of every kind that once opened wrongly or in silence."""

from __future__ import annotations

import functools
import http.server
import threading
import zipfile

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stemdist.data import canonical_series, open_series
from stemdist.data.conventions.attributes import clean_attributes
from stemdist.data.conventions.times import decoded_times, months_later, regular_times
from stemdist.data.time_axis import calendar_months, gap_positions, step_seconds
from stemdist.errors import InputError, StemdistError
from stemdist.graph import GraphSettings, build_graph

HOURS = pd.date_range("2024-01-01", periods=48, freq="h")
VALUES = np.random.default_rng(0).normal(size=(48, 3, 4)).astype(np.float32)


def grid(lat=(50.0, 51.0, 52.0), lon=(0.0, 1.0, 2.0, 3.0), **attrs) -> xr.Dataset:
    coords = {"time": HOURS, "lat": list(lat), "lon": list(lon)}
    return xr.Dataset({"t": (("time", "lat", "lon"), VALUES, attrs)}, coords)


# Times


@pytest.mark.parametrize(
    ("units", "calendar", "values", "second"),
    [
        ("months since 1960-01-01", "standard", [0.5, 1.5], "1960-02-15"),
        ("months since 1960-01-15", "360", [0.0, 1.0], "1960-02-15"),
        ("years since 1999-12-31", "standard", [0.0, 1.0], "2000-12-31"),
        ("day as %Y%m%d.%f", "proleptic_gregorian", [20130131.5, 20130201.25], "2013-02-01"),
    ],
)
def test_times_that_cf_tools_refuse(units, calendar, values, second):
    raw = xr.Dataset(coords={"T": ("T", values, {"units": units, "calendar": calendar})})
    decoded = decoded_times(raw)["T"]
    assert str(decoded.values[1])[:10] == second


def test_months_since_in_a_calendar_of_its_own():
    attrs = {"units": "months since 2000-01-01", "calendar": "noleap"}
    decoded = decoded_times(xr.Dataset(coords={"time": ("time", [0.0, 1.0, 2.0], attrs)}))
    assert decoded["time"].dt.calendar == "noleap"
    assert calendar_months(decoded) == 1


@pytest.mark.parametrize("minutes", [10, 15, 30, 60, 180])
@pytest.mark.parametrize("gap", [False, True])
def test_times_rounded_to_single_precision_are_regular_again(minutes, gap):
    count = np.delete(np.arange(400), slice(100, 110)) if gap else np.arange(400)
    days = (43829.0 + count * minutes / 1440).astype(np.float64)
    rounding = float(np.spacing(np.float32(days[-1]))) * 86400
    stored = days.astype(np.float32)
    times = np.datetime64("1900-01-01") + np.round(stored.astype(float) * 86400).astype("m8[s]")
    exact = np.datetime64("1900-01-01") + np.round(days * 86400).astype("m8[s]")
    found = regular_times(times, rounding)
    if minutes * 60 > 4 * rounding:
        assert (found.astype("M8[s]") == exact).all()
    else:  # the rounding hides such steps
        assert found is None


def test_irregular_times_are_left_alone():
    times = np.datetime64("2020-01-01") + np.array([0, 3600, 9000, 10000]).astype("m8[s]")
    assert regular_times(times, 1e-3) is None


def test_times_written_as_text():
    texts = np.array([f"2013-02-01_{hour:02}:00:00".ljust(64) for hour in range(24)], "S64")
    raw = xr.Dataset({"xtime": ("Time", texts), "t": (("Time", "nCells"), np.zeros((24, 2)))})
    assert decoded_times(raw)["Time"].values[5] == np.datetime64("2013-02-01T05")


@pytest.mark.parametrize("freq", ["MS", "ME", "QS", "YS"])
def test_months_and_years_are_steps_without_gaps(freq):
    time = pd.date_range("2000-01-01", periods=30, freq=freq)
    series = xr.Dataset({"v": ("time", np.arange(30.0))}, {"time": time})
    assert calendar_months(series) == {"MS": 1, "ME": 1, "QS": 3, "YS": 12}[freq]
    assert not len(gap_positions(series))
    assert gap_positions(series.isel(time=[*range(10), *range(11, 30)])).tolist() == [9]


def test_steps_of_thirty_days_are_no_months():
    time = pd.date_range("2000-01-01", periods=30, freq="30D")
    assert calendar_months(xr.Dataset({"v": ("time", np.arange(30.0))}, {"time": time})) is None


def test_months_later_by_hand():
    times = np.array(["2001-01-31", "2001-02-28", "2000-12-15"], "M8[D]")
    later = months_later(times, 1).astype("M8[D]").astype(str).tolist()
    assert later == ["2001-02-28", "2001-03-31", "2001-01-15"]
    cf = xr.date_range("2001-01-30", periods=2, freq="D", calendar="360_day").to_numpy()
    assert str(months_later(cf, 13)[0]) == "2002-02-30 00:00:00"


def test_dates_with_a_zone_are_in_utc():
    zoned = HOURS.tz_localize("Europe/Berlin")
    raw = xr.Dataset({"v": (("time", "station"), VALUES[:, 0, :2])}, {"time": zoned})
    assert open_series(raw)["time"].values[0] == np.datetime64("2023-12-31T23:00")


def test_repeated_times_of_many_places_are_not_repaired_away(tmp_path):
    rows = [f"{hour},{place / 2},0.5" for hour in HOURS for place in (1, 2, 3)]
    path = tmp_path / "w.csv"
    path.write_text("timestamp,a,b\n" + "\n".join(rows))
    with pytest.raises(InputError, match=r"96 of 144 times are repeated .*drop most"):
        open_series(path, repair=True)


# Layouts


def test_a_mix_of_era5_and_era5t_is_joined():
    raw = grid().expand_dims(expver=["0001", "0005"], axis=1).copy(deep=True)
    raw["t"][:, 0] = raw["t"][:, 0].where(np.arange(48)[:, None, None] < 36)
    raw["t"][:, 1] = raw["t"][:, 1].where(np.arange(48)[:, None, None] >= 36)
    np.testing.assert_array_equal(open_series(raw)["t"].values, VALUES.reshape(48, 12))
    assert open_series(raw, select={"expver": "0005"})["t"].isnull().sum() == 36 * 12


def runs(**lead) -> xr.Dataset:
    """Return 12-hourly runs of 24 hourly leads whose value is 100 * run + lead."""
    values = 100.0 * np.arange(4)[:, None] + np.arange(24)
    raw = xr.Dataset({"t": (("time", "step", "station"), np.stack([values, -values], -1))})
    return raw.assign_coords(
        time=pd.date_range("2024-01-01", periods=4, freq="12h"),
        step=("step", np.arange(24), lead),
    )


def test_overlapping_runs_are_unfolded_with_the_shortest_lead():
    series = open_series(runs(units="hours"))
    assert series.sizes["time"] == 3 * 12 + 24
    assert step_seconds(series) == 3600
    assert series["t"].values[[11, 12, 35, 36, 59], 0].tolist() == [11, 100, 211, 300, 323]


def test_leads_without_a_unit_say_what_to_do():
    with pytest.raises(InputError, match=r"'step' has no unit: .*--select step=0"):
        open_series(runs())
    assert open_series(runs(), select={"step": 3})["t"].values[:, 0].tolist() == [3, 103, 203, 303]


def ragged(**row_size) -> xr.Dataset:
    hours = [np.arange(24), np.arange(3, 24), np.arange(10)]
    time = np.concatenate([HOURS.to_numpy()[each] for each in hours])
    return xr.Dataset(
        {
            "v": ("obs", np.concatenate([10 * i + h for i, h in enumerate(hours)]).astype(float)),
            "row_size": ("station", [len(each) for each in hours], row_size),
            "name": ("station", np.array(["a", "b", "c"]), {"cf_role": "timeseries_id"}),
            "lat": ("station", [50.0, 51.0, 52.0]),
            "lon": ("station", [0.0, 1.0, 2.0]),
        },
        {"time": ("obs", time)},
        {"featureType": "timeSeries"},
    )


def test_ragged_stations_are_unfolded():
    series = open_series(ragged(sample_dimension="obs"))
    assert series["location"].values.tolist() == ["a", "b", "c"]
    assert series["lat"].values.tolist() == [50.0, 51.0, 52.0]
    values = series["v"].values
    assert values[5].tolist() == [5.0, 15.0, 25.0]
    assert np.isnan(values[0]).tolist() == [False, True, False]
    assert np.isnan(values[20]).tolist() == [False, False, True]


def test_indexed_ragged_stations_are_unfolded():
    raw = ragged().drop_vars("row_size")
    owner = np.repeat([0, 1, 2], [24, 21, 10])
    raw["index"] = ("obs", owner, {"instance_dimension": "station"})
    xr.testing.assert_equal(open_series(raw), open_series(ragged(sample_dimension="obs")))


def test_damaged_ragged_stations_are_refused():
    raw = ragged(sample_dimension="obs")
    raw["row_size"][0] = 30
    with pytest.raises(InputError, match="counts 61 observations, but 'obs' has 55"):
        open_series(raw)


def test_bounds_and_clocks_are_no_targets():
    raw = grid().assign(
        time_bound=(("time", "nbnd"), np.zeros((48, 2))), date=("time", np.arange(48))
    )
    assert open_series(raw).attrs["target"] == "t"
    assert open_series(raw, variables=["date"]).attrs["target"] == "date"


# Space


def test_radians_and_kilometres_are_converted():
    raw = grid().rename(lat="clat", lon="clon").stack(ncells=("clat", "clon"), create_index=False)
    for name, kind in (("clat", "latitude"), ("clon", "longitude")):
        raw[name] = np.deg2rad(raw[name]).assign_attrs(units="radian", standard_name=kind)
    assert open_series(raw)["lat"].values[-1] == pytest.approx(52.0)
    plane = grid().rename(lat="yc", lon="xc")
    for name in ("yc", "xc"):
        plane[name] = plane[name].assign_attrs(units="km")
    series = open_series(plane)
    assert series["x"].values.max() == 3000.0
    assert series["xc"].values.max() == 3.0  # what is written has the coordinates of the source


@pytest.mark.parametrize("units", [("degrees_north", "degrees_east"), ("degree_N", "degree_E")])
def test_space_is_told_by_units_alone(units):
    raw = grid().rename(lat="j", lon="i")
    raw["j"].attrs["units"], raw["i"].attrs["units"] = units
    series = open_series(raw)
    assert series["lat"].values.max() == 52.0
    assert series["lon"].values.max() == 3.0


@pytest.mark.parametrize(
    "lon", [(358.0, 359.0, 0.0, 1.0), (-2.0, -1.0, 0.0, 1.0), (178.0, 179.0, -180.0, -179.0)]
)
def test_a_domain_over_a_seam_is_in_one_piece(lon):
    graph = build_graph(open_series(grid(lon=lon)), GraphSettings(neighbours=4))
    assert graph.cell[:4, 1].tolist() == [0, 1, 2, 3]
    assert graph.num_edges == 2 * (3 * 3 + 2 * 4)


def test_a_global_grid_is_closed_whatever_its_longitudes():
    edges = set()
    for lon in ((0.0, 90.0, 180.0, 270.0), (-180.0, -90.0, 0.0, 90.0), (0.0, 90.0, -180.0, -90.0)):
        series = open_series(grid(lon=lon))
        edges.add(build_graph(series, GraphSettings(neighbours=4)).num_edges)
    assert edges == {2 * (3 * 4 + 2 * 4)}


def test_a_cyclic_column_is_left_out(caplog):
    series = open_series(grid(lon=(0.0, 120.0, 240.0, 360.0)))
    assert series.sizes["location"] == 9
    assert "once round" in caplog.text


def test_station_names_are_ids():
    raw = xr.Dataset(
        {"v": (("station", "time"), VALUES[:, 0].T)},
        {"time": HOURS, "name": ("station", np.array([b"S1", b"S2", b"S3", b"S4"]))},
    )
    raw["name"].attrs["cf_role"] = "timeseries_id"
    assert open_series(raw)["location"].values.tolist() == ["S1", "S2", "S3", "S4"]


# Values and attributes


def test_values_outside_the_valid_range_are_missing():
    raw = grid(valid_min=-1.0, valid_max=1.0)
    outside = (np.abs(VALUES) > 1).reshape(48, 12)
    np.testing.assert_array_equal(np.isnan(open_series(raw)["t"].values), outside)


def test_a_valid_range_of_packed_values_is_packed(tmp_path):
    raw = grid(valid_range=np.array([-100, 100], np.int16))
    packed = {"t": {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -32768}}
    raw.to_netcdf(tmp_path / "w.nc", encoding=packed)
    outside = (np.abs(np.round(VALUES, 2)) > 1).reshape(48, 12)
    np.testing.assert_array_equal(np.isnan(open_series(tmp_path / "w.nc")["t"].values), outside)


def test_zeros_of_a_zarr_array_are_values(tmp_path):
    pytest.importorskip("zarr")
    rain = grid().map(lambda t: t.clip(min=0))
    encoding = {"t": {"_FillValue": np.float32(0)}}
    rain.to_zarr(tmp_path / "rain.zarr", zarr_format=2, encoding=encoding)
    np.testing.assert_array_equal(
        open_series(tmp_path / "rain.zarr")["t"].values, VALUES.clip(min=0).reshape(48, 12)
    )


def test_attributes_of_any_type_are_cleaned():
    attrs = {"a": None, "b": np.bool_(True), "c": ["x", "y"], "d": [{"e": 1}], "f": np.arange(2)}
    cleaned = clean_attributes(attrs)
    assert list(cleaned) == ["b", "c", "d", "f"]
    assert (cleaned["b"], cleaned["c"], cleaned["d"]) == (1, "x, y", '[{"e": 1}]')
    raw = grid()
    raw["lat"].attrs.update(attrs)
    assert canonical_series(raw)["lat"].attrs.keys() == cleaned.keys()


# Files


def test_a_zip_is_named_with_what_is_in_it(tmp_path):
    path = tmp_path / "era5.nc"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data_stream-oper.nc", "x")
    with pytest.raises(InputError, match=r"is a ZIP archive.* of data_stream-oper.nc: unpack it"):
        open_series(path)


def test_a_group_is_named_and_opened(tmp_path):
    grid().to_netcdf(tmp_path / "g.nc", group="Grid/Inner")
    with pytest.raises(InputError, match=r"Grid/Inner \(t\): choose one, e.g. --group Grid/Inner"):
        open_series(tmp_path / "g.nc")
    assert open_series(tmp_path / "g.nc", group="Grid/Inner").sizes["time"] == 48


def test_files_that_follow_one_another(tmp_path):
    for name, part in (("a", slice(24)), ("b", slice(24, 48))):
        units = {"time": {"units": f"hours since 2024-01-0{1 if name == 'a' else 2}"}}
        grid().isel(time=part).to_netcdf(tmp_path / f"{name}.nc", encoding=units)
    whole = open_series(tmp_path)
    np.testing.assert_array_equal(whole["t"].values, VALUES.reshape(48, 12))
    xr.testing.assert_equal(open_series(f"{tmp_path}/*.nc").compute(), whole.compute())
    grid(lat=(10.0, 11.0, 12.0)).to_netcdf(tmp_path / "c.nc")
    with pytest.raises(InputError, match=r"3 files .* do not make one series"):
        open_series(tmp_path)
    with pytest.raises(InputError, match="no file has a name like"):
        open_series(f"{tmp_path}/x-*.nc")


def test_addresses(tmp_path, monkeypatch):
    pytest.importorskip("zarr")
    monkeypatch.setenv("STEMDIST_CACHE", str(tmp_path / "cache"))
    grid().to_zarr(tmp_path / "w.zarr", zarr_format=2)
    grid().to_netcdf(tmp_path / "w.nc")
    for name in ("w.zarr", "w.nc"):
        series = open_series(f"file://{tmp_path}/{name}")
        np.testing.assert_array_equal(series["t"].values, VALUES.reshape(48, 12))
    with pytest.raises(InputError, match=r"cannot read 'file:///nowhere/w\.zarr'"):
        open_series("file:///nowhere/w.zarr")


def test_a_store_in_the_memory_of_fsspec():
    pytest.importorskip("zarr")
    grid().to_zarr("memory://somewhere/w.zarr", zarr_format=2, consolidated=True)
    series = open_series("memory://somewhere/w.zarr")
    np.testing.assert_array_equal(series["t"].values, VALUES.reshape(48, 12))


@pytest.fixture
def served(tmp_path):
    """A folder behind a web server of this machine, which asks for a password."""

    class Guarded(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == "Bearer open-sesame"
            if known or "/open/" in self.path:
                super().do_GET()
            else:
                self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Guarded, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["w.zarr", "w.nc"])
def test_data_behind_a_web_server(served, monkeypatch, name):
    pytest.importorskip("zarr")
    pytest.importorskip("aiohttp")
    folder, address = served
    monkeypatch.setenv("STEMDIST_CACHE", str(folder / "cache"))
    for place in ("open", "closed"):
        (folder / place).mkdir()
        grid().to_zarr(folder / place / "w.zarr", zarr_format=2, consolidated=True)
        grid().to_netcdf(folder / place / "w.nc")
    expected = VALUES.reshape(48, 12)
    np.testing.assert_array_equal(open_series(f"{address}/open/{name}")["t"].values, expected)
    with pytest.raises(StemdistError, match=r"cannot read"):
        open_series(f"{address}/closed/{name}")
    secret = {"client_kwargs": {"headers": {"Authorization": "Bearer open-sesame"}}}
    series = open_series(f"{address}/closed/{name}", storage_options=secret)
    np.testing.assert_array_equal(series["t"].values, expected)
    assert "sesame" not in str(series.attrs)
    with pytest.raises(InputError, match="storage_options"):
        open_series(folder / "open" / name, storage_options=secret)


@pytest.mark.parametrize("write", ["to_parquet", "to_feather"])
@pytest.mark.parametrize("indexed", [True, False])
def test_parquet_and_feather_tables(tmp_path, write, indexed):
    pytest.importorskip("pyarrow")
    table = pd.DataFrame(VALUES[:, 0, :2].astype(float), HOURS, ["a", "b"])
    table = table.rename_axis("timestamp") if indexed else table.reset_index(names="timestamp")
    path = tmp_path / "w.table"
    getattr(table, write)(path)
    series = open_series(path, reader="parquet", feature_names=["speed"])
    assert series["location"].values.tolist() == ["a", "b"]
    np.testing.assert_array_equal(series["speed"].values, VALUES[:, 0, :2])


def test_a_long_table_with_positions_and_two_variables(tmp_path):
    rows = [
        f"{hour};{name};{lat};{10 * i + lat};{i},5"
        for i, hour in enumerate(HOURS[:4])
        for name, lat in (("b", 51), ("a", 50))
        if (i, name) != (2, "a")
    ]
    path = tmp_path / "long.txt"
    path.write_text("time;detector;lat;flow;speed\n" + "\n".join(rows))
    series = open_series(path, variables=["speed", "flow"])
    assert series["location"].values.tolist() == ["a", "b"]
    assert series["lat"].values.tolist() == [50, 51]
    assert series["speed"].values[:, 1].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert np.isnan(series["flow"].values[2, 0])


def test_a_table_without_a_header_numbers_its_sensors(tmp_path):
    path = tmp_path / "traffic.txt"
    path.write_text("0.5,1\n1.5,2\n2.5,3\n")
    series = open_series(path, start="2024-01-01", step_minutes=60)
    assert series["location"].values.tolist() == ["0", "1"]
    assert series["value"].values[:, 0].tolist() == [0.5, 1.5, 2.5]

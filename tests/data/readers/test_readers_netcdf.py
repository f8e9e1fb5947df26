"""NetCDF, Zarr and GRIB: decoding, laziness, broken files."""

from __future__ import annotations

import cftime
import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stemdist.data.readers import ReaderOptions, detect_reader, read
from stemdist.errors import InputError

VALUES = np.arange(24.0, dtype=np.float32).reshape(4, 2, 3)


def grid() -> xr.Dataset:
    return xr.Dataset(
        {"t2m": (("time", "lat", "lon"), VALUES, {"units": "K"})},
        {
            "time": pd.date_range("2020", periods=4, freq="6h"),
            "lat": [50.0, 51.0],
            "lon": [0, 1, 2],
        },
    )


def loaded(path, **options) -> xr.Dataset:
    with read(path, options=ReaderOptions(**options)) as raw:
        return raw.load()


@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT"])
def test_netcdf_is_read_as_written(tmp_path, kind):
    grid().to_netcdf(tmp_path / "a.nc", format=kind)
    raw = loaded(tmp_path / "a.nc")
    np.testing.assert_array_equal(raw["t2m"], VALUES)
    assert raw["time"].dtype.kind == "M"
    assert raw["t2m"].attrs["units"] == "K"


def test_a_netcdf_file_under_another_name_is_recognised(tmp_path):
    grid().to_netcdf(tmp_path / "weather.data")
    assert detect_reader(tmp_path / "weather.data").name == "netcdf"


def test_opening_reads_no_values_and_works_twice(tmp_path):
    grid().to_netcdf(tmp_path / "a.nc")
    first, second = read(tmp_path / "a.nc"), read(tmp_path / "a.nc")
    assert not first["t2m"].variable._in_memory
    np.testing.assert_array_equal(second["t2m"], first["t2m"])
    first.close()
    second.close()
    with read(tmp_path / "a.nc", options=ReaderOptions(chunks={"time": 2})) as raw:
        assert raw["t2m"].chunks == ((2, 2), (2,), (3,))
        np.testing.assert_array_equal(raw["t2m"], VALUES)


def test_packed_integers_fill_values_and_big_endian_come_out_right(tmp_path):
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("time", 3)
        packed = file.createVariable("packed", "i2", ("time",), fill_value=-9)
        packed.set_auto_maskandscale(False)
        packed.scale_factor, packed.add_offset, packed.missing_value = 0.5, 10.0, np.int16(-8)
        packed[:] = np.array([2, -9, -8], "i2")
        big = file.createVariable("big", ">f4", ("time",), endian="big")
        big[:] = [1.0, 2.0, 3.0]
        days = file.createVariable("frost_days", "f4", ("time",))
        days.units = "days"
        days[:] = [4.0, 5.0, 6.0]
    raw = loaded(tmp_path / "a.nc")
    np.testing.assert_array_equal(raw["packed"], [11.0, np.nan, np.nan])
    np.testing.assert_array_equal(raw["big"] + 0, [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(raw["frost_days"], [4.0, 5.0, 6.0])


@pytest.mark.parametrize(
    ("calendar", "units", "second"),
    [
        ("360_day", "days since 2000-02-29", cftime.Datetime360Day(2000, 2, 30)),
        ("noleap", "days since 2000-02-28", cftime.DatetimeNoLeap(2000, 3, 1)),
        ("standard", "days since 0850-01-01", cftime.DatetimeGregorian(850, 1, 2)),
    ],
)
def test_calendars_survive(tmp_path, calendar, units, second):
    time = ("time", np.arange(3.0), {"units": units, "calendar": calendar})
    xr.Dataset({"v": ("time", np.ones(3))}, {"time": time}).to_netcdf(tmp_path / "a.nc")
    assert loaded(tmp_path / "a.nc")["time"].values[1] == second


@pytest.mark.parametrize("units", ["days since yesterday", "moons since 2000-01-01"])
def test_time_units_that_mean_nothing_are_refused(tmp_path, units):
    time = ("time", [0.0, 1.0], {"units": units})
    xr.Dataset({"v": ("time", [1.0, 2.0])}, {"time": time}).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(InputError, match=r"time axis of .* cannot be understood .*hours since"):
        read(tmp_path / "a.nc")


def test_text_called_nc_is_refused(tmp_path):
    (tmp_path / "a.nc").write_text("time,a\n1,2\n")
    with pytest.raises(InputError, match=r"is not a NetCDF file .it begins with b'time,a"):
        read(tmp_path / "a.nc")


@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_CLASSIC"])
@pytest.mark.parametrize("unlimited", [(), ("time",)])
def test_a_file_cut_short_is_refused(tmp_path, kind, unlimited):
    path = tmp_path / "a.nc"
    data = xr.Dataset({"v": (("time", "x"), np.ones((50, 20))), "w": ("time", np.ones(50))})
    data.to_netcdf(path, format=kind, unlimited_dims=unlimited)
    assert float(loaded(path)["v"].sum()) == 1000
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="is damaged or cut short"):
        read(path)


def test_a_file_without_variables_is_refused(tmp_path):
    xr.Dataset(attrs={"title": "nothing"}).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(InputError, match="has no data variable at its top level"):
        read(tmp_path / "a.nc")


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_keeps_its_chunks(tmp_path, version):
    pytest.importorskip("zarr")
    path = tmp_path / "a.zarr"
    grid().chunk(time=3).to_zarr(path, zarr_format=version, consolidated=version == 2)
    raw = read(path)
    assert raw["t2m"].chunks == ((3, 1), (2,), (3,))
    np.testing.assert_array_equal(raw["t2m"], VALUES)
    assert loaded(path, chunks={"time": 4})["time"].dtype.kind == "M"


def test_a_folder_that_is_no_zarr_store_is_refused(tmp_path):
    pytest.importorskip("zarr")
    with pytest.raises(InputError, match=r"is not a Zarr store: it holds none of zarr.json"):
        read(tmp_path, "zarr")
    (tmp_path / "zarr.json").write_text("{broken")
    with pytest.raises(InputError, match=r"zarr.json' is not JSON"):
        read(tmp_path)


def test_grib_that_is_none_is_refused(tmp_path):
    pytest.importorskip("cfgrib")
    path = tmp_path / "a.grib"
    path.write_text("not weather")
    with pytest.raises(InputError, match="is not a GRIB file: nothing in it begins with 'GRIB'"):
        read(path)
    path.write_bytes(b"GRIB" + bytes(60) + b"7777")
    with pytest.raises(InputError, match="cannot open the GRIB file"):
        read(path)


def test_grib_cut_short_is_refused(tmp_path, real_data):
    pytest.importorskip("cfgrib")
    path = tmp_path / "a.grib"
    with real_data("era5-2mt-2019-03-uk.grib").open("rb") as stream:
        path.write_bytes(stream.read(5000))
    with pytest.raises(InputError, match="is cut short: it does not end with a GRIB end mark"):
        read(path)


@pytest.mark.slow
def test_era5_grib_and_netcdf_agree_and_nothing_is_written_beside(real_data):
    pytest.importorskip("cfgrib")
    path = real_data("era5-2mt-2019-03-uk.grib")
    before = sorted(path.parent.iterdir())
    with read(path) as grib, read(path.with_suffix(".nc")) as netcdf:
        assert not grib["t2m"].variable._in_memory
        xr.testing.assert_equal(
            grib["t2m"].drop_vars(["valid_time", "number", "step", "surface"]), netcdf["t2m"]
        )
        assert netcdf.sizes == {"time": 744, "latitude": 33, "longitude": 49}
    assert sorted(path.parent.iterdir()) == before

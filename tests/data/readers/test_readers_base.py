"""The registry, detection, options, and the checks all readers share."""

from __future__ import annotations

import importlib.metadata
import sys

import numpy as np
import pytest
import xarray as xr

from stemdist.data.readers import READERS, Reader, ReaderOptions, detect_reader, read
from stemdist.errors import InputError, MissingDependencyError

STEPS = ReaderOptions(start="2012-03-01", step_minutes=5)


@pytest.fixture
def speed_csv(tmp_path):
    path = tmp_path / "speed.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    return path


def test_every_builtin_reader_is_named_as_registered_and_described():
    names = ["basicts", "csv", "grib", "largest", "metr_la", "netcdf", "parquet", "pems_npz"]
    assert READERS.names() == sorted([*names, "windows_npz", "zarr"])
    for name in READERS.names():
        reader = READERS.get(name)()
        assert isinstance(reader, Reader)
        assert reader.name == name
        assert reader.description


def test_a_plug_in_reader_is_found_detected_and_used(tmp_path, monkeypatch):
    class TwoSteps(Reader):
        name = "two_steps"
        description = "test file (.two)"

        def matches(self, path):
            return path.suffix == ".two"

        def _open(self, path, options):
            return xr.Dataset({"v": ("time", [1.0, 2.0])})

    class Point:
        name = "two_steps"
        value = "somewhere:TwoSteps"

        def load(self):
            return TwoSteps

    real = importlib.metadata.entry_points
    monkeypatch.setattr(
        "stemdist.registry.entry_points",
        lambda group: [Point()] if group == "stemdist.readers" else real(group=group),
    )
    path = tmp_path / "x.two"
    path.write_text("2")
    assert detect_reader(path).name == "two_steps"
    assert read(path)["v"].values.tolist() == [1.0, 2.0]


def test_reading_with_the_reader_named_and_detected_agree(speed_csv):
    xr.testing.assert_identical(
        read(speed_csv, options=STEPS), read(str(speed_csv), "csv", options=STEPS)
    )


def test_chunks_make_any_format_dask_backed_without_changing_values(speed_csv):
    chunked = read(
        speed_csv, options=ReaderOptions(start="2012-03-01", step_minutes=5, chunks={"time": 1})
    )
    assert chunked["value"].chunks == ((1, 1), (2,))
    xr.testing.assert_identical(chunked.compute(), read(speed_csv, options=STEPS))
    auto = ReaderOptions(start="2012-03-01", step_minutes=5, chunks="auto")
    assert read(speed_csv, options=auto)["value"].chunks is not None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"start": "yesterday"}, "start is 'yesterday': it must be an ISO 8601 time"),
        ({"start": "1066-10-14"}, "start is '1066-10-14': .*between 1678 and 2262"),
        ({"step_minutes": 0}, "step_minutes is 0: it must be a number of minutes above 0"),
        ({"step_minutes": float("nan")}, "step_minutes is nan"),
        ({"chunks": "large"}, "chunks is 'large': it must be \"auto\" or sizes"),
        ({"feature_names": ("a", "a")}, r"feature_names is \('a', 'a'\): .*different"),
        ({"feature_names": "flow"}, "feature_names is 'flow': it must be a sequence"),
        ({"columns": "rows"}, "columns is 'rows': it must be one of sensors, variables"),
    ],
)
def test_options_check_themselves(given, message):
    with pytest.raises(InputError, match=message):
        ReaderOptions(**given)


def test_a_start_with_a_zone_is_taken_in_utc(speed_csv):
    options = ReaderOptions(start="2012-03-01T02:00+02:00", step_minutes=0.5)
    times = read(speed_csv, options=options)["time"].values
    assert (
        times.tolist()
        == np.array(["2012-03-01T00:00:00", "2012-03-01T00:00:30"], "datetime64[ns]").tolist()
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{tmp}/speed.cvs", "there is no file .*: did you mean 'speed.csv'"),
        ("{tmp}/zzzzzz", "there is no file .* in "),
        ("{tmp}/none/x.csv", "its folder .*none' does not exist"),
        ("{tmp}/empty.nc", r"is empty \(0 bytes\)"),
        ("{tmp}/notes.md", "no reader recognises .* csv: text table"),
        ("{tmp}", "no reader recognises"),
    ],
)
def test_what_cannot_be_opened_says_why(speed_csv, path, message):
    folder = speed_csv.parent
    if "empty" in path:
        (folder / "empty.nc").touch()
    (folder / "notes.md").write_text("hello")
    with pytest.raises(InputError, match=message):
        read(path.format(tmp=folder))


def test_an_unknown_reader_gets_a_suggestion(speed_csv):
    with pytest.raises(InputError, match="unknown reader 'netcfd': did you mean 'netcdf'"):
        read(speed_csv, "netcfd")


def test_a_file_of_two_formats_asks_which(tmp_path):
    path = tmp_path / "a.nc"
    path.write_bytes(b"GRIB and more")
    with pytest.raises(InputError, match="looks like grib and netcdf: say which"):
        read(path)


def test_a_folder_for_a_file_and_a_file_for_a_folder_are_refused(speed_csv):
    with pytest.raises(InputError, match="is a folder, but the csv reader opens a file"):
        read(speed_csv.parent, "csv")
    with pytest.raises(InputError, match="is a file, but the zarr reader opens a folder"):
        read(speed_csv, "zarr")


def test_an_option_the_format_cannot_use_is_refused(tmp_path):
    path = tmp_path / "a.nc"
    xr.Dataset({"v": ("time", [1.0])}).to_netcdf(path)
    with pytest.raises(InputError, match=r"netcdf reader cannot use start, columns.*use: chunks"):
        read(path, options=ReaderOptions(start="2020-01-01", columns="sensors"))


def test_chunks_over_an_unknown_dimension_are_refused(speed_csv):
    options = ReaderOptions(start="2012-03-01", step_minutes=5, chunks={"lat": 3})
    with pytest.raises(InputError, match=r"chunks names lat, but the dimensions .* time, location"):
        read(speed_csv, options=options)


@pytest.mark.parametrize(
    ("module", "name", "extra"), [("zarr", "a.zarr", "zarr"), ("cfgrib", "a.grib", "grib")]
)
def test_a_missing_library_names_its_extra(tmp_path, monkeypatch, module, name, extra):
    path = tmp_path / name
    if extra == "zarr":
        path.mkdir()
        (path / "zarr.json").write_text("{}")
    else:
        path.write_bytes(b"GRIB7777")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf'pip install "stemdist\[{extra}\]"'):
        read(path)

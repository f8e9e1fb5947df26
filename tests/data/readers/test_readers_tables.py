"""Wide CSV files and pandas HDF5 tables."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from stemdist.data.readers import ReaderOptions, read
from stemdist.errors import InputError

STEPS = ReaderOptions(start="2012-03-01", step_minutes=5)


def csv(tmp_path, text: str, **options):
    path = tmp_path / "a.csv"
    path.write_text(text, encoding=options.pop("encoding", "utf-8"))
    return read(path, options=ReaderOptions(**options))


def test_sensors_without_a_time_column(tmp_path):
    raw = csv(tmp_path, "07,8\n1,\n\n3,4.5\n", start="2012-03-01", step_minutes=5)
    assert raw["location"].values.tolist() == ["07", "8"]  # a leading zero is part of the name
    np.testing.assert_array_equal(raw["value"], [[1.0, np.nan], [3.0, 4.5]])
    assert raw["time"].values[1] == np.datetime64("2012-03-01T00:05", "ns")


@pytest.mark.parametrize(
    ("header", "first", "second"),
    [
        ("date", "2016-07-01 00:00:00", "2016-07-01 01:00:00"),
        ("", "2016-07-01", "2016-07-01 01:00"),
        ("when", "2016/7/1 0:00", "2016/7/1 1:00"),
        ("Timestamp", "2016-07-01T00:00Z", "2016-07-01T03:00+02:00"),
    ],
)
def test_time_columns(tmp_path, header, first, second):
    raw = csv(tmp_path, f"{header},a,b\n{first},1,2\n{second},3,4\n")
    np.testing.assert_array_equal(
        raw["time"], np.array(["2016-07-01T00", "2016-07-01T01"], "datetime64[ns]")
    )
    assert raw["value"].shape == (2, 2)


def test_the_row_numbers_of_pandas_are_left_out(tmp_path):
    raw = csv(tmp_path, ",a\n0,5\n1,6\n", start="2012-03-01", step_minutes=5)
    assert raw["value"].values.tolist() == [[5.0], [6.0]]


def test_columns_as_variables(tmp_path):
    text = "date,load,OT\n2016-07-01,1,2\n2016-07-02,3,4\n"
    raw = csv(tmp_path, text, columns="variables")
    assert list(raw.data_vars) == ["load", "OT"]
    assert raw["OT"].values.tolist() == [[2.0], [4.0]]
    assert raw["location"].values.tolist() == ["a"]
    named = csv(tmp_path, text, columns="variables", feature_names=["x", "y"])
    assert list(named.data_vars) == ["x", "y"]
    assert list(csv(tmp_path, text, feature_names=["speed"]).data_vars) == ["speed"]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    raw = csv(tmp_path, "a,b\n1,2\n", encoding="utf-8-sig", start="2012-03-01", step_minutes=5)
    assert raw["location"].values.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "has no time axis: pass --start and --step-minutes"),
        ("date,a\n2016-07-01,1\n2016-07-02,x\n", "line 3 .* has 'x' in column 'a': cells must be"),
        ("a,b\n1,2\n3\n", "line 3 .* has 1 cells, the header has 2"),
        ("a,b\n1,2,3\n", "line 2 .* has 3 cells, the header has 2"),
        ("a,b,a\n1,2,3\n", "more than one column called 'a': sensor names must differ"),
        ("a,,b\n1,2,3\n", "column 2 of .* has no name"),
        ("a,b\n", "has a header but no rows"),
        ("date\n2016-07-01\n", "has a time column but no sensor column"),
        ("date,a\n01/07/2016,1\n", "line 2 .* has the time '01/07/2016': .*year first"),
        ("date,a\n2016-07-01,1\n,2\n", "line 3 .* has the time ('nan'|'')"),
        ("date,a\n2016-13-01,1\n", "times of .* cannot be understood"),
        ("time,a\n1330560000,1\n", "has the time '1330560000'"),
    ],
)
def test_bad_csv_says_what_is_wrong(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        csv(tmp_path, text)


def test_csv_options_that_contradict_the_file_are_refused(tmp_path):
    text = "date,a,b\n2016-07-01,1,2\n"
    with pytest.raises(InputError, match="has its own time axis: leave out start"):
        csv(tmp_path, text, start="2012-03-01", step_minutes=5)
    with pytest.raises(InputError, match=r"feature_names has 2 names, .* one variable"):
        csv(tmp_path, text, feature_names=["x", "y"])
    with pytest.raises(InputError, match=r"has 1 names, .* has 2 variables: a, b"):
        csv(tmp_path, text, columns="variables", feature_names=["x"])


def test_text_in_another_encoding_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not UTF-8 text"):
        csv(tmp_path, "Köln,b\n1,2\n", encoding="latin-1")


def test_los_loop_and_ett(real_data):
    los = read(real_data("los_speed.csv"), options=STEPS)
    assert los["value"].shape == (2016, 207)
    assert str(los["location"].values[0]) == "773869"
    assert los["time"].values[-1] == np.datetime64("2012-03-07T23:55", "ns")
    ett = read(real_data("ETTh1.csv"))
    assert ett["value"].shape == (17420, 7)
    assert ett["time"].values[0] == np.datetime64("2016-07-01", "ns")
    adjacency = read(real_data("los_adj.csv"), options=STEPS)  # numbers alone: no header
    assert adjacency["value"].shape == (207, 207)


@pytest.fixture
def frame():
    index = pd.date_range("2012-03-01", periods=3, freq="5min")
    return pd.DataFrame(np.arange(6.0).reshape(3, 2), index, ["773869", "767541"])


def write_hdf(path, frame, **how):
    pytest.importorskip("tables")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTables complains about pandas' own attributes
        frame.to_hdf(path, key="df", **how)


@pytest.mark.parametrize("how", [{}, {"complevel": 5, "complib": "zlib"}])
@pytest.mark.parametrize("unit", ["ns", "us", "s"])
def test_pandas_hdf_is_read_lazily_and_without_pandas(tmp_path, frame, monkeypatch, how, unit):
    frame.index = frame.index.as_unit(unit)
    write_hdf(tmp_path / "metr-la.h5", frame, **how)
    monkeypatch.setattr("pickle.loads", lambda *_: pytest.fail("something was unpickled"))
    with read(tmp_path / "metr-la.h5") as raw:
        assert not raw["value"].variable._in_memory
        assert raw["value"].dims == ("time", "location")
        np.testing.assert_array_equal(raw["value"], frame)
        np.testing.assert_array_equal(raw["time"], frame.index)
        assert raw["location"].values.tolist() == list(frame.columns)


def test_pandas_hdf_square_with_whole_number_sensors_or_without_dates(tmp_path, frame):
    square = frame.iloc[:2].set_axis([400001, 400017], axis=1)
    write_hdf(tmp_path / "bay.h5", square)
    with read(tmp_path / "bay.h5", options=ReaderOptions(feature_names=["speed"])) as raw:
        assert raw["location"].values.tolist() == [400001, 400017]
        np.testing.assert_array_equal(raw["speed"], square)
    with pytest.raises(InputError, match="has its own time axis"):
        read(tmp_path / "bay.h5", options=STEPS)
    write_hdf(tmp_path / "steps.h5", frame.reset_index(drop=True))
    with pytest.raises(InputError, match="has no time axis: pass --start"):
        read(tmp_path / "steps.h5")
    with read(tmp_path / "steps.h5", options=STEPS) as raw:
        np.testing.assert_array_equal(raw["time"], frame.index)


def test_hdf_files_that_hold_no_table_are_refused(tmp_path, frame):
    path = tmp_path / "a.h5"
    path.write_text("no table")
    with pytest.raises(InputError, match="is not an HDF5 file"):
        read(path)
    path.unlink()
    write_hdf(path, frame.assign(name="text"))
    with pytest.raises(InputError, match="does not hold exactly one pandas table of numbers"):
        read(path)
    path.unlink()
    write_hdf(path, frame, format="table")
    with pytest.raises(InputError, match="in the fixed format"):
        read(path)
    # Another file: HDF5 may remember the one it has just read.
    cut = tmp_path / "cut.h5"
    cut.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match="is damaged or cut short"):
        read(cut)

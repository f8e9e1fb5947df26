"""PEMS and LargeST archives, BasicTS folders."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np
import pytest

from stemdist.data.readers import ReaderOptions, detect_reader, read
from stemdist.errors import InputError

STEPS = ReaderOptions(start="2018-01-01", step_minutes=5)
DATA = np.arange(24.0).reshape(4, 2, 3)  # (T, N, F)


class Harmful:
    """Fails the test if it is ever unpickled."""

    def __reduce__(self):
        return pytest.fail, ("something was unpickled",)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_pems_features_are_flow_occupancy_speed(tmp_path, save, order):
    save(tmp_path / "PEMS04.npz", other=np.ones(3), data=np.asarray(DATA, ">f4", order=order))
    raw = read(tmp_path / "PEMS04.npz", options=STEPS)
    assert list(raw.data_vars) == ["flow", "occupancy", "speed"]
    for i, name in enumerate(raw.data_vars):
        np.testing.assert_array_equal(raw[name], DATA[:, :, i])
    assert raw["location"].values.tolist() == [0, 1]
    assert raw["time"].values[-1] == np.datetime64("2018-01-01T00:15", "ns")


def test_an_uncompressed_archive_is_memory_mapped(tmp_path):
    np.savez(tmp_path / "a.npz", data=DATA)
    raw = read(tmp_path / "a.npz", options=STEPS)
    base = raw["flow"].variable._data
    while not isinstance(base, np.memmap):
        base = base.base
    assert base.filename == tmp_path / "a.npz"


@pytest.mark.parametrize(
    ("array", "names"),
    [(DATA[:, :, 0], ["value"]), (DATA[:, :, :2], ["value", "feature_1"])],
)
def test_names_of_unknown_features(tmp_path, array, names):
    np.savez(tmp_path / "a.npz", data=array)
    assert list(read(tmp_path / "a.npz", options=STEPS).data_vars) == names
    given = [f"x{i}" for i in range(len(names))]
    options = ReaderOptions(start="2018-01-01", step_minutes=5, feature_names=given)
    assert list(read(tmp_path / "a.npz", options=options).data_vars) == given


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"values": DATA, "ids": DATA}, "has no array 'data': it holds values, ids"),
        ({"data": np.ones(3)}, r"array of shape \(3,\): it must be \(time, location\)"),
        ({"data": np.ones((0, 2))}, "none of them empty"),
        ({"data": np.array([["a", "b"]])}, "holds <U1, not numbers"),
        ({"data": np.array([[Harmful()]])}, "holds pickled Python objects, which can run any"),
    ],
)
def test_bad_archives(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.npz", options=STEPS)


def test_archives_that_are_none_or_broken(tmp_path):
    path = tmp_path / "a.npz"
    np.save(path.with_suffix(".npy"), DATA)
    path.write_bytes(path.with_suffix(".npy").read_bytes())
    with pytest.raises(InputError, match="is not a NumPy archive, or is cut short"):
        read(path)
    np.savez_compressed(path, data=np.random.default_rng(0).normal(size=(50, 4)))
    damaged = bytearray(path.read_bytes())
    damaged[400:500] = bytes(100)
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"array 'data' of .* is damaged"):
        read(path, options=STEPS)
    stream = io.BytesIO()
    np.save(stream, DATA)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.npy", stream.getvalue()[:-50])
    with pytest.raises(InputError, match=r"array 'data' of .* is damaged"):
        read(path, options=STEPS)


def test_archive_without_time_or_with_wrong_names(tmp_path):
    np.savez(tmp_path / "a.npz", data=DATA)
    with pytest.raises(InputError, match="has no time axis: pass --start and --step-minutes"):
        read(tmp_path / "a.npz", options=ReaderOptions(start="2018-01-01"))
    options = ReaderOptions(start="2018-01-01", step_minutes=5, feature_names=["flow"])
    with pytest.raises(InputError, match=r"feature_names has 1 names, but .* has 3 features"):
        read(tmp_path / "a.npz", options=options)


def test_largest_puts_the_flow_back_into_its_unit(tmp_path):
    scaled = DATA.copy()
    scaled[..., 0] = (scaled[..., 0] - 7.0) / 2.0
    np.savez_compressed(tmp_path / "his.npz", data=scaled, mean=7.0, std=2.0)
    assert detect_reader(tmp_path / "his.npz").name == "largest"
    raw = read(tmp_path / "his.npz", options=STEPS)
    assert list(raw.data_vars) == ["flow", "time_of_day", "day_of_week"]
    for i, name in enumerate(raw.data_vars):
        np.testing.assert_array_equal(raw[name], DATA[:, :, i])


def test_largest_with_one_scale_for_each_feature(tmp_path):
    mean, std = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 8.0])
    np.savez(tmp_path / "his.npz", data=(DATA - mean) / std, mean=mean, std=std)
    raw = read(tmp_path / "his.npz", options=STEPS)
    np.testing.assert_array_equal(raw["day_of_week"], DATA[:, :, 2])
    np.savez(tmp_path / "his.npz", data=DATA, mean=mean[:2], std=std[:2])
    with pytest.raises(InputError, match="have 2 and 2 values: they must have 1, or one for each"):
        read(tmp_path / "his.npz", options=STEPS)


@pytest.fixture
def old_basicts(tmp_path):
    DATA.astype("<f4").tofile(tmp_path / "data.dat")
    description = {
        "shape": [4, 2, 3],
        "frequency (minutes)": 5,
        "feature_description": ["traffic speed", "time of day", "day of week"],
    }
    (tmp_path / "desc.json").write_text(json.dumps(description))
    return tmp_path


def test_basicts_before_version_one(old_basicts):
    assert detect_reader(old_basicts).name == "basicts"
    raw = read(old_basicts, options=ReaderOptions(start="2018-01-01"))
    assert list(raw.data_vars) == ["traffic_speed", "time_of_day", "day_of_week"]
    np.testing.assert_array_equal(raw["time_of_day"], DATA[:, :, 1])
    assert raw["time"].values[1] == np.datetime64("2018-01-01T00:05", "ns")


@pytest.mark.parametrize("kind", ["meta.json", "desc.json"])
def test_basicts_since_version_one_is_one_lazy_series(tmp_path, kind):
    for name, part in (
        ("train", DATA[:2, :, 0]),
        ("val", DATA[2:3, :, 0]),
        ("test", DATA[3:, :, 0]),
    ):
        np.save(tmp_path / f"{name}_data.npy", part.astype("f4"))
    description = {"shape": [4, 2], "frequency (minutes)": 60, "domain": "traffic flow"}
    (tmp_path / kind).write_text(json.dumps(description))
    raw = read(tmp_path, options=ReaderOptions(start="2018-01-01"))
    assert raw["traffic_flow"].chunks is not None
    np.testing.assert_array_equal(raw["traffic_flow"], DATA[:, :, 0])
    (tmp_path / "val_data.npy").unlink()
    with pytest.raises(InputError, match=r"has no val_data.npy: all three parts"):
        read(tmp_path, options=ReaderOptions(start="2018-01-01"))
    np.save(tmp_path / "val_data.npy", np.ones((1, 5)))
    with pytest.raises(InputError, match="only time may differ"):
        read(tmp_path, options=ReaderOptions(start="2018-01-01"))
    (tmp_path / "val_data.npy").write_text("text")
    with pytest.raises(InputError, match=r"val_data.npy' is not a numeric array"):
        read(tmp_path, options=ReaderOptions(start="2018-01-01"))


def test_cutting_a_mapped_file_into_chunks_reads_nothing(old_basicts, monkeypatch):
    # dask copies every array it is given: the mapped file must not be handed over as one.
    monkeypatch.setattr(np.memmap, "copy", lambda *_: pytest.fail("read"), raising=False)
    raw = read(old_basicts, options=ReaderOptions(start="2018-01-01", chunks={"time": 2}))
    assert raw["traffic_speed"].chunks == ((2, 2), (2,))
    np.testing.assert_array_equal(raw["time_of_day"], DATA[:, :, 1])
    again = pickle.loads(pickle.dumps(raw["time_of_day"]))  # as sent to another process
    np.testing.assert_array_equal(again, DATA[:, :, 1])
    assert len(pickle.dumps(raw["time_of_day"].data)) < 6000


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_mapped_archive_in_chunks_has_the_same_values(tmp_path, order):
    np.savez(tmp_path / "a.npz", other=np.ones(9), data=np.asarray(DATA, order=order))
    options = ReaderOptions(start="2018-01-01", step_minutes=5, chunks={"time": 3, "location": 1})
    raw = read(tmp_path / "a.npz", options=options)
    assert raw["speed"].chunks == ((3, 1), (1, 1))
    np.testing.assert_array_equal(raw["speed"], DATA[:, :, 2])


def test_bad_basicts_folders(old_basicts):
    start = ReaderOptions(start="2018-01-01")
    with pytest.raises(InputError, match=r"step_minutes is 15, but .* says its step is 5 minutes"):
        read(old_basicts, options=ReaderOptions(start="2018-01-01", step_minutes=15))
    DATA[:2].astype("<f4").tofile(old_basicts / "data.dat")
    with pytest.raises(InputError, match=r"has 48 bytes, but shape \[4, 2, 3\] .* makes 96"):
        read(old_basicts, options=start)
    (old_basicts / "desc.json").write_text('{"name": "x"}')
    with pytest.raises(InputError, match="has shape None: it must be a list"):
        read(old_basicts, options=start)
    (old_basicts / "desc.json").write_text("{")
    with pytest.raises(InputError, match=r"desc.json' is not JSON"):
        read(old_basicts, options=start)
    (old_basicts / "desc.json").write_text("[]")
    with pytest.raises(InputError, match="must hold a JSON object"):
        read(old_basicts, options=start)
    (old_basicts / "desc.json").unlink()
    with pytest.raises(InputError, match=r"has neither meta.json nor desc.json"):
        read(old_basicts, "basicts", options=start)

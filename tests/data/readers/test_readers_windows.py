"""STemDist's folder of windows: written, rebuilt, refused."""

from __future__ import annotations

import numpy as np
import pytest

from stemdist.data.readers import ReaderOptions, detect_reader, read, write_windows
from stemdist.errors import InputError, OutputError

LOOKBACK, HORIZON = 3, 2
STEPS = ReaderOptions(start="2018-01-01", step_minutes=60)


def cut(series):
    """Cut every window: x (M, L_in, N, F) and y (M, L_out, N) of the first feature."""
    count = len(series) - LOOKBACK - HORIZON + 1
    x = np.stack([series[i : i + LOOKBACK] for i in range(count)])
    ends = range(LOOKBACK, LOOKBACK + count)
    return x, np.stack([series[i : i + HORIZON, :, 0] for i in ends])


@pytest.fixture
def series():
    values = np.random.default_rng(0).normal(size=(30, 4, 2)).astype(np.float32)
    values[5, 1, 0] = np.nan  # a missing value is no break in the windows
    return values


@pytest.fixture
def parts(series):
    x, y = cut(series)
    bounds = {"train": slice(0, 14), "val": slice(14, 20), "test": slice(20, None)}
    return {name: (x[part], y[part]) for name, part in bounds.items()}


def test_files_hold_what_public_code_reads(tmp_path, parts):
    write_windows(tmp_path / "w", parts)
    for name, (x, y) in parts.items():
        with np.load(tmp_path / "w" / f"{name}.npz") as file:
            assert file["x"].dtype == file["y"].dtype == np.float32
            np.testing.assert_array_equal(file["x"], x)
            assert file["y"].ndim == 4
            np.testing.assert_array_equal(file["y"][..., 0], y)
            assert file["x_offsets"].tolist() == [[-2], [-1], [0]]
            assert file["y_offsets"].tolist() == [[1], [2]]


def test_windows_cut_before_the_split_come_back_at_the_right_hour(tmp_path, series, parts):
    write_windows(tmp_path / "w", parts)
    assert detect_reader(tmp_path / "w").name == "windows_npz"
    raw = read(tmp_path / "w", options=STEPS)
    begins, lengths = [0, 14, 20], [18, 10, 10]
    assert raw.attrs["split_steps"] == lengths
    assert list(raw.data_vars) == ["value", "feature_1"]
    steps = np.concatenate([b + np.arange(n) for b, n in zip(begins, lengths, strict=True)])
    np.testing.assert_array_equal(raw["value"], series[steps, :, 0])
    weeks = np.repeat([0, 1, 2], lengths) * 7 * 24
    expected = np.datetime64("2018-01-01", "ns") + (steps + weeks).astype("timedelta64[h]")
    np.testing.assert_array_equal(raw["time"], expected)
    # y holds the target only: the other feature is not known under the last horizon.
    known = ~np.isnan(raw["feature_1"].values).any(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(~known), [16, 17, 26, 27, 36, 37])
    np.testing.assert_array_equal(raw["feature_1"].values[known], series[steps[known], :, 1])


def test_parts_split_before_cutting_keep_their_place(tmp_path, series):
    parts = {"train": cut(series[:14]), "val": cut(series[14:20]), "test": cut(series[20:])}
    write_windows(tmp_path / "w", parts)
    raw = read(tmp_path / "w", options=STEPS)
    np.testing.assert_array_equal(raw["value"], series[..., 0])
    hours = (raw["time"].values - raw["time"].values[0]) / np.timedelta64(1, "h")
    np.testing.assert_array_equal(hours[[13, 14, 19, 20]], [13, 182, 187, 356])


@pytest.mark.parametrize("step_minutes", [5, 24 * 60, 30 * 24 * 60])
def test_no_window_crosses_a_split_at_any_step(tmp_path, parts, step_minutes):
    write_windows(tmp_path / "w", parts)
    options = ReaderOptions(start="2018-01-01", step_minutes=step_minutes)
    steps = np.diff(read(tmp_path / "w", options=options)["time"].values)
    usual = np.timedelta64(step_minutes, "m")
    np.testing.assert_array_equal(np.flatnonzero(steps > usual), [17, 27])
    assert (steps >= usual).all()


def test_whole_numbers_and_full_targets(tmp_path):
    series = np.arange(20).reshape(20, 1, 1)
    x, y = cut(series)
    (tmp_path / "w").mkdir()
    for name in ("train", "val", "test"):
        np.savez(tmp_path / "w" / f"{name}.npz", x=x, y=y[..., None])
    raw = read(tmp_path / "w", options=STEPS)
    np.testing.assert_array_equal(raw["value"][:20, 0], np.arange(20))


@pytest.mark.parametrize("change", ["shuffled", "strided", "y only"])
def test_windows_that_are_not_consecutive_are_refused(tmp_path, parts, change):
    x, y = parts["train"]
    order = np.random.default_rng(1).permutation(len(x))
    parts["train"] = {
        "shuffled": (x[order], y[order]),
        "strided": (x[::2], y[::2]),
        "y only": (x, y[order]),
    }[change]
    write_windows(tmp_path / "w", parts)
    with pytest.raises(InputError, match=r"train.npz .* do not follow one another step by step"):
        read(tmp_path / "w", options=STEPS)


def test_folders_that_cannot_be_rebuilt(tmp_path, parts):
    folder = tmp_path / "w"
    write_windows(folder, parts)
    with pytest.raises(InputError, match="has no time axis: pass --start and --step-minutes"):
        read(folder)
    np.savez(folder / "val.npz", x=np.zeros((2, 3, 5, 2)), y=np.zeros((2, 2, 5)))
    with pytest.raises(InputError, match=r"windows x, y of val.npz .* must agree"):
        read(folder, options=STEPS)
    np.savez(folder / "val.npz", x=np.zeros((2, 3, 4)), y=np.zeros((2, 2, 4)))
    with pytest.raises(InputError, match=r"x of shape \(2, 3, 4\) and y of shape \(2, 2, 4\)"):
        read(folder, options=STEPS)
    np.savez(folder / "val.npz", data=np.zeros((2, 3, 4)))
    with pytest.raises(InputError, match="has no array 'x': it holds data"):
        read(folder, options=STEPS)
    (folder / "val.npz").unlink()
    with pytest.raises(InputError, match=r"has no val.npz: train.npz, val.npz and test.npz"):
        read(folder, "windows_npz", options=STEPS)


def test_writing_refuses_what_would_lose_data(tmp_path, parts):
    with pytest.raises(InputError, match="parts are train: they must be train, val, test"):
        write_windows(tmp_path / "w", {"train": parts["train"]})
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not an empty folder: name a new one"):
        write_windows(tmp_path, parts)
    wrong = parts | {"val": (parts["val"][0], parts["val"][1][1:])}
    with pytest.raises(InputError, match="part 'val' has x of shape"):
        write_windows(tmp_path / "w", wrong)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keep.txt"]


def test_a_full_disk_leaves_nothing_behind(tmp_path, parts, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OutputError, match=r"cannot write .* No space left on device"):
        write_windows(tmp_path / "w", parts)
    assert list(tmp_path.iterdir()) == []

import numpy as np
import pandas as pd
import pytest
from cli_cases import weather

from stemdist.cli import main
from stemdist.data import open_series
from stemdist.distill import DistilledSet
from stemdist.markers import made_by


def test_windows_are_those_of_the_file(tmp_path, capsys):
    weather().to_netcdf(tmp_path / "w.nc")
    folder = tmp_path / "windows"
    line = f"export {tmp_path}/w.nc --lookback 4 --horizon 2 -o {folder}"
    assert main(line.split()) == 0
    series = open_series(tmp_path / "w.nc")
    values = series[series.attrs["target"]].values
    stored = np.load(folder / "test.npz", allow_pickle=False)
    np.testing.assert_array_equal(stored["y"][-1, :, :, 0], values[-2:])
    np.testing.assert_array_equal(stored["x"][-1, :, :, 0], values[-6:-2])
    again = open_series(folder, start="2000-01-01", step_minutes=60)
    np.testing.assert_array_equal(again["value"].values, values)
    assert main(line.split()) == 0  # it replaces what it made
    (folder / ".stemdist.json").unlink()
    assert main(line.split()) == 2
    assert "was not made by `stemdist export`" in capsys.readouterr().err


def test_missing_values_become_the_number_asked_for(tmp_path):
    data = weather()
    name = next(iter(data.data_vars))
    data[name] = data[name].where(data[name] != data[name].isel(time=3))
    data.to_netcdf(tmp_path / "w.nc")
    line = f"export {tmp_path}/w.nc --lookback 4 --horizon 2 --missing -1 -o {tmp_path}/windows"
    assert main(line.split()) == 0
    x = np.load(tmp_path / "windows" / "train.npz", allow_pickle=False)["x"]
    assert np.isfinite(x).all()
    assert (x[0, 3] == -1).all()


def test_the_public_reader_finds_what_it_indexes(tmp_path):
    """What STemDist's loader does to each file, rebuilt from what its code indexes."""
    data = weather()
    data.to_netcdf(tmp_path / "w.nc")
    line = f"export {tmp_path}/w.nc --lookback 4 --horizon 4 --missing 0 -o {tmp_path}/windows"
    assert main(line.split()) == 0
    parts = {
        part: np.load(tmp_path / "windows" / f"{part}.npz") for part in ("train", "val", "test")
    }
    n_locations, n_features = parts["train"]["x"].shape[2:]
    for part in parts.values():
        x, y = part["x"], part["y"][..., 0]  # targets are the first feature of y
        assert x.shape == (len(x), 4, n_locations, n_features)
        assert y.shape == (len(x), 4, n_locations)
        for feature in range(n_features):  # scaled in place by training statistics
            column = parts["train"]["x"][..., feature]
            x[..., feature] = (x[..., feature] - column.mean()) / column.std()
        assert np.isfinite(x).all()
    # it clusters locations by rows of all windows, and sums targets location by location
    x, y = parts["train"]["x"], parts["train"]["y"][..., 0]
    rows = np.transpose(x, (2, 0, 1, 3)).reshape(n_locations, -1)
    assert rows.shape == (n_locations, x[:, :, 0].size)
    sums = np.zeros((len(x), x.shape[1], 1))  # as many steps out as in
    sums[:, :, 0] += y[:, :, 0]
    np.testing.assert_array_equal(y[:-4, 0, 0], x[4:, 0, 0, 0][: len(y) - 4])


def test_a_distilled_set_becomes_a_table(run, made, tmp_path):
    pytest.importorskip("pyarrow")
    source = made / "w.distilled.nc"
    outcome = run(f"export {source} --format parquet")
    assert outcome.status == 0, outcome.err
    assert "rows of window, cluster, location" in outcome.out
    stored = pd.read_parquet(tmp_path / "w.parquet")
    frame = DistilledSet.load(source).to_frame()
    pd.testing.assert_frame_equal(stored, frame, check_flags=False)
    assert stored.attrs == {**frame.attrs, "made_by": "stemdist export"}
    assert made_by(tmp_path / "w.parquet") == "stemdist export"
    assert run(f"export {source} --format parquet").status == 0  # it replaces what it made
    (tmp_path / "w.parquet").write_text("mine")
    refused = run(f"export {source} --format parquet")
    assert (refused.status, (tmp_path / "w.parquet").read_text()) == (2, "mine")
    assert "was not made by `stemdist export`" in refused.err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{made}/w.distilled.nc -o t.csv --format parquet", "must end in .parquet, e.g. t.parquet"),
        ("{made}/w.distilled.nc", "is a distilled set: write its windows as a table with --format"),
        ("{made}/w.nc --format parquet", "is for distilled sets, and"),
        ("traffic-sim --format parquet", "distil it first with `stemdist distill traffic-sim`"),
        ("gone.nc --format parquet", "there is no distilled file"),
        ("{made}/w.distilled.nc --format parquet --lookback 3", "--lookback: no use here"),
        ("{made}/w.distilled.nc --format csv", "format"),
    ],
)
def test_what_cannot_be_exported(run, made, line, message, tmp_path):
    outcome = run(f"export {line.format(made=made)}")
    assert outcome.status == 2
    assert message in outcome.err
    assert not list(tmp_path.iterdir())

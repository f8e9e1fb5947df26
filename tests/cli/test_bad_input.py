"""Whatever a user gets wrong: one clear line on standard error, exit status 2, no traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from cli_cases import QUICK_DISTILL, Run, weather

Make = Callable[[Path], object]


def nothing(made: Path) -> None:
    """No file at all."""


def plain(made: Path) -> None:
    weather().to_netcdf("w.nc")


def model(made: Path) -> Path:
    shutil.copy(made / "w.nc", "w.nc")
    shutil.copy(made / "w.distilled.nc", "w.distilled.nc")
    return Path(shutil.copytree(made / "model", "model"))


def stored(change: Callable[[xr.Dataset], xr.Dataset]) -> Make:
    """Write the usual data, changed."""
    return lambda made: change(weather()).to_netcdf("w.nc")


def text(content: str, name: str = "w.nc") -> Make:
    return lambda made: Path(name).write_text(content)


def truncated(made: Path) -> None:
    content = (made / "w.nc").read_bytes()
    Path("w.nc").write_bytes(content[: len(content) // 2])


def undated(data: xr.Dataset) -> xr.Dataset:
    return data.assign_coords(time=np.arange(data.sizes["time"]))


def unsorted(data: xr.Dataset) -> xr.Dataset:
    return data.isel(time=np.r_[10:20, 0:10, 20 : data.sizes["time"]])


def repeated(data: xr.Dataset) -> xr.Dataset:
    return data.isel(time=np.r_[0:10, 9 : data.sizes["time"]])


def with_levels(data: xr.Dataset) -> xr.Dataset:
    return data.expand_dims(level=[500, 850]).transpose("time", "level", "lat", "lon")


def two_candidates(data: xr.Dataset) -> xr.Dataset:
    return data.assign(wind=data["t2m"] - 280)


def of_text(data: xr.Dataset) -> xr.Dataset:
    words = np.full(data["t2m"].shape, "warm")
    return data.assign(word=(data["t2m"].dims, words))


def three_sixty(data: xr.Dataset) -> xr.Dataset:
    dates = xr.date_range(
        "2000-01-01", periods=data.sizes["time"], freq="D", calendar="360_day", use_cftime=True
    )
    return data.assign_coords(time=dates)


def gappy(data: xr.Dataset) -> xr.Dataset:
    return data.isel(time=[i for i in range(data.sizes["time"]) if i % 5 != 4])


def not_a_model(made: Path) -> None:
    Path("model").mkdir()
    Path("model/notes.txt").write_text("mine")


def spoiled_model(name: str, content: str) -> Make:
    return lambda made: (model(made) / name).write_text(content)


def other_forecaster(made: Path) -> None:
    path = model(made) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "forecaster": "mlpp"}))


def other_variable(made: Path) -> None:
    model(made)
    weather().rename(t2m="temperature").to_netcdf("other.nc")


def config(content: str) -> Make:
    def make(made: Path) -> None:
        plain(made)
        Path("c.yaml").write_text(content)

    return make


def occupied(made: Path) -> None:
    plain(made)
    Path("taken.nc").mkdir()
    Path("file").write_text("x")


CASES: list[tuple[str, Make, str, str]] = [
    # the file
    ("missing file", nothing, "distill w.nc", "there is no file 'w.nc'"),
    ("misspelt file", plain, "distill ww.nc", "did you mean 'w.nc'"),
    ("missing folder", nothing, "info a/w.nc", "folder 'a' does not exist"),
    ("unknown data set", nothing, "distill trafic-sim", "did you mean 'traffic-sim'"),
    ("empty file", text(""), "info w.nc", "is empty (0 bytes)"),
    ("not a NetCDF", text("hello"), "distill w.nc", "w.nc"),
    ("truncated file", truncated, "distill w.nc", "w.nc"),
    ("an address", nothing, "info file:///nowhere/w.nc", "cannot read 'file:///nowhere/w.nc'"),
    ("unknown reader", plain, "info w.nc --reader netcfd", "did you mean 'netcdf'"),
    ("wrong reader", plain, "info w.nc --reader csv", "w.nc"),
    ("no time column", text("a,b\n1,2\n3,4\n", "s.csv"), "info s.csv", "--start"),
    ("bad start", text("a,b\n1,2\n", "s.csv"), "info s.csv --start x", "ISO 8601"),
    ("recipe hint", text("1,2\n3,4\n", "los_speed.csv"), "info los_speed.csv", "--recipe los-loop"),
    ("unknown recipe", plain, "distill w.nc --recipe ear5", "did you mean 'era5'"),
    # the time axis
    ("no time axis", stored(lambda d: d.isel(time=0, drop=True)), "distill w.nc", "no time axis"),
    ("no dates", stored(undated), "distill w.nc", "not dates"),
    ("wrong time name", plain, "distill w.nc --time-name tim", "did you mean 'time'"),
    ("one time step", stored(lambda d: d.isel(time=[0])), "distill w.nc", "time axis has 1 step"),
    ("unsorted times", stored(unsorted), "distill w.nc", "unsorted times"),
    ("repeated times", stored(repeated), "distill w.nc", "Pass --repair"),
    ("only gaps", stored(gappy), "distill w.nc --lookback 4", "time gaps"),
    # the variables
    ("all missing", stored(lambda d: d * np.nan), "distill w.nc", "no observed value"),
    ("constant", stored(lambda d: d * 0 + 7), "distill w.nc", "is constant (7)"),
    ("text only", stored(lambda d: of_text(d)[["word"]]), "distill w.nc", "no numeric variable"),
    ("text chosen", stored(of_text), "distill w.nc --variable word", "cannot be forecast"),
    ("unknown variable", plain, "distill w.nc --variable t2mm", "did you mean 't2m'"),
    ("two candidates", stored(two_candidates), "distill w.nc", "Choose with --variable t2m ("),
    ("unselected level", stored(with_levels), "distill w.nc", "--select level=500"),
    ("absent level", stored(with_levels), "distill w.nc --select level=7", "has the values 500"),
    ("unknown dimension", plain, "distill w.nc --select lvel=1", "unknown dimension 'lvel'"),
    ("unknown static", plain, "distill w.nc --static elevatio", "static feature 'elevatio'"),
    # the task
    ("long horizon", plain, "distill w.nc --horizon 90", "no window of lookback 4 + horizon 90"),
    ("zero lookback", plain, "distill w.nc --lookback 0", "lookback is 0"),
    ("bad split", plain, "distill w.nc --split 0.9,0.2,0.2", "sum to 1"),
    ("two shares", plain, "distill w.nc --split 0.9,0.1", "3 numbers separated by commas"),
    ("no validation", plain, "distill w.nc --split 0.8,0,0.2", "validation part no time steps"),
    ("unknown calendar", plain, "distill w.nc --calendar hour", "unknown calendar feature"),
    (
        "weekday of 360_day",
        stored(three_sixty),
        "distill w.nc --calendar day_of_week",
        "no meaning in the '360_day' calendar",
    ),
    ("unknown graph", plain, "distill w.nc --graph kn", "did you mean 'knn'"),
    ("no graph file", plain, "distill w.nc --graph-file a.csv", "a.csv"),
    ("recipe's graph file", plain, "distill w.nc --graph los-loop", "which is not in"),
    ("three grid neighbours", plain, "distill w.nc --graph grid --neighbours 3", "4 or 8"),
    # distilling
    ("ratio 0", plain, "distill w.nc --time-ratio 0", "time_ratio is 0.0"),
    ("ratio above 1", plain, "distill w.nc --space-ratio 1.5", "space_ratio is 1.5"),
    ("ratio as text", plain, "distill w.nc --time-ratio ten", "must be a number, not ten"),
    ("negative seed", plain, "distill w.nc --seed -1", "seed is -1"),
    ("unknown clustering", plain, "distill w.nc --clustering kmean", "kmeans"),
    ("unknown labels", plain, "distill w.nc --labels experts", "expert"),
    ("unknown expert", plain, "distill w.nc --experts mlpp", "did you mean 'mlp'"),
    (
        "unknown synthesizer",
        plain,
        "distill w.nc --synthesizer slection",
        "did you mean 'selection'",
    ),
    (
        "unknown synthesizer option",
        plain,
        "distill w.nc --synthesizer gradient-matching --synthesizer-options iteration=3",
        "did you mean 'iterations'",
    ),
    ("zero expert updates", plain, "distill w.nc --expert-training.updates 0", "updates is 0"),
    ("distilling twice", model, "distill w.distilled.nc", "is a distilled set already"),
    # training
    ("unknown forecaster", model, "train w.distilled.nc --forecaster mtgn", "did you mean 'mtgnn'"),
    ("zero updates", model, "train w.distilled.nc --updates 0", "updates is 0"),
    ("bad rate", model, "train w.distilled.nc --learning-rate 0", "learning_rate is 0.0"),
    ("diverging", model, "train w.nc --learning-rate 1e30 --updates 30", "lower the learning rate"),
    ("unknown loss", model, "train w.distilled.nc --loss mea", "loss"),
    ("unknown schedule", model, "train w.distilled.nc --schedule cosin", "did you mean 'cosine'"),
    ("task is fixed", model, "train w.distilled.nc --lookback 3", "--lookback: no use here"),
    ("nothing to open", model, "train w.distilled.nc --null-value 0", "--null-value: no use here"),
    ("data twice", model, "train w.nc --data w.nc", "has its own validation part"),
    (
        "unknown hyper-parameter",
        model,
        "train w.distilled.nc --hyperparameters hiden=3",
        "hyper-parameter of 'mlp'",
    ),
    ("clusters are no grid", model, "train w.distilled.nc --forecaster simvp", "a regular grid"),
    ("nor for this one", model, "train w.distilled.nc --forecaster unet", "distilled set"),
    (
        "nor in a comparison",
        model,
        "evaluate w.distilled.nc --data w.nc --forecasters mlp,unet",
        "references random, random-expert, coreset, clustered, distilled are none",
    ),
    ("unfit validation", other_variable, "train w.distilled.nc --data other.nc", "t2m"),
    # predicting
    ("no forecaster", plain, "predict model w.nc", "is not a saved forecaster"),
    ("not a forecaster", not_a_model, "predict model w.nc", "has no config.json"),
    (
        "damaged weights",
        spoiled_model("weights.safetensors", "x"),
        "predict model w.nc",
        "cannot be read",
    ),
    ("damaged config", spoiled_model("config.json", "{"), "predict model w.nc", "cannot be read"),
    ("forecaster gone", other_forecaster, "predict model w.nc", "mlpp"),
    ("missing variable", other_variable, "predict model other.nc", "t2m"),
    ("chosen variable", model, "predict model w.nc --variable t2m", "--variable: no use here"),
    ("unknown init times", model, "predict model w.nc --init-times first", "init_times"),
    ("zero stride", model, "predict model w.nc --stride 0", "stride is 0"),
    # evaluating
    ("no data", model, "evaluate w.distilled.nc", "add --data w.nc"),
    ("not distilled", plain, "evaluate w.nc --data w.nc", "is not a distilled set"),
    ("no distilled file", plain, "evaluate x.nc --data w.nc", "there is no distilled file"),
    (
        "unknown method",
        model,
        "evaluate w.distilled.nc --data w.nc --references randm",
        "did you mean 'random'",
    ),
    ("no seeds", model, "evaluate w.distilled.nc --data w.nc --seeds 0", "seeds is 0"),
    (
        "nothing to rank",
        model,
        "evaluate w.distilled.nc --data w.nc --configurations 3",
        "--configurations is how many configurations --ranking trains: add --ranking",
    ),
    # the output
    ("output is input", plain, "distill w.nc -o w.nc", "is also an input"),
    ("output is a folder", occupied, "distill w.nc -o taken.nc", "is a folder"),
    ("output in a file", occupied, "distill w.nc -o file/w.nc", "is a file, not a folder"),
    ("output format", plain, "distill w.nc -o w.npz", "must end in .nc or .zarr"),
    ("folder in use", not_a_model, "train traffic-sim -o model", "replace it with --force"),
    ("results in a file", model, "evaluate w.distilled.nc --data w.nc -o w.nc", "is a file"),
    # the command line
    ("unknown command", nothing, "distil w.nc", "did you mean 'distill'"),
    ("unknown option", plain, "distill w.nc --time-ration 0.1", "did you mean '--time-ratio'"),
    ("option without value", plain, "distill w.nc --select", "--select needs a value"),
    ("no data named", nothing, "distill", "needs DATA"),
    ("too many words", plain, "distill w.nc more.nc", "unrecognized arguments: more.nc"),
    ("quiet and verbose", plain, "info w.nc --quiet --verbose", "contradict each other"),
    ("no action", nothing, "catalogue", "list | show | fetch"),
    ("misspelt action", nothing, "catalogue lst", "did you mean 'stemdist catalogue list'"),
    ("unknown recipe shown", nothing, "catalogue show metr-l", "did you mean 'metr-la'"),
    ("cannot be fetched", nothing, "catalogue fetch metr-la", "cannot be downloaded"),
    ("missing configuration", plain, "info w.nc --config c.yaml", "does not exist"),
    ("damaged configuration", config("{a: ["), "info w.nc --config c.yaml", "parsing config"),
    (
        "unknown key",
        config("lookbac: 3"),
        "info w.nc --config c.yaml",
        "did you mean 'lookback'",
    ),
    ("wrong type", config("lookback: x"), "info w.nc --config c.yaml", "--lookback must be"),
    ("unknown simulator", nothing, "simulate trafic-sim", "did you mean 'traffic-sim'"),
    ("unknown setting", nothing, "simulate traffic-sim --settings day=3", "did you mean 'days'"),
]


@pytest.mark.parametrize(
    ("make", "line", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_bad_input_is_one_clear_line(
    make: Make, line: str, message: str, run: Run, made: Path, tmp_path: Path
) -> None:
    make(made)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    settings = QUICK_DISTILL if line.startswith("distill w.nc") else ""
    first = " ".join(line.split()[:2])
    # The case's own options come last, so that they win over the quick settings.
    outcome = run(f"{first} {settings} {' '.join(line.split()[2:])}".strip())
    assert outcome.status == 2
    *stages, last = outcome.err.splitlines()
    assert last.startswith("stemdist: error: ")
    assert message in last
    assert all(line.startswith("stemdist: train: ") for line in stages)  # training began
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert after.keys() == before.keys()
    assert all(after[path] == before[path] for path in before if path.is_file())


def test_there_are_enough_cases() -> None:
    assert len({case[0] for case in CASES}) == len(CASES) >= 40


def test_a_table_with_unsorted_dates_is_refused(run: Run) -> None:
    dates = pd.date_range("2020", periods=40, freq="h").astype(str)
    table = pd.DataFrame({"date": dates[::-1], "a": np.arange(40.0), "b": np.arange(40.0) % 7})
    table.to_csv("t.csv", index=False)
    outcome = run("distill t.csv")
    assert outcome.status == 2
    assert "unsorted times" in outcome.err

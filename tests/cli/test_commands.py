"""The commands themselves: help, configuration, switches, results, exit statuses."""

from __future__ import annotations

import re
import resource
import shutil
import warnings
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
import yaml
from cli_cases import QUICK_DISTILL, Run, weather

import stemdist.cli
from stemdist.cli import COMMANDS, Command
from stemdist.cli.parser import CommandParser
from stemdist.distill import DistilledSet
from stemdist.distill.synthesizer import Synthesizer
from stemdist.markers import made_by


def examples(name: str) -> list[list[str]]:
    """The example command lines in the help of a command."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    documentation = getattr(import_module(module), attribute).__doc__
    lines = documentation.partition("Examples\n    --------\n")[2].splitlines()
    return [line.split() for line in lines if line.strip().startswith("stemdist ")]


def parser_of(name: str) -> CommandParser:
    module, _, attribute = COMMANDS[name].target.partition(":")
    return CommandParser(getattr(import_module(module), attribute), f"stemdist {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_examples_that_parse(name: str, run: Run) -> None:
    outcome = run(f"{name} --help")
    assert outcome.status == 0
    assert f"usage: stemdist {name}" in outcome.out
    lines = examples(name)
    assert lines
    parser = parser_of(name)
    for line in lines:
        assert " ".join(line) in " ".join(outcome.out.split())
        words = line[1:]
        assert " ".join(words).startswith(name)
        arguments = words[len(name.split()) :]
        if "--from" in arguments:  # the folder is the reader's
            place = arguments.index("--from")
            arguments[place : place + 2] = []
        if ">" in arguments:  # the rest is for the shell
            arguments = arguments[: arguments.index(">")]
        values = parser.parse_args(list(parser.canonical(arguments)))
        assert values is not None


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    unexplained = [
        action.dest
        for action in parser_of(name)._actions
        if not action.help or ("CONFIG" in (action.metavar or "") and action.dest != "config")
    ]
    assert [dest for dest in unexplained if "training" not in dest and dest != "judging"] == []


@pytest.mark.parametrize("line", ["", "--help", "-h"])
def test_the_overview_lists_every_command(line: str, run: Run) -> None:
    outcome = run(line)
    assert outcome.status == 0
    assert all(name in outcome.out for name in COMMANDS)


def test_version(run: Run) -> None:
    assert run("--version").out.startswith("stemdist 0.")


def test_catalogue_help_lists_its_actions(run: Run) -> None:
    outcome = run("catalogue --help")
    assert outcome.status == 0
    assert "catalogue fetch" in outcome.out


def test_print_config_is_a_config(run: Run, made: Path) -> None:
    shutil.copy(made / "w.nc", "w.nc")
    line = f"distill w.nc {QUICK_DISTILL} --select level=850,number=0 --split 0.5,0.3,0.2"
    printed = run(f"{line} --print-config")
    assert printed.status == 0
    values = yaml.safe_load(printed.out)
    assert values["split"] == [0.5, 0.3, 0.2]
    assert values["select"] == {"level": 850, "number": 0}
    assert values["expert_training"]["updates"] == 4
    Path("c.yaml").write_text(yaml.safe_dump({**values, "select": None}))
    outcome = run("distill --config c.yaml -o a.distilled.nc")
    assert (outcome.status, outcome.notes) == (0, "")
    assert DistilledSet.load("a.distilled.nc").settings.split.train == 0.5


@pytest.mark.parametrize("place", ["--debug info no.nc", "info no.nc --debug"])
def test_debug_shows_the_traceback(place: str, run: Run) -> None:
    outcome = run(place)
    assert outcome.status == 2
    assert "Traceback" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("stemdist: error: there is no file")


def failing(error: BaseException) -> Command:
    def run(self: Command, name: str, argv: list[str]) -> None:
        raise error

    return type("Failing", (Command,), {"run": run})(target="", summary="", resumes=True)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (RuntimeError("odd\nthing"), 1, "unexpected RuntimeError: odd thing. This is a bug"),
        (KeyboardInterrupt(), 130, "interrupted: run the same command again to continue"),
        (MemoryError(), 2, "not enough memory"),
    ],
)
def test_what_goes_wrong_is_one_line(
    error: BaseException, status: int, message: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stemdist.cli.COMMANDS, "info", failing(error))
    outcome = run("info w.nc")
    assert outcome.status == status
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_warnings_are_single_lines(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def listing() -> list[str]:
        warnings.warn("careful\nmore", UserWarning, stacklevel=1)
        return ["los-loop"]

    monkeypatch.setattr("stemdist.cli.catalogue.list_datasets", listing)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert "stemdist: warning: careful\n" in run("catalogue list").err
        assert run("catalogue list --quiet").err == ""


def test_the_error_of_what_is_saved_is_told_and_options_may_hold_commas(
    run: Run, made: Path
) -> None:
    shutil.copy(made / "w.nc", "w.nc")
    settings = QUICK_DISTILL.replace("--synthesizer selection", "")
    options = "surrogates=mlp,linear,final_surrogates=gru,iterations=1,final_iterations=2"
    options += ",steps=2,networks=2,patience=3"
    outcome = run(f"distill w.nc {settings} --synthesizer-options {options}")
    assert outcome.status == 0
    record = DistilledSet.load("w.distilled.nc").record
    assert record["settings"]["synthesizer_options"]["final_surrogates"] == "gru"
    last = [row["validation"] ** 0.5 for row in record["history"] if row["round"] == 2]
    assert len(last) == 1 + 2  # the start, and two iterations
    own = record["validation_error"] ** 0.5
    assert f"relative RMSE {own:.4f} of the saved windows" in outcome.out
    found = record["finalists"]
    assert own == pytest.approx(min(found.values()) ** 0.5 if found else min(last))
    kind = "learned windows" if record["learned"] else "real windows"
    assert f"saved           {kind} with soft labels" in outcome.out
    assert ("nothing learned was better" in outcome.out) == (not record["learned"])
    assert f"contents   {kind} with soft labels" in run("info w.distilled.nc").out


QUICKER = "iterations=3,patience=3,steps=3,networks=2,final_surrogates=gru,final_iterations=1"


def test_an_interrupted_run_continues(
    run: Run, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(made / "w.nc", "w.nc")
    settings = QUICK_DISTILL.replace("--synthesizer selection", "")
    line = f"distill w.nc {settings} --synthesizer-options {QUICKER}"
    judge, calls = Synthesizer._judge, []

    def interrupted(self: Synthesizer, *arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        judge(self, *arguments)

    monkeypatch.setattr(Synthesizer, "_judge", interrupted)
    stopped = run(line)
    assert (stopped.status, stopped.out) == (130, "")
    assert Path(".w.distilled.nc.stemdist-state").is_dir()
    assert not Path("w.distilled.nc").exists()
    resumed = run(line)
    assert resumed.status == 0
    assert "continuing with the state in" in resumed.err
    assert len(calls) == 1 + 1 + 2 + 1  # the first iteration was not repeated; a last round
    assert not Path(".w.distilled.nc.stemdist-state").exists()
    whole = run(f"{line} -o whole.nc")
    assert whole.status == 0
    one, other = DistilledSet.load("w.distilled.nc"), DistilledSet.load("whole.nc")
    assert one.windows.x.equal(other.windows.x)


@pytest.mark.parametrize(
    "line",
    [
        "simulate traffic-sim -o out.nc --settings days=2,n_sensors=100",
        "train {made}/w.nc --updates 2 -o model",
        "predict {made}/model {made}/w.nc -o out.nc",
        "distill {made}/w.nc -o out.nc --synthesizer selection",
    ],
)
def test_a_full_disk_leaves_nothing_behind(line: str, run: Run, made: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        outcome = run(line.format(made=made))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert outcome.status == 2
    *notes, error = outcome.notes.splitlines()
    assert error.startswith("stemdist: error: cannot write")
    assert "free some space" in error
    assert all("distilling takes about" in note for note in notes)
    assert not Path("out.nc").exists()
    assert not Path("model").exists()


def test_distill_prints_shapes_ratios_errors_and_next_steps(run: Run, made: Path) -> None:
    shutil.copy(made / "w.nc", "w.nc")
    outcome = run(f"distill w.nc {QUICK_DISTILL} --time-ratio 0.5 --clusters 3")
    for text in (
        "33 of 66",
        "3 of 12 locations",
        "window ratio",
        "training ratio",
        "byte ratio",
        "relative RMSE",
        "peak memory",
        "stemdist train w.distilled.nc --forecaster mlp -o w-mlp",
        "stemdist evaluate w.distilled.nc --data w.nc",
    ):
        assert text in outcome.out


def test_predict_writes_a_table(run: Run, made: Path) -> None:
    pytest.importorskip("pyarrow")
    line = f"predict {made}/model {made}/w.nc --init-times test --stride 4"
    table, array = run(f"{line} -o f.parquet"), run(f"{line} -o f.nc")
    assert table.status == array.status == 0
    assert table.out == array.out.replace("f.nc", "f.parquet")
    assert made_by("f.parquet") == "stemdist predict"
    frame = pd.read_parquet("f.parquet")
    with xr.open_dataset("f.nc") as stored:
        assert len(frame) == stored["t2m"].size
        assert frame["t2m"].mean() == pytest.approx(float(stored["t2m"].mean()), rel=1e-5)
    assert run(f"{line} -o f.csv").status == 2


def test_predict_writes_cf_netcdf_on_the_grid(run: Run, made: Path) -> None:
    outcome = run(f"predict {made}/model {made}/w.nc -o f.nc --init-times test --stride 4")
    assert outcome.status == 0
    with xr.open_dataset("f.nc") as forecast:
        assert forecast.attrs["Conventions"] == "CF-1.11"
        assert forecast["t2m"].dims == ("init_time", "horizon", "lat", "lon")
        assert forecast["t2m"].encoding["zlib"]
        assert forecast["t2m"].attrs["units"] == "K"
        steps = forecast["init_time"].diff("init_time").values
        assert set(steps.astype("timedelta64[h]").astype(int)) == {4}


def test_train_takes_full_data_and_validation_data(run: Run, made: Path) -> None:
    full = run(f"train {made}/w.nc --forecaster linear --updates 4 --lookback 5 --horizon 2")
    assert full.status == 0
    assert Path("w-linear/weights.safetensors").is_file()
    assert "2 steps" in full.out
    validated = run(f"train {made}/w.distilled.nc --data {made}/w.nc --updates 4 -o m")
    assert "RMSE" in validated.out
    again = run(f"train {made}/w.distilled.nc --data {made}/w.nc --updates 4 -o m")
    assert again.status == 0


def test_evaluate_prints_the_table_and_writes_files(run: Run, made: Path) -> None:
    line = (
        f"evaluate {made}/w.distilled.nc --data {made}/w.nc --forecasters linear --seeds 1 "
        "--references full,random,distilled --updates 3 --learning-rates 0.01 -o results"
    )
    outcome = run(line)
    assert outcome.status == 0
    assert "relative_rmse of t2m" in outcome.out
    assert Path("results/table.csv").read_text().count("\n") > 3
    assert Path("results/all.json").is_file()
    assert "relative_rmse of t2m" in Path("results/report.html").read_text()
    assert outcome.out.splitlines()[-1].split() == ["html", str(Path("results/report.html"))]


def test_compare_ranks_forecasters_and_shows_their_cost(run: Run, made: Path) -> None:
    options = "--seeds 2 --updates 3 --learning-rates 0.01 --lookback 4 --horizon 2 -o results"
    outcome = run(f"compare {made}/w.nc --forecasters linear,mlp {options}")
    assert outcome.status == 0
    table = outcome.out.partition("\n\n")[2].splitlines()
    assert table[0].split()[0] == "forecaster"
    ranked = [line.split("  ")[0] for line in table[1:] if line and line[0] != " "][:6]
    assert sorted(name for name in ranked if "(" not in name) == ["linear", "mlp"]
    assert "(persistence)" in ranked
    weights = {line.split()[0]: line.split()[-2] for line in table if line.startswith("linear ")}
    assert weights == {"linear": str(4 * 2 * 2 + 2)}  # lookback x features x horizon, and bias
    assert Path("results/table.csv").is_file()
    assert "<h1>Comparison of forecasters: w.nc</h1>" in Path("results/report.html").read_text()
    refused = run(f"compare {made}/w.nc --references full,random {options}")
    assert refused.status == 2
    assert (
        "--references: no use here, because every forecaster is trained on the full" in refused.err
    )


def test_targets_quantiles_and_known_future_reach_the_file(run: Run, made: Path) -> None:
    raw = weather()
    raw.assign(twice=2 * raw["t2m"], known=-raw["t2m"]).to_netcdf("more.nc")
    line = (
        "train more.nc --targets twice,t2m --future known --forecaster linear --updates 3 "
        "--loss quantile --quantiles 0.1,0.5,0.9 --lookback 4 --horizon 2 -o model"
    )
    outcome = run(line)
    assert outcome.status == 0, outcome.err
    assert "twice, t2m, 2 steps, quantiles 0.1, 0.5, 0.9" in outcome.out
    assert run("predict model more.nc -o forecast.nc").status == 0
    with xr.open_dataset("forecast.nc") as forecast:
        assert set(forecast.data_vars) == {"twice", "t2m"}
        assert forecast["twice"].sizes["quantile"] == 3


def test_info_reads_no_values_for_the_metadata(
    run: Run, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stemdist.data.checks.ValueSummary.add", None)
    outcome = run(f"info {made}/w.nc --no-scan")
    assert outcome.status == 0
    assert "3 lat x 4 lon" in outcome.out
    assert "values" not in outcome.out


def test_info_counts_missing_values_and_gaps(run: Run) -> None:
    data = weather().isel(time=[*range(10), *range(20, 120)])
    data["t2m"][:11] = float("nan")
    data.to_netcdf("w.nc")
    outcome = run("info w.nc --lookback 6 --horizon 6")
    assert "1: after 2020-01-01 09:00:00" in outcome.out
    # training: of steps 10 to 65
    assert "train 45, validation 11, test 11 windows of 6 + 6 steps" in outcome.out
    assert "missing 10 %" in outcome.out
    assert "stemdist distill w.nc --time-ratio 0.1" in outcome.out


def test_info_counts_locations_without_a_value(run: Run) -> None:
    data = weather()
    data.where(data["lat"] > 50).to_netcdf("w.nc")
    assert "missing 33.3 % (4 of 12 locations have no value)" in run("info w.nc").out


def test_info_suggests_nothing_where_no_window_fits(run: Run) -> None:
    weather().isel(time=slice(30)).to_netcdf("w.nc")  # 18 steps of training
    outcome = run("info w.nc")
    assert outcome.status == 0
    assert "no window of lookback 12 + horizon 12" in outcome.out
    assert "Use a shorter --lookback" in outcome.out
    assert "stemdist distill" not in outcome.out


def test_info_suggests_nothing_where_nothing_varies(run: Run) -> None:
    (weather() * 0 + 7).to_netcdf("w.nc")
    outcome = run("info w.nc")
    assert outcome.status == 0
    assert "constant (7), missing 0 %: nothing to forecast" in outcome.out
    assert "stemdist distill" not in outcome.out
    assert "stemdist distill w.nc" in run("info w.nc --no-scan").out  # it cannot know


def test_info_says_what_is_needed(run: Run) -> None:
    data = weather()
    data.assign(wind=data["t2m"] * 2).to_netcdf("w.nc")
    outcome = run("info w.nc")
    assert outcome.status == 0
    assert "Choose with --variable" in outcome.out


def test_info_of_a_distilled_set(run: Run, made: Path) -> None:
    assert "a distilled set" in run(f"info {made}/w.distilled.nc").out


def test_catalogue_and_simulate(run: Run) -> None:
    assert "los-loop" in run("catalogue list").out
    assert "Los-loop" in run("catalogue show los-loop").out
    outcome = run("simulate traffic-sim -o t.nc --settings days=1,n_sensors=4")
    assert outcome.status == 0
    assert "km h-1" in outcome.out
    assert run("info t.nc --variable speed").status == 0


def test_data_larger_than_the_budget_are_sampled(run, made, monkeypatch):
    monkeypatch.setattr("stemdist.distill.budget.IN_MEMORY", 1e9)
    outcome = run(f"info {made}/w.nc --memory 100GiB")
    assert outcome.status == 0
    assert "read in blocks and sampled" in outcome.out
    assert "time    about" in outcome.out
    assert "missing" not in outcome.out  # not read as a whole
    assert "--memory 100GiB" in outcome.out.splitlines()[-1]
    assert "missing" in run(f"info {made}/w.nc --scan --memory 100GiB").out
    line = f"distill {made}/w.nc {QUICK_DISTILL} --memory 100GiB --windows 5 --clusters 3"
    outcome = run(f"{line} -o tiny.nc")
    assert "a sample of it is distilled, to 5 windows and 3 clusters" in outcome.err
    tiny = DistilledSet.load("tiny.nc")
    assert (tiny.n_windows, tiny.n_clusters) == (5, 3)
    assert tiny.record["read"]["sample_locations"] > 3
    refused = run(f"distill {made}/w.nc --memory 10MiB")
    assert refused.status == 2
    assert "memory is '10MiB'" in refused.err


def test_a_line_for_each_stage_without_a_terminal(
    run: Run, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEMDIST_CACHE", str(tmp_path / "cache"))  # no expert is trained yet
    line = f"distill {made}/w.nc -o out.nc {QUICK_DISTILL} --expert-training.updates 5"
    outcome = run(line)
    assert outcome.status == 0
    assert outcome.stages
    assert all(stage.startswith("expert ") for stage in outcome.stages)
    assert outcome.notes == ""
    assert run(f"{line} --quiet").err == ""
    trained = run(f"train {made}/w.nc --updates 3 -o model")
    assert trained.stages == ["train"]
    begun, ended = trained.err.splitlines()
    assert begun == "stemdist: train: starting (3 updates)"
    assert re.fullmatch(r"stemdist: train: ended, 3 updates in \d+\.\d s", ended)

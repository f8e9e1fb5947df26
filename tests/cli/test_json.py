"""``--json``: one JSON object on standard output, whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from cli_cases import QUICK_DISTILL

import stemdist.cli
from stemdist.cli import COMMANDS, Command
from stemdist.cli.answer import Result, plain
from stemdist.cli.parser import CommandParser
from stemdist.errors import StemdistError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs/schemas/answer-1.json").read_text())
QUICK = "--forecasters linear --seeds 1 --updates 4 --learning-rates 0.005"


def no_number(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


@pytest.fixture
def answer(run):
    """Run a line with ``--json``; its answer, checked, and what is on standard error."""

    def answered(line):
        outcome = run(f"{line} --json")
        found = json.loads(outcome.out, parse_constant=no_number)
        assert outcome.out.count("\n") == 1
        jsonschema.validate(found, SCHEMA)
        assert found["exit_code"] == outcome.status
        return found, outcome.err

    return answered


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": 1, "status": "ok"}, SCHEMA)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_it(name, answer):
    module, _, attribute = COMMANDS[name].target.partition(":")
    parser = CommandParser(getattr(import_module(module), attribute), f"stemdist {name}")
    assert list(parser.canonical(["--json"])) == ["--json"]
    found, _ = answer(f"{name} --help")
    assert found["status"] == "ok"
    assert found["text"].startswith(f"usage: stemdist {name}")
    assert "--json" in found["text"]


def test_before_the_command_and_without_one(run, answer):
    assert json.loads(run("--json catalogue show metr-la").out)["command"] == "catalogue show"
    assert answer("--version")[0]["text"].startswith("stemdist 0.")
    assert answer("")[0]["text"].startswith("usage: stemdist COMMAND")


def test_from_data_to_a_forecast(answer, made):
    found, err = answer(f"distill {made}/w.nc -o w.distilled.nc {QUICK_DISTILL}")
    assert (found["status"], found["written"]) == ("ok", ["w.distilled.nc"])
    assert found["result"]["record"]["ratios"]["window_ratio"] > 0
    assert found["text"].startswith(f"distilled {made}/w.nc\n  written")
    assert "distilled" not in err

    found, _ = answer("train w.distilled.nc --updates 4 -o model")
    assert (found["result"]["forecaster"], found["result"]["units"]) == ("mlp", "K")
    found, _ = answer(f"predict model {made}/w.nc -o f.nc --verify")
    assert found["result"]["variables"]["t2m"]["units"] == "K"
    assert found["result"]["verification"][0]["forecaster"] == "model"
    found, _ = answer("info w.distilled.nc")
    assert found["result"]["distilled"] is True
    assert found["result"]["locations"] == 12
    found, _ = answer(f"evaluate model --data {made}/w.nc")
    assert [Path(path).name for path in found["written"]][1:] == ["table.csv", "by_horizon.csv"]


def test_comparisons(answer, made):
    found, _ = answer(f"evaluate {made}/w.distilled.nc --data {made}/w.nc -o e {QUICK}")
    assert found["result"]["verdict"]
    assert {row["forecaster"] for row in found["result"]["summary"]} >= {"linear"}
    assert "e/report.html" in found["written"]
    found, _ = answer(f"compare {made}/w.nc -o c {QUICK}")
    assert found["result"]["table"][0]["seed"] == 0


def test_info_of_a_file(answer, made, run):
    found, _ = answer(f"info {made}/w.nc")
    result = found["result"]
    assert (result["time"]["steps"], result["time"]["step_seconds"]) == (120, 3600.0)
    assert result["variables"]["t2m"] == {
        "dtype": "float32",
        "units": "K",
        "dimensions": ["time", "lat", "lon"],
        "usable": True,
    }
    assert result["values"]["t2m"]["missing_share"] == 0.0
    assert result["plan"]["in_memory"] is True


def test_small_commands(answer):
    found, err = answer("catalogue list")
    assert {"name": "traffic-sim", "how": "simulated"}.items() <= {
        row["name"]: row for row in found["result"]["datasets"]
    }["traffic-sim"].items()
    assert "stemdist catalogue show NAME tells more" in err
    found, _ = answer("simulate traffic-sim --settings days=1,n_sensors=4 -o t.nc")
    assert (found["result"]["steps"], found["written"]) == (288, ["t.nc"])
    found, _ = answer("tune traffic-sim --print-space")
    assert "mlp" in found["result"]["spaces"]


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("info no.nc", "InputError", "there is no file 'no.nc'"),
        ("inf no.nc", "StemdistError", "unknown command 'inf': did you mean 'info'?"),
        ("train x.nc --updats 3", "InputError", "did you mean '--updates'"),
        ("--unknown", "StemdistError", "unknown option '--unknown'"),
    ],
)
def test_errors_are_json_too(line, error, message, answer):
    found, err = answer(line)
    assert (found["status"], found["exit_code"]) == ("error", 2)
    assert found["error"]["type"] == error
    assert message in found["error"]["message"]
    assert not found["error"]["message"].startswith("error")
    assert message in err


def test_a_result_that_failed_in_part_is_kept(answer, monkeypatch):
    class Partly(Command):
        def run(self, name, argv):
            values = {"error": np.float32("nan"), "places": (1, 2)}
            return Result(values=values, written=["a.csv"], failure=StemdistError("one failed"))

    monkeypatch.setitem(stemdist.cli.COMMANDS, "info", Partly(target="", summary=""))
    found, _ = answer("info w.nc")
    assert (found["status"], found["error"]["message"]) == ("error", "one failed")
    assert (found["result"], found["written"]) == ({"error": None, "places": [1, 2]}, ["a.csv"])


def test_an_interruption(answer, monkeypatch):
    class Stopped(Command):
        def run(self, name, argv):
            raise KeyboardInterrupt

    monkeypatch.setitem(stemdist.cli.COMMANDS, "train", Stopped(target="", summary=""))
    found, _ = answer("train w.nc")
    assert (found["exit_code"], found["error"]["type"]) == (130, "Interrupted")


def test_warnings_are_heard_even_if_quiet(answer, made):
    line = f"info {made}/w.nc --null-value 280"
    loud, err = answer(line)
    quiet, silence = answer(f"{line} --quiet")
    assert loud["warnings"] == quiet["warnings"]
    assert all(text in err for text in loud["warnings"])
    assert silence == ""


def test_it_is_no_option_of_a_configuration(run, made):
    Path("c.yaml").write_text("json: true\n")
    outcome = run(f"info {made}/w.nc --config c.yaml")
    assert outcome.status == 2
    assert "unknown option 'json'" in outcome.err


def test_in_a_process_of_its_own_nothing_else_is_on_standard_output(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "stemdist", "info", "traffic-sim", "--no-scan", "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    jsonschema.validate(json.loads(done.stdout), SCHEMA)


def test_names_that_could_write_to_a_terminal_stay_inside_the_json(run):
    outcome = run("info no\x1b[2J.nc --json")
    assert "\x1b" not in outcome.out
    assert "\x1b" in json.loads(outcome.out)["error"]["message"] or "\\x1b" in outcome.out


def test_plain_keeps_what_json_has():
    import pandas as pd

    table = pd.DataFrame({"a": [np.nan, 1.5]}, index=pd.Index(["x", "y"], name="key"))
    assert plain(table) == [{"key": "x", "a": None}, {"key": "y", "a": 1.5}]
    assert plain({1: np.datetime64("2020-01-01"), "path": Path("a")}) == {
        "1": "2020-01-01",
        "path": "a",
    }

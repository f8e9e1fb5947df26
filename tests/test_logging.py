"""One logger, ``stemdist``: what docs/pipelines.md says of it."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from stemdist.cli import main

ROOT = Path(__file__).resolve().parents[1]


def test_every_logger_is_below_the_one() -> None:
    names = {
        (path.name, name)
        for path in (ROOT / "stemdist").rglob("*.py")
        for name in re.findall(r"getLogger\((.*?)\)", path.read_text(encoding="utf-8"))
    }
    known = {"__name__", '"stemdist"', '"stemdist.progress"'}
    assert {name for _, name in names} == known


def test_importing_configures_nothing() -> None:
    code = (
        "import logging, stemdist, stemdist.data, stemdist.forecast;"
        "log = logging.getLogger('stemdist');"
        "assert not log.handlers and log.level == logging.NOTSET and log.propagate;"
        "assert not logging.getLogger().handlers"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_command_leaves_the_logger_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("stemdist")
    before = (log.level, list(log.handlers))
    assert main(["catalogue", "show", "metr-la", "--verbose"]) == 0
    assert (log.level, list(log.handlers)) == before


@pytest.mark.parametrize(("option", "said"), [("", True), ("--verbose", True), ("--quiet", False)])
def test_a_command_says_how_far_it_is_where_there_is_no_terminal(
    option: str, said: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"simulate weather-sim -o {tmp_path}/w.nc --settings days=1,n_lat=3,n_lon=3 {option}"
    assert main(line.split()) == 0
    assert ("stemdist: simulate: starting (24 steps)" in capsys.readouterr().err) == said


def test_progress_is_no_warning_of_the_json_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"simulate weather-sim -o {tmp_path}/w.nc --settings days=1,n_lat=3,n_lon=3 --json"
    assert main(line.split()) == 0
    printed = capsys.readouterr()
    assert "simulate: starting" in printed.err
    assert json.loads(printed.out)["warnings"] == []


def test_warnings_of_libraries_go_through_the_logger(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def listing() -> list[str]:
        warnings.warn("careful", UserWarning, stacklevel=1)
        return ["metr-la"]

    monkeypatch.setattr("stemdist.cli.catalogue.list_datasets", listing)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["catalogue", "list", "--quiet"]) == 0
    assert ("stemdist", logging.WARNING, "warning: careful") in caplog.record_tuples

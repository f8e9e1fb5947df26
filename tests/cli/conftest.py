"""The command line, run inside the test process in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_cases import QUICK_DISTILL, Outcome, Run, weather

from stemdist.cli import main


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep experts and downloads out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEMDIST_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line, given as one text."""
    monkeypatch.chdir(tmp_path)

    def run_line(line: str) -> Outcome:
        status = main(line.split())
        printed = capsys.readouterr()
        return Outcome(status, printed.out, printed.err)

    return run_line


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data file, its distilled set and a forecaster trained on it."""
    folder = tmp_path_factory.mktemp("made")
    weather().to_netcdf(folder / "w.nc")
    lines = (
        f"distill {folder}/w.nc -o {folder}/w.distilled.nc --quiet {QUICK_DISTILL}",
        f"train {folder}/w.distilled.nc -o {folder}/model --updates 4 --quiet",
    )
    for line in lines:
        assert main(line.split()) == 0
    return folder

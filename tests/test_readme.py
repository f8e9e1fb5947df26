"""The README's two commands are the ones that are tested."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUN_COMMAND = 'pip install -c constraints.txt ".[report]" && stemdist distill traffic-sim'
TEST_COMMAND = 'pip install -c constraints.txt -e ".[test]" && pytest'


@pytest.mark.parametrize("command", [RUN_COMMAND, TEST_COMMAND])
def test_readme_gives_the_command_on_a_line_of_its_own(command: str) -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert command in [line.split("  #")[0].strip() for line in lines]


def test_ci_runs_the_test_command_word_for_word() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert TEST_COMMAND in [line.strip() for line in lines]


def test_ci_script_is_executable_and_parses() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize("failing", ["pip", "pytest", "ruff", "lint-imports", "mypy"])
def test_ci_fails_when_one_step_fails(failing: str, tmp_path: Path) -> None:
    steps = dict.fromkeys(("pip", "pytest", "ruff", "lint-imports", "mypy"), "exit 0")
    steps["python3"] = 'mkdir -p "$3/bin" && touch "$3/bin/activate"'
    steps[failing] = "exit 7"
    for name, command in steps.items():
        stand_in = tmp_path / name
        stand_in.write_text(f"#!/bin/sh\n{command}\n")
        stand_in.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "PATH": path, "TMPDIR": str(scratch)}
    done = subprocess.run([ROOT / ".ci" / "run"], env=environment, check=False)
    assert done.returncode == 7
    assert list(scratch.iterdir()) == []


def test_github_workflow_calls_the_same_script() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "- run: .ci/run" in workflow
    assert all(f'"{version}"' in workflow for version in ("3.11", "3.12", "3.13"))

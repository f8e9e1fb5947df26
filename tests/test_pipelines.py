"""What docs/pipelines.md says of commands is what they do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from stemdist.cli import COMMANDS
from stemdist.cli.failures import EXIT_CODES

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")


def test_the_exit_codes_are_those_of_the_program() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE))
    assert {int(code): text for code, text in rows.items()} == EXIT_CODES


def test_the_fields_are_those_of_the_schema() -> None:
    schema = json.loads((ROOT / "docs/schemas/answer-1.json").read_text())
    table = PAGE.partition("| field | content |")[2].partition("\n\n")[0]
    named = [name for line in table.splitlines() for name in line.split("|")[1:2]]
    assert set(re.findall(r"`(\w+)`", " ".join(named))) == set(schema["properties"])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_table_of_results(name: str) -> None:
    table = PAGE.partition("| command | names in `result` |")[2].partition("\n\n")[0]
    firsts = " ".join(line.split("|")[1] for line in table.splitlines() if line.count("|") > 1)
    assert f"`{name.split()[0]}" in firsts
    assert f"{name.split()[-1]}`" in firsts


def test_commands_that_go_on_are_those_that_resume() -> None:
    sentence = PAGE.partition("if it is one that takes long: ")[2].partition(".")[0]
    resuming = [name for name, command in COMMANDS.items() if command.resumes]
    assert re.findall(r"`(\w+)`", sentence) == resuming

"""Completion in a real shell: what the script answers to a line that is being typed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stemdist.cli import COMMANDS, main
from stemdist.data import list_datasets

ASK = """
source {script}
words=({line})
COMP_WORDS=("${{words[@]}}" {last})
COMP_CWORD=${{#words[@]}}
_shtab_stemdist stemdist {last} "${{words[-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "zsh"):
        with pytest.MonkeyPatch.context() as patch, (folder / shell).open("w") as out:
            patch.setattr(sys, "stdout", out)
            assert main(["completion", shell]) == 0
    return folder


def answers(scripts: Path, line: str, folder: Path) -> set[str]:
    """The completions of the last word of a line, which may be empty."""
    words = line.split(" ")
    ask = ASK.format(script=scripts / "bash", line=" ".join(words[:-1]), last=f"'{words[-1]}'")
    done = subprocess.run(
        ["bash", "--norc", "-c", ask], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_commands(scripts, tmp_path):
    firsts = {name.split()[0] for name in COMMANDS}
    assert firsts <= answers(scripts, "stemdist ", tmp_path)
    assert answers(scripts, "stemdist di", tmp_path) == {"distill"}
    assert answers(scripts, "stemdist catalogue ", tmp_path) == {"list", "show", "fetch"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("stemdist distill x.nc --time-r", {"--time-ratio"}),
        ("stemdist distill x.nc --effort ", {"quick", "default", "thorough"}),
        ("stemdist train t.nc --forecaster mtg", {"mtgnn"}),
        ("stemdist train t.nc --fo", {"--forecaster", "--force"}),
        ("stemdist teach --teacher-training.up", {"--teacher-training.updates"}),
        ("stemdist catalogue show metr", {"metr-la"}),
        ("stemdist completion ", {"bash", "zsh"}),
        ("stemdist leaderboard build --js", {"--json"}),
    ],
)
def test_options_and_values(scripts, tmp_path, line, expected):
    assert answers(scripts, line, tmp_path) == expected


def test_data_are_files_and_names_of_the_catalogue(scripts, tmp_path):
    (tmp_path / "traffic.nc").touch()
    found = answers(scripts, "stemdist distill traffic", tmp_path)
    assert found == {"traffic.nc", "traffic-sim"}
    assert set(list_datasets()) <= answers(scripts, "stemdist info ", tmp_path)
    assert answers(scripts, "stemdist train x.nc --data traf", tmp_path) == {"traffic.nc"}


def test_the_script_for_zsh(scripts):
    script = (scripts / "zsh").read_text()
    assert script.startswith("#compdef stemdist")
    assert all(f"    {name.split()[0]}:" in script for name in COMMANDS)
    if shutil.which("zsh"):
        subprocess.run(["zsh", "-n", scripts / "zsh"], check=True)


def test_hidden_options_are_not_offered(scripts, tmp_path):
    assert answers(scripts, "stemdist distill x --judging.pat", tmp_path) == set()


def test_without_shtab_it_is_said_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert 'pip install "stemdist[completion]"' in capsys.readouterr().err


def test_an_unknown_shell(capsys):
    assert main(["completion", "fish"]) == 2
    assert "SHELL must be one of bash, zsh, not fish" in capsys.readouterr().err

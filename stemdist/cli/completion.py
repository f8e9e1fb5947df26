"""``stemdist completion bash | zsh``: the script by which a shell completes commands and options.

Parsers of commands are made when a command runs. Here all of them are made, and what can be typed
is copied to one parser of argparse, from which shtab writes a script that needs no Python later.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Literal

from stemdist.cli.answer import Result
from stemdist.cli.console import Console
from stemdist.cli.option_types import choices_of
from stemdist.data import list_datasets
from stemdist.dependencies import require

if TYPE_CHECKING:
    from stemdist.cli.parser import CommandParser

_NAMED = ("catalogue show", "catalogue fetch")
"""Commands whose argument is a data set of the catalogue."""

_DATA = {"bash": "_stemdist_data", "zsh": "_files"}
"""How a file or a data set is completed."""


def completion(shell: Literal["bash", "zsh"], *, console: Console) -> Result:
    """Print the script by which a shell completes commands, options and their values.

    The script holds the commands, options and data sets of this installation: write it again
    after an update, or when a plug-in was added.

    Parameters
    ----------
    shell : str
        Which shell: bash or zsh.

    Examples
    --------
      stemdist completion bash > ~/.local/share/bash-completion/completions/stemdist
      stemdist completion zsh > ~/.zfunc/_stemdist

    Needs pip install "stemdist[completion]".
    """
    shtab = require("shtab", "completion", "the script")
    function = (
        f"{_DATA['bash']}() {{\n  compgen -f -- $1\n"
        f'  compgen -W "{" ".join(list_datasets())}" -- $1\n}}\n'
    )
    script = shtab.complete(whole_parser(shtab.FILE), shell, preamble={"bash": function})
    print(script, end="")
    return Result(values={"shell": shell, "script": script})


def whole_parser(file: Any) -> argparse.ArgumentParser:
    """Return one parser with every command and what can be typed after it.

    Parameters
    ----------
    file : object
        Marks an argument as a file.
    """
    from stemdist.cli import COMMANDS
    from stemdist.cli.parser import CommandParser

    root = argparse.ArgumentParser("stemdist")
    root.add_argument("--version", action="store_true", help="print the version and exit")
    places = {"": root.add_subparsers()}
    for name, command in COMMANDS.items():
        group, _, last = name.rpartition(" ")
        if group not in places:
            places[group] = places[""].add_parser(group, help=group).add_subparsers()
        target = places[group].add_parser(last, help=command.summary, add_help=False)
        names = list_datasets() if name in _NAMED else None
        _copy(CommandParser(command.function(), f"stemdist {name}"), target, file, names)
    return root


def _copy(
    source: CommandParser, target: argparse.ArgumentParser, file: Any, names: list[str] | None
) -> None:
    """Copy what can be typed, with the choices of each value."""
    for action in source.words():
        text = (action.help or "").replace("%", "%%")  # argparse fills in what follows a single one
        how: dict[str, Any] = {"help": text, "default": argparse.SUPPRESS}
        choices = getattr(action, "completed", None)
        if not action.option_strings:
            choices = names or choices_of(getattr(action, "_typehint", None)) or None
            copied = target.add_argument(action.dest, nargs=action.nargs, choices=choices, **how)
            if not choices:
                copied.complete = _DATA  # type: ignore[attr-defined]
        elif action.nargs == 0 or action.metavar == "":
            target.add_argument(*action.option_strings, action="store_true", **how)
        else:
            copied = target.add_argument(*action.option_strings, choices=choices, **how)
            if not choices and action.metavar in (None, "TEXT"):
                copied.complete = file  # type: ignore[attr-defined]

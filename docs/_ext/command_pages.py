"""The page of each command, from its parser: all options, as the command line reads them."""

from __future__ import annotations

import re
from importlib import import_module
from textwrap import dedent

from rst import directive, escape, heading, page, table, toctree

from stemdist.cli import COMMANDS
from stemdist.cli.parser import CommandParser


def parser_of(name: str) -> CommandParser:
    """Return the parser of a command."""
    module, _, function = COMMANDS[name].target.partition(":")
    return CommandParser(getattr(import_module(module), function), f"stemdist {name}")


def command_page(name: str) -> str:
    """Return the page of a command."""
    parser = parser_of(name)
    groups = dict(parser.entries())
    groups["help and configuration"] = groups.pop("options")  # argparse puts them first
    options = [
        part
        for title, entries in groups.items()
        for part in (
            heading(title[:1].upper() + title[1:], "-"),
            *(directive("option", typed, escape(text)) for typed, text in entries),
        )
    ]
    _, _, examples = (parser.epilog or "").partition("\n")
    return page(
        heading(f"stemdist {name}"),
        directive("program", f"stemdist {name}"),
        directive("code-block", "none", parser.usage),
        _prose(parser.description or ""),
        heading("Examples", "-") if examples else "",
        _prose(examples),
        *options,
    )


def command_pages() -> dict[str, str]:
    """Return the pages of all commands, and one that lists them, by file."""
    files = {name: f"commands/{name.replace(' ', '-')}" for name in COMMANDS}
    rows = [
        (f":doc:`stemdist {name} </reference/{files[name]}>`", escape(command.summary))
        for name, command in COMMANDS.items()
    ]
    listing = page(
        heading("Commands"),
        "``stemdist COMMAND --help`` shows the usual options of a command, ``--help-all`` all of "
        "those listed here.",
        table(("command", "what it does"), rows),
        toctree(*(f"/reference/{file}" for file in files.values()), hidden=""),
    )
    return {
        "commands/index.rst": listing,
        **{f"{file}.rst": command_page(name) for name, file in files.items()},
    }


def _prose(text: str) -> str:
    """Return the paragraphs of a help text; what it sets apart by spaces stays as it is."""
    parts = []
    for block in filter(str.strip, re.split(r"\n\s*\n", text)):
        lines = block.strip("\n").splitlines()
        aside = all(line.startswith(" ") for line in lines)
        parts.append(directive("code-block", "console", dedent(block)) if aside else escape(block))
    return "\n\n".join(parts)

"""The documentation speaks of files that exist, and of commands and code that are right."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from stemdist.cli import COMMANDS
from stemdist.cli.parser import CommandParser

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
WRITTEN = [page for page in sorted(DOCS.rglob("*.md")) if DOCS / "_build" not in page.parents]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *WRITTEN]
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE = re.compile(r"^ *```([\w{}-]*(?: python)?)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
CELL = "{code-cell} python"  # of a tutorial, which runs when the site is built
STATEMENTS = ("|", ">", "<", "&&", "#")  # where the shell takes over


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in some languages; "" is a block without one."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [text for language, text in found if language in languages]


def command_lines() -> list[tuple[str, str]]:
    """Every ``stemdist COMMAND ...`` in a fenced block, with the page it is on."""
    return [
        (page_name(page), part.strip())
        for page in PAGES
        for block in blocks(page, "", "bash", "sh", "console")
        for line in block.splitlines()
        for part in line.removeprefix("$ ").split("&&")
        if part.strip().startswith("stemdist ")
    ]


def parser_of(name: str) -> CommandParser:
    module, _, attribute = COMMANDS[name].target.partition(":")
    return CommandParser(getattr(import_module(module), attribute), f"stemdist {name}")


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_relative_links_resolve(page: Path) -> None:
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    links = [link for link in LINK.findall(prose) if not re.match(r"[a-z]+:|#", link)]
    broken = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]
    assert broken == []


def anchors(page: Path) -> set[str]:
    """What GitHub and the site call the headings of a page."""
    found = HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_to_headings_resolve(page: Path) -> None:
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    links = [
        link.partition("#") for link in LINK.findall(prose) if ".md#" in link or link[0] == "#"
    ]
    targets = [(page.parent / file if file else page, anchor) for file, _, anchor in links]
    included = {DOCS / "contributing.md": ROOT / "CONTRIBUTING.md"}
    wanted = [(included.get(file.resolve(), file), anchor) for file, anchor in targets]
    assert [(file, anchor) for file, anchor in wanted if anchor not in anchors(file)] == []


def test_there_are_commands_to_check() -> None:
    assert {"README.md", "docs/quickstart.md"} <= {page for page, _ in command_lines()}


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_commands_parse(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    words = words[: next((i for i, word in enumerate(words) if word in STATEMENTS), None)]
    name = next(name for name in (" ".join(words[:2]), words[0]) if name in COMMANDS)
    arguments = words[len(name.split()) :]
    if "--print-config" in arguments:
        arguments.remove("--print-config")  # it prints and exits
    for option in {"--config", "--from"} & set(arguments):
        place = arguments.index(option)
        arguments[place : place + 2] = []  # the file is the reader's, and may name the data
        arguments = arguments or ["DATA"]
    parser = parser_of(name)
    assert parser.parse_args(list(parser.canonical(arguments))) is not None


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_python_blocks_compile(page: Path) -> None:
    for block in blocks(page, "python", CELL):
        code = re.sub(r"^:tags:.*\n", "", block)
        compile(code, page_name(page), "exec")


TUTORIALS = [page for page in WRITTEN if page.parent.name == "tutorials" and blocks(page, CELL)]


def test_the_index_names_every_tutorial() -> None:
    index = (DOCS / "tutorials" / "index.md").read_text(encoding="utf-8")
    assert len(TUTORIALS) >= 3
    assert [page.name for page in TUTORIALS if f"]({page.name})" not in index] == []


@pytest.mark.parametrize("page", TUTORIALS, ids=page_name)
def test_a_tutorial_is_a_notebook(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["kernelspec"]["name"] == "python3"
    assert body.count("```{") == len(blocks(page, CELL))  # every cell is closed and of Python


def test_plugin_examples_run() -> None:
    (toml,) = blocks(ROOT / "docs" / "plugins.md", "toml")
    examples = blocks(ROOT / "docs" / "plugins.md", "python")
    made: dict[str, object] = {}
    for block in examples:
        exec(compile(block, "plugins.md", "exec", dont_inherit=True), made)
    named = re.findall(r'"my_package\.\w+:(\w+)"', toml)
    assert len(named) == len(examples)
    assert set(named) <= set(made)

"""The reference of the site has every public name, and every option of every command."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from api_pages import MORE, PACKAGES, named, public_names, registries
from command_pages import parser_of
from fallback_inventories import write_inventory
from generated_pages import reference_pages, write_pages
from rst import escape

from stemdist.cli import COMMANDS
from stemdist.data import list_datasets, list_graphs

ROOT = Path(__file__).resolve().parents[1]
OPTION = re.compile(r"^\.\. option:: (.*)$", re.MULTILINE)
LISTED = re.compile(r"^ {3}(stemdist\.[\w.]+)$|^\.\. py:data:: (.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference_pages()


def test_packages_are_those_that_contributing_calls_public() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (names,) = re.findall(r"`__all__` of its packages \((.*?)\)", text, re.DOTALL)
    called = [name.removeprefix("stemdist") for name in re.findall(r"`([\w.]+)`", names)]
    assert sorted(PACKAGES) == sorted(f"stemdist{name}" for name in ["", *called])


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_listed(package: str, pages: dict[str, str]) -> None:
    listed = {a or b for a, b in LISTED.findall(pages[f"api/{package}.rst"])}
    there = {id(named(path)) for path in listed}
    objects = public_names()[package]
    assert [name for name, item in objects.items() if id(item) not in there] == []
    assert len(there) == len({id(item) for item in objects.values()})


@pytest.mark.parametrize("name", MORE)
def test_further_names_exist(name: str, pages: dict[str, str]) -> None:
    for path in MORE[name][2]:
        assert named(path)
        assert path in pages[f"api/{name}.rst"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_listed(name: str, pages: dict[str, str]) -> None:
    file = f"commands/{name.replace(' ', '-')}"
    parser = parser_of(name)
    typed = {
        text
        for action in parser._actions
        for text in action.option_strings or [action.dest.upper()]
        if action.dest not in parser._hidden
    }
    written = OPTION.findall(pages[f"{file}.rst"])
    assert {
        word for line in written for word in line.split(" ...")[0].replace(",", " ").split()
    } >= typed
    names = {word.rstrip(",") for line in written for word in line.split() if word.startswith("-")}
    assert names == {text for text in typed if text.startswith("-")}
    assert f"</reference/{file}>" in pages["commands/index.rst"]


def test_an_option_has_its_help_and_default(pages: dict[str, str]) -> None:
    text = pages["commands/distill.rst"]
    assert (
        f".. option:: --time-ratio NUMBER\n\n   {escape('share of the training windows')}" in text
    )
    assert escape("(default: 0.1)") in text


def test_registries_are_the_entry_points_of_the_plug_in_page() -> None:
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    groups = {registry.group for registry in registries().values()}
    assert groups == set(re.findall(r"^## `(stemdist\.\w+)`", text, re.MULTILINE))


@pytest.mark.parametrize("word", registries())
def test_every_built_in_name_has_a_section(word: str, pages: dict[str, str]) -> None:
    text = pages[f"registries/{word}.rst"]
    for name in registries()[word].names():
        assert f"\n{name}\n{'-' * len(name)}\n\n.. auto" in text


def test_every_recipe_is_in_the_catalogue(pages: dict[str, str]) -> None:
    text = pages["catalogue/index.rst"]
    assert [name for name in list_datasets() if f"\n{name}\n^^^" not in text] == []
    assert [name for name in list_graphs() if f"``{name}``" not in text] == []


def test_only_what_changed_is_written_and_what_is_gone_is_removed(tmp_path: Path) -> None:
    app = SimpleNamespace(srcdir=tmp_path)
    write_pages(app, None)
    listing = tmp_path / "reference" / "commands" / "index.rst"
    gone = listing.with_name("no-command.rst")
    name = tmp_path / "reference" / "api" / "names"
    name.mkdir()
    (name / "stemdist.train.rst").write_text("")
    (name / "stemdist.no_function.rst").write_text("")
    gone.write_text("")
    before = listing.stat().st_mtime_ns
    write_pages(app, None)
    assert not gone.exists()
    assert [path.stem for path in name.iterdir()] == ["stemdist.train"]
    assert listing.stat().st_mtime_ns == before


def test_a_fallback_inventory_has_the_form_of_sphinx(tmp_path: Path) -> None:
    path = tmp_path / "x.inv"
    write_inventory(path, "torch", "generated/{name}.html#{name}", ("torch.nn.Module",))
    head, _, body = path.read_bytes().partition(b"zlib.\n")
    assert head.startswith(b"# Sphinx inventory version 2\n# Project: torch\n")
    place = "generated/torch.nn.Module.html#torch.nn.Module"
    assert zlib.decompress(body).decode() == f"torch.nn.Module py:class 1 {place} -\n"

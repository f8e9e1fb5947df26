"""Pieces of reStructuredText for the generated pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from textwrap import indent

_MARKUP = re.compile(r"([\\*`|_:<>])")


def escape(text: str) -> str:
    """Return plain text such that nothing in it is markup."""
    return _MARKUP.sub(r"\\\1", text)


def heading(text: str, mark: str = "=") -> str:
    """Return a heading."""
    return f"{text}\n{mark * len(text)}"


def directive(name: str, argument: str = "", body: str = "", **options: object) -> str:
    """Return a directive with its options and body."""
    lines = [f".. {name}:: {argument}".rstrip()]
    lines += [f"   :{key.replace('_', '-')}: {value}".rstrip() for key, value in options.items()]
    return "\n".join(lines) + (f"\n\n{indent(body, '   ')}" if body else "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its cells are reStructuredText."""
    cells = ["\n  - ".join(row) for row in [head, *rows]]
    return directive("list-table", body="* - " + "\n* - ".join(cells), header_rows=1)


def page(*parts: str) -> str:
    """Return a page of several parts."""
    return "\n\n".join(filter(None, parts)) + "\n"


def toctree(*entries: str, **options: object) -> str:
    """Return a table of contents."""
    return directive("toctree", body="\n".join(entries), **options)

"""Pieces of Markdown made from foreign texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

UNKNOWN = "unknown"

_SPECIAL = re.compile(r"([\\`*_\[\]<>|])")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


def text_of(value: object) -> str:
    r"""Return a foreign text as one line that Markdown shows as it is; ``unknown`` if empty.

    Examples
    --------
    >>> text_of("a|b\n<script>"), text_of(None), text_of("https://a.org/x_y")
    ('a\\|b \\<script\\>', 'unknown', 'https://a.org/x\\_y')
    """
    line = _BLANK.sub(" ", "" if value is None else str(value)).strip()
    return _SPECIAL.sub(r"\\\1", line) or UNKNOWN


def table_of(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; cells are Markdown already.

    Examples
    --------
    >>> print(table_of(["name", "value"], [["a", "1"]]))
    | name | value |
    |---|---|
    | a | 1 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(_row(line) for line in lines)


def _row(cells: Sequence[str]) -> str:
    if set(cells) == {"---"}:
        return f"|{'|'.join(cells)}|"
    return f"| {' | '.join(cells)} |"


def fields_of(fields: Mapping[str, object]) -> str:
    """Return names and foreign values as a table."""
    return table_of(["", ""], [[name, text_of(value)] for name, value in fields.items()])

"""JSON with the line of each value, so that a fault can be shown where it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

Path_ = tuple[str | int, ...]
"""Keys and positions that lead to a value."""


@dataclass(frozen=True)
class Located:
    """A value read from JSON, with lines.

    Parameters
    ----------
    value : object
        What the text holds; NaN and infinities are numbers.
    lines : mapping
        Line of each value by its path.
    repeated : tuple
        Path and line of keys that an object has twice.
    """

    value: Any
    lines: Mapping[Path_, int]
    repeated: tuple[tuple[Path_, int], ...]

    @classmethod
    def read(cls, text: str) -> Located:
        r"""Read JSON.

        Raises
        ------
        json.JSONDecodeError
            If it is not JSON.

        Examples
        --------
        >>> found = Located.read('{"a": 1,\n "b": [2,\n 3]}')
        >>> found.line(("b", 1)), found.line(("c",))
        (3, 1)
        """
        value = json.loads(text)
        lines: dict[Path_, int] = {(): 1}
        repeated: list[tuple[Path_, int]] = []
        try:
            # JSON is YAML but for tabs, which stand between its values only.
            root = yaml.compose(text.replace("\t", " "), Loader=yaml.SafeLoader)
        except yaml.YAMLError:
            root = None
        _walk(root, (), lines, repeated)
        return cls(value, lines, tuple(repeated))

    def line(self, path: Path_) -> int:
        """Return the line of a value, or of the nearest one that holds it."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


def _walk(
    node: yaml.Node | None,
    path: Path_,
    lines: dict[Path_, int],
    repeated: list[tuple[Path_, int]],
) -> None:
    if node is None:
        return
    lines[path] = node.start_mark.line + 1
    inside: list[tuple[str | int, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        keys = [(key.value, key.start_mark.line + 1) for key, _ in node.value]
        seen: set[str] = set()
        repeated += [((*path, key), line) for key, line in keys if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
        inside = [(key.value, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        inside = list(enumerate(node.value))
    for key, value in inside:
        _walk(value, (*path, key), lines, repeated)

"""Named choices: built-ins listed explicitly, others through entry points."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar, cast

from stemdist.errors import InputError, unknown_name

T = TypeVar("T")


class Registry(Generic[T]):
    """A lazily imported table of named objects of one kind.

    Parameters
    ----------
    kind : str
        What is named, in the user's words, e.g. ``"forecaster"``.
    builtins : mapping of str to str
        Name to ``"module:attribute"``; the module is imported on first use.
    group : str
        Entry point group through which other packages add names. A plug-in cannot
        replace a built-in.

    Examples
    --------
    >>> maths = Registry("function", {"sqrt": "math:sqrt"}, group="stemdist.example")
    >>> maths.get("sqrt")(9.0)
    3.0
    """

    def __init__(self, kind: str, builtins: Mapping[str, str], group: str) -> None:
        self.kind = kind
        self.group = group
        self._builtins = dict(builtins)

    def _plugins(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for point in entry_points(group=self.group):
            if point.name in self._builtins:
                raise InputError(
                    f"the plug-in {point.value!r} offers a {self.kind} named {point.name!r}, "
                    f"which is built in: give it another name in its {self.group!r} entry point"
                )
            found[point.name] = point
        return found

    def names(self) -> list[str]:
        """Return every valid name, sorted."""
        return sorted([*self._builtins, *self._plugins()])

    def get(self, name: str) -> T:
        """Return the object called ``name``; a miss lists the choices."""
        if name in self._builtins:
            module, _, attribute = self._builtins[name].partition(":")
            return cast(T, getattr(import_module(module), attribute))
        plugins = self._plugins()
        if name in plugins:
            return cast(T, plugins[name].load())
        raise unknown_name(self.kind, name, [*self._builtins, *plugins])

"""Named choices: built-ins listed explicitly, others through entry points."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar, cast

from stemdist.errors import InputError, unknown_name

T = TypeVar("T")

log = logging.getLogger(__name__)
_said: set[str] = set()


def _warn_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        log.warning(text)


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
            if point.name in self._builtins or point.name in found:
                owner = "is built in" if point.name in self._builtins else "another one offers too"
                _warn_once(
                    f"the plug-in {point.value!r} offers a {self.kind} named {point.name!r}, which "
                    f"{owner}, and is left out: give it another name in its {self.group!r} entry "
                    "point"
                )
                continue
            found[point.name] = point
        return found

    def names(self) -> list[str]:
        """Return every valid name, sorted."""
        return sorted([*self._builtins, *self._plugins()])

    def usable(self) -> dict[str, T]:
        """Return every object that can be loaded, by name; plug-ins that cannot are named."""
        found: dict[str, T] = {}
        for name in self.names():
            try:
                found[name] = self.get(name)
            except InputError as error:
                if name in self._builtins:
                    raise
                _warn_once(str(error))
        return found

    def _loaded(self, point: EntryPoint) -> T:
        try:
            return cast(T, point.load())
        except Exception as error:  # whatever somebody's module raises when it is imported
            raise InputError(
                f"the plug-in {point.value!r}, which offers the {self.kind} {point.name!r}, cannot "
                f"be loaded ({type(error).__name__}: {' '.join(str(error).split())}): correct it, "
                "or uninstall the package it comes from"
            ) from error

    def get(self, name: str) -> T:
        """Return the object called ``name``; a miss lists the choices."""
        if name in self._builtins:
            module, _, attribute = self._builtins[name].partition(":")
            return cast(T, getattr(import_module(module), attribute))
        plugins = self._plugins()
        if name in plugins:
            return self._loaded(plugins[name])
        raise unknown_name(self.kind, name, [*self._builtins, *plugins])

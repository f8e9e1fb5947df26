"""From arguments to the call of a command."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar, is_typeddict

from jsonargparse import Namespace

from stemdist.cli.answer import Result
from stemdist.cli.console import Console
from stemdist.cli.option_types import (
    Given,
    is_group,
    type_hints,
)
from stemdist.cli.parser import CommandParser
from stemdist.data.downloads import requested_once
from stemdist.errors import InputError

Command = TypeVar("Command", bound=Callable[..., Result])


def usual_options(
    *names: str,
    renamed: Mapping[str, str] | None = None,
    configured_by: Mapping[str, tuple[str, str]] | None = None,
) -> Callable[[Command], Command]:
    """Mark the options of a command that ``--help`` shows; ``--help-all`` shows all.

    Parameters
    ----------
    *names : str
        Parameters and fields of groups; several in a text, between spaces.
    renamed : mapping, optional
        Earlier names of options and their present ones, which are understood for one release.
    configured_by : mapping, optional
        Options that name a folder of results, the configuration in it that is read as
        ``--config`` reads one, and their help.
    """

    def mark(function: Command) -> Command:
        function.usual, function.renamed = frozenset(" ".join(names).split()), renamed or {}  # type: ignore[attr-defined]
        function.configured_by = configured_by or {}  # type: ignore[attr-defined]
        return function

    return mark


def call(function: Callable[..., Result], prog: str, argv: Sequence[str]) -> Result:
    """Parse ``argv`` for ``function`` and call it.

    Parameters
    ----------
    function : callable
        Parameters that are dataclasses become groups of options, one of them
        :class:`~stemdist.cli.console.Console`; :class:`Given` is supplied where a
        parameter has this type.
    prog : str
        What the user typed to get here, e.g. ``"stemdist train"``.
    argv : sequence of str
        The rest.

    Returns
    -------
    Result
        That of the function.

    Raises
    ------
    InputError
        If an option is unknown, or a value cannot be used.
    """
    parser = CommandParser(function, prog)
    canonical = list(parser.canonical(argv))
    values = parser.parse_args(canonical)
    if "json" in values:  # the program reads it before any configuration
        raise InputError("unknown option 'json' in the configuration: type --json")
    explicit = vars(parser.parse_args(canonical, defaults=False).as_flat())
    chosen = Given(name for name, value in explicit.items() if _says_something(value))
    console: Console = _build(Console, values)
    for note in dict.fromkeys(parser.notes):
        console.note(note)
    arguments: dict[str, Any] = {}
    for name, kind in type_hints(function).items():
        if kind is Given:
            arguments[name] = chosen
        elif kind is Console:
            arguments[name] = console
        elif is_typeddict(kind):
            names = (key for key in kind.__annotations__ if values.get(key) is not None)
            arguments[name] = {key: _tuples(values[key]) for key in names}
        else:
            arguments[name] = _build(kind, values) if is_group(kind) else values[name]
    with console.installed(), requested_once(), _scheduler(arguments.get("scheduler")):
        return function(**arguments)


def _scheduler(where: str | None) -> AbstractContextManager[None]:
    """Let a command run on a cluster, where its option names one."""
    if where is None:
        return nullcontext()
    from stemdist.scheduling import scheduler

    return scheduler(where)


def _says_something(value: Any) -> bool:
    """Tell a choice from what a printed configuration lists as left open."""
    return not (value is None or value is False or value in ([], {}))


def chosen_options(settings: Any, given: Given) -> dict[str, Any]:
    """Return the fields of settings that the user gave; of nested settings only those, too.

    Examples
    --------
    >>> from stemdist.distill import DistillSettings
    >>> given = Given({"seed", "judging.updates"})
    >>> chosen_options(DistillSettings(), given)
    {'judging': {'updates': 100}, 'seed': 0}
    """
    found: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        inside = {name.partition(".")[2] for name in given if name.startswith(f"{field.name}.")}
        if inside:
            found[field.name] = {name: getattr(value, name) for name in sorted(inside)}
        elif field.name in given:
            found[field.name] = value
    return found


def _build(kind: Any, values: Namespace) -> Any:
    """Make a dataclass from parsed values, nested ones included."""
    parts = {
        name: _build(hint, values[name]) if is_group(hint) else _tuples(values[name])
        for name, hint in type_hints(kind).items()
    }
    return kind(**parts)


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

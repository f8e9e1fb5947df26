"""Types of options: what of a signature can be typed in a shell, and how help speaks of it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import FunctionType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

_PLAIN_TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false"}


class Given(frozenset[str]):
    """The names of the options that were given; a command that asks for it gets it."""


def _parts(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def has_type(kind: Any, wanted: type) -> bool:
    """Say whether a type is ``wanted``, or may be."""
    return wanted in _parts(kind)


def list_part(kind: Any) -> Any:
    """Return the type of a list among the members of a union, or None."""
    for part in _parts(kind):
        origin = get_origin(part)
        if isinstance(origin, type) and issubclass(origin, Sequence):
            return part
    return None


def is_list(kind: Any) -> bool:
    """Say whether several values can be given."""
    return list_part(kind) is not None


def is_mapping(kind: Any) -> bool:
    """Say whether ``name=value`` pairs can be given."""
    origins = (get_origin(part) for part in _parts(kind))
    return any(isinstance(origin, type) and issubclass(origin, Mapping) for origin in origins)


def is_group(kind: Any) -> bool:
    """Say whether a parameter is a group of options."""
    return dataclasses.is_dataclass(kind) or is_typeddict(kind)


def choices_of(kind: Any) -> list[str]:
    """Return the names that a literal type lists, for a single value or for each of a list."""
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    inside = _parts(kind) if len(_parts(kind)) > 1 else get_args(kind)
    return [choice for part in inside for choice in choices_of(part)]


def plain_types(kind: Any) -> list[Any]:
    """Return the plain types within unions and lists."""
    inside = [part for part in get_args(kind) if part is not Ellipsis]
    if not inside or get_origin(kind) is Literal:
        return [kind]
    return [plain for part in inside for plain in plain_types(part)]


def as_text(kind: Any) -> Any:
    """Return a type with plain text for literals: their values are checked where they are used."""
    if get_origin(kind) is Literal:
        return str
    if get_origin(kind) in (Union, UnionType):
        return Union[tuple(as_text(part) for part in get_args(kind))]  # noqa: UP007
    if is_list(kind) and get_origin(kind) is not None:
        inside = tuple(part if part is Ellipsis else as_text(part) for part in get_args(kind))
        origin = get_origin(kind)
        return tuple[inside] if origin is tuple else list[inside]  # type: ignore[valid-type]
    return kind


def _typable(hint: Any) -> Any:
    parts = [
        part for part in _parts(hint) if not dataclasses.is_dataclass(part) and part is not Path
    ]
    return Union[tuple(parts)]  # noqa: UP007  (of parts that are known only here)


def type_hints(function: Any) -> dict[str, Any]:
    """Return the type of every parameter of a function, or of every field of a dataclass."""
    hints = get_type_hints(function)
    if is_typeddict(function):
        return hints
    names = inspect.signature(function).parameters
    return {name: hints[name] for name in names}


def with_resolved_types(function: Callable[..., object]) -> Callable[..., object]:
    """Return a function of the same signature whose types are no texts any more.

    jsonargparse looks texts up in the function's module, and imports for that what the module
    imports for the type checker alone: torch, for a help that does not need it.
    """
    twin = FunctionType(function.__code__, {}, "command")
    twin.__qualname__, twin.__doc__ = "command", function.__doc__
    twin.__kwdefaults__ = function.__kwdefaults__
    twin.__annotations__, twin.__module__ = get_type_hints(function), __name__
    return twin


def as_dataclass(kind: Any, taken: Collection[str] = ()) -> Any:
    """Return a group as a dataclass of the same fields, whose types are no texts any more.

    Of a typed dictionary, all options may be left out; those of the names ``taken`` belong to
    other groups, and types that cannot be typed in a shell are left out of unions.
    """
    if is_typeddict(kind):
        fields = [
            (name, _typable(hint) | None, dataclasses.field(default=None))
            for name, hint in get_type_hints(kind).items()
            if name not in taken
        ]
    else:
        hints = get_type_hints(kind)
        fields = [_mirrored_field(field, hints[field.name]) for field in dataclasses.fields(kind)]
    made = dataclasses.make_dataclass(kind.__name__, fields, kw_only=True)
    made.__doc__, made.__module__ = kind.__doc__, __name__
    return made


def _mirrored_field(field: dataclasses.Field[Any], hint: Any) -> tuple[str, Any, Any]:
    if not dataclasses.is_dataclass(hint):
        how = {name: getattr(field, name) for name in ("default", "default_factory")}
        return field.name, hint, dataclasses.field(**how)
    mirror: Any = as_dataclass(hint)
    factory: Any = field.default_factory
    usual = factory() if field.default is dataclasses.MISSING else field.default
    values = {part.name: getattr(usual, part.name) for part in dataclasses.fields(hint)}
    return field.name, mirror, dataclasses.field(default_factory=lambda: mirror(**values))


def metavar_of(kind: Any) -> str:
    """Return what help shows for a value of a type."""
    if is_mapping(kind):
        return "NAME=VALUE,..."
    if is_list(kind):
        items = get_args(list_part(kind))
        unit = "NAME" if str in items else "NUMBER"
        return (
            ",".join([unit] * len(items))
            if Ellipsis not in items[1:] and items[1:]
            else (f"{unit},...")
        )
    for plain, metavar in ((int, "N"), (float, "NUMBER"), (bool, "")):
        if has_type(kind, plain):
            return metavar
    return "TEXT"


def text_of_type(kind: Any) -> str:
    """Return what an error says a value must be."""
    if is_mapping(kind):
        return "name=value pairs separated by commas"
    if is_list(kind):
        items = [item for item in get_args(list_part(kind)) if item is not Ellipsis]
        what = "names" if str in items else "numbers"
        count = f"{len(items)} " if len(items) > 1 else ""
        return f"{count}{what} separated by commas"
    if choices := choices_of(kind):
        return f"one of {', '.join(choices)}"
    names = [getattr(part, "__name__", str(part)) for part in _parts(kind)]
    return " or ".join(_PLAIN_TYPES.get(name, name) for name in names if name != "NoneType")

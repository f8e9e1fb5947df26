"""The parser of one command, made from a signature and a docstring.

jsonargparse makes the options, the types, the help, ``--config`` and ``--print-config``. This
module gives them the spelling users expect: dashes, short names, ``a,b`` lists, repeated
options, ``key=value`` mappings, switches without a value.
"""

from __future__ import annotations

import difflib
import inspect
import json
import re
from argparse import SUPPRESS, Action, RawDescriptionHelpFormatter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, get_args, is_typeddict

import docstring_parser
import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter

from stemdist.cli.option_types import (
    Given,
    as_dataclass,
    as_text,
    choices_of,
    has_type,
    is_group,
    is_list,
    is_mapping,
    list_part,
    metavar_of,
    plain_types,
    text_of_type,
    type_hints,
    with_resolved_types,
)
from stemdist.errors import InputError

SHORT_NAMES = {"h": "help", "o": "output", "q": "quiet", "v": "verbose"}
SINGULAR = {"variable": "variables", "teacher": "teachers"}

_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")
_NOT_VALUES = ("help", "help_all", "print_config", "json")
_ALWAYS_SHOWN = ("help", "help_all", "json", "config", "quiet", "verbose")


def option_text(name: str) -> str:
    """Return the option a user types for a parameter.

    Examples
    --------
    >>> option_text("time_ratio"), option_text("variables")
    ('--time-ratio', '--variable')
    """
    typed = {plural: single for single, plural in SINGULAR.items()}.get(name, name)
    return f"--{typed.replace('_', '-')}"


class _HelpFormatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Leaves the examples as they are, and types and defaults out where they say nothing."""

    def _format_action_invocation(self, action: Action) -> str:
        if has_type(getattr(action, "_typehint", None), bool):
            return ", ".join(action.option_strings)  # a switch: no value is shown
        return super()._format_action_invocation(action)

    def _get_help_string(self, action: Action) -> str:
        return _help_text(action)


def _help_text(action: Action) -> str:
    """Return the help of an option, with its default where that says something."""
    text = action.help or ""
    silent = any(action.default is value for value in (None, False, SUPPRESS))
    shown = not silent and action.default != () and action.default != {}
    known = "default" in text.lower() or not action.option_strings
    return text if known or not shown else f"{text} (default: {_value_text(action.default)})"


def _typed(action: Action) -> str:
    """Return how an option is typed, with a name for its value."""
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    switch = action.nargs == 0 or has_type(getattr(action, "_typehint", None), bool)
    return " ".join([", ".join(action.option_strings), "" if switch else value]).strip()


def _configuration_in(folder: str, name: str) -> str:
    """Return the path of a configuration in a folder of results."""
    path = Path(folder) / name
    if not path.is_file():
        raise InputError(f"there is no {name} in {folder!r}: give the folder of a finished search")
    return str(path)


def _check_text(path: str) -> None:
    """Refuse a configuration that is no text, by its name."""
    try:
        with suppress(OSError):  # the parser says what is missing
            Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"the configuration {path!r} is not UTF-8 ({error}): convert it"
        ) from error


def _value_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, Mapping):
        return ",".join(f"{key}={item}" for key, item in value.items())
    return str(value)


class _HelpAll(Action):
    """Shows the options that ``--help`` leaves out, too."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(nargs=0, **{**settings, "default": SUPPRESS})

    def __call__(self, parser: Any, *_: Any) -> NoReturn:
        print(parser.format_help(everything=True), end="")
        raise SystemExit(0)


class _Json(Action):
    """Stands in the help for an option of the program, which reads it before any command."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(nargs=0, **{**settings, "default": SUPPRESS})

    def __call__(self, *_: Any) -> None:
        """Leave the values as they are."""


class CommandParser(ArgumentParser):
    """The parser of one command, made from the signature and docstring of its function.

    Parameters
    ----------
    function : callable
        Parameters without a default are positional. Parameters that are dataclasses or typed
        dictionaries become groups of options. See :func:`usual_options` for those that ``--help``
        shows.
    prog : str
        The command as typed.
    """

    def __init__(self, function: Callable[..., object], prog: str) -> None:
        self._renamed: Mapping[str, str] = getattr(function, "renamed", {})
        self._configured_by: Mapping[str, tuple[str, str]] = getattr(function, "configured_by", {})
        self._hidden: set[str] = set()
        self.notes: list[str] = []
        self._usual: Collection[str] | None = getattr(function, "usual", None)
        documentation = inspect.getdoc(function) or ""
        body, _, examples = documentation.partition("Examples\n--------\n")
        super().__init__(
            prog=prog,
            description=_plain(body.partition("Parameters\n------")[0]),
            epilog=f"examples:\n{examples.rstrip()}" if examples else "",
            add_help=False,
            formatter_class=_HelpFormatter,
            print_config="--print_config",
            exit_on_error=False,
        )
        self.add_argument(
            "-h", "--help", action="help", default=SUPPRESS, help="show the usual options and exit"
        )
        self.add_argument("--help_all", action=_HelpAll, help="show all options and exit")
        self.add_argument(
            "--json", action=_Json, help="print the result as one JSON object, for programs"
        )
        self.add_argument("--config", action="config", help="read options from a YAML file")
        for name, (_, text) in self._configured_by.items():
            self.add_argument(f"--{name}", type=str, default=SUPPRESS, help=text)
        groups = {name: kind for name, kind in type_hints(function).items() if is_group(kind)}
        settings = [kind for kind in groups.values() if not is_typeddict(kind)]
        taken = {name for kind in settings for name in type_hints(kind)}
        skip: set[str | int] = {
            *groups,
            *(name for name, kind in type_hints(function).items() if kind is Given),
        }
        self.add_function_arguments(with_resolved_types(function), as_positional=True, skip=skip)
        documented = _parameter_docs(function)
        for kind in groups.values():
            self.add_class_arguments(as_dataclass(kind, taken), as_group=True)
            documented |= {
                name: text
                for name, text in _parameter_docs(kind).items()
                if name.partition(".")[0] in type_hints(kind)
                and not (is_typeddict(kind) and name in taken)
            }
        for kind in groups.values():
            self._drop(getattr(kind, "without_effect", ()))
        for group in self._action_groups:
            own = group.title == _summary(function)
            group.title = "arguments" if own else _plain(group.title or "").partition(";")[0]
        for action in self._actions:
            self._polish(action, documented)
        self.usage = " ".join([prog, *self._needed(), "[options]"])

    def _drop(self, without_effect: Sequence[str]) -> None:
        """Remove options, and choices ``option=choice``, that cannot change a result."""
        for text in without_effect:
            name, _, choice = text.partition("=")
            action = next(action for action in self._actions if action.dest == name)
            if choice:
                action.left_out = choice  # type: ignore[attr-defined]
            else:
                self._hidden.add(name)

    def _shown(self, action: Action) -> bool:
        """Tell whether ``--help`` shows an option."""
        if action.dest in self._hidden:
            return False
        if self._usual is None or not action.option_strings:
            return "." not in action.dest
        return action.dest in {*self._usual, *_ALWAYS_SHOWN, *self._configured_by}

    def words(self) -> Iterator[Action]:
        """Yield the arguments and options that can be typed, as the help shows them."""
        yield from (action for action in self._actions if action.dest not in self._hidden)

    def format_help(self, formatter: Any = None, *, everything: bool = False) -> str:
        """Return the help: of the usual options, or of all."""
        hidden = {
            action: action.help
            for action in self._actions
            if action.dest in self._hidden or not (everything or self._shown(action))
        }
        for action in hidden:
            action.help = SUPPRESS
        try:
            text: str = super().format_help(formatter)
        finally:
            for action, help_text in hidden.items():
                action.help = help_text
        more = len(hidden) > len(self._hidden)
        return f"{text.rstrip()}\n\nmore options: {self.prog} --help-all\n" if more else text

    def entries(self) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Yield the title of each group of options, and how each is typed with its help."""
        for group in self._action_groups:
            shown = [
                (_typed(action), _help_text(action))
                for action in group._group_actions
                if action.dest not in self._hidden
            ]
            if shown:
                yield group.title or "", shown

    def _needed(self) -> list[str]:
        """Return the arguments that have no name, as the help shows them."""
        positional = (action for action in self._actions if not action.option_strings)
        return [a.dest.upper() + (" ..." if a.nargs == "+" else "") for a in positional]

    def _polish(self, action: Action, documented: Mapping[str, str]) -> None:
        """Show an option as the user may type it."""
        if action.help is None or action.dest in documented:
            action.help = documented.get(action.dest, action.help)
        if action.dest == "print_config":
            action.help = "print all options as YAML and exit"
            action.metavar = ""
        if not action.option_strings:
            action.metavar = action.dest.upper()
            kind = getattr(action, "_typehint", None)
            if is_list(kind):  # several words; jsonargparse checks each of them by itself
                action.nargs, action._typehint = "+", get_args(list_part(kind))[0]  # type: ignore[attr-defined]
            return
        short = [f"-{key}" for key, name in SHORT_NAMES.items() if name == action.dest]
        option = option_text(action.dest)
        action.option_strings = [*short, option]
        kind = getattr(action, "_typehint", None)
        choices = [c for c in choices_of(kind) if c != getattr(action, "left_out", None)]
        if choices:
            plugins = ", or of a plug-in" if str in plain_types(kind) else ""
            action.help = f"{action.help}; one of {', '.join(choices)}{plugins}"
            action.completed = choices  # type: ignore[attr-defined]
            kind = action._typehint = as_text(kind)  # type: ignore[attr-defined]
        action.metavar = metavar_of(kind) if kind is not None else action.metavar
        if choices and action.metavar == "TEXT":
            action.metavar = "NAME"
        if has_type(kind, bool) and action.default is not False:
            action.option_strings.append(f"--no-{option[2:]}")

    def canonical(self, argv: Sequence[str]) -> Iterator[str]:
        """Yield ``argv`` in jsonargparse's spelling: each option once, as ``--name=value``.

        Raises
        ------
        InputError
            If an option is unknown or lacks its value.
        """
        lists: dict[str, list[str]] = {}
        together: list[str] = []  # several positional words, which options may stand between
        several = any(action.nargs == "+" for action in self._actions)
        words = iter(argv)
        for word in words:
            if word == "--":
                yield from words
                break
            if not word.startswith("-") or _is_number(word) or word == "-":
                if several:
                    together.append(word)
                else:
                    yield word
                continue
            typed, equals, value = word.partition("=")
            action, negated = self._find(typed)
            kind = getattr(action, "_typehint", None)
            if action.dest in _NOT_VALUES:
                yield f"--{action.dest}"
            elif has_type(kind, bool):
                yield f"--{action.dest}={'false' if negated else value or 'true'}"
            else:
                value = value if equals else next(words, "")
                if not value:
                    raise InputError(f"{typed} needs a value: see {self.prog} --help")
                dest = action.dest
                if dest in self._configured_by:
                    value, dest = _configuration_in(value, self._configured_by[dest][0]), "config"
                if dest == "config":
                    _check_text(value)
                if is_list(kind):
                    lists.setdefault(dest, []).append(value)
                else:
                    yield f"--{dest}={_mapping_text(kind, value)}"
        for name, values in lists.items():
            kind = next(a for a in self._actions if a.dest == name)._typehint  # type: ignore[attr-defined]
            yield f"--{name}={_list_text(kind, values)}"
        yield from together

    def _find(self, typed: str) -> tuple[Action, bool]:
        """Return the option a user typed, and whether it was negated with ``--no-``."""
        if not typed.startswith("--"):
            name = SHORT_NAMES.get(typed[1:], "")
        else:
            name = typed[2:].replace("-", "_")
            name = SINGULAR.get(name, name)
        options = {
            action.dest: action
            for action in self._actions
            if action.option_strings and action.dest not in self._hidden
        }
        if name not in options and name in self._renamed:
            self.notes.append(f"{typed} is called {option_text(self._renamed[name])} now")
            name = self._renamed[name]
        if name in options and typed not in ("--", "-"):
            return options[name], False
        positive = name.removeprefix("no_")
        if positive in options and has_type(getattr(options[positive], "_typehint", None), bool):
            return options[positive], True
        choices = [text for action in options.values() for text in action.option_strings]
        close = difflib.get_close_matches(typed, choices, n=1, cutoff=0.6)
        question = f" did you mean {close[0]!r}?" if close else ""
        raise InputError(f"unknown option {typed!r}:{question} See {self.prog} --help")

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise one line in the user's words; jsonargparse's own speaks of keys and types."""
        tail = f"see {self.prog} --help"
        if "are required" in message or "is required" in message:
            raise InputError(f"{self.prog} needs {' '.join(self._needed())}: {tail}") from ex
        known = {action.dest: action for action in self._actions}
        unknown = re.search(r"Option '([^']+)' is not accepted", message)
        if unknown:
            close = difflib.get_close_matches(unknown[1], known, n=1)
            question = f": did you mean {close[0]!r}?" if close else ""
            raise InputError(
                f"unknown option {unknown[1]!r} in the configuration{question}"
            ) from ex
        faulty = known.get((re.findall(r'Parser key "([\w.]+)"', message) or [""])[0])
        kind = getattr(faulty, "_typehint", None)
        if faulty is None or kind is None:
            raise InputError(f"{' '.join(message.split())}: {tail}") from ex
        option = faulty.option_strings[-1] if faulty.option_strings else faulty.dest.upper()
        value = re.findall(r"(?:Given|Got) value: (.*)", message)
        given = f", not {value[-1].strip()}" if value else ""
        raise InputError(f"{option} must be {text_of_type(kind)}{given}: {tail}") from ex


def _summary(item: Any) -> str:
    return (inspect.getdoc(item) or "").partition("\n")[0].rstrip(".")


def _plain(text: str) -> str:
    """Return documentation without the marks of its markup."""
    return _ROLE.sub(r"\1", text).replace("``", "").strip()


def _parameter_docs(item: Any, prefix: str = "") -> dict[str, str]:
    """Return what a docstring says of each parameter; ``a, b : type`` stands for both."""
    found = {}
    for entry in docstring_parser.parse(inspect.getdoc(item) or "").params:
        for name in entry.arg_name.split(","):
            text = " ".join(_plain(entry.description or "").split())
            start = text[:1] if text[:2].isupper() else text[:1].lower()  # "YAML" stays
            found[prefix + name.strip()] = (start + text[1:]).rstrip(".")
    for name, hint in type_hints(item).items():
        if is_group(hint) and is_group(item):
            found |= _parameter_docs(hint, f"{prefix}{name}.")
    return found


def _list_text(kind: Any, values: list[str]) -> str:
    """Write ``a,b`` and repeated values as one YAML list."""
    if len(values) == 1 and values[0].startswith("["):
        return values[0]
    items = [item.strip() for value in values for item in value.split(",") if item.strip()]
    texts = str in get_args(list_part(kind))
    return f"[{', '.join(json.dumps(item) if texts else item for item in items)}]"


def _mapping_text(kind: Any, value: str) -> str:
    """Write ``a=1,b=x,y`` as a YAML mapping where a mapping is wanted: a is 1, b is ``x,y``."""
    if not is_mapping(kind) or "=" not in value or value.startswith("{"):
        return value
    pairs = [item.partition("=") for item in re.split(r",(?=[^,=]*=)", value)]
    return json.dumps({key.strip(): yaml.safe_load(text) for key, _, text in pairs}, default=str)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

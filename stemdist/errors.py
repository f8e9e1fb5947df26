"""Errors a user can act on: the wrong value, the valid ones, and what to do."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


class StemdistError(Exception):
    """Base of every error raised on purpose; the command line prints it without a traceback."""


class InputError(StemdistError, ValueError):
    """A value, option or file given by the user cannot be used."""


class DamagedError(InputError):
    """A file that this package wrote cannot be read any more."""


class MissingDependencyError(StemdistError, ImportError):
    """An optional library is needed; the message names the extra that installs it."""


class OutputError(StemdistError, OSError):
    """A result could not be written; the previous content of the target is intact."""


class CatalogueError(StemdistError, ValueError):
    """A recipe in the data set or graph catalogue is wrong."""


def unknown_name(kind: str, name: str, choices: Iterable[str], hint: str = "") -> InputError:
    """Build the error for a name that is not among ``choices``, with a did-you-mean.

    Parameters
    ----------
    kind : str
        What is named, in the user's words, e.g. ``"forecaster"``.
    name : str
        The name that was not found.
    choices : iterable of str
        Every valid name.
    hint : str, optional
        One more sentence saying what to do.

    Returns
    -------
    InputError
        Ready to raise.

    Examples
    --------
    >>> print(unknown_name("forecaster", "mtgn", ["linear", "mlp", "mtgnn"]))
    unknown forecaster 'mtgn': did you mean 'mtgnn'? Choose from: linear, mlp, mtgnn
    """
    valid = sorted(str(choice) for choice in choices)
    close = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.5)
    question = f" did you mean {close[0]!r}?" if close else ""
    listing = f" Choose from: {', '.join(valid)}" if valid else " There is none to choose from"
    tail = f". {hint}" if hint else ""
    return InputError(f"unknown {kind} {name!r}:{question}{listing}{tail}")


def check_ratio(name: str, value: float) -> float:
    """Return ``value`` if it is a share in (0, 1], else raise :class:`InputError`."""
    if not (isinstance(value, int | float) and math.isfinite(value) and 0 < value <= 1):
        raise InputError(
            f"{name} is {value!r}: it must be a share above 0 and at most 1, e.g. 0.1 for 10 %"
        )
    return float(value)


def check_count(name: str, value: int, minimum: int = 1) -> int:
    """Return ``value`` if it is a whole number of at least ``minimum``, else raise."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise InputError(f"{name} is {value!r}: it must be a whole number of at least {minimum}")
    return value


def check_seed(name: str, value: int) -> int:
    """Return ``value`` if every random generator takes it as a seed, else raise."""
    if check_count(name, value, minimum=0) >= _SEEDS:
        raise InputError(f"{name} is {value}: it must be below {_SEEDS}")
    return value


_SEEDS = 2**31


def check_distinct(
    name: str, values: str | Iterable[T], *, minimum: int = 1, hint: str = ""
) -> tuple[T, ...]:
    """Return what was given as a tuple of different values, else raise.

    Parameters
    ----------
    name : str
        What is given, in the user's words.
    values : str or iterable
        The values; a single name counts as one value.
    minimum : int
        How many there must be, 0 or 1.
    hint : str, optional
        One more sentence saying what to do.

    Raises
    ------
    InputError
        If there are too few, or one is given twice.

    Examples
    --------
    >>> check_distinct("judges", "mlp")
    ('mlp',)
    """
    chosen: tuple[T, ...] = (values,) if isinstance(values, str) else tuple(values)  # type: ignore[assignment]
    if len(chosen) < minimum or len(set(chosen)) < len(chosen):
        wanted = "give at least one, and each only once" if minimum else "give each only once"
        raise InputError(f"{name} is {chosen}: {wanted}{f'. {hint}' if hint else ''}")
    return chosen

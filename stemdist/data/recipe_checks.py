"""Checks of single values in a catalogue's recipe.

A check takes a value and returns what it must be, in the user's words, or ``None`` when the
value is fine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Check = Callable[[Any], str | None]

NAME_PATTERN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_name(value: Any) -> str | None:
    """Check a catalogue name."""
    good = isinstance(value, str) and NAME_PATTERN.fullmatch(value)
    return None if good else "lower-case letters, digits and single hyphens, e.g. metr-la"


def is_text(value: Any) -> str | None:
    """Check a text that is not empty."""
    return None if isinstance(value, str) and value.strip() else "a text that is not empty"


def is_number(value: Any) -> str | None:
    """Check a finite number."""
    return None if _finite(value) else "a number"


def is_positive(value: Any) -> str | None:
    """Check a finite number above 0."""
    return None if _finite(value) and value > 0 else "a number above 0"


def is_count(value: Any) -> str | None:
    """Check a whole number of at least 1."""
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return None if good else "a whole number of at least 1"


def is_share(value: Any) -> str | None:
    """Check a share in (0, 1]."""
    return None if _finite(value) and 0 < value <= 1 else "a share above 0 and at most 1"


def is_split(value: Any) -> str | None:
    """Check the shares of training, validation and test, or their numbers of steps."""
    good = (
        isinstance(value, tuple)
        and len(value) == 3
        and all(_finite(share) and share > 0 for share in value)
        and (
            math.isclose(sum(value), 1.0, abs_tol=1e-9)
            or (value[0] > 1 and all(s == int(s) for s in value))
        )
    )
    return (
        None
        if good
        else "three shares above 0 (train, validation, test) that add up to 1, or three whole "
        "numbers of steps"
    )


def is_flag(value: Any) -> str | None:
    """Check yes or no."""
    return None if isinstance(value, bool) else "true or false"


def is_mapping(value: Any) -> str | None:
    """Check named settings."""
    good = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    return None if good else "a mapping of names to values"


def one_of(choices: Iterable[str]) -> Check:
    """Return a check that a value is one of ``choices``."""
    valid = tuple(choices)
    return lambda value: None if value in valid else f"one of {', '.join(valid)}"


def texts(choices: Iterable[str] | None = None) -> Check:
    """Return a check of a tuple of texts, each one of ``choices`` where given."""
    valid = None if choices is None else tuple(choices)
    wanted = "a list of texts" if valid is None else f"a list of some of {', '.join(valid)}"

    def check(value: Any) -> str | None:
        good = isinstance(value, tuple) and all(
            isinstance(item, str) and item and (valid is None or item in valid) for item in value
        )
        return None if good else wanted

    return check


def is_sha256(value: Any) -> str | None:
    """Check a SHA-256 in hexadecimal digits."""
    good = isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value)
    return None if good else "the 64 hexadecimal digits that sha256sum prints, in quotes"


def is_url(value: Any) -> str | None:
    """Check an http(s) address."""
    good = isinstance(value, str) and re.fullmatch(r"https?://[^\s/]+/\S+", value)
    return None if good else "an http(s) address of one file"

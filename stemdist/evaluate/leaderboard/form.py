"""The form of a method's results, version 1; docs/leaderboard.md describes it.

A form lists what each field must be; checks return that in words, or nothing where a value is fine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stemdist.data.recipe_checks import (
    Check,
    is_count,
    is_number,
    is_positive,
    is_sha256,
    is_text,
    is_url,
    one_of,
)
from stemdist.errors import InputError
from stemdist.evaluate.comparison.budgets import CONVERGED, EQUAL
from stemdist.evaluate.grid.settings import ratio_pair

SCHEMA = 1


@dataclass(frozen=True)
class Many:
    """A list of at least one value of a form; ``distinct`` ones differ from each other."""

    each: Form
    distinct: bool = False


@dataclass(frozen=True)
class Optional:
    """A field that may be left out, or be null."""

    form: Form


Form = Check | Many | Optional | Mapping[str, Any]


def _is_schema(value: Any) -> str | None:
    good = value == SCHEMA and not isinstance(value, bool)
    return None if good else f"{SCHEMA}, the version of the form that this release reads"


def _is_seed(value: Any) -> str | None:
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return None if good else "a whole number of at least 0"


def _is_held_out(value: Any) -> str | None:
    good = not is_number(value) and 0 <= value < 1
    return None if good else "a share of the locations from 0 to below 1"


def ratio_text(text: str) -> str:
    """Return a ratio in the one spelling that files of results have.

    Examples
    --------
    >>> ratio_text(".10x0.05")
    '0.1x0.05'
    """
    return "x".join(f"{share:g}" for share in ratio_pair(text))


def _is_ratio(value: Any) -> str | None:
    try:
        good = isinstance(value, str) and ratio_text(value) == value
    except InputError:
        good = False
    return None if good else "shares of windows and locations above 0 and at most 1, e.g. 0.1x0.1"


def _is_method(value: Any) -> str | None:
    good = isinstance(value, str) and re.fullmatch(r"[\w.+-]{1,60}", value)
    return None if good else "letters, digits, dots and hyphens, at most 60"


PROTOCOL: Mapping[str, Form] = {
    "budget": one_of((EQUAL, CONVERGED)),
    "updates": Many(is_count, distinct=True),
    "batch_windows": is_count,
    "learning_rates": Many(is_positive, distinct=True),
    "forecasters": Many(is_text, distinct=True),
    "held_out": _is_held_out,
}
"""How forecasters were trained and tested; results are compared where all of it is equal."""

ERRORS: Mapping[str, Form] = {
    "distilled": Many(is_positive),
    "full": Many(is_positive),
    "untrained": is_positive,
}
"""Relative RMSEs on the test part: after training on each set, on the full data, and the lowest of
a baseline without training."""

RESULT: Mapping[str, Form] = {
    "data": is_text,
    "task": is_sha256,
    "ratio": _is_ratio,
    "forecaster": is_text,
    "seeds": Many(_is_seed, distinct=True),
    "relative_rmse": ERRORS,
    "excess": is_number,
}

ENTRY: Mapping[str, Form] = {
    "schema": _is_schema,
    "method": _is_method,
    "description": is_text,
    "how": is_text,
    "authors": Optional(is_text),
    "link": Optional(is_url),
    "protocol": PROTOCOL,
    "results": Many(RESULT),
}

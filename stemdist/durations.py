"""How long work may take."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass, field

from stemdist.errors import InputError

_UNITS = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_seconds(text: str | float) -> float:
    """Return a time span such as ``90s``, ``5min``, ``1.5 h`` or a number of seconds, in seconds.

    Raises
    ------
    InputError
        If it is none, or not above 0.

    Examples
    --------
    >>> parse_seconds("5min"), parse_seconds("1.5 h"), parse_seconds(12)
    (300.0, 5400.0, 12.0)
    """
    if isinstance(text, int | float) and 0 < text < math.inf:
        return float(text)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h|d)?\s*", str(text), re.IGNORECASE)
    if not found or not float(found[1]) > 0:
        raise InputError(f"{text!r} is no time span: give one such as 90s, 5min or 2h")
    return float(found[1]) * _UNITS[(found[2] or "").lower()]


@dataclass(frozen=True)
class TimeLimit:
    """A span of time that has begun.

    Parameters
    ----------
    seconds : float, optional
        Its length; without it there is no limit.

    Examples
    --------
    >>> TimeLimit(60.0).over, TimeLimit().over
    (False, False)
    """

    seconds: float | None = None
    began: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, text: str | float | None) -> TimeLimit:
        """Begin a span given as text, or one without a limit."""
        return cls(None if text is None else parse_seconds(text))

    @property
    def spent(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self.began

    @property
    def over(self) -> bool:
        """Whether all of it is spent."""
        return self.seconds is not None and self.spent >= self.seconds

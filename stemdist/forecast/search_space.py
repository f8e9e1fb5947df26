"""Search spaces: the values of hyper-parameters that a search tries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stemdist.errors import InputError


@dataclass(frozen=True)
class Range:
    """All numbers between two, both included; whole ones where both are whole.

    Parameters
    ----------
    low, high : int or float
        The ends.
    log : bool
        Whether equal factors are equally likely, rather than equal differences.

    Raises
    ------
    InputError
        If the range is empty, or logarithmic and not above 0.

    Examples
    --------
    >>> Range(1, 4).whole, Range(1e-4, 1e-2, log=True).whole
    (True, False)
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and not self.low > 0):
            kind = "logarithmic range" if self.log else "range"
            raise InputError(
                f"the {kind} from {self.low!r} to {self.high!r} is empty: give two numbers, the "
                "lower one first, above 0 where it is logarithmic"
            )

    @property
    def whole(self) -> bool:
        """Whether only whole numbers belong to it."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def contains(self, value: Any) -> bool:
        """Return whether a value belongs to it."""
        number = isinstance(value, int if self.whole else int | float)
        return number and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Parameters
    ----------
    values : tuple
        Numbers, texts or switches; a single one is kept in every trial.

    Raises
    ------
    InputError
        If there is none.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise InputError("a choice has no values: give at least one")

    def contains(self, value: Any) -> bool:
        """Return whether a value belongs to it."""
        return value in self.values


Parameter = Range | Choice
Space = Mapping[str, Parameter]

WIDTHS = Choice((16, 32, 64, 128, 256))
NARROW_WIDTHS = Choice((8, 16, 32, 64))
LAYERS = Range(1, 4)
DROPOUTS = Choice((0.0, 0.1, 0.2, 0.3))
SWITCH = Choice((False, True))

OF_TRAINING: Space = {
    "learning_rate": Range(5e-4, 2e-2, log=True),
    "weight_decay": Range(1e-5, 1e-1, log=True),
}
"""What a search tries of the training of every forecaster."""

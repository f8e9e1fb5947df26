"""Looking at values before anything is learned from them: one check for every command.

Shapes: T steps, N locations.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stemdist.data.chunks import time_blocks
from stemdist.errors import InputError

log = logging.getLogger(__name__)

_ISOLATION = 10.0  # an extreme is this many ranges of all other values away from them
_CODES = (-999.0, -9999.0, -99999.0, -32768.0, -32767.0, -8888.0, 9999.0, 99999.0, 9999.9)
"""Numbers that mean "missing" in many archives: one range away from all others is enough."""

_SAMPLE = 400_000
BLOCK_VALUES = 4_000_000
"""Values that are looked at together."""

_FEWEST_DISTINCT = 5
_LONG_RUN = 0.05
_LONG_ZERO_RUN = 0.1
_SHARE_OF_ZEROS = 0.01
_SHOWN = 5

Kind = Literal["extremes", "zeros", "constant", "empty"]


@dataclass(frozen=True)
class Finding:
    """What a check found: its kind, a sentence, and the option that settles it."""

    kind: Kind
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.text}: {self.remedy}" if self.remedy else self.text


@dataclass(kw_only=True)
class ValueSummary:
    """What is in one variable, gathered block by block.

    Parameters
    ----------
    n_steps, n_locations : int
        T and N.

    Examples
    --------
    >>> summary = ValueSummary(n_steps=6, n_locations=2)
    >>> values = np.array([[1.0, 2], [2, 4], [3, 5], [4, 3], [5, -9999], [6, 2]])
    >>> summary.add(values, 0)
    >>> [finding.kind for finding in summary.findings()]
    ['extremes']
    """

    n_steps: int
    n_locations: int
    observed: int = 0
    total: int = 0
    zeros: int = 0
    low: float = np.inf
    high: float = -np.inf
    _samples: list[npt.NDArray[np.float64]] = field(default_factory=list)
    of_values: int | None = None
    """Values of the whole variable, where this is the summary of some locations only."""

    def __post_init__(self) -> None:
        self._lowest = np.full(self.n_locations, np.inf)
        self._highest = np.full(self.n_locations, -np.inf)
        self._any = np.zeros(self.n_steps, dtype=bool)
        self._nonzero = np.zeros(self.n_steps, dtype=bool)
        self._every = max(1, (self.of_values or self.n_steps * self.n_locations) // _SAMPLE)

    def add(self, values: np.ndarray, begin: int) -> None:
        """Count a block (T', N) whose first step is number ``begin``."""
        finite = np.isfinite(values)
        seen = values[finite]
        steps = slice(begin, begin + len(values))
        self.total += values.size
        self.observed += seen.size
        self._any[steps] = finite.any(axis=1)
        self._nonzero[steps] = (finite & (values != 0)).any(axis=1)
        if not seen.size:
            return
        self.zeros += int(np.count_nonzero(seen == 0))
        self.low, self.high = min(self.low, float(seen.min())), max(self.high, float(seen.max()))
        lowest = np.min(values, axis=0, where=finite, initial=np.inf)
        highest = np.max(values, axis=0, where=finite, initial=-np.inf)
        self._lowest = np.minimum(self._lowest, lowest)
        self._highest = np.maximum(self._highest, highest)
        self._samples.append(seen[:: self._every].astype(np.float64))

    def then(self, later: ValueSummary) -> ValueSummary:
        """Return the summary of two parts of the time axis of the same locations."""
        return self._with(later, np.minimum, np.maximum)

    def beside(self, other: ValueSummary) -> ValueSummary:
        """Return the summary of two groups of locations, those of ``other`` following."""
        return self._with(other, _joined, _joined)

    def _with(
        self,
        other: ValueSummary,
        lower: Callable[..., npt.NDArray[np.float64]],
        higher: Callable[..., npt.NDArray[np.float64]],
    ) -> ValueSummary:
        lowest = lower(self._lowest, other._lowest)
        both = ValueSummary(
            n_steps=self.n_steps,
            n_locations=len(lowest),
            observed=self.observed + other.observed,
            total=self.total + other.total,
            zeros=self.zeros + other.zeros,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            _samples=[*self._samples, *other._samples],
        )
        both._lowest, both._highest = lowest, higher(self._highest, other._highest)
        both._any, both._nonzero = self._any | other._any, self._nonzero | other._nonzero
        return both

    @property
    def varied(self) -> bool:
        """Whether there is anything to forecast."""
        return self.low < self.high

    @property
    def missing(self) -> float:
        """Share of missing values."""
        return 1 - self.observed / max(self.total, 1)

    @property
    def unseen(self) -> int:
        """Number of locations that have no value at all."""
        return int(np.count_nonzero(self._lowest > self._highest))

    def findings(
        self, times: npt.ArrayLike | None = None, names: npt.ArrayLike | None = None
    ) -> list[Finding]:
        """Return what a user should know before training on these values.

        Parameters
        ----------
        times, names : array-like, optional
            (T,) times and (N,) ids of locations, for the sentences.
        """
        if not self.varied:
            return []
        when = np.asarray(range(self.n_steps) if times is None else times)
        where = np.asarray(range(self.n_locations) if names is None else names)
        found = [self._extremes(), self._apart_zeros(), self._unvarying(where)]
        return [*filter(None, found), *self._empty_stretches(when)]

    def _extremes(self) -> Finding | None:
        sample = np.concatenate([*self._samples, [self.low, self.high]])
        fences = plausible_range(sample)
        if fences is None:
            return None
        outside = sample[(sample < fences[0]) | (sample > fences[1])]
        beyond = np.unique(outside)
        shown = ", ".join(f"{value:g}" for value in beyond[:_SHOWN])
        share = f", {len(outside) / len(sample):.2%} of the values" if len(outside) > 2 else ""
        example = f"{beyond[np.argmax(np.abs(beyond))]:g}"
        return Finding(
            "extremes",
            f"{shown} lie far from all other values, {fences[0]:g} to {fences[1]:g}{share}",
            f"if they mean 'missing', pass --null-value {example}; if they are real, pass "
            "--accept extremes",
        )

    def _apart_zeros(self) -> Finding | None:
        """Zeros that stand apart from the other values, as a code for missing ones does."""
        if self.zeros < _SHARE_OF_ZEROS * self.observed:
            return None
        sample = np.abs(np.concatenate(self._samples))
        other = sample[sample > 0]
        if not len(other) or np.quantile(other, 0.01) < 0.05 * np.median(other):
            return None
        levels = np.unique(other)
        if len(levels) < _FEWEST_DISTINCT or levels[0] < 1.5 * np.diff(levels).min():
            return None  # counts: 0 is one step below 1
        return Finding(
            "zeros",
            f"{self.zeros / self.observed:.3g} of the values are exactly 0, apart from all others",
            "if zeros mean 'missing', pass --null-value 0",
        )

    def _unvarying(self, names: np.ndarray) -> Finding | None:
        constant = np.flatnonzero(self._lowest == self._highest)
        if not len(constant) or len(constant) == self.n_locations:
            return None
        shown = ", ".join(f"{names[i]} ({self._lowest[i]:g})" for i in constant[:_SHOWN])
        more = ", ..." if len(constant) > _SHOWN else ""
        return Finding(
            "constant",
            f"{len(constant)} of {self.n_locations} locations never change: {shown}{more}",
            "a dead sensor teaches nothing and is easily forecast; take it out if it is one",
        )

    def _empty_stretches(self, times: np.ndarray) -> list[Finding]:
        found = []
        for begin, end in _runs(~self._any, _LONG_RUN * self.n_steps):
            text = f"no location has a value from {times[begin]} to {times[end - 1]}"
            found.append(Finding("empty", f"{text} ({(end - begin) / self.n_steps:.0%} of time)"))
        zero = self._any & ~self._nonzero
        wide = self.n_locations >= 10
        for begin, end in _runs(zero, _LONG_ZERO_RUN * self.n_steps) if wide else ():
            text = f"all locations are exactly 0 from {times[begin]} to {times[end - 1]}"
            remedy = "parts of a store that were never written read as 0; check the source"
            found.append(Finding("empty", text, remedy))
        return found


def _joined(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate([first, second])


def plausible_range(values: npt.NDArray[np.float64]) -> tuple[float, float] | None:
    """Return the range outside which values are isolated extremes, or None if none are.

    The range grows from the middle nine tenths of the distinct values over its neighbours, until
    the next value is ten times its width away; once its width for numbers that are known to mean
    "missing", such as -9999.

    Examples
    --------
    >>> plausible_range(np.array([280.0, 281, 282, 283, 284, 285, 1e20, -9999]))
    (280.0, 285.0)
    >>> plausible_range(np.arange(100.0))
    """
    every = np.unique(values)
    distinct = _without_codes(every)
    if len(distinct) < _FEWEST_DISTINCT:
        return None
    end = len(distinct) - 1
    cut = max(1, len(distinct) // 20)
    first, last, before = cut, end - cut, None
    while before != (first, last):
        before = first, last
        last = _reached(distinct, first, last)
        first = end - _reached(-distinct[::-1], end - last, end - first)
    if before == (0, end) and len(every) == len(distinct):
        return None
    return float(distinct[first]), float(distinct[last])


def _without_codes(distinct: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Leave out numbers that are known to mean "missing" and stand apart from the others."""
    codes = np.isin(distinct, np.asarray(_CODES, dtype=np.float32)) | np.isin(distinct, _CODES)
    others = distinct[~codes]
    if len(others) < _FEWEST_DISTINCT:
        return distinct
    width = others[-1] - others[0]
    apart = codes & ((distinct < others[0] - width) | (distinct > others[-1] + width))
    return np.asarray(distinct[~apart])


def _reached(distinct: npt.NDArray[np.float64], first: int, last: int) -> int:
    """Return the last value that can be reached upward, each at most ten widths away."""
    far = np.diff(distinct[last:]) > _ISOLATION * (distinct[last:-1] - distinct[first])
    return last + int(far.argmax()) if far.any() else len(distinct) - 1


def _runs(flags: npt.NDArray[np.bool_], shortest: float) -> list[tuple[int, int]]:
    """Return half-open ranges of at least ``shortest`` steps, and two, that are all true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    pairs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return [(begin, end) for begin, end in pairs if end - begin >= max(shortest, 2)]


def check_values(
    values: np.ndarray,
    name: str,
    *,
    accept: Sequence[str] = (),
    times: npt.ArrayLike | None = None,
    names: npt.ArrayLike | None = None,
    centre: float = 0.0,
) -> None:
    """Warn of suspicious values of a variable (T, N), and refuse isolated extremes.

    ``centre`` was subtracted from the values before.

    Raises
    ------
    InputError
        If some values lie ten ranges of all others away from them and are not accepted.
    """
    summary = ValueSummary(n_steps=values.shape[0], n_locations=values.shape[1])
    for place in time_blocks(len(values), values.shape[1], BLOCK_VALUES):
        block = values[place]
        summary.add(block + centre if centre else block, place.start)
    report(summary, name, accept=accept, times=times, names=names)


def report(
    summary: ValueSummary,
    name: str,
    *,
    accept: Sequence[str] = (),
    times: npt.ArrayLike | None = None,
    names: npt.ArrayLike | None = None,
) -> None:
    """Warn of what a summary found, and refuse isolated extremes, as :func:`check_values` does."""
    for finding in summary.findings(times, names):
        if finding.kind == "extremes" and "extremes" not in accept:
            raise InputError(f"values of {name!r}: {finding}")
        log.warning("values of %r: %s", name, finding)

"""What a comparison says about a distilled set, in one or two plain sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WORSE_MARK = "!"
"""Marks a result that is worse than the best baseline without training."""
RANDOM_TEXT = {
    "random-expert": "random windows with the same labels",
    "random": "random windows",
}
"""Random windows in sentences; a set is compared with the first of them that is there."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The relative difference ``e / e_other - 1`` from another result, mean over forecasters.

    Parameters
    ----------
    other : str
        What it is compared with, e.g. ``"the converged full data"``.
    mean : float
        Negative where the error is lower than the other.
    half_width : float
        Half of the 95 % interval over seeds or sets; NaN where there is one only.
    """

    other: str
    mean: float
    half_width: float

    @property
    def is_clear(self) -> bool:
        """Whether the difference exceeds the noise; unknown noise counts as clear, and is told."""
        return math.isnan(self.half_width) or abs(self.mean) > self.half_width

    def text(self, forecasters: int = 0) -> str:
        """Return the difference in words, with the number of forecasters where it is given.

        Examples
        --------
        >>> Difference(other="random windows", mean=-0.008, half_width=0.004).text()
        '0.8 % better than random windows (+- 0.4 %)'
        >>> Difference(other="random windows", mean=-0.008, half_width=0.009).text()
        'not distinguishable from random windows (-0.8 % +- 0.9 %)'
        """
        known = not math.isnan(self.half_width)
        noise = f"+- {100 * self.half_width:.1f} %" if known else "one seed, so of unknown noise"
        of = [f"mean of {forecasters} forecasters"] if forecasters > 1 else []
        if not self.is_clear:
            shown = ", ".join([*of, f"{100 * self.mean:+.1f} % {noise}"])
            return f"not distinguishable from {self.other} ({shown})"
        kind = "worse" if self.mean > 0 else "better"
        shown = ", ".join([*of, noise])
        return f"{100 * abs(self.mean):.1f} % {kind} than {self.other} ({shown})"


def verdict(
    subject: str,
    differences: Sequence[Difference],
    trained: Mapping[str, float],
    untrained: Mapping[str, float],
) -> str:
    """Return a verdict on what forecasters reach that were trained on a set.

    Parameters
    ----------
    subject : str
        The set, e.g. ``"The distilled set"``.
    differences : sequence of Difference
        From the full data, and from random windows with the same labels.
    trained : mapping
        Mean error of each forecaster that was trained on the set.
    untrained : mapping
        Error of each baseline, in the same unit.

    Returns
    -------
    str
        A sentence. What is better than another result, but not than a baseline, is no win.

    Examples
    --------
    >>> full = Difference(other="the full data", mean=0.012, half_width=0.004)
    >>> verdict("The distilled set", [full], {"mlp": 0.46}, {"climatology": 0.441})
    ... # doctest: +NORMALIZE_WHITESPACE
    'The distilled set is 1.2 % worse than the full data (+- 0.4 %);
    the climatology (0.441) beats every forecaster trained on it.'
    """
    texts = [each.text(0 if place else len(trained)) for place, each in enumerate(differences)]
    beaten = [name for name, error in trained.items() if is_worse(error, untrained)]
    won = any(each.is_clear and each.mean < 0 for each in differences)
    if won and trained and len(beaten) == len(trained):
        texts[-1] += ", which is no win"
    said = f"{subject} is {', '.join(texts)}" if texts else ""
    against = _baseline(beaten, len(trained), untrained)
    if against and not said:
        return f"{against[0].upper()}{against[1:]}."
    return "; ".join(part for part in (said, against) if part) + "." if said else ""


def best_forecaster(
    trained: Mapping[str, float], to_next: Difference | None, untrained: Mapping[str, float]
) -> str:
    """Return a verdict on forecasters that were all trained on the same data.

    Parameters
    ----------
    trained : mapping
        Mean error of each forecaster.
    to_next : Difference, optional
        Of the best one from the next, where there are two.
    untrained : mapping
        Error of each baseline, in the same unit.

    Examples
    --------
    >>> to_next = Difference(other="mlp, the next", mean=-0.05, half_width=0.02)
    >>> best_forecaster({"mlp": 0.42, "gru": 0.4}, to_next, {"climatology": 0.3})
    ... # doctest: +NORMALIZE_WHITESPACE
    'gru has the lowest error of 2 forecasters (0.4) and is 5.0 % better than mlp, the next
    (+- 2.0 %); the climatology (0.3) beats every forecaster.'
    """
    best = min(trained, key=lambda name: trained[name])
    if to_next is None:
        said = f"The error of {best} is {trained[best]:.4g}"
    else:
        said = f"{best} has the lowest error of {len(trained)} forecasters ({trained[best]:.4g})"
        said += f" and is {to_next.text()}"
    beaten = [name for name, error in trained.items() if is_worse(error, untrained)]
    against = _baseline(beaten, len(trained), untrained, on="")
    return "; ".join(part for part in (said, against) if part) + "."


def is_worse(error: float, untrained: Mapping[str, float]) -> bool:
    """Tell whether an error is above that of the best baseline without training.

    Examples
    --------
    >>> is_worse(0.5, {"persistence": 0.7, "climatology": 0.4}), is_worse(0.5, {})
    (True, False)
    """
    return bool(untrained) and error > min(untrained.values())


def footnote(rows: Sequence[Sequence[str]]) -> str:
    """Return the sentence that explains the mark, where a table has it."""
    marked = any(cell.endswith(WORSE_MARK) for row in rows for cell in row)
    return f"{WORSE_MARK} worse than a baseline without training: no win" if marked else ""


def _baseline(
    beaten: Sequence[str],
    n_trained: int,
    untrained: Mapping[str, float],
    on: str = " trained on it",
) -> str:
    if not beaten:
        return ""
    name = min(untrained, key=lambda each: untrained[each])
    which = name if name == "persistence" else f"the {name}"
    whom = f"{', '.join(beaten)}" if len(beaten) < n_trained else "every forecaster"
    return f"{which} ({untrained[name]:.4g}) beats {whom}{on}"

"""Splitting a series in time: train, then validation, then test."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

from stemdist.errors import InputError

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Shares of the time axis for training, validation and test, in that order.

    Parameters
    ----------
    train, validation, test : float
        Shares that sum to 1; each at least 0 and ``train`` above 0. Or, with ``train`` above 1,
        whole numbers of steps; what follows them is not used.

    Examples
    --------
    >>> Split().boundaries(100)
    {'train': (0, 60), 'validation': (60, 80), 'test': (80, 100)}
    >>> Split(train=50, validation=10, test=10).boundaries(100)
    {'train': (0, 50), 'validation': (50, 60), 'test': (60, 70)}
    """

    train: float = 0.6
    validation: float = 0.2
    test: float = 0.2

    def __post_init__(self) -> None:
        shares = (self.train, self.validation, self.test)
        whole = self.in_steps and all(float(share).is_integer() for share in shares)
        good = whole or (self.train > 0 and abs(sum(shares) - 1) <= 1e-6)
        if not (min(shares) >= 0 and good):
            raise InputError(
                f"split is {shares}: three shares (train, validation, test) that sum to 1 are "
                "needed, the first above 0, e.g. 0.6 0.2 0.2, or three numbers of steps, e.g. "
                "8640 2880 2880"
            )

    @property
    def in_steps(self) -> bool:
        """Whether the parts are numbers of steps."""
        return self.train > 1

    def boundaries(self, n_steps: int) -> dict[str, tuple[int, int]]:
        """Return the half-open range of time steps of each part.

        Parameters
        ----------
        n_steps : int
            Length of the time axis.

        Returns
        -------
        dict of str to (int, int)
            First step and one past the last step of ``train``, ``validation`` and ``test``. A
            shorter time axis than the numbers of steps shortens the last parts.
        """
        if self.in_steps:
            edges = [0, *accumulate((int(self.train), int(self.validation), int(self.test)))]
            cut = [min(edge, n_steps) for edge in edges]
            return dict(zip(PARTS, pairwise(cut), strict=True))
        first = int(self.train * n_steps + 1e-9)
        second = min(int((self.train + self.validation) * n_steps + 1e-9), n_steps)
        return {"train": (0, first), "validation": (first, second), "test": (second, n_steps)}

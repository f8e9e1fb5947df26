"""A view: the aspect of two outputs that a term compares.

Shapes: the leading axes are windows B and locations N, or those of images with h x w cells; L is
the last axis (steps of the horizon, columns of features, or D channels of an image).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from stemdist.errors import InputError


class View(nn.Module, ABC):
    """A transformation of outputs, applied to the student's and the teacher's alike.

    A subclass takes its options in ``__init__``. It returns one or several parts of the values,
    and :attr:`weights` says how much each part counts.
    """

    distribution: ClassVar[bool] = False
    """True if parts are log probabilities along the last axis."""
    keeps_steps: ClassVar[bool] = False
    """True if the last axis of a part still is steps of the horizon, see :meth:`steps`."""
    per_location: ClassVar[bool] = True
    """True if the first two axes of a part still are windows and locations."""
    of: ClassVar[frozenset[str]] = frozenset({"forecast", "features", "tokens", "latent"})
    """Outputs that it can be applied to."""

    @property
    def weights(self) -> tuple[float, ...]:
        """Weight of each part; their sum is the weight of the view."""
        return (1.0,)

    def steps(self, horizon: int) -> Tensor:
        """Return which steps of the horizon the last axis of a part holds."""
        return torch.arange(horizon)

    def check_positions(self, student: torch.Size, teacher: torch.Size) -> None:
        """Raise :class:`InputError` if states of these shapes per window cannot be compared.

        Only of views that are not :attr:`per_location`; those of relations compare any.
        """

    @abstractmethod
    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return the parts of values (B, N, ..., L), or of images (B, h, w, D)."""


def check_positive(name: str, value: float) -> float:
    """Return ``value`` if it is a number above 0, else raise :class:`InputError`."""
    if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
        raise InputError(f"{name} is {value!r}: it must be a number above 0")
    return float(value)

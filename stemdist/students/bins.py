"""Values as distributions over bins.

Shapes: the leading axes are windows B and locations N, or those of images with h x w cells; L is
the last axis (steps of the horizon, columns of features, or D channels of an image).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from stemdist.errors import InputError
from stemdist.students.view import View, check_positive


class Bins(View):
    """Values as shares of the bins whose centres they lie between: a distribution.

    The student's scores of the bins are softmaxed; a teacher's value is shared between the two
    nearest centres in proportion (two-hot; Imani & White, *Improving Regression Performance with
    Distributional Losses*, ICML 2018), and smoothed by the temperature.

    Parameters
    ----------
    centres : tuple of float
        Ascending centres in scaled units; those of the student.
    temperature : float
        By which the student's scores are divided.
    smoothing : float
        Share of the probability that is spread evenly over all bins, in [0, 1).
    """

    distribution = True
    of = frozenset({"logits"})

    centres: Tensor

    def __init__(
        self, centres: tuple[float, ...] = (), temperature: float = 1.0, smoothing: float = 0.0
    ) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise InputError(f"smoothing is {smoothing}: give a share of at least 0 and below 1")
        self.temperature = check_positive("temperature", temperature)
        self.smoothing = smoothing
        self.register_buffer("centres", torch.tensor(centres), persistent=False)

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return log probabilities (..., bins) of scores (..., bins)."""
        return (functional.log_softmax(values / self.temperature, dim=-1),)

    def of_values(self, values: Tensor) -> Tensor:
        """Return log probabilities (..., bins) of a teacher's values (...)."""
        shares = two_hot(values, self.centres)
        even = self.smoothing / len(self.centres)
        return ((1 - self.smoothing) * shares + even).clamp_min(1e-12).log()


def two_hot(values: Tensor, centres: Tensor) -> Tensor:
    """Return shares (..., bins) of the two nearest centres, whose expectation is the value.

    Values beyond the outermost centres belong to these.

    Examples
    --------
    >>> two_hot(torch.tensor([0.25, 9.0]), torch.tensor([0.0, 1.0, 2.0])).tolist()
    [[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]]
    """
    last = len(centres) - 1
    above = torch.bucketize(values.contiguous(), centres).clamp(1, last)
    left, right = centres[above - 1], centres[above]
    share = ((values - left) / (right - left)).clamp(0, 1)
    shares = values.new_zeros(*values.shape, last + 1)
    shares.scatter_(-1, (above - 1).unsqueeze(-1), (1 - share).unsqueeze(-1))
    return shares.scatter(-1, above.unsqueeze(-1), share.unsqueeze(-1))

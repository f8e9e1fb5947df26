"""An affine map of windows that a few hundred updates of a gradient method can learn.

Shapes: L_in lookback, F features, P = L_in * F inputs of a row, R outputs of a row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

_SPREAD = 12.0  # with it, learning rates that suit other layers suit this one: measured


class WindowLinear(nn.Module):
    """Affine map from windows (..., P) to (..., R), learned in the windows' frequencies.

    Neighbouring steps of a window are nearly equal, so in the steps themselves the squared
    error is ill-conditioned: after a thousand updates a map between steps has not yet reached
    the least-squares solution. The cosine transform of a window nearly decorrelates its
    steps (Ahmed et al., *Discrete Cosine Transform*, IEEE Transactions on Computers 1974), so
    each weight here belongs to a frequency. As fast frequencies vary less, the weights of
    frequency k (0 to L_in - 1) count ``sqrt(k + 1)``-fold, and all of them less where there
    are more, so that one learning rate suits any lookback. That changes the optimisation, not
    the maps that can be represented. An output starts at the mean of one feature of the
    window, or at a random map: normal weights of all P inputs with variance 1 / P.

    Parameters
    ----------
    lookback, n_features : int
        L_in and F; a row holds all features of its first step, then of its second, and so on.
    start : sequence of int or None
        For each of the R outputs, the feature at whose mean it starts; None for a random map.

    Examples
    --------
    >>> row = torch.tensor([1.0, 5.0, 3.0, 9.0])  # two steps of two features
    >>> WindowLinear(lookback=2, n_features=2, start=[0, 1])(row).round().tolist()
    [2.0, 7.0]
    """

    waves: Tensor

    def __init__(self, lookback: int, n_features: int, start: Sequence[int | None]) -> None:
        super().__init__()
        self.register_buffer("waves", weighted_waves(lookback), persistent=False)
        weight = torch.zeros(len(start), lookback, n_features)
        random = torch.tensor([feature is None for feature in start])
        feature = torch.tensor([feature or 0 for feature in start])
        # The first wave is constant, sqrt(12) / L_in at each step: so much of it is the mean.
        weight[~random, 0, feature[~random]] = 1 / math.sqrt(_SPREAD)
        # Normal weights of the steps are normal in any orthonormal waves; these are longer.
        spread = (_SPREAD * n_features * (torch.arange(lookback) + 1)).rsqrt()[:, None]
        weight[random] = spread * torch.randn(int(random.sum()), lookback, n_features)
        self.weight = nn.Parameter(weight)  # (R, L_in frequencies, F)
        self.bias = nn.Parameter(torch.zeros(len(start)))

    def step_weight(self) -> Tensor:
        """Return the weights (R, P) that steps and features have."""
        return torch.einsum("rkf,kt->rtf", self.weight, self.waves).flatten(1)

    @torch.no_grad()
    def assign(self, step_weight: Tensor, bias: Tensor) -> None:
        """Make this the map with the given weights (R, P) of steps and features, and bias (R,)."""
        weight = step_weight.double().view(self.weight.shape)
        rates = self.waves.double().square().sum(1)  # (L_in,) the waves are orthogonal
        frequencies = torch.einsum("rtf,kt->rkf", weight, self.waves.double())
        self.weight.copy_(frequencies / rates[:, None])
        self.bias.copy_(bias)

    def forward(self, rows: Tensor) -> Tensor:
        """Return (..., R) for rows (..., P)."""
        return functional.linear(rows, self.step_weight(), self.bias)


def weighted_waves(length: int) -> Tensor:
    """Return orthogonal cosine waves (frequencies, steps); wave k has norm sqrt(12 (k + 1) / L).

    Examples
    --------
    >>> weighted_waves(2).square().sum(dim=1).round().tolist()
    [6.0, 12.0]
    """
    step = torch.arange(length, dtype=torch.float64)
    frequency = step[:, None]
    waves = torch.cos(math.pi / length * frequency * (step + 0.5)) * math.sqrt(2 / length)
    waves[0] /= math.sqrt(2)  # now orthonormal
    return (waves * (_SPREAD / length * (frequency + 1)).sqrt()).float()

"""A stack of gated dilated convolutions over time with skip connections.

Shapes: B windows, L_in lookback, N locations, F features, T time steps left, C channels,
S skip channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemdist.forecast.layers.temporal_conv import GatedConv

WIDTH = 2
"""Steps that each convolution reads."""


class Unchanged(nn.Module):
    """Identity with any further arguments."""

    def forward(self, h: Tensor, *context: Any) -> Tensor:
        """Return ``h``."""
        return h


class WaveNet(nn.Module):
    """Gated dilated convolutions, with given modules before and after each.

    Wu et al., Graph WaveNet, IJCAI 2019, sections 3.3 and 3.4. Inputs shorter than the
    receptive field are padded with zeros on the left; where they are longer, every layer's
    skip connection reads all the steps that are left after the last layer. The skip
    connections of the paper, a map for each layer and their sum, are one map of the joined
    layers, which is the same.

    Parameters
    ----------
    n_features, lookback, rows : int
        F, L_in and the numbers to return per location.
    channels, skip_channels, end_channels : int
        C, S and the columns between S and the result.
    dilations : sequence of int
        Dilation of each layer; the receptive field is ``1 + sum(dilations)`` steps.
    after : callable
        Makes the module that follows each convolution but the last:
        ``(gated (B, N, T', C), h (B, N, T', C), *context) -> (B, N, T', C)``.
    before : callable
        Makes the module that precedes each convolution:
        ``(h (B, N, T, C), *context) -> (B, N, T, joined * C)``.
    joined : int
        How many times as many channels ``before`` returns.

    Examples
    --------
    >>> class Residual(nn.Module):
    ...     def forward(self, gated: Tensor, h: Tensor) -> Tensor:
    ...         return gated + h
    >>> stack = WaveNet(
    ...     n_features=2,
    ...     lookback=12,
    ...     rows=3,
    ...     channels=4,
    ...     skip_channels=4,
    ...     end_channels=4,
    ...     dilations=(1, 2),
    ...     after=Residual,
    ... )
    >>> stack(torch.zeros(4, 12, 5, 2)).shape
    torch.Size([4, 3, 5])
    """

    def __init__(
        self,
        *,
        n_features: int,
        lookback: int,
        rows: int,
        channels: int,
        skip_channels: int,
        end_channels: int,
        dilations: Sequence[int],
        after: Callable[[], nn.Module],
        before: Callable[[], nn.Module] = Unchanged,
        joined: int = 1,
    ) -> None:
        super().__init__()
        field = 1 + (WIDTH - 1) * sum(dilations)
        self.padding = max(field - lookback, 0)
        self.steps_left = lookback + self.padding - field + 1
        self.start = nn.Linear(n_features, channels)
        self.before = nn.ModuleList(before() for _ in dilations)
        self.convs = nn.ModuleList(
            GatedConv(joined * channels, channels, WIDTH, dilation) for dilation in dilations
        )
        # The last layer is read by its skip connection only.
        self.after = nn.ModuleList(after() for _ in pairwise(dilations))
        self.skip = nn.Linear(len(dilations) * self.steps_left * channels, skip_channels)
        self.end = nn.Sequential(
            nn.ReLU(),
            nn.Linear(skip_channels, end_channels),
            nn.ReLU(),
            nn.Linear(end_channels, rows),
        )

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """Return (B, rows, N) for windows (B, L_in, N, F)."""
        x = functional.pad(x.transpose(1, 2), (0, 0, self.padding, 0))  # (B, N, T, F)
        h = self.start(x)  # (B, N, T, C)
        latest = []
        for layer, conv in enumerate(self.convs):
            gated = conv(self.before[layer](h, *context))  # (B, N, T', C)
            latest.append(gated[:, :, -self.steps_left :].flatten(2))
            if layer < len(self.after):
                h = self.after[layer](gated, h[:, :, -gated.shape[2] :], *context)
        out: Tensor = self.end(self.skip(torch.cat(latest, dim=-1)))  # (B, N, rows)
        return out.transpose(1, 2)


def doubling_dilations(blocks: int, layers: int) -> list[int]:
    """Return dilations 1, 2, 4 ... of ``layers`` layers, repeated ``blocks`` times.

    Examples
    --------
    >>> doubling_dilations(2, 3)
    [1, 2, 4, 1, 2, 4]
    """
    return [2**layer for layer in range(layers)] * blocks

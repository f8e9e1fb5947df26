"""Diffusion convolution over a graph.

With it as both maps, :class:`stemdist.forecast.layers.recurrent.GRU` is the cell of DCRNN.

Shapes: B windows, N locations, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stemdist.forecast.layers.products import Product


class DiffusionConvolution(nn.Module):
    """Linear map of the inputs and of their random walks in both directions of a graph.

    Li et al., DCRNN, ICLR 2018, section 2.2, equation 2, with ``steps`` = K - 1: the powers
    0 to ``steps`` of both transition matrices. Power 0 is the same in both directions and has
    one map.

    Parameters
    ----------
    channels_in, channels_out : int
        C before and after.
    steps : int
        Longest walk, at least 0; none is a linear map.

    Examples
    --------
    >>> convolution = DiffusionConvolution(3, 4, steps=2)
    >>> convolution(torch.ones(2, 5, 6, 3), torch.abs, torch.abs).shape
    torch.Size([2, 5, 6, 4])
    """

    def __init__(self, channels_in: int, channels_out: int, steps: int) -> None:
        super().__init__()
        self.channels_in = channels_in
        self.steps = steps
        self.linear = nn.Linear(channels_in * (2 * steps + 1), channels_out)

    def forward(self, h: Tensor, along: Product, against: Product) -> Tensor:
        """Return (B, N, ..., C_out) for (B, N, ..., C_in) and the products of both walks."""
        walks = [h.flatten(2)]  # each (B, N, ... C_in)
        for product in (along, against):
            power = walks[0]
            for _ in range(self.steps):
                power = product(power)
                walks.append(power)
        joined = torch.cat([walk.view(h.shape) for walk in walks], dim=-1)
        mixed: Tensor = self.linear(joined)  # (B, N, ..., C_out)
        return mixed

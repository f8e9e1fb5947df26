"""Diffusion convolution over a graph.

With it as both maps, :class:`stemdist.forecast.layers.recurrent.GRU` is the cell of DCRNN.

Shapes: B windows, N locations, C channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from stemdist.forecast.layers.graph_conv import GraphConv, diffusion_terms
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
    >>> import torch
    >>> convolution = DiffusionConvolution(3, 4, steps=2)
    >>> convolution(torch.ones(2, 5, 6, 3), torch.abs, torch.abs).shape
    torch.Size([2, 5, 6, 4])
    """

    def __init__(self, channels_in: int, channels_out: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.conv = GraphConv(channels_in, channels_out, 2 * steps)

    def forward(self, h: Tensor, along: Product, against: Product) -> Tensor:
        """Return (B, N, ..., C_out) for (B, N, ..., C_in) and the products of both walks."""
        mixed: Tensor = self.conv(h, diffusion_terms(h.flatten(2), (along, against), self.steps))
        return mixed

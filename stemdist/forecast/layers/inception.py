"""Gated convolutions over time of several widths, computed as one.

Shapes: B windows, N locations, T time steps, C channels. Tensors are (B, N, T, C).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemdist.errors import InputError
from stemdist.forecast.layers.temporal_conv import gated

KERNELS = (2, 3, 6, 7)
"""Widths of the parallel convolutions over time (MTGNN section 4.4)."""


class DilatedInception(nn.Module):
    """Gated parallel convolutions over time of widths 2, 3, 6 and 7, computed as one.

    Wu et al., MTGNN, KDD 2020, sections 4.4 and 4.5: each width gives a quarter of the
    channels, all aligned at the latest step, and a tanh filter is multiplied by a sigmoid
    gate. The eight kernels are padded on the left to width 7 and joined, which is 4 times
    faster than eight convolutions and gives the same numbers. The dilation is 1, as in the
    paper's multi-step setting.

    Parameters
    ----------
    channels_in, channels_out : int
        C before and after; ``channels_out`` a multiple of 4.

    Raises
    ------
    InputError
        If ``channels_out`` is not a multiple of 4.

    Examples
    --------
    >>> DilatedInception(3, 8)(torch.zeros(2, 5, 19, 3)).shape
    torch.Size([2, 5, 13, 8])
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        if channels_out % len(KERNELS):
            raise InputError(
                f"conv_channels is {channels_out}: it must be a multiple of {len(KERNELS)}, one "
                "share for each convolution width"
            )
        self.share = channels_out // len(KERNELS)
        branches = [nn.Conv1d(channels_in, 2 * self.share, width) for width in KERNELS]
        # (2 * share, channels_in, width): rows of the filter, then of the gate.
        self.weights = nn.ParameterList(branch.weight for branch in branches)
        self.biases = nn.ParameterList(branch.bias for branch in branches)

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, N, T - 6, C_out) for (B, N, T, C_in)."""
        weight, bias = self._joined()
        if h.shape[2] == KERNELS[-1]:  # one step is left: a linear map of all inputs
            by_step = weight.squeeze(2).transpose(1, 2).flatten(1)  # (2 C_out, 7 C_in)
            return gated(functional.linear(h.flatten(2), by_step, bias).unsqueeze(2))
        both = functional.conv2d(h.permute(0, 3, 1, 2), weight, bias)  # (B, 2 C_out, N, T - 6)
        return gated(both.permute(0, 2, 3, 1))

    def after(self, linear: nn.Linear, x: Tensor) -> Tensor:
        """Return ``self(linear(x))`` for (B, N, T, F), without the C_in channels in between.

        Two linear maps make one, so F numbers per step are read instead of C_in.
        """
        weight, bias = self._joined()
        weight = weight.squeeze(2)  # (2 C_out, C_in, 7)
        joined = torch.einsum("ock,cf->ofk", weight, linear.weight)
        bias = bias + weight.sum(-1) @ linear.bias
        spans = x.unfold(2, KERNELS[-1], 1).flatten(3)  # (B, N, T - 6, 7 F)
        return gated(functional.linear(spans, joined.flatten(1), bias))

    def _joined(self) -> tuple[Tensor, Tensor]:
        """Return one kernel (2 C_out, C_in, 1, 7), filters before gates, and its bias."""
        weights = [
            functional.pad(weight, (KERNELS[-1] - weight.shape[-1], 0)).view(
                2, self.share, -1, 1, KERNELS[-1]
            )
            for weight in self.weights
        ]
        biases = [bias.view(2, self.share) for bias in self.biases]
        return torch.cat(weights, dim=1).flatten(0, 1), torch.cat(biases, dim=1).flatten()

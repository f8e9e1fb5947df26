"""Layers of the graph convolution forecasters.

Shapes: B windows, N locations, T time steps, C channels. Tensors are (B, N, T, C): a window's
locations are the rows of one contiguous matrix (N, T * C), which is what products with an
adjacency need, and the layout is "channels last" for convolutions over time, so nothing is
ever permuted in memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stemdist.errors import InputError
from stemdist.forecast.sparse import Pattern, spmm

KERNELS = (2, 3, 6, 7)
"""Widths of the parallel convolutions over time (MTGNN section 4.4)."""


class FastDropout(nn.Module):
    """Dropout whose random numbers cost a tenth of ``torch.nn.Dropout``'s on CPU.

    Each value takes 16 random bits of a 64-bit number instead of a whole draw, so the share
    is rounded to a multiple of 1/65536.

    Parameters
    ----------
    share : float
        Share of values set to zero in training, in [0, 1).

    Examples
    --------
    >>> FastDropout(0.3).eval()(torch.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, h: Tensor) -> Tensor:
        """Return ``h`` with a share of its values zero and the others scaled up, in training."""
        dropped = round(self.share * 65536)
        if not self.training or dropped == 0:
            return h
        if h.device.type != "cpu":
            return F.dropout(h, self.share)
        draws = torch.empty(-(-h.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = draws.view(torch.int16)[: h.numel()].view(h.shape)
        keep = (bits >= dropped - 32768).to(h.dtype)
        return h * keep.mul_(65536 / (65536 - dropped))


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
        # (2 * share, channels_in, width): rows of the filter, then of the gate.
        self.branches = nn.ModuleList(
            nn.Conv1d(channels_in, 2 * self.share, width) for width in KERNELS
        )

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, N, T - 6, C_out) for (B, N, T, C_in)."""
        weight, bias = self._joined()
        both = F.conv2d(h.permute(0, 3, 1, 2), weight, bias)  # (B, 2 C_out, N, T - 6)
        signal, gate = both.permute(0, 2, 3, 1).chunk(2, dim=-1)  # (B, N, T - 6, C_out) each
        return torch.tanh(signal) * torch.sigmoid(gate)

    def _joined(self) -> tuple[Tensor, Tensor]:
        """Return one kernel (2 C_out, C_in, 1, 7), filters before gates, and its bias."""
        weights = [F.pad(b.weight, (KERNELS[-1] - b.weight.shape[-1], 0)) for b in self.branches]
        parts = [w.unflatten(0, (2, self.share)) for w in weights]  # (2, share, C_in, 7) each
        biases = [b.bias.unflatten(0, (2, self.share)) for b in self.branches]
        return torch.cat(parts, 1).flatten(0, 1).unsqueeze(2), torch.cat(biases, 1).flatten()


class Adjacency(ABC):
    """A location graph as MTGNN uses it: ``D^-1 (A + I)`` and the same of the transpose."""

    @abstractmethod
    def forward(self, h: Tensor) -> Tensor:
        """Return ``D^-1 (A + I) h`` for windows h (B, N, D)."""

    @abstractmethod
    def backward(self, h: Tensor) -> Tensor:
        """Return ``D'^-1 (A^T + I) h`` for windows h (B, N, D)."""

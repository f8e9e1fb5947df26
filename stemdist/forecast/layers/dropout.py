"""Dropout that is fast on CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemdist.errors import InputError


class FastDropout(nn.Module):
    """Dropout whose random numbers take a tenth of the time of ``torch.nn.Dropout``'s on CPU.

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
            return functional.dropout(h, self.share)
        draws = torch.empty(-(-h.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = draws.view(torch.int16)[: h.numel()].view(h.shape)
        keep = (bits >= dropped - 32768).to(h.dtype)
        return h * keep.mul_(65536 / (65536 - dropped))


def check_dropout(value: float) -> float:
    """Return ``value`` if it is a share in [0, 1), else raise :class:`InputError`."""
    if not 0 <= value < 1:
        raise InputError(
            f"dropout is {value!r}: it must be a share of at least 0 and below 1, e.g. 0.3"
        )
    return float(value)

"""Residual convolutions over images.

Shapes: B images, C channels, H rows, W columns. Tensors are (B, C, H, W).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from stemdist.forecast.layers.image_conv import ImageConv


class ResidualConv(nn.Module):
    """Two convolutions whose result is added to the image, before the last activation.

    He et al., *Deep Residual Learning*, CVPR 2016, section 3.3: the block of figure 2 with two
    3 x 3 convolutions and an identity shortcut. Group norm over the whole image replaces
    batch norm and SiLU for ReLU, as in :class:`~stemdist.forecast.layers.image_conv.ImageConv`.

    Parameters
    ----------
    channels : int
        C.

    Examples
    --------
    >>> import torch
    >>> ResidualConv(4)(torch.zeros(2, 4, 5, 3)).shape
    torch.Size([2, 4, 5, 3])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = ImageConv(channels, channels)
        self.outer = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.GroupNorm(1, channels)

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, C, H, W) for (B, C, H, W)."""
        change = self.norm(self.outer(self.inner(h)))
        return functional.silu(h + change)

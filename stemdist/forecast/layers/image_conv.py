"""Convolutions over images, and upsampling.

Shapes: B images, C channels, H rows, W columns. Tensors are (B, C, H, W).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class ImageConv(nn.Sequential):
    """Convolution, group norm over the whole image, SiLU.

    Beyond its edges an image counts as zero, so every size can be halved: an odd number of rows
    or columns is rounded up. Group norm has no statistics of a batch, which tiny batches and
    gradient matching could not use. It has one group, so any number of channels will do.

    Parameters
    ----------
    channels_in, channels_out : int
        C before and after.
    width : int
        Rows and columns that the kernel reads, an odd number.
    stride : int
        1, or 2 to halve the image.
    groups : int
        Groups of channels that are convolved apart.

    Examples
    --------
    >>> import torch
    >>> ImageConv(3, 8, stride=2)(torch.zeros(2, 3, 5, 6)).shape
    torch.Size([2, 8, 3, 3])
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        width: int = 3,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, width, stride, width // 2, groups=groups),
            nn.GroupNorm(1, channels_out),
            nn.SiLU(),
        )


def enlarge(images: Tensor, like: Tensor) -> Tensor:
    """Double ``images`` by repeating every value, cut to the size (H, W) of ``like``.

    Examples
    --------
    >>> import torch
    >>> enlarge(torch.tensor([[[[1.0, 2.0]]]]), torch.zeros(1, 1, 2, 3)).tolist()
    [[[[1.0, 1.0, 2.0], [1.0, 1.0, 2.0]]]]
    """
    doubled = functional.interpolate(images, scale_factor=2, mode="nearest")
    return doubled[..., : like.shape[2], : like.shape[3]]

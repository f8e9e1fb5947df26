"""A moving average of windows, as a matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from stemdist.errors import InputError, check_count


def moving_average(length: int, kernel: int) -> Tensor:
    """Return the (length, length) matrix of a centred moving average.

    Values before the first and after the last step repeat those, so rows always sum to 1.

    Examples
    --------
    >>> moving_average(3, 3) @ torch.tensor([0.0, 3.0, 9.0])
    tensor([1., 4., 7.])
    """
    step = torch.arange(length)
    offset = torch.arange(kernel) - kernel // 2
    read = (step[:, None] + offset).clamp(0, length - 1)  # (length, kernel)
    share = torch.full(read.shape, 1 / kernel)
    return torch.zeros(length, length).scatter_add_(1, read, share)


def check_kernel(value: int) -> int:
    """Return a number of steps if it is odd, else raise :class:`InputError`."""
    if check_count("kernel", value) % 2 == 0:
        raise InputError(
            f"kernel is {value}: it must be odd, so that the moving average is centred; "
            f"e.g. {value + 1}"
        )
    return value

"""Which windows an update has.

Shapes: M windows, B windows of an update.
"""

from __future__ import annotations

import torch
from torch import Tensor


def batch_index(n_windows: int, batch_windows: int, update: int, seed: int) -> Tensor:
    """Return the windows of one update: shuffled epochs that depend on seed and update only.

    Examples
    --------
    >>> first, second = (batch_index(4, 2, update, seed=0) for update in (0, 1))
    >>> sorted(torch.cat([first, second]).tolist())
    [0, 1, 2, 3]
    """
    size = min(batch_windows, n_windows)
    epoch, position = divmod(update, n_windows // size)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(n_windows, generator=generator)
    return order[position * size : (position + 1) * size]

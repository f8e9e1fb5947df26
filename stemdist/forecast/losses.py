"""Elementwise training losses and their weighted, masked mean.

Shapes: B windows, L_out horizon, N locations.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from stemdist.errors import unknown_name

LossFunction = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[str, LossFunction] = {
    "mse": lambda forecast, y: (forecast - y) ** 2,
    "mae": lambda forecast, y: (forecast - y).abs(),
    "huber": lambda forecast, y: functional.huber_loss(forecast, y, reduction="none"),
}


def get_loss(name: str) -> LossFunction:
    """Return an elementwise loss by name, or raise with the choices."""
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    return LOSSES[name]


def weighted_mean(errors: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of elementwise errors over observed targets, locations weighted.

    Parameters
    ----------
    errors, mask : Tensor
        (B, L_out, N); ``mask`` is 1 where the target is observed.
    weight : Tensor
        (N,) location weights.

    Examples
    --------
    >>> import torch
    >>> errors = torch.tensor([[[1.0, 4.0]]])
    >>> weighted_mean(errors, torch.tensor([[[1.0, 1.0]]]), torch.tensor([1.0, 3.0])).item()
    3.25
    >>> weighted_mean(errors, torch.tensor([[[1.0, 0.0]]]), torch.tensor([1.0, 3.0])).item()
    1.0
    """
    share = mask * weight
    return (errors * share).sum() / share.sum().clamp_min(1e-12)

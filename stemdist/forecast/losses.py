"""Elementwise training losses and their weighted, masked mean.

Shapes: B windows, R = C * L_out target rows, Q quantiles, N locations.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from stemdist.errors import unknown_name
from stemdist.forecast.training_settings import QUANTILE

LossFunction = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[str, LossFunction] = {
    "mse": lambda forecast, y: (forecast - y) ** 2,
    "mae": lambda forecast, y: (forecast - y).abs(),
    "huber": lambda forecast, y: functional.huber_loss(forecast, y, reduction="none"),
}


def get_loss(name: str, quantiles: tuple[float, ...] = ()) -> LossFunction:
    """Return an elementwise loss by name, or raise with the choices.

    ``"quantile"`` compares forecasts (B, Q * R, N) of all ``quantiles`` with targets (B, R, N);
    the others compare (B, R, N) with (B, R, N). All return (B, R, N).
    """
    if name == QUANTILE:
        return lambda forecast, y: quantile_score(
            torch.unflatten(forecast, 1, (len(quantiles), -1)), y, quantiles
        )
    if name not in LOSSES:
        raise unknown_name("loss", name, [*LOSSES, QUANTILE])
    return LOSSES[name]


def quantile_score(forecast: Tensor, y: Tensor, quantiles: tuple[float, ...]) -> Tensor:
    """Return twice the mean pinball loss over quantiles, an estimate of the CRPS.

    Gneiting & Ranjan, *Comparing Density Forecasts*, 2011, equations 3 and 4: the CRPS is twice
    the pinball loss averaged over all levels. For the median alone it is the absolute error.

    Parameters
    ----------
    forecast : Tensor
        (B, Q, ...) quantiles of the target.
    y : Tensor
        (B, ...) targets, in the same units.
    quantiles : tuple of float
        The Q levels.

    Returns
    -------
    Tensor
        (B, ...), in those units.

    Examples
    --------
    >>> quantile_score(torch.tensor([[[1.0], [3.0]]]), torch.tensor([[2.0]]), (0.25, 0.75))
    tensor([[0.5000]])
    """
    level = forecast.new_tensor(quantiles).view(-1, *[1] * (y.dim() - 1))  # (Q, 1, ...)
    above = y.unsqueeze(1) - forecast
    return 2 * torch.maximum(level * above, (level - 1) * above).mean(1)


def weighted_mean(errors: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of elementwise errors over observed targets, locations weighted.

    Parameters
    ----------
    errors, mask : Tensor
        (B, R, N); ``mask`` is 1 where the target is observed.
    weight : Tensor
        (N,) location weights.

    Examples
    --------
    >>> errors = torch.tensor([[[1.0, 4.0]]])
    >>> weighted_mean(errors, torch.tensor([[[1.0, 1.0]]]), torch.tensor([1.0, 3.0])).item()
    3.25
    >>> weighted_mean(errors, torch.tensor([[[1.0, 0.0]]]), torch.tensor([1.0, 3.0])).item()
    1.0
    """
    share = mask * weight
    return (errors * share).sum() / share.sum().clamp_min(1e-12)

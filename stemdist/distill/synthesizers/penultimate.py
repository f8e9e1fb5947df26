"""What a forecaster's last linear layer reads.

Shapes: B windows, L_in lookback, N locations, F features, H columns of the last layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast import Forecaster


def penultimate_features(forecaster: Forecaster, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
    """Return the inputs of the last linear layer for every window and location.

    The layer is found by running the forecaster: the one whose outputs, taken together, are as
    many as the forecasts. A layer called once for each step ahead gives the features of all
    steps side by side.

    Parameters
    ----------
    forecaster : Forecaster
        One that ends in a linear layer shared by all locations.
    x, graph, profile : Tensor, torch_geometric.data.Data, Tensor
        As its ``forward`` takes them: (B, L_in, N, F), and (N, L_in * F).

    Returns
    -------
    Tensor
        (B, N, H), differentiable.

    Raises
    ------
    InputError
        If the forecaster does not end so.

    Examples
    --------
    >>> from stemdist.forecast import make_forecaster
    >>> mlp = make_forecaster("mlp", lookback=6, horizon=2, n_features=1, hidden=16)
    >>> x = torch.randn(4, 6, 3, 1)
    >>> features = penultimate_features(mlp, x, Data(num_nodes=3), torch.zeros(3, 6))
    >>> features.shape
    torch.Size([4, 3, 16])
    >>> forecast = mlp(x, Data(num_nodes=3), torch.zeros(3, 6))
    >>> torch.allclose(mlp.head(features).transpose(1, 2), forecast)
    True
    """
    calls: list[tuple[nn.Module, Any, Any]] = []
    layers = [module for module in forecaster.modules() if _has_matrix(module)]
    hooks = [layer.register_forward_hook(lambda *call: calls.append(call)) for layer in layers]
    try:
        forecast = forecaster(x, graph, profile)
    finally:
        for hook in hooks:
            hook.remove()
    last = [(given[0], made) for layer, given, made in calls if layer is calls[-1][0]]
    parts = [_per_location(given, made, len(x), x.shape[2]) for given, made in last]
    features = [part for part in parts if part is not None]
    made = sum(made.numel() for _, made in last)
    if not last or len(features) < len(parts) or made != forecast.numel():
        raise InputError(
            f"a {type(forecaster).__name__} does not end in a linear layer shared by all "
            "locations, whose inputs could serve as features: choose another, e.g. mlp"
        )
    whole = all(len(part) == len(x) for part in features)
    return torch.cat(features, dim=-1 if whole else 0)  # else parts of the windows


def _has_matrix(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() > 1 and not any(module.children())


def _per_location(given: Tensor, made: Tensor, n_windows: int, n_locations: int) -> Tensor | None:
    """Return a layer's inputs as (windows, N, H); None if it does not act on the last axis."""
    if given.shape[:-1] != made.shape[:-1]:
        return None
    if given.dim() > 2 and given.shape[1] == n_locations and len(given) <= n_windows:
        return given.flatten(2)  # (windows, N, ..., columns)
    if len(given) % n_locations:
        return None
    return given.reshape(len(given) // n_locations, n_locations, -1)  # (windows * N, ...)

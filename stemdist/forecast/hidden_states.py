"""Hidden states of a forecaster, for terms that match them and synthesizers that use them.

Shapes: B windows, L_in lookback, N locations, F features, H columns of the last linear layer,
R = O * L_out rows of a forecast, K tokens of C columns, D channels of an image.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from stemdist.errors import InputError
from stemdist.forecast.base import Forecaster

if TYPE_CHECKING:
    from torch_geometric.data import Data

STATES = {
    "features": "(B, N, H), what the last linear layer reads, or a mean of tokens",
    "tokens": "(B, N, K, C), the states of the pieces of each location's window",
    "latent": "(B, D, h, w), images between encoder and decoder",
    "logits": "(B, N, R, bins), scores of the bins whose expectation is the forecast",
    "bottleneck": "(B, N, 2 Z), means and log variances of a stochastic code",
}
"""Kinds of hidden state. A forecaster names its own layers in ``Forecaster.states``."""

_Call = tuple[nn.Module, Tensor, Tensor]


def hidden_states(
    forecaster: Forecaster, kinds: Collection[str], x: Tensor, graph: Data, profile: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Forecast, and return some of the hidden states of the same forward pass.

    Parameters
    ----------
    forecaster : Forecaster
        In training or evaluation mode, which is not changed.
    kinds : collection of str
        Keys of :data:`STATES`. ``features`` are found automatically where the forecaster ends in
        a linear layer and names no other; the others must be named in its ``states``.
    x, graph, profile : Tensor, torch_geometric.data.Data, Tensor
        As its ``forward`` takes them: (B, L_in, N, F), and (N, L_in * F).

    Returns
    -------
    Tensor, dict of str to Tensor
        The forecast (B, R, N), and the states in the shapes of :data:`STATES`; differentiable.

    Raises
    ------
    InputError
        If the forecaster has no such state.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> from stemdist.forecast.base import make_forecaster
    >>> gru = make_forecaster("gru", lookback=6, horizon=2, n_features=1, hidden=16)
    >>> x = torch.randn(4, 6, 3, 1)
    >>> forecast, states = hidden_states(
    ...     gru, ["features", "tokens"], x, Data(num_nodes=3), torch.zeros(3, 6))
    >>> forecast.shape, states["features"].shape, states["tokens"].shape
    (torch.Size([4, 2, 3]), torch.Size([4, 3, 16]), torch.Size([4, 3, 6, 16]))
    """
    check_states(forecaster, kinds)
    named = {kind: forecaster.states[kind] for kind in kinds if kind in forecaster.states}
    layers = [forecaster.get_submodule(path) for path in named.values()]
    search = "features" in kinds and "features" not in named
    heads = [module for module in forecaster.modules() if _has_matrix(module)] if search else []
    with _recorded([*layers, *heads]) as calls:
        forecast: Tensor = forecaster(x, graph, profile)
    n_windows, n_locations = len(x), x.shape[2]
    states = {}
    for kind, layer in zip(named, layers, strict=True):
        made = next(made for module, _, made in reversed(calls) if module is layer)
        states[kind] = made if kind == "latent" else _of_locations(made, n_windows, n_locations)
        if kind == "features" and states[kind].dim() == 4:  # tokens (B, N, K, C)
            states[kind] = states[kind].mean(2)
    if search:
        own = [call for call in calls if any(call[0] is head for head in heads)]
        states["features"] = _last_inputs(forecaster, own, forecast, n_windows, n_locations)
    return forecast, {kind: states[kind] for kind in kinds}


def check_states(forecaster: Forecaster, kinds: Collection[str]) -> None:
    """Raise :class:`InputError` if a forecaster does not name a state that has to be named."""
    for kind in kinds:
        if kind not in STATES:
            raise InputError(
                f"unknown hidden state {kind!r}: choose from {', '.join(sorted(STATES))}"
            )
        if kind != "features" and kind not in forecaster.states:
            own = ", ".join(sorted({"features", *forecaster.states}))
            raise InputError(
                f"a {type(forecaster).__name__} has no {kind} {STATES[kind]}: it has {own}. Choose "
                "another state, or another forecaster"
            )


def penultimate_features(forecaster: Forecaster, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
    """Return the inputs (B, N, H) of the last linear layer for every window and location.

    The layer is found by running the forecaster: the one whose outputs, taken together, are as
    many as the forecasts. A layer called once for each step ahead gives the features of all
    steps side by side.

    Parameters
    ----------
    forecaster, x, graph, profile
        As in :func:`hidden_states`; one that ends in a linear layer shared by all locations.

    Raises
    ------
    InputError
        If the forecaster does not end in such a layer.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> from stemdist.forecast.base import make_forecaster
    >>> mlp = make_forecaster("mlp", lookback=6, horizon=2, n_features=1, hidden=16)
    >>> x = torch.randn(4, 6, 3, 1)
    >>> features = penultimate_features(mlp, x, Data(num_nodes=3), torch.zeros(3, 6))
    >>> features.shape
    torch.Size([4, 3, 16])
    >>> forecast = mlp(x, Data(num_nodes=3), torch.zeros(3, 6))
    >>> torch.allclose(mlp.head(features).transpose(1, 2), forecast)
    True
    """
    heads = [module for module in forecaster.modules() if _has_matrix(module)]
    with _recorded(heads) as calls:
        forecast = forecaster(x, graph, profile)
    return _last_inputs(forecaster, calls, forecast, len(x), x.shape[2])


@contextmanager
def _recorded(layers: list[nn.Module]) -> Iterator[list[_Call]]:
    """Collect (layer, first input, output) of every call of some layers, in order."""
    calls: list[_Call] = []

    def note(layer: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        calls.append((layer, given[0], made))

    hooks = [layer.register_forward_hook(note) for layer in {id(m): m for m in layers}.values()]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _last_inputs(
    forecaster: Forecaster, calls: list[_Call], forecast: Tensor, n_windows: int, n_locations: int
) -> Tensor:
    last = [(given, made) for layer, given, made in calls if layer is calls[-1][0]]
    parts = [_per_location(given, made, n_windows, n_locations) for given, made in last]
    features = [part for part in parts if part is not None]
    made = sum(made.numel() for _, made in last)
    if not last or len(features) < len(parts) or made != forecast.numel():
        raise InputError(
            f"a {type(forecaster).__name__} does not end in a linear layer shared by all "
            "locations, whose inputs could serve as features: choose another, e.g. mlp"
        )
    whole = all(len(part) == n_windows for part in features)
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


def _of_locations(made: Tensor, n_windows: int, n_locations: int) -> Tensor:
    """Return (B N, ...) or (B, N, ...) as (B, N, ...)."""
    if made.shape[:2] == (n_windows, n_locations):
        return made
    return made.reshape(n_windows, n_locations, *made.shape[1:])

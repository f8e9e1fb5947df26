"""Training a forecaster as a differentiable function of its training data.

The backward pass recomputes one update at a time from stored states, so that its memory is the
graph of one update whatever the number of updates. The gradient is exact: it has the term through
the data and the term through the weights. Constant memory is the aim of TESLA (Cui et al., ICML
2023, section 3); the recomputation is that of Maclaurin et al. (ICML 2015), with stored instead of
reversed states.
Shapes: P weights, S rows of state (weights and what the optimizer keeps of each).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import functional_call

from stemdist.forecast import Forecaster

if TYPE_CHECKING:
    from torch_geometric.data import Data

Update = Callable[[Tensor, int], Tensor]
"""Maps a state (S, P) and the number of the update to the next state, differentiably."""


class FlatForecaster:
    """A forecaster whose weights are one vector.

    Parameters
    ----------
    forecaster : Forecaster
        Its weights are only read; its mode (training or evaluation) stays as it is.

    Attributes
    ----------
    forecaster : Forecaster
        The module.
    groups : list of slice
        Where each weight tensor lies in the vector.

    Examples
    --------
    >>> from stemdist.forecast import make_forecaster
    >>> flat = FlatForecaster(make_forecaster("linear", lookback=2, horizon=1, n_features=1))
    >>> flat.vector().shape
    torch.Size([3])
    """

    def __init__(self, forecaster: Forecaster) -> None:
        self.forecaster = forecaster
        named = dict(forecaster.named_parameters())
        self._names = list(named)
        self._shapes = [weight.shape for weight in named.values()]
        self._sizes = [weight.numel() for weight in named.values()]
        self._buffers = dict(forecaster.named_buffers())
        # Finding weights that modules share takes a tenth of an update's time: done once.
        self._shared = len(list(forecaster.named_parameters(remove_duplicate=False))) > len(named)
        ends = torch.tensor(self._sizes).cumsum(0).tolist()
        self.groups = [slice(e - n, e) for e, n in zip(ends, self._sizes, strict=True)]

    def vector(self) -> Tensor:
        """Return a copy of the weights, (P,)."""
        return torch.cat([w.detach().flatten() for w in self.forecaster.parameters()])

    def load(self, vector: Tensor) -> Forecaster:
        """Copy a vector (P,) into the module and return it."""
        with torch.no_grad():
            for weight, group in zip(self.forecaster.parameters(), self.groups, strict=True):
                weight.copy_(vector[group].view_as(weight))
        return self.forecaster

    def __call__(self, vector: Tensor, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Return the forecasts (B, R, N) with the weights ``vector``, differentiable in it."""
        parts = torch.split(vector, self._sizes)
        weights = {
            name: part.view(shape)
            for name, part, shape in zip(self._names, parts, self._shapes, strict=True)
        }
        forecast: Tensor = functional_call(
            self.forecaster,
            {**weights, **self._buffers},
            (x, graph, profile),
            tie_weights=self._shared,
        )
        return forecast


class InnerOptimizer(ABC):
    """An optimizer as a function; the first row of its state (S, P) are the weights."""

    rows: int
    """S."""

    def start(self, weights: Tensor) -> Tensor:
        """Return the state (S, P) of weights (P,) before any update."""
        return torch.cat([weights[None], weights.new_zeros(self.rows - 1, len(weights))])

    @abstractmethod
    def step(self, state: Tensor, gradient: Tensor, rate: Tensor | float, number: int) -> Tensor:
        """Return the next state.

        Parameters
        ----------
        state : Tensor
            (S, P).
        gradient : Tensor
            (P,) of the loss at ``state[0]``.
        rate : Tensor or float
            Step size; a tensor may be learned.
        number : int
            Number of earlier updates of these weights.
        """


class Sgd(InnerOptimizer):
    """Gradient descent, with or without momentum.

    Parameters
    ----------
    momentum : float
        In [0, 1); 0 for none.

    Examples
    --------
    >>> sgd = Sgd()
    >>> sgd.step(sgd.start(torch.tensor([1.0])), torch.tensor([2.0]), 0.1, 0)
    tensor([[0.8000]])
    """

    def __init__(self, momentum: float = 0.0) -> None:
        self.momentum = momentum
        self.rows = 2 if momentum else 1

    def step(self, state: Tensor, gradient: Tensor, rate: Tensor | float, number: int) -> Tensor:
        """Return the next state; the velocity is the second row."""
        if not self.momentum:
            return state - rate * gradient[None]
        velocity = self.momentum * state[1] + gradient
        return torch.stack([state[0] - rate * velocity, velocity])


class Adam(InnerOptimizer):
    """Adam (Kingma & Ba, ICLR 2015, algorithm 1); differentiable where a gradient is zero.

    Parameters
    ----------
    betas : tuple of float
        Decay of the two means.
    epsilon : float
        Added under the square root as its square, so that the root is differentiable at 0.
    """

    rows = 3

    def __init__(self, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-6) -> None:
        self.betas = betas
        self.epsilon = epsilon

    def step(self, state: Tensor, gradient: Tensor, rate: Tensor | float, number: int) -> Tensor:
        """Return the next state; the means of gradients and of their squares are rows 2 and 3."""
        weights, mean, square = state
        first, second = self.betas
        mean = torch.lerp(gradient, mean, first)
        square = torch.lerp(gradient * gradient, square, second)
        root = (square / (1 - second ** (number + 1)) + self.epsilon**2).sqrt()
        moved = weights - rate * (mean / (1 - first ** (number + 1))) / root
        return torch.stack([moved, mean, square])


@torch.no_grad()
def train_inner(update: Update, state: Tensor, n_updates: int) -> list[Tensor]:
    """Make updates without storing their graphs.

    Parameters
    ----------
    update : callable
        Maps state and number to the next state.
    state : Tensor
        (S, P) at the start.
    n_updates : int
        Number of updates.

    Returns
    -------
    list of Tensor
        The ``n_updates + 1`` states.
    """
    states = [state.detach()]
    for number in range(n_updates):
        states.append(update(states[-1], number))
    return states


def pull_back(
    update: Update, states: Sequence[Tensor], gradient: Tensor, learned: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Return the gradients of a function of the last state for the first state and learned tensors.

    Parameters
    ----------
    update : callable
        As in :func:`train_inner`; differentiable in the state and in ``learned``.
    states : sequence of Tensor
        Returned by :func:`train_inner`.
    gradient : Tensor
        (S, P) of the function at the last state.
    learned : sequence of Tensor
        Leaves that the updates depend on, e.g. windows and step size.

    Returns
    -------
    Tensor, list of Tensor
        The gradient (S, P) for the first state, and those for ``learned``.

    Examples
    --------
    >>> data = torch.tensor([3.0], requires_grad=True)
    >>> def update(state, number):
    ...     return state - 0.5 * (state - data)  # half of the way towards the data
    >>> states = train_inner(update, torch.zeros(1, 1), 2)
    >>> pull_back(update, states, torch.ones(1, 1), [data])
    (tensor([[0.2500]]), [tensor([0.7500])])
    """
    totals = [torch.zeros_like(tensor) for tensor in learned]
    for number in reversed(range(len(states) - 1)):
        with torch.enable_grad():
            state = states[number].detach().requires_grad_()
            following = update(state, number)
        gradient, *parts = torch.autograd.grad(
            following, [state, *learned], gradient, materialize_grads=True
        )
        totals = [total.add_(part) for total, part in zip(totals, parts, strict=True)]
    return gradient, totals


def descend(
    loss: Callable[[Tensor], Tensor],
    state: Tensor,
    optimizer: InnerOptimizer,
    rate: Tensor | float,
    number: int,
) -> Tensor:
    """Return the state after one update down ``loss``, differentiable where gradients are enabled.

    Parameters
    ----------
    loss : callable
        Maps weights (P,) to a scalar.
    state : Tensor
        (S, P).
    optimizer : InnerOptimizer
        Makes the step.
    rate : Tensor or float
        Step size.
    number : int
        Number of earlier updates of these weights.
    """
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        point = state if differentiable else state.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(point[0]), point, create_graph=differentiable)
    return optimizer.step(state, gradient[0], rate, number)

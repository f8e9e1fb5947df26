"""Recurrent layers whose two maps, of the inputs and of the state, are given.

With linear maps they are the usual recurrent layers, with graph convolutions those of
recurrent graph networks. The maps read all gates at once, and the inputs of all steps at once,
so a step costs one map of the state. Written out rather than taken from ``torch.nn``: on CPU
twice as fast for many short sequences, and twice differentiable on every device.

Shapes: B windows, N locations, T time steps, C input columns, H state columns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GRU(nn.Module):
    """Gated recurrent unit; the reset gate is applied after the map of the state.

    Gates and formulation are those of ``torch.nn.GRU``: reset, update, candidate. Cho et al.,
    EMNLP 2014, section 2.3, multiply the state by the reset gate before it is mapped, which
    takes a second map per step.

    Parameters
    ----------
    inputs : torch.nn.Module
        Maps inputs (B, N, ..., C) to gates (B, N, ..., 3 H).
    state : torch.nn.Module
        Maps states (B, N, H) to gates (B, N, 3 H).

    Examples
    --------
    >>> layer = GRU(nn.Linear(2, 12), nn.Linear(4, 12))
    >>> layer(torch.ones(3, 5, 7, 2), torch.zeros(3, 5, 4)).shape
    torch.Size([3, 5, 7, 4])
    """

    def __init__(self, inputs: nn.Module, state: nn.Module) -> None:
        super().__init__()
        self.inputs = inputs
        self.state = state

    def forward(self, x: Tensor, h: Tensor, *graph: object) -> Tensor:
        """Return the states (B, N, T, H) after each step.

        Parameters
        ----------
        x : Tensor
            (B, N, T, C) inputs.
        h : Tensor
            (B, N, H) state before the first step.
        *graph
            Passed on to both maps.
        """
        states = []
        for gates in self.inputs(x, *graph).unbind(2):
            reset, update, candidate = gates.chunk(3, dim=-1)  # (B, N, H) each
            own_reset, own_update, own_candidate = self.state(h, *graph).chunk(3, dim=-1)
            reset, update = torch.sigmoid(reset + own_reset), torch.sigmoid(update + own_update)
            candidate = torch.tanh(torch.addcmul(candidate, reset, own_candidate))
            h = torch.lerp(candidate, h, update)
            states.append(h)
        return torch.stack(states, dim=2)


class LSTM(nn.Module):
    """Long short-term memory: Gers et al., Neural Computation 12 (2000), section 3.

    Gates and formulation are those of ``torch.nn.LSTM``: input, forget, cell, output. The cell
    starts from zero.

    Parameters
    ----------
    inputs : torch.nn.Module
        Maps inputs (B, N, ..., C) to gates (B, N, ..., 4 H).
    state : torch.nn.Module
        Maps states (B, N, H) to gates (B, N, 4 H).

    Examples
    --------
    >>> layer = LSTM(nn.Linear(2, 16), nn.Linear(4, 16, bias=False))
    >>> layer(torch.ones(3, 5, 7, 2), torch.zeros(3, 5, 4)).shape
    torch.Size([3, 5, 7, 4])
    """

    def __init__(self, inputs: nn.Module, state: nn.Module) -> None:
        super().__init__()
        self.inputs = inputs
        self.state = state

    def forward(self, x: Tensor, h: Tensor, *graph: object) -> Tensor:
        """Return the states (B, N, T, H) after each step, as :meth:`GRU.forward`."""
        cell, states = torch.zeros_like(h), []
        for gates in self.inputs(x, *graph).unbind(2):
            take, keep, content, show = (gates + self.state(h, *graph)).chunk(4, dim=-1)
            cell = torch.sigmoid(keep) * cell + torch.sigmoid(take) * torch.tanh(content)
            h = torch.sigmoid(show) * torch.tanh(cell)
            states.append(h)
        return torch.stack(states, dim=2)


class RNN(nn.Module):
    """Simple recurrent layer: ``h' = tanh(inputs(x) + state(h))``.

    Elman, *Finding Structure in Time*, Cognitive Science 14 (1990), with the hyperbolic
    tangent of ``torch.nn.RNN``.

    Parameters
    ----------
    inputs : torch.nn.Module
        Maps inputs (B, N, ..., C) to (B, N, ..., H).
    state : torch.nn.Module
        Maps states (B, N, H) to (B, N, H).

    Examples
    --------
    >>> layer = RNN(nn.Linear(2, 4), nn.Linear(4, 4, bias=False))
    >>> layer(torch.ones(3, 5, 7, 2), torch.zeros(3, 5, 4)).shape
    torch.Size([3, 5, 7, 4])
    """

    def __init__(self, inputs: nn.Module, state: nn.Module) -> None:
        super().__init__()
        self.inputs = inputs
        self.state = state

    def forward(self, x: Tensor, h: Tensor, *graph: object) -> Tensor:
        """Return the states (B, N, T, H) after each step, as :meth:`GRU.forward`."""
        states = []
        for content in self.inputs(x, *graph).unbind(2):
            h = torch.tanh(content + self.state(h, *graph))
            states.append(h)
        return torch.stack(states, dim=2)

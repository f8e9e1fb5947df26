from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from stemdist.forecast.layers.recurrent import GRU, LSTM, RNN

B, N, T, C, H = 2, 3, 4, 2, 5


def linear_maps(gates: int, **options: bool) -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(0)
    return nn.Linear(C, gates * H).double(), nn.Linear(H, gates * H, **options).double()


@pytest.mark.parametrize(
    ("layer", "library", "maps"),
    [
        (GRU, nn.GRU, linear_maps(3)),
        (LSTM, nn.LSTM, linear_maps(4)),
        (RNN, nn.RNN, linear_maps(1)),
    ],
)
def test_linear_maps_give_the_layer_of_torch(layer, library, maps):
    reference = library(C, H, batch_first=True).double()
    reference.load_state_dict(
        {
            "weight_ih_l0": maps[0].weight,
            "bias_ih_l0": maps[0].bias,
            "weight_hh_l0": maps[1].weight,
            "bias_hh_l0": maps[1].bias,
        }
    )
    x = torch.randn(B, N, T, C, dtype=torch.float64)
    start = torch.randn(B, N, H, dtype=torch.float64)
    first = start.view(1, B * N, H)
    state = (first, torch.zeros_like(first)) if library is nn.LSTM else first
    expected = reference(x.flatten(0, 1), state)[0].view(B, N, T, H)
    torch.testing.assert_close(layer(*maps)(x, start), expected)


def test_the_maps_are_given_the_graph():
    class Scale(nn.Module):
        def forward(self, h: torch.Tensor, factor: float) -> torch.Tensor:
            return torch.cat([h, h, h], dim=-1) * factor

    x, start = torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1)
    update, candidate = (
        torch.sigmoid(torch.tensor(4.0)),
        torch.tanh(2 + 2 / (1 + torch.exp(-torch.tensor(4.0)))),
    )
    expected = update + (1 - update) * candidate
    torch.testing.assert_close(GRU(Scale(), Scale())(x, start, 2.0).squeeze(), expected)


def test_simple_recurrence_by_hand():
    layer = RNN(nn.Linear(1, 1), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        layer.inputs.weight.fill_(2.0)
        layer.inputs.bias.fill_(1.0)
        layer.state.weight.fill_(-1.0)
    states = layer(torch.tensor([0.0, 1.0]).view(1, 1, 2, 1), torch.full((1, 1, 1), 0.5))
    first = math.tanh(1 - 0.5)  # 2 * 0 + 1 - 0.5
    second = math.tanh(3 - first)  # 2 * 1 + 1 - first
    torch.testing.assert_close(states.flatten(), torch.tensor([first, second]))

from __future__ import annotations

import torch
from torch import nn
from torch_geometric.data import Data

from stemdist.forecast.layers.diffusion import DiffusionConvolution
from stemdist.forecast.layers.products import random_walks
from stemdist.forecast.layers.recurrent import GRU


def path() -> Data:
    """0 -> 1 -> 2 with an edge 0 -> 2 three times as heavy as 0 -> 1."""
    edges = torch.tensor([[0, 1, 0], [1, 2, 2]])
    return Data(edge_index=edges, edge_weight=torch.tensor([1.0, 1.0, 3.0]), num_nodes=3)


def transitions() -> tuple[torch.Tensor, torch.Tensor]:
    weight = torch.tensor([[0, 1, 3], [0, 0, 1], [0, 0, 0]], dtype=torch.float64)
    return (
        weight / weight.sum(1, keepdim=True).clamp_min(1e-9),
        weight.T / weight.T.sum(1, keepdim=True).clamp_min(1e-9),
    )


def test_walks_on_a_path_by_hand():
    convolution = DiffusionConvolution(1, 1, steps=2).double()
    with torch.no_grad():
        # x, along, along twice, against, against twice: each has a decimal place of its own.
        convolution.conv.linear.weight.copy_(torch.tensor([[1, 1e2, 1e4, 1e6, 1e8]]))
        convolution.conv.linear.bias.fill_(0.5)
    x = torch.tensor([4.0, 8.0, 16.0], dtype=torch.float64).view(1, 3, 1)
    along, against = [14.0, 16.0, 0.0], [0.0, 4.0, 5.0]
    along_twice, against_twice = [4.0, 0.0, 0.0], [0.0, 0.0, 1.0]
    expected = [
        0.5
        + x[0, i, 0]
        + 1e2 * along[i]
        + 1e4 * along_twice[i]
        + 1e6 * against[i]
        + 1e8 * against_twice[i]
        for i in range(3)
    ]
    walked = convolution(x, *random_walks(path(), torch.float64))
    torch.testing.assert_close(walked.flatten(), torch.stack(expected))


def test_all_steps_at_once_are_each_step_alone():
    torch.manual_seed(0)
    convolution = DiffusionConvolution(2, 3, steps=2).double()
    walks = random_walks(path(), torch.float64)
    x = torch.randn(2, 3, 4, 2, dtype=torch.float64)
    alone = [convolution(x[:, :, t], *walks) for t in range(4)]
    torch.testing.assert_close(convolution(x, *walks), torch.stack(alone, dim=2))


def test_without_walks_a_recurrent_step_is_that_of_torch():
    torch.manual_seed(0)
    inputs, state = DiffusionConvolution(2, 12, steps=0), DiffusionConvolution(4, 12, steps=0)
    cell = nn.GRUCell(2, 4)
    with torch.no_grad():
        cell.weight_ih.copy_(inputs.conv.linear.weight)
        cell.bias_ih.copy_(inputs.conv.linear.bias)
        cell.weight_hh.copy_(state.conv.linear.weight)
        cell.bias_hh.copy_(state.conv.linear.bias)
    x, h = torch.randn(3, 2), torch.randn(3, 4)
    walks = random_walks(path(), torch.float32)
    step = GRU(inputs, state)(x[None, :, None], h[None], *walks)[0, :, 0]
    torch.testing.assert_close(step, cell(x, h))


def test_a_recurrent_step_is_the_written_out_one():
    torch.manual_seed(0)
    layer = GRU(DiffusionConvolution(2, 12, steps=2), DiffusionConvolution(4, 12, steps=2)).double()
    x, h = torch.randn(3, 2, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    matrices = [torch.eye(3, dtype=torch.float64)]
    for walk in transitions():
        matrices += [walk, walk @ walk]

    def gate(convolution: DiffusionConvolution, h: torch.Tensor, number: int) -> torch.Tensor:
        rows = slice(4 * number, 4 * number + 4)
        weights = convolution.conv.linear.weight[rows].split(h.shape[1], dim=1)
        mixed = sum(m @ h @ w.T for m, w in zip(matrices, weights, strict=True))
        return mixed + convolution.conv.linear.bias[rows]

    reset = torch.sigmoid(gate(layer.inputs, x, 0) + gate(layer.state, h, 0))
    update = torch.sigmoid(gate(layer.inputs, x, 1) + gate(layer.state, h, 1))
    candidate = torch.tanh(gate(layer.inputs, x, 2) + reset * gate(layer.state, h, 2))
    expected = update * h + (1 - update) * candidate
    step = layer(x[None, :, None], h[None], *random_walks(path(), torch.float64))
    torch.testing.assert_close(step[0, :, 0], expected)

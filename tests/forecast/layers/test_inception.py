import pytest
import torch
from torch import nn
from torch.nn import functional

from stemdist.forecast.layers.inception import DilatedInception


def plain(layer, h):
    """Eight separate convolutions (B, N, T, C) -> (B, N, T - 6, C_out)."""
    signal, gate = [], []
    for weight, bias in zip(layer.weights, layer.biases, strict=True):
        both = functional.conv2d(h.permute(0, 3, 1, 2), weight.unsqueeze(2), bias)
        both = both[..., -(h.shape[2] - 6) :]
        first, second = both.chunk(2, dim=1)
        signal.append(first)
        gate.append(second)
    joined = torch.tanh(torch.cat(signal, 1)) * torch.sigmoid(torch.cat(gate, 1))
    return joined.permute(0, 2, 3, 1)


@pytest.mark.parametrize("steps", [7, 8, 13])
def test_one_kernel_gives_the_numbers_of_eight(steps):
    torch.manual_seed(0)
    layer, h = DilatedInception(3, 8).double(), torch.randn(2, 5, steps, 3).double()
    torch.testing.assert_close(layer(h), plain(layer, h))


@pytest.mark.parametrize("steps", [7, 19])
def test_after_a_linear_map_nothing_else_comes_out(steps):
    torch.manual_seed(0)
    layer, linear = DilatedInception(6, 8).double(), nn.Linear(2, 6).double()
    x = torch.randn(2, 5, steps, 2).double().requires_grad_()
    direct, joined = layer(linear(x)), layer.after(linear, x)
    torch.testing.assert_close(joined, direct)
    wanted = torch.autograd.grad(direct.square().sum(), [x, linear.weight, layer.weights[2]])
    found = torch.autograd.grad(joined.square().sum(), [x, linear.weight, layer.weights[2]])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)

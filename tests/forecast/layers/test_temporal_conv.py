from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from stemdist.forecast.layers.temporal_conv import GatedConv, TemporalConv


def at_each_location(h, weight, bias, dilation):
    """The same convolution, by one conv1d over windows and locations."""
    b, n = h.shape[:2]
    out = functional.conv1d(h.reshape(b * n, *h.shape[2:]).mT, weight, bias, dilation=dilation)
    return out.mT.unflatten(0, (b, n))


@pytest.mark.parametrize(("width", "dilation"), [(1, 1), (2, 1), (2, 4), (3, 2)])
def test_equals_conv1d_at_each_location(width, dilation):
    torch.manual_seed(0)
    layer = TemporalConv(3, 4, width, dilation).double()
    h = torch.randn(2, 5, 12, 3, dtype=torch.float64)
    expected = at_each_location(h, layer.conv.weight[:, :, 0], layer.conv.bias, dilation)
    assert layer(h).shape == (2, 5, 12 - dilation * (width - 1), 4)
    torch.testing.assert_close(layer(h), expected)


def test_by_hand():
    layer = TemporalConv(1, 1, width=2, dilation=2)
    with torch.no_grad():
        layer.conv.weight.copy_(torch.tensor([10.0, 1.0]).view(1, 1, 1, 2))
        layer.conv.bias.zero_()
    h = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 4, 1)
    assert layer(h).flatten().tolist() == [13.0, 24.0]  # 10 h(t - 2) + h(t)


def test_gate_is_a_second_convolution():
    torch.manual_seed(0)
    layer = GatedConv(3, 4, width=2, dilation=3).double()
    h = torch.randn(2, 5, 7, 3, dtype=torch.float64)
    weight, bias = layer.both.conv.weight[:, :, 0], layer.both.conv.bias
    signal = at_each_location(h, weight[:4], bias[:4], 3)
    gate = at_each_location(h, weight[4:], bias[4:], 3)
    torch.testing.assert_close(layer(h), signal.tanh() * gate.sigmoid())

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from stemdist.forecast.layers.wavenet import WaveNet, doubling_dilations


class Residual(nn.Module):
    def forward(self, gated, h):
        return gated + h


def build(lookback: int, dilations: list[int]) -> WaveNet:
    torch.manual_seed(0)
    return WaveNet(
        n_features=2,
        lookback=lookback,
        rows=3,
        channels=4,
        skip_channels=5,
        end_channels=6,
        dilations=dilations,
        after=Residual,
    ).double()


def windows(lookback: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(lookback)
    return torch.randn(2, lookback, 3, 2, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("lookback", [3, 12, 13, 15])
def test_equals_the_paper_with_one_skip_convolution_per_layer(lookback):
    dilations = doubling_dilations(4, 2)
    stack, x = build(lookback, dilations), windows(lookback)
    h = x.permute(0, 2, 3, 1).flatten(0, 1)  # (B N, F, T), as a library convolution wants it
    h = functional.pad(h, (max(13 - lookback, 0), 0))
    left = h.shape[2] - 12
    h = functional.conv1d(h, stack.start.weight[..., None], stack.start.bias)
    skip = stack.skip.bias[:, None]
    kernels = stack.skip.weight.view(5, len(dilations), left, 4).permute(1, 0, 3, 2)
    for conv, dilation, kernel in zip(stack.convs, dilations, kernels, strict=True):
        weight, bias = conv.both.conv.weight[:, :, 0], conv.both.conv.bias
        signal, gate = functional.conv1d(h, weight, bias, dilation=dilation).chunk(2, dim=1)
        gated = signal.tanh() * gate.sigmoid()
        skip = skip + functional.conv1d(gated[..., -left:], kernel)
        h = gated + h[..., -gated.shape[2] :]
    expected = stack.end(skip.squeeze(2)).unflatten(0, (2, 3)).mT
    torch.testing.assert_close(stack(x), expected)


def test_short_windows_are_padded_with_zeros():
    stack = build(5, [1, 2, 4])
    x = windows(5)
    whole = build(8, [1, 2, 4])
    whole.load_state_dict(stack.state_dict())
    torch.testing.assert_close(stack(x), whole(functional.pad(x, (0, 0, 0, 0, 3, 0))))


@pytest.mark.parametrize("lookback", [1, 8, 20])
def test_every_step_of_the_window_is_read(lookback):
    x = windows(lookback).requires_grad_()
    build(lookback, [1, 2, 4])(x).sum().backward()
    assert x.grad.abs().sum((0, 2, 3)).all()


def test_the_last_layer_has_nothing_behind_it():
    assert len(build(12, [1, 2, 4]).after) == 2

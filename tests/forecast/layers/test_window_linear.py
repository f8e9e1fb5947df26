"""The frequency map is an ordinary affine map, and gradient methods learn it fast."""

from __future__ import annotations

import pytest
import torch
from scipy.fft import dct
from torch.nn import functional

from stemdist.forecast.layers.window_linear import WindowLinear, weighted_waves


@pytest.mark.parametrize("length", [1, 2, 12, 96])
def test_waves_are_the_weighted_orthonormal_cosine_transform(length):
    x = torch.randn(length, dtype=torch.float64)
    norm = (12 * (torch.arange(length) + 1) / length).sqrt()
    expected = torch.from_numpy(dct(x.numpy(), norm="ortho")) * norm
    torch.testing.assert_close(weighted_waves(length).double() @ x, expected, atol=1e-5, rtol=1e-5)


def test_starts_at_the_mean_of_the_named_features():
    x = torch.randn(4, 7, 3)  # windows, steps, features
    forecast = WindowLinear(7, 3, start=[0, 2])(x.flatten(1))
    torch.testing.assert_close(forecast, x.mean(1)[:, [0, 2]])


def test_random_maps_have_normal_weights_of_steps_and_leave_the_others_alone():
    torch.manual_seed(0)
    weight = WindowLinear(7, 3, start=[1, *[None] * 4000]).step_weight()
    mean = torch.zeros(7, 3)
    mean[:, 1] = 1 / 7
    torch.testing.assert_close(weight[0], mean.flatten())
    covariance = weight[1:].T @ weight[1:] / 4000  # 1 / P on the diagonal, P = 7 * 3
    torch.testing.assert_close(21 * covariance, torch.eye(21), atol=0.1, rtol=0.0)


def test_no_random_number_is_drawn_without_a_random_map():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    WindowLinear(7, 3, start=[1, 0])
    assert torch.equal(torch.get_rng_state(), before)
    WindowLinear(7, 3, start=[1, None])
    assert not torch.equal(torch.get_rng_state(), before)


def test_assigned_weights_are_those_of_steps():
    layer, weight, bias = WindowLinear(7, 3, start=[0] * 5), torch.randn(5, 21), torch.randn(5)
    layer.assign(weight, bias)
    torch.testing.assert_close(layer.step_weight(), weight, atol=1e-5, rtol=1e-5)
    rows = torch.randn(2, 4, 21)
    expected = functional.linear(rows, weight, bias)
    torch.testing.assert_close(layer(rows), expected, atol=1e-5, rtol=1e-5)


def test_learns_a_map_of_random_walks_faster_than_a_plain_layer():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 12, generator=generator).cumsum(1)
    x = x / x.std()
    y = 2 * x[:, -1:] - x[:, -4:-3]  # a trend carried on

    def error_after_training(layer: torch.nn.Module) -> float:
        optimizer = torch.optim.AdamW(layer.parameters(), 5e-3)
        for _ in range(150):
            loss = (layer(x) - y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    torch.manual_seed(0)
    plain = error_after_training(torch.nn.Linear(12, 1))
    assert error_after_training(WindowLinear(12, 1, start=[0])) < plain / 4

"""The random code: drawn in training only, its mean and spread, its limits, hidden states."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.base import Forecaster, make_forecaster
from stemdist.forecast.forecasters.bottleneck_mlp import GaussianCode
from stemdist.forecast.hidden_states import hidden_states

L_IN, L_OUT, N, F, H, Z = 4, 3, 5, 2, 6, 3


def build(**options: object) -> Forecaster:
    torch.manual_seed(0)
    options = {"hidden": H, "bottleneck": Z, **options}
    return make_forecaster(
        "bottleneck-mlp", lookback=L_IN, horizon=L_OUT, n_features=F, **options
    ).double()


def windows(b: int = 2) -> tuple[Tensor, Data, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(b, L_IN, N, F, dtype=torch.float64, generator=generator)
    return x, Data(num_nodes=N), x.mean(0).transpose(0, 1).flatten(1)


def test_evaluation_is_the_written_out_network_of_the_mean():
    forecaster = build(n_outputs=2).eval()
    x, graph, profile = windows()
    forecast, states = hidden_states(forecaster, ["bottleneck", "features"], x, graph, profile)
    h = forecaster.embed(x.permute(0, 2, 1, 3).reshape(2, N, -1))
    h = h + forecaster.code.project(forecaster.code.encoder(profile))
    for block in forecaster.blocks:
        h = h + block.outer(block.inner(h).relu())
    code = forecaster.bottleneck.linear(h.relu())
    mean, log_variance = code[..., :Z], 8 * torch.tanh(code[..., Z:] / 8)
    assert states["bottleneck"].shape == (2, N, 2 * Z)
    torch.testing.assert_close(states["bottleneck"], torch.cat([mean, log_variance], dim=-1))
    torch.testing.assert_close(states["features"], mean)
    torch.testing.assert_close(forecast, forecaster.head(mean).transpose(1, 2))
    assert torch.equal(forecaster(x, graph, profile), forecast)


def test_training_draws_a_code_that_a_seed_repeats():
    forecaster, arguments = build(), windows()
    torch.manual_seed(1)
    first = forecaster(*arguments)
    second = forecaster(*arguments)
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(forecaster(*arguments), first)


def test_codes_have_the_mean_and_the_spread_they_say():
    forecaster = build()
    with torch.no_grad():
        forecaster.bottleneck.linear.weight.zero_()
        forecaster.bottleneck.linear.bias.copy_(torch.tensor([1.0, -2.0, 0.0, -1.0, 0.0, 1.0]))
    x, graph, profile = windows(4000)
    z = hidden_states(forecaster, ["features"], x, graph, profile)[1]["features"].flatten(0, 1)
    log_variance = torch.tensor([8 * math.tanh(value / 8) for value in (-1.0, 0.0, 1.0)])
    expected = torch.exp(log_variance.double() / 2)
    mean = torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(z.mean(0), mean, atol=0.05, rtol=0.0)
    torch.testing.assert_close(z.std(0), expected, rtol=0.05, atol=0.0)
    standard = (z - mean) / expected
    torch.testing.assert_close(standard.T.cov(), torch.eye(3).double(), atol=0.05, rtol=0.0)


def test_a_certain_code_is_its_mean():
    forecaster, arguments = build(), windows()
    with torch.no_grad():
        forecaster.bottleneck.linear.bias[Z:] = -1e9  # the smallest variance there is, exp(-8)
    training = forecaster(*arguments)
    mean = forecaster.eval()(*arguments)
    reach = 5 * math.exp(-4) * forecaster.head.weight.abs().sum(1).max()
    assert 0 < (training - mean).abs().max() < reach


def test_log_variances_have_limits_and_keep_a_gradient():
    code = GaussianCode(1, code_columns=1).double()
    with torch.no_grad():
        code.linear.weight.copy_(torch.tensor([[1.0], [1.0]]))
        code.linear.bias.zero_()
    h = torch.tensor([[-40.0], [0.5], [40.0]], dtype=torch.float64, requires_grad=True)
    mean, log_variance = code(h).unbind(-1)
    assert mean.tolist() == [-40.0, 0.5, 40.0]  # means have none
    assert log_variance.tolist() == pytest.approx([-8.0, 0.5, 8.0], abs=2e-3)
    (slope,) = torch.autograd.grad(log_variance.sum(), h)
    assert (slope > 0).all()
    assert slope[1].item() == pytest.approx(1.0, abs=5e-3)


def test_a_new_network_is_nearly_certain():
    code = build().bottleneck(torch.zeros(1, H, dtype=torch.float64))
    # Biases of a linear layer of 6 columns are within 1 / sqrt(6) of 0, here of -4.
    low, high = (8 * math.tanh((-4 + shift) / 8) for shift in (-(6**-0.5), 6**-0.5))
    assert (code[..., Z:] >= low).all()
    assert (code[..., Z:] <= high).all()


def test_pointwise_unless_codes_are_shared():
    assert build().pointwise
    assert not build(location_encoder="attention").pointwise


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bottleneck": 0}, "bottleneck is 0: it must be a whole number of at least 1"),
        ({"depth": -1}, "depth is -1: it must be a whole number of at least 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"location_encoder": "mpl"}, "unknown location encoder 'mpl'.*Or 'none'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch_geometric.data import Data

from stemdist.forecast.forecasters.mtgnn import MTGNNForecaster
from stemdist.forecast.layers.dropout import FastDropout
from stemdist.forecast.layers.inception import KERNELS, DilatedInception
from stemdist.forecast.layers.learned_graph import learned_adjacency
from stemdist.forecast.layers.mix_hop import FEW_LOCATIONS, MixHop
from stemdist.forecast.layers.products import PRODUCTS, SPARSE_FROM


def test_joined_inception_equals_eight_convolutions():
    torch.manual_seed(0)
    layer = DilatedInception(3, 8)
    h = torch.randn(2, 5, 19, 3)
    signal, gate = [], []
    for weight, bias in zip(layer.weights, layer.biases, strict=True):
        for part, out in ((slice(0, 2), signal), (slice(2, 4), gate)):
            both = functional.conv1d(h.flatten(0, 1).transpose(1, 2), weight[part], bias[part])
            out.append(both[..., -13:])  # (B N, 2, 13), aligned at the latest step
    expected = torch.cat(signal, 1).tanh() * torch.cat(gate, 1).sigmoid()
    expected = expected.transpose(1, 2).unflatten(0, (2, 5))
    torch.testing.assert_close(layer(h), expected, atol=1e-6, rtol=1e-5)
    assert [weight.shape[-1] for weight in layer.weights] == list(KERNELS)


@pytest.mark.parametrize("n", [FEW_LOCATIONS, FEW_LOCATIONS + 1])
@pytest.mark.parametrize("product", PRODUCTS.values(), ids=list(PRODUCTS))
def test_mix_hop_by_hand(product, n):
    torch.manual_seed(0)
    k, retain = 3, 0.2
    e1, e2 = torch.randn(2, n, 4, dtype=torch.float64)
    score = e1 @ e2.T - e2 @ e1.T
    mask = torch.zeros(n, n).scatter_(1, score.topk(k, dim=1).indices, 1.0)
    learned = (3 * score).tanh().relu() * mask
    layer = MixHop(4, 6, hops=2, retain=retain).double()
    h = torch.randn(2, n, 5, 4, dtype=torch.float64)
    expected = 0
    for linear, matrix in ((layer.along, learned), (layer.against, learned.T)):
        with_loops = matrix + torch.eye(n, dtype=torch.float64)
        spread = with_loops / with_loops.sum(1, keepdim=True)
        states = [h]
        for _ in range(2):
            moved = torch.einsum("ij,bjtc->bitc", spread, states[-1])
            states.append(retain * h + (1 - retain) * moved)
        expected = expected + linear(torch.cat(states, -1))
    along, against = learned_adjacency(e1, e2, k, 3.0, product)
    torch.testing.assert_close(layer(h, along, against), expected)


def test_sparse_and_dense_adjacency_agree_with_their_gradients():
    n = 60
    torch.manual_seed(0)
    forecaster = MTGNNForecaster(lookback=12, horizon=12, n_features=1, dropout=0.0)
    x, y = torch.randn(3, 12, n, 1), torch.randn(3, 12, n)
    profile = torch.randn(n, 12)
    forecasts, gradients = [], []
    for forecaster.adjacency in ("sparse", "dense"):
        forecast = forecaster(x, Data(num_nodes=n), profile)
        loss = functional.mse_loss(forecast, y)
        gradients.append(torch.autograd.grad(loss, list(forecaster.parameters())))
        forecasts.append(forecast)
    torch.testing.assert_close(*forecasts, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_auto_adjacency_is_sparse_from_the_crossover_on(monkeypatch):
    chosen = []
    for name, product in PRODUCTS.items():
        spy = lambda *a, name=name, product=product: chosen.append(name) or product(*a)  # noqa: E731
        monkeypatch.setitem(PRODUCTS, name, spy)
    forecaster = MTGNNForecaster(lookback=2, horizon=1, n_features=1)
    for n in (SPARSE_FROM - 1, SPARSE_FROM):
        forecaster(torch.randn(1, 2, n, 1), Data(num_nodes=n), torch.randn(n, 2))
    assert chosen == ["dense"] * 2 + ["sparse"] * 2  # along and against the edges


def test_only_the_receptive_field_counts_for_a_short_lookback():
    forecaster = MTGNNForecaster(lookback=12, horizon=1, n_features=1)
    assert forecaster.steps == 19
    assert MTGNNForecaster(lookback=30, horizon=1, n_features=1).steps == 30


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_dropout_share_scale_and_mean(share):
    torch.manual_seed(0)
    h = torch.ones(101, 999)
    out = FastDropout(share)(h)
    assert (out == 0).float().mean().item() == pytest.approx(share, abs=0.01)
    torch.testing.assert_close(
        out[out != 0].unique(), torch.tensor([1 / (1 - share)]), rtol=1e-3, atol=0
    )
    assert torch.equal(FastDropout(share).eval()(h), h)


def test_dropout_repeats_under_a_seed():
    layer, h = FastDropout(0.5), torch.ones(10, 3)
    torch.manual_seed(1)
    first = layer(h)
    second = layer(h)
    torch.manual_seed(1)
    assert torch.equal(first, layer(h))
    assert not torch.equal(first, second)

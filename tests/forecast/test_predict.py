"""Blocks do not change forecasts."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from stemdist.data import TensorWindows
from stemdist.forecast import make_forecaster, mean_error, predict_windows

M, N, LOOKBACK, HORIZON = 11, 7, 4, 3


@pytest.fixture
def source():
    generator = torch.Generator().manual_seed(1)
    return TensorWindows(
        x=torch.randn(M, LOOKBACK, N, 2, generator=generator),
        y=torch.randn(M, HORIZON, N, generator=generator),
        mask=(torch.rand(M, HORIZON, N, generator=generator) < 0.6).float(),
        weight=torch.ones(N),
    )


@pytest.fixture
def graph():
    ring = torch.arange(N)
    return Data(
        edge_index=torch.stack([ring, (ring + 1) % N]), edge_weight=torch.ones(N), num_nodes=N
    )


def forecaster(name, **options):
    torch.manual_seed(0)
    return make_forecaster(name, lookback=LOOKBACK, horizon=HORIZON, n_features=2, **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [("linear", {}), ("mlp", {}), ("mlp", {"location_encoder": "attention"}), ("mtgnn", {})],
)
@pytest.mark.parametrize("block", [1, 3, 7, 20, 10**6])
def test_blocked_equals_unblocked(source, graph, name, options, block):
    module = forecaster(name, **options).train()
    blocked = predict_windows(module, source, graph, block_series=block)
    assert module.training
    with torch.no_grad():
        whole = module.eval()(source.x, graph, source.profile)
    assert blocked.shape == (M, HORIZON, N)
    torch.testing.assert_close(blocked, whole, atol=1e-5, rtol=1e-5)


def test_index_and_profile(source, graph):
    module = forecaster("mlp")
    everything = predict_windows(module, source, graph)
    some = predict_windows(module, source, graph, index=torch.tensor([4, 2]), block_series=3)
    torch.testing.assert_close(some, everything[[4, 2]])
    other = predict_windows(module, source, graph, source.profile + 1)
    assert not torch.allclose(other, everything)


def test_mean_error_by_hand(source, graph, monkeypatch):
    module = forecaster("mlp")
    index = torch.tensor([9, 0, 5])
    forecast = predict_windows(module, source, graph, index=index)
    wrong = [
        float((forecast[row, h, n] - source.y[m, h, n]) ** 2)
        for row, m in enumerate(index)
        for h in range(HORIZON)
        for n in range(N)
        if source.mask[m, h, n]
    ]
    expected = pytest.approx(sum(wrong) / len(wrong), rel=1e-5)
    arguments = (module, source, graph, source.profile)
    assert mean_error(*arguments, index=index) == expected
    monkeypatch.setattr("stemdist.forecast.predict.BLOCK_STEPS", N * source.lookback)
    assert mean_error(*arguments, index=index) == expected

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.base import Forecaster, make_forecaster
from stemdist.forecast.layers import attention

L_IN, L_OUT, N, F = 4, 3, 7, 2


def build(**options: object) -> Forecaster:
    torch.manual_seed(0)
    return make_forecaster(
        "itransformer", lookback=L_IN, horizon=L_OUT, n_features=F, hidden=8, **options
    ).double()


def windows(n: int = N) -> tuple[Tensor, Data, Tensor]:
    x = torch.randn(2, L_IN, n, F, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x, Data(num_nodes=n), x.mean(0).transpose(0, 1).flatten(1)


@pytest.mark.parametrize("reversible", [True, False])
def test_forecast_is_the_written_out_one(reversible):
    forecaster = build(n_targets=2, n_outputs=2, location_encoder="mlp", reversible=reversible)
    x, graph, profile = windows()
    normed = x
    if reversible:
        normed, statistics = forecaster.norm.normalise(x)
    tokens = normed.permute(0, 2, 1, 3).reshape(2, N, L_IN * F)
    h = forecaster.embed(tokens) + forecaster.code.project(forecaster.code.encoder(profile))
    for block in forecaster.blocks:
        h = block(h)
    expected = forecaster.head(h).mT
    if reversible:
        expected = forecaster.norm.restore(expected, statistics)
    torch.testing.assert_close(forecaster(x, graph, profile), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["full", "landmark"])
def test_blocks_of_scores_do_not_change_forecast_or_gradients(name, monkeypatch):
    forecaster, arguments = build(attention=name), windows()
    results = []
    for scores in (attention.SCORES, 5):
        defaults = (scores,)
        monkeypatch.setattr(attention.attend_in_blocks, "__defaults__", defaults)
        forecast = forecaster(*arguments)
        parameters = list(forecaster.parameters())
        slopes = torch.autograd.grad(forecast.square().sum(), parameters, create_graph=True)
        second = torch.autograd.grad(sum(s.square().sum() for s in slopes), parameters)
        results.append([forecast, *slopes, *second])
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["full", "landmark"])
def test_every_location_is_read_in_one_layer(name):
    forecaster, (x, graph, profile) = build(attention=name, layers=1), windows()
    forecaster(x.requires_grad_(), graph, profile)[0, :, 0].sum().backward()
    assert x.grad[0].abs().sum((0, 2)).all()
    assert not x.grad[1].any()  # no window reads another


def test_alike_locations_have_alike_forecasts_however_many_there_are():
    forecaster = build(attention="full")
    x, _, profile = windows(1)
    many = forecaster(x.expand(-1, -1, 9, -1), Data(num_nodes=9), profile.expand(9, -1))
    one = forecaster(x, Data(num_nodes=1), profile)
    torch.testing.assert_close(many, one.expand(-1, -1, 9))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "landmarks"}, "unknown attention 'landmarks': did you mean 'landmark'"),
        ({"landmarks": 0}, "landmarks is 0"),
        ({"feed_forward": 0}, "feed_forward is 0"),
        ({"heads": 3}, "heads is 3: 8 hidden columns cannot be split"),
        ({"location_encoder": "mpl"}, "unknown location encoder 'mpl'.*Or 'none'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)

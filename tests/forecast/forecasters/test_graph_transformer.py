from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv, GPSConv

from stemdist.errors import InputError
from stemdist.forecast.base import Forecaster, make_forecaster
from stemdist.forecast.forecasters.graph_transformer import GPSLayer
from stemdist.forecast.layers.attention import MultiHeadAttention
from stemdist.forecast.layers.products import symmetric_product

L_IN, L_OUT, N, F, C = 4, 3, 6, 2, 8


def build(**options: object) -> Forecaster:
    torch.manual_seed(0)
    return make_forecaster(
        "graph-transformer", lookback=L_IN, horizon=L_OUT, n_features=F, hidden=C, **options
    ).double()


def graph() -> Data:
    """A path 0 - 1 - 2 - 3 - 4 with weights, and location 5 alone."""
    path = torch.arange(4)
    edges = torch.stack([path, path + 1])
    weight = torch.tensor([0.5, 1.0, 2.0, 0.3], dtype=torch.float64)
    return Data(
        edge_index=torch.cat([edges, edges.flip(0)], dim=1),
        edge_weight=torch.cat([weight, weight]),
        num_nodes=N,
    )


def windows() -> tuple[Tensor, Data, Tensor]:
    x = torch.randn(2, L_IN, N, F, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x, graph(), x.mean(0).transpose(0, 1).flatten(1)


def reference(ours: GPSLayer) -> GPSConv:
    """Return torch_geometric's layer with our weights."""
    theirs = GPSConv(
        C,
        GCNConv(C, C),
        heads=2,
        act="gelu",
        norm="layer_norm",
        norm_kwargs={"mode": "node"},
    ).double()
    theirs.conv.lin.weight.data = ours.local.weight.data
    theirs.conv.bias.data = ours.local.bias.data
    theirs.norm1.load_state_dict(ours.local_norm.state_dict())
    theirs.norm2.load_state_dict(ours.attention_norm.state_dict())
    theirs.norm3.load_state_dict(ours.norm.state_dict())
    linear = [layer for layer in theirs.mlp if isinstance(layer, nn.Linear)]
    linear[0].load_state_dict(ours.feed_forward.inner.state_dict())
    linear[1].load_state_dict(ours.feed_forward.outer.state_dict())
    attention, zero = ours.attention, torch.zeros(C)
    weights = [attention.query.weight, attention.key.weight, attention.value.weight]
    theirs.attn.in_proj_weight.data = torch.cat(weights).detach()
    theirs.attn.in_proj_bias.data = torch.cat([attention.query.bias.detach(), zero, zero])
    theirs.attn.out_proj.load_state_dict(attention.out.state_dict())
    return theirs


def test_layer_is_that_of_torch_geometric():
    torch.manual_seed(0)
    ours = GPSLayer(MultiHeadAttention(C, 2), C, 2 * C, dropout=0.0).double()
    theirs, given = reference(ours), graph()
    h = torch.randn(2, N, C, dtype=torch.float64)
    expected = [theirs(window, given.edge_index, edge_weight=given.edge_weight) for window in h]
    for choice in ("dense", "sparse"):
        product = symmetric_product(given, torch.float64, choice)
        torch.testing.assert_close(ours(h, product), torch.stack(expected))


@pytest.mark.parametrize("reversible", [True, False])
def test_forecast_is_the_written_out_one(reversible):
    forecaster = build(location_encoder="mlp", reversible=reversible)
    x, given, profile = windows()
    normed = x
    if reversible:
        normed, statistics = forecaster.norm.normalise(x)
    h = forecaster.embed(normed.permute(0, 2, 1, 3).reshape(2, N, L_IN * F))
    h = h + forecaster.code.project(forecaster.code.encoder(profile))
    product = symmetric_product(given, torch.float64)
    for layer in forecaster.layers:
        h = layer(h, product)
    expected = forecaster.head(h).mT
    if reversible:
        expected = forecaster.norm.restore(expected, statistics)
    torch.testing.assert_close(forecaster(x, given, profile), expected)


def test_without_attention_locations_read_their_neighbours_only():
    forecaster = build(layers=1)
    nn.init.zeros_(forecaster.layers[0].attention.read.out.weight)
    x, given, profile = windows()
    forecaster(x.requires_grad_(), given, profile)[0, :, 2].sum().backward()
    reached = x.grad[0].abs().sum((0, 2)) > 0
    assert reached.tolist() == [False, True, True, True, False, False]


@pytest.mark.parametrize("name", ["full", "landmark"])
def test_attention_reaches_locations_without_edges(name):
    forecaster, (x, given, profile) = build(layers=1, attention=name), windows()
    forecaster(x.requires_grad_(), given, profile)[0, :, 2].sum().backward()
    assert x.grad[0].abs().sum((0, 2)).all()


def test_weights_of_edges_matter():
    forecaster, (x, given, profile) = build(), windows()
    before = forecaster(x, given, profile)
    given.edge_weight = given.edge_weight.flip(0)
    assert not torch.allclose(forecaster(x, given, profile), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "landmarks"}, "unknown attention 'landmarks': did you mean 'landmark'"),
        ({"landmarks": 0}, "landmarks is 0"),
        ({"adjacency": "sparce"}, "unknown adjacency 'sparce': did you mean 'sparse'"),
        ({"heads": 3}, "heads is 3: 8 hidden columns cannot be split"),
        ({"location_encoder": "mpl"}, "unknown location encoder 'mpl'.*Or 'none'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)

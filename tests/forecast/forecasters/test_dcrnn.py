from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.base import Forecaster, make_forecaster
from stemdist.forecast.layers.products import random_walks

L_IN, L_OUT, N, F, OUTPUTS, H = 4, 3, 5, 2, 2, 6


def build(**options: object) -> Forecaster:
    torch.manual_seed(0)
    return make_forecaster(
        "dcrnn", lookback=L_IN, horizon=L_OUT, n_features=F, n_outputs=OUTPUTS, hidden=H, **options
    ).double()


def windows() -> tuple[Tensor, Data, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, L_IN, N, F, generator=generator, dtype=torch.float64)
    edges = torch.tensor([[0, 1, 2, 0], [1, 2, 0, 3]])  # location 4 is isolated
    return x, Data(edge_index=edges, num_nodes=N), torch.zeros(N, L_IN * F)


def test_encoder_and_decoder_are_the_written_out_ones():
    forecaster = build(layers=2)
    x, graph, profile = windows()
    walks = random_walks(graph, torch.float64)

    def step(layer: nn.Module, h: Tensor, state: Tensor) -> Tensor:
        return layer(h[:, :, None], state, *walks)[:, :, 0]

    first = second = torch.zeros(2, N, H, dtype=torch.float64)
    for t in range(L_IN):
        first = step(forecaster.encoder[0], x[:, t], first)
        second = step(forecaster.encoder[1], first, second)
    value = torch.zeros(2, N, OUTPUTS, dtype=torch.float64)
    rows: list[list[Tensor]] = [[], []]
    for _ in range(L_OUT):
        first = step(forecaster.decoder[0], value, first)
        second = step(forecaster.decoder[1], first, second)
        value = forecaster.head(second)
        for output in range(OUTPUTS):
            rows[output].append(value[..., output])
    # All steps of the first output come before those of the second.
    expected = torch.stack(rows[0] + rows[1], dim=1)
    torch.testing.assert_close(forecaster(x, graph, profile), expected)


def test_a_longer_horizon_begins_with_the_shorter_one():
    short, arguments = build(), windows()
    long = type(short)(**{**short.config, "horizon": 7}).double()
    long.load_state_dict(short.state_dict())
    forecast = long(*arguments).view(2, OUTPUTS, 7, N)[:, :, :L_OUT]
    torch.testing.assert_close(forecast.flatten(1, 2), short(*arguments))


def test_dense_and_sparse_products_agree():
    arguments = windows()
    torch.testing.assert_close(*(build(adjacency=a)(*arguments) for a in ("dense", "sparse")))


def test_walks_reach_as_far_as_their_steps():
    # A path 0 -> 1 -> ... -> 4, one step of input: h0 is zero, so the encoder reads x in one
    # convolution, and the decoder's steps reach on.
    path = torch.arange(4)
    graph = Data(edge_index=torch.stack([path, path + 1]), num_nodes=N)
    forecaster = make_forecaster(
        "dcrnn", lookback=1, horizon=1, n_features=1, hidden=4, walk_steps=1
    ).double()
    x = torch.randn(1, 1, N, 1, dtype=torch.float64, requires_grad=True)
    forecaster(x, graph, torch.zeros(N, 1))[0, 0, 0].backward()
    assert (x.grad.flatten() != 0).tolist() == [True, True, True, False, False]


def test_without_walks_it_is_pointwise():
    forecaster, (x, graph, profile) = build(walk_steps=0), windows()
    assert forecaster.pointwise
    assert not build().pointwise
    alone = forecaster(x[:, :, :1], Data(edge_index=graph.edge_index[:, :0], num_nodes=1), profile)
    torch.testing.assert_close(alone, forecaster(x, graph, profile)[..., :1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"walk_steps": -1}, "walk_steps is -1: it must be a whole number of at least 0"),
        ({"layers": 0}, "layers is 0"),
        ({"adjacency": "sparce"}, "unknown adjacency 'sparce': did you mean 'sparse'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)

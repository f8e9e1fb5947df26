from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.forecasters.stgcn import GatedLinearConv, STGCNForecaster


def build(**options) -> STGCNForecaster:
    torch.manual_seed(0)
    shape = {"lookback": 12, "horizon": 3, "n_features": 2, "channels": 6, "graph_channels": 4}
    return STGCNForecaster(**{**shape, **options}).double()


def line(n: int) -> Data:
    """0 - 1 - 2 ... with growing weights."""
    place = torch.arange(n - 1)
    pairs = torch.stack([place, place + 1])
    return Data(
        edge_index=torch.cat([pairs, pairs.flip(0)], dim=1),
        edge_weight=(place + 1.0).repeat(2),
        num_nodes=n,
    )


def windows(n: int, lookback: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n)
    return torch.randn(2, lookback, n, 2, generator=generator, dtype=torch.float64)


def profile_of(x: torch.Tensor) -> torch.Tensor:
    return x.detach().mean(0).transpose(0, 1).flatten(1)


def written_out_glu(layer: GatedLinearConv, h: torch.Tensor, width: int) -> torch.Tensor:
    """(B, N, T, C), one step at a time."""
    kernel, bias = layer.both.conv.weight[:, :, 0], layer.both.conv.bias
    steps = []
    for t in range(width - 1, h.shape[2]):
        both = torch.einsum("bntc,oct->bno", h[:, :, t - width + 1 : t + 1], kernel) + bias
        p, q = both.chunk(2, dim=-1)
        shared = min(p.shape[-1], h.shape[-1])
        p = p + functional.pad(h[:, :, t, :shared], (0, p.shape[-1] - shared))
        steps.append(p * q.sigmoid())
    return torch.stack(steps, dim=2)


@pytest.mark.parametrize("order", [1, 2])
def test_equals_the_written_out_dense_network(order):
    n, width = 7, 3
    forecaster, graph, x = build(order=order), line(n), windows(n)
    profile = profile_of(x)
    w = torch.zeros(n, n, dtype=torch.float64)
    w[graph.edge_index[0], graph.edge_index[1]] = graph.edge_weight.double()
    root = w.sum(1).rsqrt()
    laplacian = torch.eye(n) - root[:, None] * w * root
    rescaled = 2 * laplacian / 2 - torch.eye(n)  # the largest eigenvalue taken as 2
    polynomials = [torch.eye(n, dtype=torch.float64), rescaled, 2 * rescaled @ rescaled]
    polynomials[2] = polynomials[2] - polynomials[0]
    h = x.transpose(1, 2)
    for block in forecaster.blocks:
        h = written_out_glu(block.before, h, width)
        maps = block.graph.linear.weight.split(6, dim=1)
        mixed = block.graph.linear.bias
        for polynomial, weight in zip(polynomials, maps, strict=False):
            mixed = mixed + torch.einsum("ij,bjtc,oc->bito", polynomial, h, weight)
        assert len(maps) == order + 1
        h = block.norm(written_out_glu(block.after, mixed.relu(), width))
        h = h + block.code.project(block.code.encoder(profile))[:, None]
    assert h.shape[2] == 4  # 12 steps less 2 blocks of 2 convolutions of 2 steps
    h = written_out_glu(forecaster.last, h, 4)[:, :, 0]
    expected = forecaster.head(h).transpose(1, 2)
    torch.testing.assert_close(forecaster(x, graph, profile), expected)


@pytest.mark.parametrize(("blocks", "order", "reach"), [(1, 1, 1), (1, 2, 2), (2, 2, 4)])
def test_reads_as_far_as_its_polynomials_reach(blocks, order, reach):
    forecaster, x = build(blocks=blocks, order=order), windows(9).requires_grad_()
    forecaster(x, line(9), profile_of(x))[..., 0].sum().backward()
    read = x.grad.abs().sum((0, 1, 3)) > 0
    assert read.tolist() == [place <= reach for place in range(9)]


def test_a_location_without_edges_is_forecast_alone():
    forecaster, x = build(), windows(4)
    graph = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=4)
    nothing = Data(edge_index=torch.zeros(2, 0, dtype=torch.long), num_nodes=1)
    profile = profile_of(x)
    alone = forecaster(x[:, :, 3:], nothing, profile[3:])
    torch.testing.assert_close(forecaster(x, graph, profile)[..., 3:], alone)


def test_short_windows_are_padded_with_zeros():
    forecaster, x = build(lookback=4, location_encoder="none"), windows(5, 4)
    whole = build(lookback=9, location_encoder="none")
    whole.load_state_dict(forecaster.state_dict())
    padded = functional.pad(x, (0, 0, 0, 0, 5, 0))
    torch.testing.assert_close(forecaster(x, line(5), x), whole(padded, line(5), x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 0}, "order is 0: it must be a whole number of at least 1"),
        ({"width": 0}, "width is 0"),
        ({"blocks": 0}, "blocks is 0"),
        ({"location_encoder": "mpl"}, "did you mean 'mlp'.*Or 'none'"),
        ({"dropout": 1}, "dropout is 1: it must be a share"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.forecasters.graph_wavenet import GraphWaveNetForecaster


def build(**options) -> GraphWaveNetForecaster:
    torch.manual_seed(0)
    shape = {
        "lookback": 6,
        "horizon": 3,
        "n_features": 2,
        "blocks": 2,
        "channels": 4,
        "skip_channels": 5,
        "end_channels": 6,
    }
    return GraphWaveNetForecaster(**{**shape, **options}).double()


def directed(n: int) -> Data:
    generator = torch.Generator().manual_seed(n)
    edges = (torch.rand(n, n, generator=generator) < 0.4).nonzero().T
    return Data(
        edge_index=edges,
        edge_weight=torch.rand(edges.shape[1], generator=generator) + 0.1,
        num_nodes=n,
    )


def windows(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(2, 6, n, 2, generator=generator, dtype=torch.float64)
    return x, torch.randn(n, 12, generator=generator, dtype=torch.float64)


def transition(w: torch.Tensor) -> torch.Tensor:
    degree = w.sum(1, keepdim=True)
    return torch.where(degree > 0, w / degree.clamp_min(1e-30), 0)


def test_equals_the_written_out_dense_network():
    n, hops = 8, 2
    forecaster, graph, (x, profile) = build().eval(), directed(n), windows(n)
    w = torch.zeros(n, n, dtype=torch.float64)
    w[graph.edge_index[0], graph.edge_index[1]] = graph.edge_weight.double()
    score = forecaster.source_encoder(profile) @ forecaster.target_encoder(profile).T
    supports = [transition(w), transition(w.T), score.relu().softmax(dim=1)]
    stack = forecaster.stack
    h = stack.start(torch.cat([x.new_zeros(2, 1, n, 2), x], dim=1).transpose(1, 2))
    latest = []
    for layer, conv in enumerate(stack.convs):
        gated = conv(h)
        latest.append(gated[:, :, -1])
        if layer == 3:  # the last one
            break
        terms = [gated]
        for support in supports:
            for power in range(1, hops + 1):
                spread = torch.linalg.matrix_power(support, power)
                terms.append(torch.einsum("ij,bjtc->bitc", spread, gated))
        after = stack.after[layer]
        h = after.norm(after.conv.linear(torch.cat(terms, -1)) + h[:, :, -gated.shape[2] :])
    expected = stack.end(stack.skip(torch.cat(latest, -1))).transpose(1, 2)
    torch.testing.assert_close(forecaster(x, graph, profile), expected)


def test_paper_settings_have_its_receptive_field():
    paper = GraphWaveNetForecaster(lookback=12, horizon=12, n_features=2)
    assert (paper.stack.padding, paper.stack.steps_left) == (1, 1)
    assert [conv.both.conv.dilation[1] for conv in paper.stack.convs] == [1, 2] * 4


def test_given_and_learned_graph_both_count():
    forecaster, (x, profile) = build().eval(), windows(8)
    nothing = Data(edge_index=torch.zeros(2, 0, dtype=torch.long), num_nodes=8)
    forecast = forecaster(x, nothing, profile)
    assert not torch.allclose(forecaster(x, directed(8), profile), forecast)
    assert not torch.allclose(forecaster(x, nothing, profile.flip(0)), forecast)


def test_neighbours_limit_the_learned_graph():
    few, all_of_them = build(neighbours=2).eval(), build(neighbours=8).eval()
    arguments = windows(8)[0], directed(8), windows(8)[1]
    assert not torch.allclose(few(*arguments), all_of_them(*arguments))
    more = build(neighbours=100).eval()
    torch.testing.assert_close(more(*arguments), all_of_them(*arguments))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hops": 0}, "hops is 0: it must be a whole number of at least 1"),
        ({"neighbours": 0}, "neighbours is 0"),
        ({"dropout": 1.0}, "dropout is 1.0: it must be a share"),
        ({"location_encoder": "none"}, "unknown location encoder 'none'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)

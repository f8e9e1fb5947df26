from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.forecasters.agcrn import AdaptiveGraphConv, AGCRNForecaster


def build(**options) -> AGCRNForecaster:
    torch.manual_seed(0)
    shape = {"lookback": 4, "horizon": 3, "n_features": 2, "hidden": 5, "code_size": 3}
    forecaster = AGCRNForecaster(**{**shape, **options}).double()
    for name, parameter in forecaster.named_parameters():
        if name.endswith("bias_pool"):
            torch.nn.init.normal_(parameter)
    return forecaster


def windows(n: int) -> tuple[torch.Tensor, Data, torch.Tensor]:
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(2, 4, n, 2, generator=generator, dtype=torch.float64)
    profile = torch.randn(n, 8, generator=generator, dtype=torch.float64)
    return x, Data(num_nodes=n), profile


def test_equals_the_written_out_dense_network():
    n = 7
    forecaster, (x, graph, profile) = build(), windows(n)
    codes = forecaster.encoder(profile)
    spread = torch.softmax((codes @ codes.T).relu(), dim=1)

    def conv(layer: AdaptiveGraphConv, h: torch.Tensor) -> torch.Tensor:
        """(B, N, C), a loop over code columns instead of weights of each location."""
        both = torch.cat([h, torch.einsum("ij,bjc->bic", spread, h)], dim=-1)
        out = 0
        for column, pool, bias in zip(codes.T, layer.pool, layer.bias_pool, strict=True):
            out = out + column[:, None] * (both @ pool + bias)
        return out

    sequence = list(x.unbind(1))
    for cell in forecaster.cells:
        h = x.new_zeros(2, n, 5)
        for t, inputs in enumerate(sequence):
            r_in, z_in, c_in = conv(cell.inputs, inputs).chunk(3, dim=-1)
            r_own, z_own, c_own = conv(cell.state, h).chunk(3, dim=-1)
            update = (z_in + z_own).sigmoid()
            candidate = (c_in + (r_in + r_own).sigmoid() * c_own).tanh()
            h = update * h + (1 - update) * candidate
            sequence[t] = h
    expected = forecaster.head(sequence[-1]).transpose(1, 2)
    torch.testing.assert_close(forecaster(x, graph, profile), expected)


def test_equal_codes_that_ignore_neighbours_are_a_library_gru():
    torch.manual_seed(0)
    forecaster = build(layers=1)
    x, graph, profile = windows(6)
    codes = torch.ones(6, 3, dtype=torch.float64)
    cell, library = forecaster.cells[0], torch.nn.GRU(2, 5, batch_first=True).double()
    with torch.no_grad():
        for ours, kind in ((cell.inputs, "ih"), (cell.state, "hh")):
            size = ours.pool.shape[1] // 2
            ours.pool[:, size:] = 0.0  # the neighbours' half
            weight, bias = ours.weights(codes)
            getattr(library, f"weight_{kind}_l0").copy_(weight[0, :size].T)
            getattr(library, f"bias_{kind}_l0").copy_(bias[0])
    forecaster.encoder.forward = lambda profile: codes
    last = library(x.transpose(1, 2).flatten(0, 1))[0][:, -1].unflatten(0, (2, 6))
    expected = forecaster.head(last).transpose(1, 2)
    torch.testing.assert_close(forecaster(x, graph, profile), expected)


def test_a_mixture_of_two_maps_by_hand():
    layer = AdaptiveGraphConv(1, 1, code_size=2)
    with torch.no_grad():
        layer.pool.copy_(torch.tensor([[[1.0], [10.0]], [[2.0], [20.0]]]))
        layer.bias_pool.copy_(torch.tensor([[100.0], [200.0]]))
    codes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    weights = {layer: layer.weights(codes)}
    h = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1)
    out = layer(h, lambda h: h.flip(1), weights)
    # own + 10 neighbour + 100; twice that; three times that
    assert out.flatten().tolist() == [1 + 30 + 100, 2 * (2 + 20 + 100), 3 * (3 + 10 + 100)]


def test_neighbours_limit_the_learned_graph():
    few, every = build(neighbours=1), build(neighbours=6)
    arguments = windows(6)
    assert not torch.allclose(few(*arguments), every(*arguments))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "hidden is 0: it must be a whole number of at least 1"),
        ({"neighbours": 0}, "neighbours is 0"),
        ({"code_size": 0}, "code_size is 0"),
        ({"location_encoder": "atention"}, "did you mean 'attention'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)

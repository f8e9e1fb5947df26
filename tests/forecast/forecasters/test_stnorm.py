from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.forecasters.stnorm import AxisNorm, STNormForecaster


def states(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("dim", [1, 2])
def test_axis_norm_equals_layer_norm_over_that_axis(dim):
    layer = AxisNorm(4, dim).double()
    with torch.no_grad():
        layer.scale.copy_(states(4))
        layer.shift.copy_(states(4) + 1)
    h = states(2, 5, 6, 4)
    moved = functional.layer_norm(h.movedim(dim, -1), (h.shape[dim],))
    expected = moved.movedim(-1, dim) * layer.scale + layer.shift
    torch.testing.assert_close(layer(h), expected)


def test_spatial_norm_removes_what_all_locations_share():
    layer, h = AxisNorm(4, dim=1).double(), states(2, 5, 6, 4)
    torch.testing.assert_close(layer(h + 100 * states(2, 1, 6, 4)), layer(h))


def test_temporal_norm_removes_the_level_of_each_location():
    layer, h = AxisNorm(4, dim=2).double(), states(2, 5, 6, 4)
    torch.testing.assert_close(layer(h + 100 * states(2, 5, 1, 4)), layer(h))


@pytest.mark.parametrize("dim", [1, 2])
def test_a_single_place_leaves_the_shift(dim):
    layer, h = AxisNorm(1, dim).double(), states(1, 1, 1, 1).requires_grad_()
    with torch.no_grad():
        layer.shift.fill_(3.0)
    out = layer(h)
    out.sum().backward()
    assert out.item() == 3.0
    assert h.grad.item() == 0.0


def test_locations_meet_in_the_spatial_norm_only():
    torch.manual_seed(0)
    forecaster = STNormForecaster(lookback=6, horizon=2, n_features=1, dropout=0.0).double()
    x, nothing = states(2, 6, 5, 1), Data(num_nodes=5)
    profile = x[0].transpose(0, 1).flatten(1)
    other = x.clone()
    other[:, :, 4] += 1.0
    change = forecaster(other, nothing, profile) - forecaster(x, nothing, profile)
    assert change[:, :, :4].abs().min() > 0
    for before in forecaster.stack.before:
        torch.nn.init.zeros_(before.spatial.scale)
    change = forecaster(other, nothing, profile) - forecaster(x, nothing, profile)
    assert not change[:, :, :4].any()
    assert change[:, :, 4].any()


def test_codes_shift_the_temporal_norm_of_their_location():
    torch.manual_seed(0)
    forecaster = STNormForecaster(lookback=6, horizon=2, n_features=1).double()
    before, h, profile = forecaster.stack.before[0], states(2, 5, 4, 16), states(5, 6)
    code = before.code.project(before.code.encoder(profile))[:, None]  # (N, 1, C)
    expected = torch.cat([h, before.spatial(h), before.temporal(h) + code], dim=-1)
    torch.testing.assert_close(before(h, profile), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "channels is 0: it must be a whole number of at least 1"),
        ({"layers": 0}, "layers is 0"),
        ({"location_encoder": "mpl"}, "did you mean 'mlp'.*Or 'none'"),
        ({"dropout": -0.1}, "dropout is -0.1: it must be a share"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        STNormForecaster(lookback=6, horizon=2, n_features=1, **options)

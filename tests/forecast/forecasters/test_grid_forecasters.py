"""U-Net and SimVP: what they see of the grid, how they move with it, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch_geometric.data import Data

from stemdist.data import TensorWindows
from stemdist.errors import InputError
from stemdist.forecast import TrainingSettings, train_forecaster
from stemdist.forecast.base import make_forecaster
from stemdist.forecast.layers.image_conv import enlarge

SHAPE = {"lookback": 3, "horizon": 2, "n_features": 2}
SMALL = {"unet": {"channels": 4}, "simvp": {"channels": 4, "hidden": 8}}
both = pytest.mark.parametrize("name", SMALL)


def build(name, **shape):
    torch.manual_seed(0)
    return make_forecaster(name, **{**SHAPE, **shape}, **SMALL[name]).double().eval()


def full_grid(height, width):
    cell = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    none = torch.zeros(2, 0, dtype=torch.int64)
    return Data(edge_index=none, edge_weight=torch.zeros(0), num_nodes=len(cell), cell=cell)


def moving_weather():
    """Return windows whose targets were one column to the west in the last input.

    A location's own window says nothing of it: the mean squared error of zero, 1, is the best.
    """
    graph, x = full_grid(4, 6), torch.randn(16, 3, 24, 2)
    last = x[:, -1:, :, 0].view(16, 1, 4, 6)
    y = last.roll(1, 3).expand(-1, 2, -1, -1).flatten(2)
    source = TensorWindows(x=x, y=y, mask=torch.ones_like(y), weight=torch.ones(24))
    return source, graph


def without_norm(forecaster):
    for module in list(forecaster.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.GroupNorm):
                setattr(module, name, nn.Identity())
    return forecaster


@both
def test_moving_the_weather_moves_the_forecast(name):
    """By a multiple of the coarsest cell, away from the borders; group norm sees all cells."""
    forecaster = without_norm(build(name))
    size, middle, step = 160, 80, 4  # neither the borders nor the patch reach the other's half
    graph = full_grid(size, size)
    background = torch.zeros(1, 3, size, size, 2, dtype=torch.float64)
    here, there = background.clone(), background.clone()
    weather = torch.randn(1, 3, 4, 4, 2, dtype=torch.float64)
    here[:, :, middle : middle + 4, middle : middle + 4] = weather
    there[:, :, middle + step : middle + step + 4, middle - step : middle - step + 4] = weather
    profile = torch.zeros(size**2, 6, dtype=torch.float64)
    quiet, *both_ways = (
        forecaster(x.flatten(2, 3), graph, profile).view(1, 2, size, size)
        for x in (background, here, there)
    )
    change = [forecast - quiet for forecast in both_ways]
    assert change[0].abs().max() > 1e-3
    torch.testing.assert_close(change[0].roll((step, -step), (2, 3)), change[1])


@both
def test_the_profile_and_the_edges_are_not_read(name):
    forecaster, graph = build(name), full_grid(3, 4)
    x, profile = torch.randn(2, 3, 12, 2).double(), torch.randn(12, 6).double()
    other = graph.clone()
    other.edge_index, other.edge_weight = torch.tensor([[0, 1], [1, 0]]), torch.ones(2)
    assert torch.equal(forecaster(x, graph, profile), forecaster(x, other, profile + 1))


@both
def test_an_unobserved_cell_is_not_a_cell_of_value_zero(name):
    forecaster, graph = build(name), full_grid(4, 4)
    x, profile = torch.randn(1, 3, 16, 2).double(), torch.zeros(16, 6).double()
    x[:, :, 5] = 0
    kept = torch.arange(16) != 5
    holes = Data(edge_index=graph.edge_index, num_nodes=15, cell=graph.cell[kept])
    with_hole = forecaster(x[:, :, kept], holes, profile[kept])
    assert not torch.allclose(with_hole, forecaster(x, graph, profile)[..., kept])


@both
def test_without_its_last_convolution_it_is_a_linear_map_of_each_window(name):
    forecaster, graph = build(name, n_outputs=2), full_grid(3, 4)
    nn.init.zeros_(forecaster.end.weight)
    nn.init.zeros_(forecaster.end.bias)
    x, profile = torch.randn(2, 3, 12, 2).double(), torch.zeros(12, 6).double()
    weight = forecaster.linear.step_weight().view(4, 3, 2)  # (O * L_out, L_in, F)
    expected = torch.einsum("btnf,rtf->brn", x, weight) + forecaster.linear.bias[:, None]
    torch.testing.assert_close(forecaster(x, graph, profile), expected)


def test_unet_is_the_written_out_one():
    forecaster, graph = build("unet", lookback=1, horizon=1, n_features=1), full_grid(5, 6)
    x = torch.randn(2, 1, 30, 1).double()
    fine = forecaster.start(torch.stack([x.view(2, 5, 6), torch.ones(2, 5, 6)], dim=1))
    middle = forecaster.down[0](fine)
    coarse = forecaster.down[1](middle)
    assert [h.shape[1:] for h in (fine, middle, coarse)] == [(4, 5, 6), (8, 3, 3), (16, 2, 2)]
    middle = forecaster.up[1](torch.cat([middle, enlarge(coarse, middle)], dim=1))
    fine = forecaster.up[0](torch.cat([fine, enlarge(middle, fine)], dim=1))
    expected = forecaster.end(fine).view(2, 1, 30) + forecaster.linear(x).view(2, 1, 30)
    torch.testing.assert_close(forecaster(x, graph, torch.zeros(30, 1)), expected)


def test_simvp_returns_its_frames_output_by_output():
    """Frame t of window b and output o is row o * L_out + t, and four values fill 2 x 2 cells."""
    forecaster, graph = build("simvp", n_outputs=3), full_grid(3, 3)
    nn.init.zeros_(forecaster.linear.weight)
    made = torch.arange(2 * 2 * 12 * 2 * 2.0).double().view(4, 12, 2, 2)

    class Made(nn.Module):
        def forward(self, h):
            return made

    forecaster.end = Made()
    x, profile = torch.randn(2, 3, 9, 2).double(), torch.zeros(9, 6).double()
    forecast = forecaster(x, graph, profile)
    for b, t, o, row, column in [(0, 0, 0, 0, 0), (1, 1, 2, 2, 1), (0, 1, 2, 1, 2)]:
        channel = 4 * o + 2 * (row % 2) + column % 2
        expected = made[2 * b + t, channel, row // 2, column // 2]
        assert forecast[b, 2 * o + t, 3 * row + column] == expected


@both
def test_future_frames_use_the_order_of_the_past(name):
    forecaster, graph = build(name), full_grid(4, 4)
    x, profile = torch.randn(1, 3, 16, 2).double(), torch.zeros(16, 6).double()
    assert not torch.allclose(forecaster(x, graph, profile), forecaster(x.flip(1), graph, profile))


@both
def test_windows_do_not_see_each_other(name):
    forecaster, graph = build(name), full_grid(4, 5)
    x, profile = torch.randn(3, 3, 20, 2).double(), torch.zeros(20, 6).double()
    alone = torch.cat([forecaster(window, graph, profile) for window in x.split(1)])
    torch.testing.assert_close(alone, forecaster(x, graph, profile))


@both
def test_trains_on_some_locations_of_the_grid(name):
    source, graph = moving_weather()
    settings = TrainingSettings(updates=3, batch_windows=8, locations_per_update=10)
    assert train_forecaster(build(name).float(), source, graph, settings).updates == 3


@pytest.mark.slow
@both
def test_learns_where_the_weather_goes(name):
    settings = TrainingSettings(updates=60, batch_windows=8, learning_rate=0.01)
    losses = train_forecaster(build(name).float(), *moving_weather(), settings).history.train_loss
    assert losses.iloc[-1] < 0.8


@both
@pytest.mark.parametrize(
    ("options", "message"),
    [({"channels": 0}, "channels is 0: it must be a whole number"), ({"levels": 0}, "levels")],
)
def test_wrong_options(name, options, message):
    with pytest.raises(InputError, match=message):
        make_forecaster(name, **SHAPE, **options)


def test_wrong_groups():
    for option in ("channels", "hidden"):
        with pytest.raises(InputError, match=f"{option} is 6: it must be a multiple of 4"):
            make_forecaster("simvp", **SHAPE, **{option: 6})
    with pytest.raises(InputError, match="layers is 0"):
        make_forecaster("simvp", **SHAPE, layers=0)


@both
def test_locations_on_no_grid(name):
    graph = full_grid(2, 3)
    del graph.cell
    with pytest.raises(InputError, match=r"needs locations on a regular grid.*mlp, mtgnn"):
        build(name)(torch.zeros(1, 3, 6, 2).double(), graph, torch.zeros(6, 6).double())

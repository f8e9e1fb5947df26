"""The latent images that every grid forecaster names: shape, gradient, and one call each."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from stemdist.data import TensorWindows
from stemdist.errors import InputError
from stemdist.forecast import TrainingSettings, train_forecaster
from stemdist.forecast.base import FORECASTERS, make_forecaster
from stemdist.forecast.hidden_states import hidden_states, penultimate_features

SHAPE = {"lookback": 3, "horizon": 2, "n_features": 1}
# Options, and the latent image (D, h, w) of 10 x 7 cells: halved once, twice, or in patches.
CASES = [
    ("spectral-evolution", {"channels": 4, "hidden": 8, "layers": 1}, (8, 3, 2)),
    ("spectral-evolution", {"hidden": 12, "levels": 2, "layers": 1}, (12, 5, 4)),
    ("resnet", {"hidden": 6, "layers": 1}, (6, 5, 4)),
    ("image-mixer", {"hidden": 6, "layers": 2}, (6, 3, 2)),
    ("image-mixer", {"hidden": 6, "layers": 1, "patch": 2}, (6, 5, 4)),
    ("unet", {"channels": 4}, (16, 3, 2)),
    ("unet", {"channels": 4, "levels": 2}, (8, 5, 4)),
    ("unet", {"channels": 4, "levels": 1}, (4, 10, 7)),
    ("simvp", {"channels": 4, "hidden": 8}, (8, 3, 2)),  # 2 future frames of 4 channels
]
every = pytest.mark.parametrize(("name", "options", "latent"), CASES)
new = pytest.mark.parametrize("name", ["spectral-evolution", "resnet", "image-mixer"])


def build(name, options):
    torch.manual_seed(0)
    return make_forecaster(name, **SHAPE, **options).double()


def windows():
    torch.manual_seed(1)
    cell = torch.cartesian_prod(torch.arange(10), torch.arange(7))
    x = torch.randn(2, 3, 70, 1).double()
    return x, Data(num_nodes=70, cell=cell), torch.zeros(70, 3).double()


def test_every_grid_forecaster_is_here():
    on_grids = {name for name in FORECASTERS.names() if FORECASTERS.get(name).needs_grid}
    assert {name for name, _, _ in CASES} == on_grids


@every
def test_shape_and_forecast(name, options, latent):
    forecaster, arguments = build(name, options), windows()
    forecast, states = hidden_states(forecaster, ["latent"], *arguments)
    assert states["latent"].shape == (2, *latent)
    assert torch.equal(forecast, forecaster(*arguments))


@every
def test_the_layer_is_called_once(name, options, latent):
    forecaster, calls = build(name, options), []
    layer = forecaster.get_submodule(forecaster.states["latent"])
    layer.register_forward_hook(lambda *call: calls.append(call))
    forecaster(*windows())
    assert len(calls) == 1


@every
def test_the_forecast_is_made_of_it_and_it_of_the_input(name, options, latent):
    forecaster, (x, graph, profile) = build(name, options), windows()
    x.requires_grad_()
    forecast, states = hidden_states(forecaster, ["latent"], x, graph, profile)
    (onwards,) = torch.autograd.grad(forecast.square().sum(), states["latent"], retain_graph=True)
    (back,) = torch.autograd.grad(states["latent"].pow(3).sum(), x)
    assert onwards.abs().sum((0, 2, 3)).all()  # every channel
    assert back.abs().sum((0, 1, 3)).all()  # every location


@every
def test_windows_do_not_see_each_other(name, options, latent):
    forecaster, (x, graph, profile) = build(name, options), windows()
    _, both = hidden_states(forecaster, ["latent"], x, graph, profile)
    _, first = hidden_states(forecaster, ["latent"], x[:1], graph, profile)
    torch.testing.assert_close(first["latent"], both["latent"][:1])


@new
def test_an_unobserved_cell_is_not_a_cell_of_value_zero(name):
    forecaster, (x, graph, profile) = build(name, {"hidden": 8}), windows()
    x[:, :, 5] = 0
    kept = torch.arange(70) != 5
    holes = Data(num_nodes=69, cell=graph.cell[kept])
    with_hole = forecaster(x[:, :, kept], holes, profile[kept])
    assert not torch.allclose(with_hole, forecaster(x, graph, profile)[..., kept])


@new
def test_the_profile_is_not_read(name):
    forecaster, (x, graph, profile) = build(name, {"hidden": 8}), windows()
    assert torch.equal(forecaster(x, graph, profile), forecaster(x, graph, profile + 1))


@pytest.mark.slow
@new
def test_learns_where_the_weather_goes(name):
    """Targets were one column to the west in the last input; without neighbours 1 is the best."""
    torch.manual_seed(2)
    x, graph = torch.randn(32, 3, 24, 1), Data(num_nodes=24)
    graph.cell = torch.cartesian_prod(torch.arange(4), torch.arange(6))
    y = x[:, -1:, :, 0].unflatten(2, (4, 6)).roll(1, 3).expand(-1, 2, -1, -1).flatten(2)
    source = TensorWindows(x=x, y=y, mask=torch.ones_like(y), weight=torch.ones(24))
    settings = TrainingSettings(updates=60, batch_windows=16, learning_rate=0.01)
    forecaster = build(name, {"hidden": 16}).float()
    losses = train_forecaster(forecaster, source, graph, settings).history.train_loss
    assert losses.iloc[-1] < 0.8


@new
def test_there_are_no_features_to_solve_a_linear_head_for(name):
    with pytest.raises(InputError, match=r"does not end in a linear layer.*choose another, e\.g\."):
        penultimate_features(build(name, {"hidden": 8}), *windows())

"""Hidden states: of the very forecast, in the promised shapes, or a clear error."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast import make_forecaster
from stemdist.forecast.hidden_states import STATES, check_states, hidden_states

N, B = 5, 3


def build(name, **options):
    torch.manual_seed(0)
    return make_forecaster(name, lookback=6, horizon=2, n_features=2, **options)


def inputs():
    x = torch.randn(B, 6, N, 2, generator=torch.Generator().manual_seed(1))
    return x, Data(num_nodes=N), x.mean(0).transpose(0, 1).flatten(1)


@pytest.mark.parametrize(
    ("name", "kind", "shape"),
    [
        ("mlp", "features", (B, N, 64)),
        ("gru", "tokens", (B, N, 6, 64)),
        ("gru", "features", (B, N, 64)),
        ("patchtst", "tokens", (B, N, 2, 64)),
        ("patchtst", "features", (B, N, 64)),
        ("cnn", "tokens", None),
        ("dlinear", "features", (B, N, 2)),
        ("binned-rnn", "logits", (B, N, 2, 21)),
        ("bottleneck-mlp", "bottleneck", None),
        ("decomposition-mlp", "features", (B, N, 128)),
    ],
)
def test_states_have_the_promised_shapes_and_leave_the_forecast_alone(name, kind, shape):
    forecaster = build(name).eval()
    forecast, states = hidden_states(forecaster, [kind], *inputs())
    assert torch.equal(forecast, forecaster(*inputs()))
    assert list(states) == [kind]
    found = states[kind]
    assert found.shape[:2] == (B, N)
    assert shape is None or found.shape == shape
    assert not any(module._forward_hooks for module in forecaster.modules())


def test_tokens_are_those_of_the_window_and_location():
    forecaster = build("patchtst", location_encoder="none").eval()
    x, graph, profile = inputs()
    _, states = hidden_states(forecaster, ["tokens"], x, graph, profile)
    _, alone = hidden_states(
        forecaster, ["tokens"], x[1:2, :, 3:4], Data(num_nodes=1), profile[3:4]
    )
    torch.testing.assert_close(states["tokens"][1, 3], alone["tokens"][0, 0])


def test_the_last_state_is_what_the_head_reads():
    forecaster = build("gru")
    _, states = hidden_states(forecaster, ["features", "tokens"], *inputs())
    torch.testing.assert_close(states["features"], states["tokens"][:, :, -1])
    states["features"].sum().backward()
    assert forecaster.layers[0].inputs.weight.grad.abs().max() > 0


def test_no_states_no_hooks():
    forecast, states = hidden_states(build("mlp"), [], *inputs())
    assert (forecast.shape, states) == ((B, 2, N), {})


def test_states_that_are_not_there():
    with pytest.raises(InputError, match="unknown hidden state 'feature': choose from bottleneck"):
        check_states(build("mlp"), ["feature"])
    with pytest.raises(
        InputError, match=r"MLPForecaster has no tokens \(B, N, K, C\).* it has feat"
    ):
        check_states(build("mlp"), ["tokens"])
    assert set(STATES) == {"features", "tokens", "latent", "logits", "bottleneck"}


@pytest.mark.parametrize("name", ["resnet", "image-mixer", "unet", "spectral-evolution"])
def test_a_latent_image_is_decoded_by_more_than_a_linear_map(name):
    """Read out linearly it would be the forecast itself, not what leads to it."""
    forecaster = build(name)
    graph = Data(num_nodes=64, cell=torch.cartesian_prod(torch.arange(8), torch.arange(8)))
    x, profile = torch.randn(2, 6, 64, 2), torch.zeros(64, 12)

    def forecast(scale):
        inside = forecaster.get_submodule(forecaster.states["latent"])
        with inside.register_forward_hook(lambda _module, _inputs, output: scale * output):
            return forecaster(x, graph, profile)

    up, down = forecast(2.0) - forecast(1.0), forecast(1.0) - forecast(0.0)
    assert down.abs().max() > 0
    assert (up - down).abs().max() > 0.01 * down.abs().max()

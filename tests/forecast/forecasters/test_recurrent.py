from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.base import Forecaster, make_forecaster
from stemdist.forecast.hidden_states import hidden_states

L_IN, L_OUT, N, F, H = 4, 3, 5, 2, 6


def build(name: str, **options: object) -> Forecaster:
    torch.manual_seed(0)
    return make_forecaster(
        name, lookback=L_IN, horizon=L_OUT, n_features=F, hidden=H, **options
    ).double()


def windows() -> tuple[Tensor, Data, Tensor]:
    x = torch.randn(2, L_IN, N, F, dtype=torch.float64)
    return x, Data(num_nodes=N), x.mean(0).transpose(0, 1).flatten(1)


def library_layer(name: str, layer: nn.Module, columns: int) -> nn.Module:
    library = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}[name]
    reference = library(columns, H, batch_first=True).double()
    bias = layer.state.bias
    reference.load_state_dict(
        {
            "weight_ih_l0": layer.inputs.weight,
            "bias_ih_l0": layer.inputs.bias,
            "weight_hh_l0": layer.state.weight,
            "bias_hh_l0": torch.zeros_like(layer.inputs.bias) if bias is None else bias,
        }
    )
    return reference


@pytest.mark.parametrize("name", ["gru", "lstm", "rnn"])
def test_two_layers_and_a_code_are_those_of_torch(name):
    forecaster = build(name, layers=2)
    x, graph, profile = windows()
    code = forecaster.code.project(forecaster.code.encoder(profile))  # (N, H)
    start = code.repeat(2, 1)[None]  # (1, B N, H), the same in every window
    h = x.transpose(1, 2).flatten(0, 1)  # (B N, L_in, F)
    for layer, columns in zip(forecaster.layers, (F, H), strict=True):
        state = (start, torch.zeros_like(start)) if name == "lstm" else start
        h = library_layer(name, layer, columns)(h, state)[0]
    expected = forecaster.head(h[:, -1]).view(2, N, L_OUT).transpose(1, 2)
    torch.testing.assert_close(forecaster(x, graph, profile), expected)


@pytest.mark.parametrize("name", ["gru", "lstm", "rnn"])
def test_without_codes_the_profile_is_not_read(name):
    x, graph, profile = windows()
    assert not torch.equal(*(build(name)(x, graph, p) for p in (profile, -profile)))
    plain = build(name, location_encoder="none")
    assert plain.pointwise
    assert torch.equal(plain(x, graph, profile), plain(x, graph, -profile))


def test_dropout_is_for_training_only():
    forecaster, arguments = build("gru", dropout=0.5), windows()
    assert not torch.equal(forecaster(*arguments), forecaster(*arguments))
    forecaster.eval()
    assert torch.equal(forecaster(*arguments), forecaster(*arguments))


@pytest.mark.parametrize("teacher", ["gru", "lstm"])
def test_a_simple_network_takes_over_the_head_and_the_codes_of_a_gated_one(teacher):
    taught, student = build(teacher), build("rnn")
    for part in ("head", "code"):
        student.get_submodule(part).load_state_dict(taught.get_submodule(part).state_dict())
    x, graph, profile = windows()
    states = hidden_states(student, ["features", "tokens"], x, graph, profile)[1]
    assert states["tokens"].shape == (2, N, L_IN, H)
    assert torch.equal(states["features"], states["tokens"][:, :, -1])
    expected = taught.head(states["features"]).transpose(1, 2)
    torch.testing.assert_close(student(x, graph, profile), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "layers is 0: it must be a whole number of at least 1"),
        ({"dropout": 1.0}, "dropout is 1.0: it must be a share"),
        ({"location_encoder": "atention"}, "did you mean 'attention'.*Or 'none'"),
        ({"code_size": 0}, "code_size is 0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        build("lstm", **options)

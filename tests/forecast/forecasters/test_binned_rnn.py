"""Bins: expectation by hand, equal scores, hidden states; layers as those of torch."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.base import Forecaster, make_forecaster
from stemdist.forecast.hidden_states import hidden_states

L_IN, L_OUT, N, F, H = 4, 3, 5, 2, 6


def build(**options: object) -> Forecaster:
    torch.manual_seed(0)
    return make_forecaster(
        "binned-rnn", lookback=L_IN, horizon=L_OUT, n_features=F, hidden=H, **options
    ).double()


def windows() -> tuple[Tensor, Data, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, L_IN, N, F, dtype=torch.float64, generator=generator)
    return x, Data(num_nodes=N), x.mean(0).transpose(0, 1).flatten(1)


def test_expectation_by_hand():
    forecaster = build(bins=[-1, 0, 5])
    with torch.no_grad():
        forecaster.logits.linear.weight.zero_()
        # Row 0 has probabilities 1/6, 2/6, 3/6; row 1 is sure of the last bin; row 2 of none.
        scores = [0.0, math.log(2), math.log(3), -1e3, 0.0, 1e3, 7.0, 7.0, 7.0]
        forecaster.logits.linear.bias.copy_(torch.tensor(scores))
    expected = torch.tensor([-1 / 6 + 15 / 6, 5.0, 4 / 3], dtype=torch.float64)
    expected = expected[None, :, None].expand(2, -1, N)
    torch.testing.assert_close(forecaster(*windows()), expected, rtol=1e-6, atol=0.0)


def test_equal_scores_forecast_the_mean_of_the_bins():
    forecaster = build(bins=[-2.0, 1.0, 1.5, 4.0], n_outputs=2)
    with torch.no_grad():
        for parameter in forecaster.logits.parameters():
            parameter.fill_(0.3)
    expected = torch.full((2, 2 * L_OUT, N), 4.5 / 4, dtype=torch.float64)
    torch.testing.assert_close(forecaster(*windows()), expected)


def test_forecasts_stay_within_the_bins():
    forecaster, (x, graph, profile) = build(bins=[-0.5, 0.25]), windows()
    with torch.no_grad():
        forecaster.logits.linear.weight.mul_(1e3)
    forecast = forecaster(x, graph, profile)
    assert forecast.min() >= -0.5
    assert forecast.max() <= 0.25
    assert forecast.max() - forecast.min() > 0.7


def test_states_are_scores_last_state_and_states_of_every_step():
    forecaster, arguments = build(layers=2, n_outputs=2, bins=[-1.0, 0.0, 2.0]), windows()
    forecast, states = hidden_states(forecaster, ["logits", "features", "tokens"], *arguments)
    assert states["logits"].shape == (2, N, 2 * L_OUT, 3)
    assert states["features"].shape == (2, N, H)
    assert states["tokens"].shape == (2, N, L_IN, H)
    assert torch.equal(states["features"], states["tokens"][:, :, -1])
    chance = states["logits"].softmax(-1)
    expected = 2 * chance[..., 2] - chance[..., 0]
    torch.testing.assert_close(forecast, expected.transpose(1, 2))


def test_two_layers_and_a_code_are_those_of_torch():
    forecaster = build(layers=2)
    x, graph, profile = windows()
    reference = nn.RNN(F, H, num_layers=2, batch_first=True).double()
    weights = {}
    for place, layer in enumerate(forecaster.layers):
        weights[f"weight_ih_l{place}"] = layer.inputs.weight
        weights[f"bias_ih_l{place}"] = layer.inputs.bias
        weights[f"weight_hh_l{place}"] = layer.state.weight
        weights[f"bias_hh_l{place}"] = torch.zeros(H)
    reference.load_state_dict(weights)
    code = forecaster.code.project(forecaster.code.encoder(profile))  # (N, H)
    start = code.repeat(2, 1).expand(2, -1, -1).contiguous()  # (layers, B N, H)
    expected = reference(x.transpose(1, 2).flatten(0, 1), start)[0].view(2, N, L_IN, H)
    states = hidden_states(forecaster, ["tokens"], x, graph, profile)[1]
    torch.testing.assert_close(states["tokens"], expected)


def test_bins_by_default_and_in_the_configuration():
    bins = build().config["bins"]
    assert len(bins) == 21
    assert (bins[0], bins[10], bins[20]) == (-3.0, 0.0, 3.0)
    assert all(high - low == pytest.approx(0.3) for low, high in itertools.pairwise(bins))
    config = json.loads(json.dumps(build(bins=(0, 1, 3)).config))
    assert config["bins"] == [0.0, 1.0, 3.0]
    again = make_forecaster("binned-rnn", **config)
    assert again.centres.tolist() == [0.0, 1.0, 3.0]
    assert "centres" not in again.state_dict()


def test_pointwise_unless_codes_are_shared():
    assert build().pointwise
    assert not build(location_encoder="attention").pointwise


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": [1.0]}, r"bins is \[1.0\]: give the centres of at least two bins"),
        ({"bins": []}, r"bins is \[\]"),
        ({"bins": [0.0, 0.0]}, "in ascending order"),
        ({"bins": [0.0, 2.0, 1.0]}, "in ascending order"),
        ({"bins": [0.0, math.inf]}, "finite"),
        ({"bins": [math.nan, 1.0]}, "finite"),
        ({"bins": 21}, "bins is 21: give the centres"),
        ({"bins": "ab"}, "bins is 'ab': give the centres"),
        ({"layers": 0}, "layers is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"location_encoder": "mpl"}, "unknown location encoder 'mpl'.*Or 'none'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)

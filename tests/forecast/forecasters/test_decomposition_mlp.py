"""Trend and remainder: by hand, against pooling, levels that pass through."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.base import Forecaster, make_forecaster
from stemdist.forecast.hidden_states import hidden_states, penultimate_features

L_IN, L_OUT, N, F, H = 6, 3, 4, 2, 5


def build(n_features: int = F, **options: object) -> Forecaster:
    torch.manual_seed(0)
    shape = {"lookback": L_IN, "horizon": L_OUT, "n_features": n_features}
    return make_forecaster("decomposition-mlp", **shape, **{"hidden": H, **options}).double()


def windows(n_features: int = F) -> tuple[Tensor, Data, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, L_IN, N, n_features, generator=generator, dtype=torch.float64)
    return x, Data(num_nodes=N), torch.zeros(N, L_IN * n_features, dtype=torch.float64)


def naive_parts(x: Tensor, kernel: int) -> tuple[Tensor, Tensor]:
    """Trend and remainder (B, N, L_in * F), the average as pooling of the padded window."""
    series = x.permute(0, 2, 3, 1)  # (B, N, F, L_in)
    reach = kernel // 2
    before, after = (
        end.expand(*series.shape[:-1], reach) for end in (series[..., :1], series[..., -1:])
    )
    padded = torch.cat([before, series, after], dim=-1)
    trend = functional.avg_pool1d(padded.flatten(0, 1), kernel, stride=1).view(series.shape)
    return trend.mT.flatten(2), (series - trend).mT.flatten(2)


@pytest.mark.parametrize("norm", ["layer", "none"])
@pytest.mark.parametrize("kernel", [1, 3, 25])
def test_forecast_is_the_sum_of_two_perceptrons(norm, kernel):
    forecaster = build(norm=norm, kernel=kernel, level="none", n_outputs=2)
    x, graph, profile = windows()
    expected = forecaster.head.bias
    weights = forecaster.head.weight.chunk(2, dim=1)  # of the trend, of the remainder
    first = (forecaster.trend, forecaster.remainder)
    for part, layer, weight in zip(naive_parts(x, kernel), first, weights, strict=True):
        h = layer(part)
        if norm == "layer":
            h = functional.layer_norm(h, (H,))
        expected = expected + h.relu() @ weight.T
    found = forecaster(x, graph, profile)
    torch.testing.assert_close(found, expected.transpose(1, 2), rtol=1e-6, atol=1e-6)


def test_numbers_by_hand():
    forecaster = make_forecaster(
        "decomposition-mlp", lookback=3, horizon=1, n_features=1, kernel=3, hidden=1, norm="none"
    )
    with torch.no_grad():
        forecaster.trend.weight.copy_(torch.tensor([[0.0, 0.0, 1.0]]))
        forecaster.remainder.weight.copy_(torch.tensor([[-1.0, 0.0, 0.0]]))
        forecaster.trend.bias.zero_()
        forecaster.remainder.bias.zero_()
        forecaster.head.weight.copy_(torch.tensor([[2.0, 3.0]]))
        forecaster.head.bias.fill_(0.5)
    x = torch.tensor([1.0, 4.0, 10.0]).view(1, 3, 1, 1)
    # Less its mean 5: -4, -1, 5. Trend: -3, 0, 3; remainder: -1, -1, 2.
    # relu(3) and relu(1) make 2 * 3 + 3 * 1 + .5 = 9.5, and 5 is added back.
    arguments = x, Data(num_nodes=1), torch.zeros(1, 3)
    forecast, states = hidden_states(forecaster, ["features"], *arguments)
    assert forecast.item() == pytest.approx(14.5)
    assert states["features"].item() == pytest.approx(3 + 1)


@pytest.mark.parametrize("norm", ["layer", "none"])
def test_features_are_the_sum_of_the_first_layers_before_the_norm(norm):
    forecaster, (x, graph, profile) = build(norm=norm, kernel=3), windows()
    _, states = hidden_states(forecaster, ["features"], x, graph, profile)
    centred = x.clone()
    centred[..., 0] -= x[..., 0].mean(1, keepdim=True)  # the second feature is no target
    trend, remainder = naive_parts(centred, 3)
    expected = forecaster.trend(trend) + forecaster.remainder(remainder)
    assert states["features"].shape == (2, N, H)
    torch.testing.assert_close(states["features"], expected, rtol=1e-6, atol=1e-6)
    (slope,) = torch.autograd.grad(states["features"].sum(), forecaster.trend.weight)
    assert slope.any()


def test_the_last_linear_layer_reads_both_parts():
    forecaster, (x, graph, profile) = build(level="none"), windows()
    features = penultimate_features(forecaster, x, graph, profile)
    assert features.shape == (2, N, 2 * H)
    forecast = forecaster.head(features).transpose(1, 2)
    torch.testing.assert_close(forecast, forecaster(x, graph, profile))


@pytest.mark.parametrize("level", ["mean", "reversible"])
def test_a_constant_added_to_a_target_is_added_to_its_forecast(level):
    forecaster = build(n_features=3, n_outputs=4, n_targets=2, level=level)
    x, graph, profile = windows(3)
    moved = x.clone()
    moved[..., 0] += 7.0
    moved[..., 1] -= 2.0
    change = torch.tensor([7.0, -2.0, 7.0, -2.0], dtype=x.dtype).repeat_interleave(L_OUT)
    expected = forecaster(x, graph, profile) + change[:, None]
    torch.testing.assert_close(forecaster(moved, graph, profile), expected)


def test_a_scaled_window_scales_the_forecast_of_the_reversible_level_alone():
    x, graph, profile = windows(1)
    for level in ("mean", "reversible"):
        forecaster = build(n_features=1, level=level)
        with torch.no_grad():
            forecaster.head.bias.add_(1.0)
        if forecaster.level.scales:
            forecaster.level.floor = 0.0
        scaled, expected = (forecaster(5 * x, graph, profile), 5 * forecaster(x, graph, profile))
        assert torch.allclose(scaled, expected) == (level == "reversible")


def test_without_a_level_a_constant_is_part_of_the_window():
    forecaster, (x, graph, profile) = build(level="none"), windows()
    change = forecaster(x + 7.0, graph, profile) - forecaster(x, graph, profile)
    assert (change - 7.0).abs().min() > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": 24}, r"kernel is 24: it must be odd.*e\.g\. 25"),
        ({"hidden": 0}, "hidden is 0"),
        ({"norm": "batch"}, "unknown norm 'batch':.*layer, none"),
        ({"level": "means"}, "unknown level 'means': did you mean 'mean'"),
        ({"n_targets": 3, "n_outputs": 3}, "n_targets is 3 but there are 2 features"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)

"""Linear, DLinear and RLinear: numbers by hand, limiting cases, several targets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.base import Forecaster, make_forecaster
from stemdist.forecast.forecasters.dlinear import moving_average

LOOKBACK, HORIZON, N = 6, 3, 4
NAMES = ["linear", "dlinear", "rlinear"]


def build(name: str, n_features: int = 2, **options: int) -> Forecaster:
    return make_forecaster(
        name, lookback=LOOKBACK, horizon=HORIZON, n_features=n_features, **options
    ).double()


def randomised(forecaster: Forecaster) -> Forecaster:
    torch.manual_seed(0)
    for parameter in forecaster.parameters():
        torch.nn.init.normal_(parameter)
    return forecaster


def windows(n_features: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, LOOKBACK, N, n_features, generator=generator, dtype=torch.float64)


def forecast(forecaster: Forecaster, x: Tensor) -> Tensor:
    profile = torch.zeros(N, LOOKBACK * x.shape[-1], dtype=x.dtype)
    return forecaster(x, Data(num_nodes=N), profile)


@pytest.mark.parametrize("name", NAMES)
def test_untrained_it_forecasts_the_mean_of_each_output_s_target(name):
    x = windows(n_features=3)
    forecaster = build(name, n_features=3, n_outputs=4, n_targets=2)
    mean = x.mean(1).transpose(1, 2)  # (B, F, N)
    expected = mean[:, [0, 1, 0, 1]].repeat_interleave(HORIZON, dim=1)
    torch.testing.assert_close(forecast(forecaster, x), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_targets_must_fit_features_and_outputs(name):
    with pytest.raises(InputError, match="n_targets is 3 but there are 2 features"):
        build(name, n_targets=3, n_outputs=3)


def test_linear_is_the_written_out_map():
    forecaster, x = randomised(build("linear")), windows()
    weight = forecaster.head.step_weight().view(HORIZON, LOOKBACK, 2)
    expected = torch.einsum("htf,btnf->bhn", weight, x) + forecaster.head.bias[:, None]
    torch.testing.assert_close(forecast(forecaster, x), expected)


def test_moving_average_by_hand():
    x = torch.tensor([1.0, 4.0, 7.0, 1.0])
    # Three steps: (1 + 1 + 4) / 3, (1 + 4 + 7) / 3, (4 + 7 + 1) / 3, (7 + 1 + 1) / 3.
    torch.testing.assert_close(moving_average(4, 3) @ x, torch.tensor([2.0, 4.0, 4.0, 3.0]))
    # Five steps reach beyond both ends: (1 + 1 + 1 + 4 + 7) / 5 first.
    torch.testing.assert_close((moving_average(4, 5) @ x)[0], torch.tensor(14 / 5))
    torch.testing.assert_close(moving_average(4, 1), torch.eye(4))


@pytest.mark.parametrize("kernel", [1, 3, 25])
def test_moving_average_equals_pooling_of_the_padded_window(kernel):
    x = windows()[0].flatten(1).T  # (series, L_in)
    reach = kernel // 2
    padded = torch.cat([x[:, :1].repeat(1, reach), x, x[:, -1:].repeat(1, reach)], dim=1)
    expected = torch.nn.functional.avg_pool1d(padded[:, None], kernel, stride=1)[:, 0]
    average = moving_average(LOOKBACK, kernel).double()
    torch.testing.assert_close(x @ average.T, expected, atol=1e-6, rtol=1e-6)


def test_dlinear_forecasts_trend_and_remainder_apart():
    forecaster, x = randomised(build("dlinear", kernel=3)), windows()
    trend = torch.einsum("ts,bsnf->btnf", forecaster.average, x)
    expected = sum(
        torch.einsum("htf,btnf->bhn", part.step_weight().view(HORIZON, LOOKBACK, 2), values)
        + part.bias[:, None]
        for part, values in ((forecaster.trend, trend), (forecaster.remainder, x - trend))
    )
    torch.testing.assert_close(forecast(forecaster, x), expected)


def test_dlinear_wants_an_odd_kernel():
    with pytest.raises(InputError, match=r"kernel is 24: it must be odd.*e\.g\. 25"):
        build("dlinear", kernel=24)


def test_a_constant_added_to_a_window_is_added_to_rlinear_s_forecast():
    forecaster, x = randomised(build("rlinear", n_features=1)), windows(n_features=1)
    level = torch.randn(2, 1, N, 1, dtype=x.dtype)
    moved = forecast(forecaster, x + level)
    torch.testing.assert_close(moved, forecast(forecaster, x) + level[..., 0])


def test_a_scaled_window_scales_rlinear_s_forecast():
    forecaster, x = randomised(build("rlinear", n_features=1)), windows(n_features=1)
    forecaster.norm.floor = 0.0
    torch.testing.assert_close(forecast(forecaster, 5 * x), 5 * forecast(forecaster, x))


def test_rlinear_forecasts_a_flat_window_at_its_level():
    forecaster = randomised(build("rlinear", n_features=1))
    flat = torch.full((1, LOOKBACK, N, 1), 7.0, dtype=torch.float64)
    # All that is left is the bias, at the smallest scale there is.
    expected = (7 + forecaster.norm.floor * forecaster.head.bias)[:, None].expand(-1, N)
    torch.testing.assert_close(forecast(forecaster, flat)[0], expected)

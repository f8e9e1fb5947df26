"""Two linear maps: start, rank, hidden state, and the closed form that training comes near."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stemdist.data import TensorWindows
from stemdist.errors import InputError
from stemdist.forecast import TrainingSettings, train_forecaster
from stemdist.forecast.base import Forecaster, make_forecaster
from stemdist.forecast.closed_form import fit_linear
from stemdist.forecast.hidden_states import hidden_states

L_IN, L_OUT, N, F = 6, 4, 5, 2


def build(n_features: int = F, **options: int) -> Forecaster:
    torch.manual_seed(0)
    shape = {"lookback": L_IN, "horizon": L_OUT, "n_features": n_features}
    return make_forecaster("lowrank-linear", **shape, **options)


def windows(n_features: int = F, b: int = 3) -> tuple[Tensor, Data, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(b, L_IN, N, n_features, generator=generator)
    return x, Data(num_nodes=N), torch.zeros(N, L_IN * n_features)


@pytest.mark.parametrize("rank", [2, 3, 40])
def test_untrained_it_forecasts_the_mean_of_each_output_s_target(rank):
    x, graph, profile = windows(3)
    forecaster = build(3, n_outputs=4, n_targets=2, rank=rank)
    mean = x.mean(1).transpose(1, 2)  # (B, F, N)
    expected = mean[:, [0, 1, 0, 1]].repeat_interleave(L_OUT, dim=1)
    torch.testing.assert_close(forecaster(x, graph, profile), expected, atol=1e-5, rtol=1e-5)


def test_a_target_beyond_the_rank_starts_at_zero():
    x, graph, profile = windows()
    forecast = build(n_outputs=2, n_targets=2, rank=1)(x, graph, profile)
    mean = x[..., 0].mean(1, keepdim=True).expand(-1, L_OUT, -1)
    torch.testing.assert_close(forecast[:, :L_OUT], mean, atol=1e-5, rtol=1e-5)
    assert not forecast[:, L_OUT:].any()


def test_columns_of_a_new_forecaster_differ():
    forecaster = build(rank=8)
    weight = forecaster.reduce.step_weight()  # (K, P)
    assert torch.linalg.matrix_rank(weight) == 8
    assert torch.linalg.cond(weight) < 30


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_map_has_the_rank_it_is_given(rank):
    forecaster = build(rank=rank)
    torch.nn.init.normal_(forecaster.head.weight)
    x, graph, profile = windows(b=40)
    rows = forecaster(x, graph, profile).transpose(1, 2).flatten(0, 1)  # (B N, L_out)
    size = torch.linalg.svdvals((rows - rows.mean(0)).double())
    assert size[rank - 1] > 1e-2 * size[0]
    assert (size[rank:] < 1e-5 * size[0]).all()


def test_features_are_the_columns_between_the_maps():
    forecaster, (x, graph, profile) = build(rank=3), windows()
    torch.nn.init.normal_(forecaster.head.weight)
    forecast, states = hidden_states(forecaster, ["features"], x, graph, profile)
    assert states["features"].shape == (3, N, 3)
    weight, bias = forecaster.reduce.step_weight(), forecaster.reduce.bias
    expected = torch.einsum("kp,bnp->bnk", weight, x.transpose(1, 2).flatten(2)) + bias
    torch.testing.assert_close(states["features"], expected)
    torch.testing.assert_close(forecaster.head(expected).transpose(1, 2), forecast)


def random_walks() -> TensorWindows:
    """Targets are a noisy linear map, of full rank, of the last steps of random walks."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(200, L_IN, N, 1, generator=generator).cumsum(1)
    x = x / x.std()
    ahead = torch.arange(1.0, L_OUT + 1).view(1, -1, 1)
    last, before, earlier = x[:, -1:, :, 0], x[:, -2:-1, :, 0], x[:, -4:-3, :, 0]
    y = last + ahead * (last - before) / 4 - ahead.square() * earlier / 32 + 0.5
    y = y + 0.3 * torch.randn(200, L_OUT, N, generator=generator)
    return TensorWindows(x=x, y=y, mask=torch.ones_like(y), weight=torch.ones(N))


def error_of(forecaster: Forecaster, source: TensorWindows) -> float:
    forecast = forecaster(source.x, Data(num_nodes=N), source.profile)
    return float((forecast - source.y).square().mean().detach())


def trained(source: TensorWindows, rank: int) -> Forecaster:
    forecaster = build(1, rank=rank)
    settings = TrainingSettings(
        updates=300, batch_windows=50, learning_rate=8e-3, weight_decay=0.0, schedule="constant"
    )
    train_forecaster(forecaster, source, Data(num_nodes=N), settings)
    return forecaster


@pytest.mark.slow
def test_with_enough_columns_training_comes_near_the_closed_form():
    source = random_walks()
    exact = error_of(fit_linear(source, ridge=0.0), source)
    start = error_of(build(1, rank=L_OUT), source)
    assert start > 3 * exact
    found = error_of(trained(source, rank=L_OUT), source)
    assert exact <= found < 1.01 * exact


@pytest.mark.slow
def test_with_few_columns_training_comes_near_reduced_rank_regression():
    source = random_walks()
    x = source.x.transpose(1, 2).flatten(2).flatten(0, 1).double()
    y = source.y.transpose(1, 2).flatten(0, 1).double()
    x, y = x - x.mean(0), y - y.mean(0)
    fitted = x @ torch.linalg.lstsq(x, y).solution
    _, _, directions = torch.linalg.svd(fitted, full_matrices=False)
    best = fitted @ directions[:1].T @ directions[:1]  # Izenman, 1975
    exact, whole = ((y - guess).square().mean().item() for guess in (best, fitted))
    found = error_of(trained(source, rank=1), source)
    assert exact > 1.02 * whole  # one column is not enough for these targets
    assert 0.9999 * exact <= found < 1.01 * exact


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank is 0: it must be a whole number of at least 1"),
        ({"n_targets": 3, "n_outputs": 3}, "n_targets is 3 but there are 2 features"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)

"""Several targets, several quantiles, and variables known ahead of time."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from torch_geometric.data import Data

from stemdist.data import TensorWindows, canonical_series
from stemdist.distill import DistilledSet, DistillSettings, distill, train_on_distilled
from stemdist.errors import InputError
from stemdist.evaluate import EvaluationSettings, evaluate
from stemdist.forecast import (
    FittedForecaster,
    ForecastTask,
    TaskSettings,
    TrainingSettings,
    fit_forecaster,
    make_forecaster,
)
from stemdist.forecast.closed_form import fit_linear
from stemdist.forecast.losses import get_loss, quantile_score
from stemdist.forecast.predict import mean_error
from stemdist.forecast.training_settings import check_quantiles
from stemdist.graph import GraphSettings

STEPS, PLACES = 240, 6


@pytest.fixture(scope="module")
def series() -> xr.Dataset:
    """Demand and supply follow a price that is known ahead of time; supply is ten times demand."""
    rng = np.random.default_rng(0)
    price = rng.standard_normal((STEPS, PLACES)).astype(np.float32)
    level = rng.standard_normal(PLACES) * 0.1
    demand = level - price + 0.1 * rng.standard_normal((STEPS, PLACES))
    dims = ("time", "location")
    raw = xr.Dataset(
        {
            "price": (dims, price),
            "demand": (dims, demand.astype(np.float32), {"units": "MW"}),
            "supply": (dims, (500 + 10 * demand).astype(np.float32), {"units": "kW"}),
        },
        {
            "time": pd.date_range("2026", periods=STEPS, freq="h"),
            "location": np.arange(PLACES),
            "lat": ("location", np.arange(PLACES) / 10),
            "lon": ("location", np.zeros(PLACES)),
        },
    )
    return canonical_series(raw, variables=["price", "demand", "supply"])


def task_of(series: xr.Dataset, **settings) -> ForecastTask:
    own = {"lookback": 4, "horizon": 3, "graph": GraphSettings(method="knn", neighbours=2)}
    return ForecastTask.from_series(series, TaskSettings(**own | settings))


def test_targets_come_first_in_features_and_rows(series):
    task = task_of(series, targets=("supply", "demand"))
    names = ("supply", "demand", "supply_neighbours", "demand_neighbours", "price")
    assert task.feature_names == names
    assert task.target_names == ("supply", "demand")
    x, y, mask = task.train.batch(torch.tensor([5]))
    assert x.shape == (1, 4, PLACES, 5)
    assert y.shape == mask.shape == (1, 6, PLACES)
    physical = task.scaler.inverse_targets(y, 2)[0].numpy()
    np.testing.assert_allclose(physical[:3], series["supply"].values[9:12], rtol=1e-5)
    np.testing.assert_allclose(physical[3:], series["demand"].values[9:12], atol=1e-5)
    np.testing.assert_allclose(task.scaler.scale_targets(task.scaler.inverse_targets(y, 2), 2), y,
                               atol=1e-4)  # fmt: skip


def test_a_missing_target_is_missing_for_that_target_only(series):
    broken = series.copy(deep=True)
    broken["demand"][10, 2] = np.nan
    task = task_of(broken, targets=("supply", "demand"))
    _, _, mask = task.train.batch(torch.tensor([5]))  # targets at steps 9, 10 and 11
    expected = torch.ones(1, 6, PLACES)
    expected[0, 4, 2] = 0
    assert torch.equal(mask, expected)


def test_closed_form_linear_of_two_targets_equals_two_of_one():
    torch.manual_seed(0)
    x, y, mask = torch.randn(30, 2, 4, 3), torch.randn(30, 6, 4), torch.ones(30, 6, 4)
    mask[3, 1, 2] = 0
    both = fit_linear(TensorWindows(x=x, y=y, mask=mask, weight=torch.ones(4), targets=2))
    assert both.config["n_outputs"] == 2
    graph, profile = Data(num_nodes=4), torch.zeros(4, 6)
    for rows in (slice(0, 3), slice(3, 6)):
        alone = TensorWindows(x=x, y=y[:, rows], mask=mask[:, rows], weight=torch.ones(4))
        expected = fit_linear(alone)(x, graph, profile)
        torch.testing.assert_close(both(x, graph, profile)[:, rows], expected)


def test_known_future_makes_the_future_known(series):
    """Only with the price of the forecast hour can demand be forecast."""
    blind = task_of(series, targets=("demand",))
    task = task_of(series, targets=("demand",), future=("price",))
    assert task.feature_names == (
        *("demand", "demand_neighbours", "price", "supply"),
        "price_ahead_3",
    )
    errors = []
    for one in (blind, task):
        index = torch.arange(len(one.validation))
        where = (one.validation, one.graph, one.train.profile)
        errors.append(mean_error(fit_linear(one.train), *where, index=index))
    assert errors[0] > 0.9
    assert errors[1] < 0.05


@pytest.mark.parametrize(("lookback", "horizon"), [(4, 3), (4, 4), (4, 10), (1, 3), (12, 2)])
def test_known_future_covers_every_step_of_the_horizon(series, lookback, horizon):
    task = task_of(
        series, targets=("demand",), future=("price",), lookback=lookback, horizon=horizon
    )
    columns = [i for i, name in enumerate(task.feature_names) if "_ahead_" in name]
    assert len(columns) == math.ceil(horizon / lookback)
    start = int(task.train.starts[7])
    x = task.train.inputs(torch.tensor([7]))[0]  # (L_in, N, F)
    seen = task.scaler.inverse_features(x)[..., columns].flatten().numpy()
    price, first = series["price"].values, start + lookback

    def there(values: np.ndarray) -> np.ndarray:
        return (np.abs(values.reshape(-1, 1) - seen) < 1e-6).any(axis=1)

    assert there(price[first : first + horizon]).all()
    assert not there(price[first + horizon : first + 2 * horizon]).any()


def test_prediction_needs_the_known_future(series):
    task = task_of(series, targets=("demand",), future=("price",))
    fitted = fit_forecaster(task, "linear", TrainingSettings(updates=5))
    coming = series.copy(deep=True)
    coming["demand"][-3:] = np.nan  # not yet observed
    coming["supply"][-3:] = np.nan
    forecast = fitted.predict(coming)
    assert forecast["init_time"].values[0] == series["time"].values[-4]
    assert forecast["valid_time"].values[0, -1] == series["time"].values[-1]
    changed = coming.copy(deep=True)
    changed["price"][-1] += 5
    assert not np.allclose(fitted.predict(changed).values, forecast.values)
    with pytest.raises(InputError, match=r"no run of 7 steps .*for which price is needed"):
        fitted.predict(series.isel(time=slice(0, 6)))


def test_forecasts_of_two_targets_are_a_dataset_in_their_own_units(series, tmp_path):
    task = task_of(series, targets=("supply", "demand"))
    fitted = fit_forecaster(task, "mlp", TrainingSettings(updates=150))
    forecast = fitted.predict(series, init_times="test")
    assert isinstance(forecast, xr.Dataset)
    assert list(forecast.data_vars) == ["supply", "demand"]
    assert forecast["supply"].dims == ("init_time", "horizon", "location")
    assert (forecast["supply"].attrs["units"], forecast["demand"].attrs["units"]) == ("kW", "MW")
    assert abs(float(forecast["supply"].mean()) - 500) < 5
    assert abs(float(forecast["demand"].mean())) < 0.5
    fitted.save(tmp_path / "fitted")
    again = FittedForecaster.load(tmp_path / "fitted").predict(series, init_times="test")
    xr.testing.assert_equal(again, forecast)


def test_quantile_score_by_hand():
    forecast = torch.tensor([[[1.0], [2.0], [5.0]]])  # three quantiles of one target
    score = quantile_score(forecast, torch.tensor([[4.0]]), (0.1, 0.5, 0.9))
    # pinball: .1 * 3, .5 * 2, .1 * 1
    assert score.item() == pytest.approx(2 * (0.3 + 1.0 + 0.1) / 3)
    median = quantile_score(torch.tensor([[[1.0]]]), torch.tensor([[4.0]]), (0.5,))
    assert median.item() == 3.0


def test_quantile_score_of_many_levels_is_the_crps_of_a_normal_distribution():
    levels = torch.arange(0.0005, 1, 0.001, dtype=torch.float64)
    forecast = torch.special.ndtri(levels)[None, :, None]
    y = torch.tensor([[0.7]], dtype=torch.float64)
    normal = torch.distributions.Normal(0.0, 1.0)
    density, below = normal.log_prob(y).exp(), normal.cdf(y)
    exact = y * (2 * below - 1) + 2 * density - 1 / math.sqrt(math.pi)  # Gneiting & Raftery 2007
    score = quantile_score(forecast, y, tuple(levels.tolist()))
    assert score.item() == pytest.approx(exact.item(), rel=2e-3)


def test_quantile_training_finds_the_quantiles(series, tmp_path):
    """Demand cannot be forecast without the price: its quantiles are those of the noise."""
    task = task_of(series, targets=("demand",))
    training = TrainingSettings(
        updates=400, learning_rate=0.02, loss="quantile", quantiles=(0.1, 0.5, 0.9)
    )
    fitted = fit_forecaster(task, "linear", training)
    forecast = fitted.predict(series, init_times="test")
    assert forecast.dims == ("init_time", "quantile", "horizon", "location")
    assert forecast["quantile"].values.tolist() == [0.1, 0.5, 0.9]
    assert (forecast.diff("quantile") >= 0).all()
    truth = series["demand"].sel(time=forecast["valid_time"].isel(horizon=0)[:-3])
    below = (truth.values < forecast.values[:-3, :, 0].swapaxes(0, 1)).mean((1, 2))
    np.testing.assert_allclose(below, [0.1, 0.5, 0.9], atol=0.1)
    assert fitted.record["validation_error"] < 1
    fitted.save(tmp_path / "fitted")
    xr.testing.assert_equal(
        FittedForecaster.load(tmp_path / "fitted").predict(series, init_times="test"), forecast
    )


def test_quantiles_of_two_targets_stay_with_their_target(series):
    task = task_of(series, targets=("supply", "demand"))
    training = TrainingSettings(updates=60, loss="quantile", quantiles=(0.25, 0.75))
    forecast = fit_forecaster(task, "mlp", training).predict(series)
    assert forecast["supply"].sizes["quantile"] == 2
    assert float(forecast["supply"].min()) > 400
    assert float(forecast["demand"].max()) < 100


def test_distilled_sets_of_several_targets(series, tmp_path):
    task = task_of(series, targets=("supply", "demand"), future=("price",), calendar="time_of_day")
    quick = DistillSettings(
        clusters=3,
        labels="observed",
        synthesizer_options={"iterations": 1, "steps": 1},
        judging=TrainingSettings(updates=5),
    )
    tiny = distill(task, quick)
    assert tiny.windows.y.shape[1:] == (6, 3)
    path = tiny.save(tmp_path / "tiny.nc")
    with xr.open_dataset(path) as stored:
        assert stored["y"].dims == ("window", "target", "horizon", "cluster")
        assert stored["target"].values.tolist() == ["supply", "demand"]
        assert float(stored["y"].sel(target="supply").mean()) > 400
    again = DistilledSet.load(path)
    torch.testing.assert_close(again.windows.y, tiny.windows.y, atol=1e-4, rtol=1e-4)
    assert again.windows.n_targets == 2
    fitted = train_on_distilled(again, "mlp", TrainingSettings(updates=5))
    assert list(fitted.predict(series).data_vars) == ["supply", "demand"]
    settings = EvaluationSettings(
        forecasters="linear",
        references=("full", "distilled"),
        seeds=1,
        updates=5,
        quantiles=(0.2, 0.8),
    )
    found = evaluate(again, task, settings)
    rows = found.by_target[found.by_target["method"] == "full"]
    assert rows["target"].tolist() == ["supply", "demand"]
    assert (rows["crps"] < rows["mae"] * 1.2).all()
    one = found.table[found.table["method"] == "persistence"]
    assert one["crps"].item() == pytest.approx(one["mae"].item())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": ("demnad",)}, "unknown variable in targets 'demnad': did you mean 'demand'"),
        ({"future": ("prize",)}, "unknown variable in future 'prize': did you mean 'price'"),
        ({"future": ("price",)}, "price is what is forecast, so it cannot be known"),
        ({"targets": ("demand",), "future": ("demand",)}, "demand cannot be forecast and known"),
        (
            {"targets": ("demand", "demand")},
            r"targets is \('demand', 'demand'\): give each only once",
        ),
    ],
)
def test_wrong_task_settings(series, settings, message):
    with pytest.raises(InputError, match=message):
        task_of(series, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "quantile", "quantiles": (0.5, 0.1)}, "quantiles is .*ascending order"),
        ({"loss": "quantile", "quantiles": (0.0, 0.5)}, "quantiles is .*above 0 and below 1"),
        ({"quantiles": (0.5,)}, "with loss='quantile' only, and the loss is 'mse'"),
        ({"loss": "quantil"}, "unknown loss 'quantil': did you mean 'quantile'"),
    ],
)
def test_wrong_training_settings(settings, message):
    with pytest.raises(InputError, match=message):
        TrainingSettings(**settings)


def test_default_quantiles():
    assert TrainingSettings(loss="quantile").quantiles == (0.1, 0.25, 0.5, 0.75, 0.9)
    assert check_quantiles((0.5,)) == (0.5,)
    assert get_loss("mae")(torch.tensor([1.0]), torch.tensor([3.0])).item() == 2


def test_a_forecaster_of_one_output_says_so(monkeypatch):
    from stemdist.forecast.forecasters.linear import LinearForecaster

    class Old(LinearForecaster):
        def __init__(self, *, lookback: int, horizon: int, n_features: int) -> None:
            super().__init__(lookback=lookback, horizon=horizon, n_features=n_features)

    monkeypatch.setattr("stemdist.forecast.base.FORECASTERS.get", lambda name: Old)
    shape = {"lookback": 2, "horizon": 1, "n_features": 1}
    assert json.dumps(make_forecaster("old", **shape).config)
    with pytest.raises(InputError, match="one number per location and step, not 3"):
        make_forecaster("old", **shape, n_outputs=3)

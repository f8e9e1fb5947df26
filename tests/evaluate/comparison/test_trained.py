"""Measuring forecasters that are trained already."""

from __future__ import annotations

import numpy as np
import pytest

from stemdist.data import canonical_series, simulate
from stemdist.errors import InputError
from stemdist.evaluate import evaluate_trained
from stemdist.forecast import ForecastTask, TaskSettings, TrainingSettings, fit_forecaster


@pytest.fixture(scope="module")
def series():
    return canonical_series(simulate("weather-sim", days=10, n_lat=3, n_lon=4))


@pytest.fixture(scope="module")
def fit(series):
    def make(name="linear", **settings):
        training = settings.pop("training", {})
        task = ForecastTask.from_series(series, TaskSettings(lookback=6, horizon=3, **settings))
        return fit_forecaster(task, name, TrainingSettings(updates=5, **training))

    return make


def test_errors_are_those_of_the_predictions(series, fit):
    fitted = fit("mlp")
    errors = evaluate_trained({"own": fitted}, series)
    forecast = fitted.predict(series, init_times="test")
    forecast = forecast.isel(init_time=slice(None, -3))  # with a whole horizon behind them
    truth = series["t2m"].sel(time=forecast["valid_time"]).transpose("init_time", "horizon", ...)
    wrong = forecast.values.reshape(*truth.shape) - truth.values
    row = errors.table.set_index("forecaster").loc["own"]
    assert row["rmse"] == pytest.approx(np.sqrt((wrong**2).mean()), rel=1e-4)
    assert row["weights"] == sum(p.numel() for p in fitted.forecaster.parameters())
    steps = errors.by_horizon.query("forecaster == 'own'")
    expected = np.abs(wrong).mean((0, 2))
    np.testing.assert_allclose(steps["mae"], expected, rtol=1e-4)


def test_the_table_is_sorted_and_has_what_needs_no_training(series, fit, tmp_path):
    errors = evaluate_trained({"one": fit(), "two": fit("rlinear")}, series, at_most=5)
    assert errors.facts["test_windows"] == 5
    lines = str(errors).splitlines()[3:]
    values = [float(line.split()[-5]) for line in lines]
    assert len(lines) == 7
    assert values == sorted(values)
    np.testing.assert_allclose(values, sorted(errors.table["relative_rmse"]), atol=1e-4)
    assert {path.name for path in errors.write_csv(tmp_path)} == {"table.csv", "by_horizon.csv"}
    assert (tmp_path / "table.csv").read_text().startswith("forecaster,mae,rmse")


def test_quantiles_are_judged_by_their_median(series, fit):
    levels = {"loss": "quantile", "quantiles": (0.1, 0.5, 0.9)}
    row = evaluate_trained({"q": fit(training=levels)}, series).table.iloc[0]
    assert 0 < row["crps"] < row["mae"] * 2


def test_what_cannot_be_compared(series, fit):
    with pytest.raises(InputError, match="there is no forecaster to evaluate"):
        evaluate_trained({}, series)
    with pytest.raises(InputError, match="'a' and 'b' were trained for other inputs"):
        evaluate_trained({"a": fit(), "b": fit(calendar=("time_of_day",))}, series)
    early = series.isel(time=slice(None, 200))
    task = ForecastTask.from_series(early, TaskSettings(lookback=6, horizon=3))
    other = fit_forecaster(task, "linear", TrainingSettings(updates=2))
    with pytest.raises(InputError, match="scales its inputs otherwise"):
        evaluate_trained({"a": fit(), "b": other}, series)

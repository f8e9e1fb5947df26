from __future__ import annotations

import math

import numpy as np
import pytest
import scores
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from stemdist.errors import InputError
from stemdist.evaluate.metrics.errors import ErrorSums, forecast_errors, skill
from stemdist.evaluate.metrics.targets import (
    TargetSummary,
    area_weights,
    known_edges,
    persistence_scale,
)


def example(seed=0, m=20, horizon=3, n=4, level=280.0, missing=0.2):
    random = np.random.default_rng(seed)
    y = level + 5 * random.normal(size=(m, horizon, n))
    forecast = y + random.normal(size=y.shape)
    return forecast, y, (random.random(y.shape) > missing).astype(float)


def test_hand_made_numbers():
    y = np.array([1.0, 2.0, 3.0, 6.0]).reshape(2, 1, 2)  # mean 3, deviations -2 -1 0 3
    forecast = y + np.array([1.0, -1.0, 0.0, 2.0]).reshape(2, 1, 2)
    found = forecast_errors(forecast, y, np.ones_like(y), scale=np.array([0.5, 2.0])).metrics()
    assert found["mae"] == pytest.approx(1.0)
    assert found["rmse"] == pytest.approx(math.sqrt(6 / 4))
    assert found["bias"] == pytest.approx(0.5)
    assert found["mape"] == pytest.approx((1 + 1 / 2 + 0 + 2 / 6) / 4)
    assert found["relative_rmse"] == pytest.approx(math.sqrt(6 / 14))
    assert found["relative_mae"] == pytest.approx(4 / 6)
    # location 0 has errors 1 and 0 (scale .5), location 1 has 1 and 2 (scale 2)
    assert found["mase"] == pytest.approx((1 / 0.5 + 0 + 1 / 2 + 2 / 2) / 4)
    assert found["correlation"] == pytest.approx(np.corrcoef(forecast.ravel(), y.ravel())[0, 1])


def test_agrees_with_scikit_learn_and_scores():
    forecast, y, mask = example()
    found = forecast_errors(forecast, y, mask).metrics()
    guess, target = forecast[mask > 0], y[mask > 0]
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(target, guess))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(target, guess))
    assert found["mape"] == pytest.approx(sk.mean_absolute_percentage_error(target, guess))
    assert found["relative_rmse"] == pytest.approx(math.sqrt(1 - sk.r2_score(target, guess)))
    names = ("window", "horizon", "location")
    gappy = xr.DataArray(np.where(mask > 0, y, np.nan), dims=names)
    forecasts = xr.DataArray(forecast, dims=names)
    assert found["mae"] == pytest.approx(float(scores.continuous.mae(forecasts, gappy)))
    assert found["rmse"] == pytest.approx(float(scores.continuous.rmse(forecasts, gappy)))
    correlation = scores.continuous.correlation.pearsonr(forecasts, gappy)
    assert found["correlation"] == pytest.approx(float(correlation))
    bias = scores.continuous.additive_bias(forecasts, gappy)
    assert found["bias"] == pytest.approx(float(bias))


def test_area_weights_agree_with_scikit_learn():
    forecast, y, _ = example()
    weight = area_weights(np.array([0.0, 30.0, 60.0, 80.0]))
    assert float(weight.mean()) == pytest.approx(1)
    found = forecast_errors(forecast, y, np.ones_like(y), weight=weight).metrics()
    each = np.broadcast_to(weight.numpy(), y.shape).ravel()
    r2 = sk.r2_score(y.ravel(), forecast.ravel(), sample_weight=each)
    assert found["relative_rmse"] == pytest.approx(math.sqrt(1 - r2))
    error = sk.mean_absolute_error(y.ravel(), forecast.ravel(), sample_weight=each)
    assert found["mae"] == pytest.approx(error)


def test_masked_entries_are_ignored_whatever_they_hold():
    forecast, y, mask = example()
    expected = forecast_errors(forecast, y, mask).metrics()
    y[mask == 0], forecast[mask == 0] = np.nan, np.inf
    assert forecast_errors(forecast, y, mask).metrics() == pytest.approx(expected, nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 19), seed=st.integers(0, 5))
def test_streaming_equals_all_at_once(cut, seed):
    forecast, y, mask = example(seed)
    parts = [slice(None, cut), slice(cut, None)]
    summary = TargetSummary.of([(y[p], mask[p]) for p in parts])
    assert summary.mean == pytest.approx(y[mask > 0].mean())
    assert summary.spread == pytest.approx(y[mask > 0].std())
    sums = ErrorSums(summary, horizon=3, n_locations=4)
    for part in parts:
        sums.add(forecast[part], torch.from_numpy(y[part]), mask[part])
    whole = forecast_errors(forecast, y, mask)
    assert sums.metrics() == pytest.approx(whole.metrics(), nan_ok=True)
    np.testing.assert_allclose(sums.by_horizon(), whole.by_horizon())
    np.testing.assert_allclose(sums.by_stratum(), whole.by_stratum())


@settings(max_examples=20, deadline=None)
@given(factor=st.floats(0.01, 100), shift=st.floats(-100, 100))
def test_units_do_not_change_relative_errors(factor, shift):
    forecast, y, mask = example(level=3.0)
    first = forecast_errors(forecast, y, mask).metrics()
    second = forecast_errors(factor * forecast + shift, factor * y + shift, mask).metrics()
    for name in ("relative_rmse", "relative_mae", "correlation"):
        assert second[name] == pytest.approx(first[name])
    assert second["rmse"] == pytest.approx(factor * first["rmse"])


def test_the_mean_forecast_has_relative_error_one():
    _, y, mask = example()
    forecast = np.full_like(y, y[mask > 0].mean())
    found = forecast_errors(forecast, y, mask).metrics()
    assert found["relative_rmse"] == pytest.approx(1)
    assert found["relative_mae"] == pytest.approx(1)


def test_horizon_and_location_tables():
    forecast, y, mask = example()
    errors = forecast_errors(forecast, y, mask)
    steps, places = errors.by_horizon(), errors.by_location()
    assert list(steps.index) == [1, 2, 3]
    assert len(places) == 4
    valid = mask[:, 1] > 0
    assert steps.loc[2, "mae"] == pytest.approx(np.abs(forecast - y)[:, 1][valid].mean())
    valid = mask[..., 3] > 0
    assert places.loc[3, "rmse"] == pytest.approx(
        np.sqrt(np.square(forecast - y)[..., 3][valid].mean())
    )


def test_strata_show_smoothed_extremes():
    y = np.arange(100.0).reshape(100, 1, 1)
    forecast = np.clip(y, 10, 89)
    table = forecast_errors(forecast, y, np.ones_like(y)).by_stratum()
    assert table["count"].tolist() == [5, 20, 25, 25, 20, 5]
    assert table.loc[5, "bias"] == pytest.approx(-8)  # 95..99 become 89
    assert table.loc[0, "bias"] == pytest.approx(8)
    assert table.loc[2:3, "rmse"].tolist() == [0, 0]


def test_strata_of_wind_are_beaufort_forces():
    wind = {"standard_name": "wind_speed", "units": "m s-1"}
    edges = known_edges(xr.DataArray(0.0, name="ff", attrs=wind))
    y = np.array([0.2, 0.3, 5.4, 8.0, 32.7]).reshape(1, 1, 5)  # forces 0, 1, 3, 5 and 12
    summary = TargetSummary.of([(y, np.ones_like(y))], edges=edges)
    sums = ErrorSums(summary, horizon=1, n_locations=5).add(y + 1, y, np.ones_like(y))
    count = sums.by_stratum()["count"]
    assert count[count > 0].index.tolist() == [0, 1, 3, 5, 12]
    assert summary.mean == pytest.approx(y.mean())


@pytest.mark.parametrize(
    ("name", "attrs", "known"),
    [
        ("si10", {"long_name": "10 metre wind speed", "units": "m s**-1"}, True),
        ("wind_speed", {"units": "m/s"}, True),
        ("wind_speed", {"units": "knots"}, False),
        ("wind_speed", {}, False),
        ("u10", {"long_name": "10 metre U wind component", "units": "m s**-1"}, False),
        ("speed", {"long_name": "space-mean speed of traffic", "units": "m s-1"}, False),
    ],
)
def test_whose_strata_have_a_convention(name, attrs, known):
    assert bool(known_edges(xr.DataArray(0.0, name=name, attrs=attrs))) == known


def test_mape_leaves_out_targets_near_zero():
    y = np.array([0.0, 0.001, 10.0, -10.0]).reshape(1, 1, 4)
    found = forecast_errors(y + 1, y, np.ones_like(y)).metrics()
    assert found["mape"] == pytest.approx(0.1)
    all_but_zero = forecast_errors(y + 1, y, np.ones_like(y), near_zero=0.0).metrics()
    assert all_but_zero["mape"] == pytest.approx((1000 + 0.2) / 3)


def test_persistence_scale_is_mase_one_for_persistence():
    series = np.array([[1.0, 5.0], [4.0, 5.0], [2.0, 5.0], [np.nan, 5.0]])
    seen = np.isfinite(series)
    scale = persistence_scale(series, seen)
    assert scale[0] == pytest.approx(2.5)
    assert math.isnan(scale[1])  # it never changes
    assert persistence_scale(series, seen, season_steps=2)[0] == pytest.approx(1.0)
    y = series[1:3, None]
    found = forecast_errors(series[:2, None], y, np.ones_like(y), scale=scale)
    assert found.metrics()["mase"] == pytest.approx(1.0)


def test_location_without_valid_target_is_nan():
    forecast, y, mask = example()
    mask[..., 2] = 0
    errors = forecast_errors(forecast, y, mask)
    assert math.isnan(errors.by_location().loc[2, "rmse"])
    assert math.isfinite(errors.metrics()["rmse"])


def test_messages():
    forecast, y, mask = example()
    with pytest.raises(InputError, match="no target of the evaluated part is observed"):
        forecast_errors(forecast, y, mask * 0)
    with pytest.raises(InputError, match=r"must be \(windows, 3, 4\)"):
        forecast_errors(forecast, y, mask).add(forecast[:, :2], y, mask)
    mask[0, 0, 0], forecast[0, 0, 0] = 1, np.nan
    with pytest.raises(InputError, match=r"1 of \d+ forecasts are NaN or infinite"):
        forecast_errors(forecast, y, mask)
    with pytest.raises(InputError, match=r"weight has shape .* 4 locations"):
        forecast_errors(y, y, mask, weight=np.ones((4, 1)))


def test_quantiles_of_a_long_stream_need_little_memory(monkeypatch):
    monkeypatch.setattr("stemdist.evaluate.metrics.targets.MOST_QUANTILE_VALUES", 1000)
    y = np.random.default_rng(0).permutation(20_000).astype(float).reshape(20, 1000, 1, 1)
    summary = TargetSummary.of([(block, np.ones_like(block)) for block in y], quantiles=(0.5,))
    assert summary.edges[0] == pytest.approx(10_000, rel=0.1)


def test_skill():
    assert skill(0.25, 1.0) == 0.75
    assert skill(2.0, 1.0) == -1
    assert math.isnan(skill(0.0, 0.0))

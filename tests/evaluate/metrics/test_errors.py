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
    assert skill(0.5, 2.0) == 0.75


# --- tables and options by hand ------------------------------------------------------------------


def one_row(*values):
    """(1, 1, N) as an array."""
    return np.array(values, dtype=float).reshape(1, 1, -1)


def test_names_of_the_tables():
    forecast, y, mask = example()
    errors = forecast_errors(forecast, y, mask)
    assert errors.by_horizon().index.name == "horizon"
    assert errors.by_location().index.name == "location"
    table = errors.by_stratum()
    assert table.index.name == "stratum"
    assert list(table.columns) == ["from", "to", "count", "bias", "mae", "rmse"]
    assert table["from"].tolist() == [-math.inf, *errors.summary.edges]
    assert table["to"].tolist() == [*errors.summary.edges, math.inf]
    assert list(errors.metrics()) == list(errors.by_horizon().columns)


def test_strata_by_hand():
    y, weight = one_row(1, 2, 3, 9), np.array([2.0, 0.5, 1.0, 0.5])
    mask = one_row(1, 1, 1, 0)
    summary = TargetSummary.of([(y, mask)], edges=(2.0, 3.5))
    sums = ErrorSums(summary, horizon=1, n_locations=4, weight=weight)
    table = sums.add(y + one_row(1, -2, 4, 5), y, mask).by_stratum()
    # 1 | 2 3: the edge belongs to the higher one; nothing above 3.5
    assert table["count"].tolist() == [2.0, 1.5, 0.0]
    assert table["bias"].tolist()[:2] == pytest.approx([1, (-2 * 0.5 + 4) / 1.5])
    assert table["mae"].tolist()[:2] == pytest.approx([1, (2 * 0.5 + 4) / 1.5])
    assert table["rmse"].tolist()[:2] == pytest.approx([1, math.sqrt((4 * 0.5 + 16) / 1.5)])
    assert table.loc[2, ["bias", "mae", "rmse"]].isna().all()


def test_weights_count_in_every_metric():
    y, weight = one_row(1, 4), np.array([1.5, 0.5])
    found = forecast_errors(
        y + one_row(1, 2), y, np.ones_like(y), weight=weight, scale=np.array([1.0, 4.0])
    ).metrics()
    # the first counts three times: mean 7/4, deviations -3/4 and 9/4
    assert found["mae"] == pytest.approx((3 * 1 + 2) / 4)
    assert found["crps"] == pytest.approx((3 * 1 + 2) / 4)
    assert found["bias"] == pytest.approx((3 * 1 + 2) / 4)
    assert found["rmse"] == pytest.approx(math.sqrt((3 * 1 + 4) / 4))
    assert found["mape"] == pytest.approx((3 * 1 + 2 / 4) / 4)
    assert found["mase"] == pytest.approx((3 * 1 + 2 / 4) / 4)
    assert found["relative_rmse"] == pytest.approx(math.sqrt(7 / (3 * 9 / 16 + 81 / 16)))
    assert found["relative_mae"] == pytest.approx(5 / (3 * 3 / 4 + 9 / 4))


def test_locations_without_a_scale_are_left_out_of_mase():
    y = one_row(1, 4)
    found = forecast_errors(y + 3, y, np.ones_like(y), scale=np.array([2.0, math.nan]))
    assert found.metrics()["mase"] == pytest.approx(1.5)
    assert math.isnan(found.by_location().loc[1, "mase"])
    assert math.isnan(forecast_errors(y + 3, y, np.ones_like(y)).metrics()["mase"])


def test_near_zero_is_a_tenth_of_the_spread_of_the_targets():
    y = np.array([-10.0, 10.0, 1.0, 0.9]).reshape(4, 1, 1)
    summary = TargetSummary(mean=0.0, spread=10.0)
    sums = ErrorSums(summary, horizon=1, n_locations=1).add(y + 1, y, np.ones_like(y))
    # 1.0 is no smaller than a tenth of 10, 0.9 is
    assert sums.metrics()["mape"] == pytest.approx((0.1 + 0.1 + 1) / 3)
    asked = forecast_errors(y + 1, y, np.ones_like(y), near_zero=5.0).metrics()
    assert asked["mape"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("levels", "middle"),
    [
        ((0.1, 0.4, 0.9), 1),
        ((0.45, 0.9), 0),
        ((0.1, 0.2), 1),
        ((0.4, 0.6), 0),
    ],
)
def test_the_level_nearest_to_the_median_is_the_point_forecast(levels, middle):
    y = one_row(10.0)
    forecast = y[:, None] + np.arange(len(levels)).reshape(1, -1, 1, 1)
    found = forecast_errors(forecast, y, np.ones_like(y), quantiles=levels).metrics()
    assert found["bias"] == middle


def test_crps_of_quantiles_by_hand():
    y = one_row(10.0, 20.0, np.nan)
    forecast = np.stack([one_row(8, 24, 0), one_row(11, 26, 0)], 1)
    mask = one_row(1, 1, 0)
    found = forecast_errors(forecast, y, mask, quantiles=(0.25, 0.75)).by_location()["crps"]
    # twice the mean of 0.25 * 2 and 0.25 * 1, of 0.75 * 4 and 0.25 * 6
    assert found[:2].tolist() == pytest.approx([0.75, 4.5])
    assert math.isnan(found[2])


def test_correlation_by_hand():
    y = np.array([1.0, 2.0, 3.0, 9.0]).reshape(4, 1, 1)
    forecast = np.array([2.0, 1.0, 3.0, 9.0]).reshape(4, 1, 1)
    mask = np.array([1.0, 1.0, 1.0, 0.0]).reshape(4, 1, 1)
    # deviations -1 0 1 and 0 -1 1: 1 / 2
    assert forecast_errors(forecast, y, mask).metrics()["correlation"] == pytest.approx(0.5)
    assert forecast_errors(-forecast, y, mask).metrics()["correlation"] == pytest.approx(-0.5)
    constant = forecast_errors(np.ones_like(y), y, mask).metrics()["correlation"]
    assert math.isnan(constant)


def test_correlation_of_each_location_is_about_its_own_mean():
    # deviations -1 0 1 and 0 -1 1; -1 1 0 twice; levels far from the pooled mean
    y = np.array([[1.0, 11.0], [2.0, 13.0], [3.0, 12.0]])[:, None]
    forecast = np.array([[2.0, 20.0], [1.0, 22.0], [3.0, 21.0]])[:, None]
    for unit in (1.0, 1e-3):
        found = forecast_errors(unit * forecast, unit * y, np.ones_like(y)).by_location()
        assert found["correlation"].tolist() == pytest.approx([0.5, 1.0])


def test_means_far_from_zero_keep_their_digits():
    y = 1e8 + np.array([0.0, 1.0, 2.0]).reshape(3, 1, 1)
    forecast = y + np.array([0.0, 1.0, 0.0]).reshape(3, 1, 1)
    found = forecast_errors(forecast, y, np.ones_like(y)).metrics()
    # deviations -1 0 1 of both, and errors 0 1 0: 2 / sqrt(2 * 8 / 3)
    assert found["correlation"] == pytest.approx(2 / math.sqrt(2 * 8 / 3))
    assert found["relative_rmse"] == pytest.approx(math.sqrt(1 / 2))


def test_adding_returns_the_sums_and_checks_names():
    y = one_row(1, 3)
    summary = TargetSummary.of([(y, np.ones_like(y))])
    sums = ErrorSums(summary, horizon=1, n_locations=2)
    assert sums.add(y, y, np.ones_like(y)) is sums
    with pytest.raises(InputError, match=r"shapes \[\(1, 1, 1\), \(1, 1, 2\)\]: all three must"):
        sums.add(y, y, np.ones((1, 1, 1)))
    with pytest.raises(InputError, match="horizon is 0"):
        ErrorSums(summary, horizon=0, n_locations=2)
    with pytest.raises(InputError, match="n_locations is 0"):
        ErrorSums(summary, horizon=1, n_locations=0)
    with pytest.raises(InputError, match="weight has shape"):
        ErrorSums(summary, horizon=1, n_locations=2, weight=np.ones(3))
    with pytest.raises(InputError, match="scale has shape"):
        ErrorSums(summary, horizon=1, n_locations=2, scale=np.ones(3))
    with pytest.raises(
        InputError, match="1 of 2 forecasts are NaN or infinite: the forecaster div"
    ):
        sums.add(one_row(1, math.inf), y, np.ones_like(y))


def test_correlation_by_location_is_about_the_means_of_the_location():
    """Means of single locations differ from that of all targets, about which sums are taken."""
    y = torch.tensor([[[1.0, 11.0]], [[2.0, 12.0]], [[3.0, 15.0]]], dtype=torch.float64)
    forecast = torch.tensor([[[2.0, 10.0]], [[4.0, 9.0]], [[7.0, 5.0]]], dtype=torch.float64)
    mask = torch.ones_like(y)
    sums = ErrorSums(TargetSummary.of([(y, mask)]), horizon=1, n_locations=2)
    sums.add(forecast, y, mask)
    found = sums.by_location()["correlation"].tolist()
    expected = [np.corrcoef(y[:, 0, n], forecast[:, 0, n])[0, 1] for n in range(2)]
    assert found == pytest.approx(expected)

"""Errors of a part of a task, by hand: two targets, two locations, three test windows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from stemdist.data import Scaler, Split
from stemdist.errors import InputError
from stemdist.evaluate.metrics.targets import BEAUFORT
from stemdist.evaluate.metrics.verification import Verification
from stemdist.forecast import ForecastTask, TaskSettings

# Steps 0-17 train, 18-23 validate, 24-29 test. The test windows have targets at steps 26 27,
# 27 28 and 28 29.
WIND = np.zeros((30, 2))
WIND[:18, 0] = np.tile([4.0, 8.0], 9)  # changes by 4
WIND[:18, 1] = 3.0 * np.arange(18)  # by 3, by 6 in two steps
WIND[17, 1] = np.nan
WIND[18:26] = 200.0  # read by no error and no scale: inputs, and the validation part
WIND[26:] = [[11.0, 10.0], [12.0, 10.0], [13.0, 6.0], [10.0, 14.0]]
FLOW = np.zeros((30, 2))
FLOW[:18] = 10.0 * np.arange(18)[:, None] * [1, 2]
FLOW[26:] = [[100.0, 103.0], [100.0, 103.0], [100.0, np.nan], [100.0, 109.0]]


def make_task(**coords) -> ForecastTask:
    series = xr.Dataset(
        {
            "wind_speed": (("time", "location"), WIND, {"units": "m/s"}),
            "flow": (("time", "location"), FLOW, {"units": "1"}),
        },
        {"time": pd.date_range("2020-01-01", periods=30, freq="h"), "location": [0, 1], **coords},
    )
    settings = TaskSettings(
        lookback=2,
        horizon=2,
        targets=("wind_speed", "flow"),
        neighbour_context=False,
        split=Split(train=0.6, validation=0.2, test=0.2),
    )
    return ForecastTask.from_series(
        series, settings, scaler=Scaler(mean=(10.0, 100.0), scale=(2.0, 5.0))
    )


@pytest.fixture(scope="module")
def task() -> ForecastTask:
    return make_task()


def zeros(windows, index):
    """Forecast the mean of each target: 10 m/s and 100."""
    return torch.zeros(len(index), 4, windows.n_locations)


def test_scales_of_mase_are_changes_of_the_training_part_in_physical_units(task):
    wind, flow = Verification.of(task, task.test).scales
    assert wind.tolist() == pytest.approx([4.0, 3.0])
    assert flow.tolist() == pytest.approx([10.0, 20.0])
    wind, flow = Verification.of(task, task.test, season_steps=2).scales
    assert wind[0].isnan()  # the same two steps before, always
    assert wind[1].item() == pytest.approx(6.0)
    assert flow.tolist() == pytest.approx([20.0, 40.0])


def test_what_is_summarised(task):
    verification = Verification.of(task, task.test)
    assert verification.index.tolist() == [0, 1, 2]
    assert verification.weight is None
    assert verification.locations is None
    wind, flow = verification.summaries
    # 11 12 12 13 13 10 and 10 10 10 6 6 14
    assert wind.mean == pytest.approx(127 / 12)
    assert wind.edges == BEAUFORT
    # 6 times 100, and 103 three times, 109 once
    assert flow.mean == pytest.approx(100 + 18 / 10)
    assert flow.edges == pytest.approx((100, 100, 100, 103, 103 + 0.55 * 6))


def test_errors_of_each_target(task):
    wind, flow = (errors.metrics() for errors in Verification.of(task, task.test).errors(zeros))
    # the forecast is 10: errors 1 2 2 3 3 0 and 0 0 0 4 4 4
    assert wind["mae"] == pytest.approx((11 + 12) / 12)
    assert wind["bias"] == pytest.approx(-(11 - 4) / 12)
    assert wind["mase"] == pytest.approx((11 / 4 + 12 / 3) / 12)
    assert wind["rmse"] == pytest.approx(((27 + 48) / 12) ** 0.5)
    # the forecast is 100
    assert flow["mae"] == pytest.approx(18 / 10)
    assert flow["bias"] == pytest.approx(-18 / 10)
    assert flow["mase"] == pytest.approx(18 / 20 / 10)


def test_errors_of_each_step_and_location(task):
    wind, flow = Verification.of(task, task.test).errors(zeros)
    assert wind.by_horizon()["mae"].tolist() == pytest.approx([(6 + 4) / 6, (5 + 8) / 6])
    assert wind.by_location()["mae"].tolist() == pytest.approx([11 / 6, 12 / 6])
    assert flow.by_horizon()["mae"].tolist() == pytest.approx([6 / 5, 12 / 5])
    assert flow.by_location()["mae"].tolist() == pytest.approx([0, 18 / 4])


def test_quantiles_are_put_in_order(task):
    def levels(windows, index):
        """Forecast 12, 10 and 8 m/s of quarters: crossed."""
        rows = torch.zeros(len(index), 3, 4, windows.n_locations)
        rows[:, 0], rows[:, 2] = 1.0, -1.0
        return rows.flatten(1, 2)

    verification = Verification.of(task, task.test)
    wind, flow = verification.errors(levels, quantiles=(0.25, 0.5, 0.75))
    # twice the mean pinball loss of 8 at .25, 10 at .5 and 12 at .75: of y = 10 (four times)
    # .5 0 .5, of 11 .75 .5 .25, of 12 1 1 0, of 13 1.25 1.5 .75, of 14 1.5 2 1.5, of 6 1.5 2 1.5
    total = 4 * 1.0 + 1.5 + 2 * 2.0 + 2 * 3.5 + 5.0 + 2 * 5.0
    assert wind.metrics()["crps"] == pytest.approx(2 / 3 * total / 12)
    assert wind.metrics()["mae"] == pytest.approx(23 / 12)
    assert flow.metrics()["mae"] == pytest.approx(18 / 10)


def test_at_most_so_many_windows(task):
    verification = Verification.of(task, task.test, at_most=2)
    assert verification.index.tolist() == [0, 2]
    # 11 12 13 10 and 10 10 6 14
    assert verification.summaries[0].mean == pytest.approx(86 / 8)
    assert verification.errors(zeros)[0].metrics()["mae"] == pytest.approx((6 + 8) / 8)


def test_some_locations_only(task):
    verification = Verification.of(task, task.test, locations=torch.tensor([1]))
    assert [scale.tolist() for scale in verification.scales] == [
        pytest.approx([3.0]),
        pytest.approx([20.0]),
    ]
    assert verification.summaries[0].mean == pytest.approx(56 / 6)
    wind, flow = (errors.metrics() for errors in verification.errors(zeros))
    assert wind["mae"] == pytest.approx(12 / 6)
    assert flow["mase"] == pytest.approx(18 / 20 / 4)
    values = torch.tensor([[1.0, 2.0]])
    assert verification.measured(values).tolist() == [[2.0]]
    assert Verification.of(task, task.test).measured(values) is values


def test_areas_weigh_targets_and_errors():
    task = make_task(lat=("location", [0.0, 60.0]))
    verification = Verification.of(task, task.test, area_weighted=True)
    assert verification.weight.tolist() == pytest.approx([4 / 3, 2 / 3])
    # sums 71 and 56 of six values each, the first location counts twice
    assert verification.summaries[0].mean == pytest.approx((2 * 71 + 56) / 18)
    assert verification.errors(zeros)[0].metrics()["mae"] == pytest.approx((2 * 11 + 12) / 18)
    second = Verification.of(task, task.test, area_weighted=True, locations=torch.tensor([1]))
    assert second.weight.tolist() == pytest.approx([2 / 3])
    assert Verification.of(task, task.test).weight is None


def test_area_weights_need_a_latitude(task):
    with pytest.raises(InputError, match="area_weighted needs the latitude of every location"):
        Verification.of(task, task.test, area_weighted=True)


def test_blocks_do_not_change_the_errors(task, monkeypatch):
    whole = Verification.of(task, task.test)
    asked = []

    def counted(windows, index):
        asked.append(index.tolist())
        return zeros(windows, index)

    expected = [errors.metrics() for errors in whole.errors(zeros)]
    monkeypatch.setattr("stemdist.forecast.predict.BLOCK_STEPS", 4)  # one window of 2 x 2
    apart = Verification.of(task, task.test)
    assert apart.summaries[0].mean == pytest.approx(whole.summaries[0].mean)
    assert [errors.metrics() for errors in apart.errors(counted)] == [
        pytest.approx(metrics, nan_ok=True) for metrics in expected
    ]
    assert asked == [[0], [1], [2]]

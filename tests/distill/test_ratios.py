"""The three ratios, by hand."""

from __future__ import annotations

import pytest
import torch

from stemdist.data import TensorWindows
from stemdist.distill.inputs import join_inputs, split_inputs
from stemdist.distill.ratios import compression_ratios, stored_bytes
from stemdist.forecast import TaskSettings

# Features: two of the series, sine and cosine of the day, one static.
SETTINGS = TaskSettings(lookback=4, horizon=3, calendar=("time_of_day",), static=("lat",))


@pytest.fixture
def windows() -> TensorWindows:
    """Three windows of 4 + 3 steps over 2 clusters; the calendar is equal at both."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 2, 5, generator=draws)
    x[..., 2:4] = torch.randn(3, 4, 1, 2, generator=draws)
    y = torch.randn(3, 3, 2, generator=draws)
    return TensorWindows(x=x, y=y, mask=torch.ones_like(y), weight=torch.ones(2))


def features_of_clusters(windows, settings):
    return split_inputs(windows.x, settings).own.shape[-1]


def test_features_of_clusters(windows):
    assert features_of_clusters(windows, SETTINGS) == 2
    windows.x[..., 3] += torch.rand(3, 4, 2)  # the last calendar feature
    assert features_of_clusters(windows, SETTINGS) == 4


def test_the_first_calendar_feature_can_be_learned_too(windows):
    windows.x[..., 2] += torch.rand(3, 4, 2)
    assert features_of_clusters(windows, SETTINGS) == 4


def test_features_without_a_calendar(windows):
    plain = TaskSettings(lookback=4, horizon=3)
    assert features_of_clusters(windows, plain) == 5
    assert features_of_clusters(windows, TaskSettings(static=("lat", "lon"))) == 3


def test_bytes(windows):
    # own: 3 * 2 windows of 4 * 2 inputs and 3 targets; shared by the clusters: 3 * 4 times of the
    # 2 calendar features; and a static feature of each of the 2 clusters
    shared = 3 * 4 * 2 + 2
    assert stored_bytes(windows, SETTINGS) == 4 * (3 * 2 * (4 * 2 + 3) + shared)
    assert stored_bytes(windows, SETTINGS, n_numbers=10) == 4 * (10 + shared)
    assert stored_bytes(windows, SETTINGS, n_numbers=0) == 4 * shared


def test_calendars_of_own_times_are_stored_once():
    hours = torch.arange(4).float()
    times = torch.randint(4, (20, 3), generator=torch.Generator().manual_seed(0))
    x = torch.randn(20, 4, 3, 5)
    x[..., 2:4] = (hours[times][:, None, :, None] + torch.arange(4.0)[:, None, None]).expand(
        -1, -1, -1, 2
    )
    stored = split_inputs(x, SETTINGS)
    assert stored.own.shape == (20, 4, 3, 2)
    assert stored.calendar.shape == (4, 4, 2)  # four times of the day
    assert torch.equal(stored.calendar_of, times)
    static = torch.cat([x[..., :4], x[:1, :1, :, 4:].expand(20, 4, -1, -1)], -1)
    assert torch.equal(join_inputs(stored), static)
    assert stored.n_numbers == 20 * 4 * 3 * 2 + 4 * 4 * 2 + 20 * 3 + 3


def test_ratios(windows):
    ratios = compression_ratios(windows, SETTINGS, 30, 8, 4000)
    assert ratios == pytest.approx(
        {
            "window_ratio": 3 / 30 * 2 / 8,
            "training_ratio": 6 / 240,
            "byte_ratio": 4 * (66 + 26) / 4000,
        }
    )
    fewer = compression_ratios(windows, SETTINGS, 30, 8, 4000, n_numbers=10)
    assert fewer["byte_ratio"] == pytest.approx(4 * (10 + 26) / 4000)
    assert fewer["window_ratio"] == ratios["window_ratio"]

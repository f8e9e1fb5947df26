"""The three ratios, by hand."""

from __future__ import annotations

import pytest
import torch

from stemdist.data import TensorWindows
from stemdist.distill.ratios import compression_ratios, features_of_clusters, stored_bytes
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


def test_features_of_clusters(windows):
    assert features_of_clusters(windows, SETTINGS) == 2
    windows.x[2, 3, 1, 3] += 1  # the last calendar feature, at the last time of one cluster
    assert features_of_clusters(windows, SETTINGS) == 4


def test_the_first_calendar_feature_can_be_learned_too(windows):
    windows.x[0, 0, 0, 2] += 1
    assert features_of_clusters(windows, SETTINGS) == 4


def test_features_without_a_calendar(windows):
    plain = TaskSettings(lookback=4, horizon=3)
    assert features_of_clusters(windows, plain) == 5
    assert features_of_clusters(windows, TaskSettings(static=("lat", "lon"))) == 3


def test_bytes(windows):
    # own: 3 * 2 windows of 4 * 2 inputs and 3 targets; shared by the clusters: 3 * 4 times of the
    # 3 other features, and 3 of each of the 2 clusters
    assert stored_bytes(windows, SETTINGS) == 4 * (3 * 2 * (4 * 2 + 3) + (3 * 4 + 2) * 3)
    assert stored_bytes(windows, SETTINGS, n_numbers=10) == 4 * (10 + (3 * 4 + 2) * 3)
    assert stored_bytes(windows, SETTINGS, n_numbers=0) == 4 * (3 * 4 + 2) * 3


def test_ratios(windows):
    ratios = compression_ratios(windows, SETTINGS, 30, 8, 4000)
    assert ratios == pytest.approx(
        {
            "window_ratio": 3 / 30 * 2 / 8,
            "training_ratio": 6 / 240,
            "byte_ratio": 4 * (66 + 42) / 4000,
        }
    )
    fewer = compression_ratios(windows, SETTINGS, 30, 8, 4000, n_numbers=10)
    assert fewer["byte_ratio"] == pytest.approx(4 * (10 + 42) / 4000)
    assert fewer["window_ratio"] == ratios["window_ratio"]

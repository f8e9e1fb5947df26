from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from stemdist.data.windows import materialise
from stemdist.distill import DistillSettings, distill
from stemdist.errors import InputError
from stemdist.evaluate import fidelity, label_robust_score
from stemdist.forecast import ForecastTask, TaskSettings, TrainingSettings

QUICK = {"labels": "observed", "synthesizer": "selection", "judging": TrainingSettings(updates=2)}


@pytest.fixture(scope="module")
def waves():
    """Four locations, 300 hours, nothing missing."""
    random = np.random.default_rng(0)
    phase = np.array([0.0, 0.5, 3.0, 4.0])
    values = 20 + 5 * np.sin(2 * np.pi * np.arange(300)[:, None] / 24 + phase)
    values += random.normal(0, 1.0, values.shape)
    series = xr.Dataset(
        {"t": (("time", "location"), values.astype(np.float32))},
        {"time": pd.date_range("2020-01-01", periods=300, freq="h"), "location": np.arange(4)},
        {"target": "t"},
    )
    return ForecastTask.from_series(series, TaskSettings(lookback=6, horizon=2))


@pytest.fixture(scope="module")
def every_window(waves):
    """All training windows at all locations, as a distilled set."""
    made = distill(waves, DistillSettings(time_ratio=1.0, space_ratio=1.0, **QUICK))
    windows = materialise(waves.train, torch.arange(len(waves.train)), made.medoids)
    return dataclasses.replace(made, windows=windows)


def changed(distilled, change):
    """Change the targets' past and future alike."""
    x = distilled.windows.x.clone()
    x[..., 0] = change(x[..., 0])
    windows = dataclasses.replace(distilled.windows, x=x, y=change(distilled.windows.y))
    return dataclasses.replace(distilled, windows=windows)


def test_real_windows_are_faithful_copies(waves, every_window):
    scores = fidelity(every_window, waves)
    assert scores.pop("coverage") == 1
    assert scores == pytest.approx(dict.fromkeys(scores, 0.0), abs=1e-9)
    assert len(scores) == 5


def test_twice_the_amplitude_is_six_decibels(waves, every_window):
    scores = fidelity(changed(every_window, lambda v: 2 * v), waves)
    assert scores["spectrum_db"] == pytest.approx(20 * math.log10(2), rel=1e-6)
    assert scores["autocorrelation"] == pytest.approx(0, abs=1e-6)
    assert scores["cross_correlation"] == pytest.approx(0, abs=1e-6)
    values = torch.cat([every_window.windows.x[..., 0], every_window.windows.y], dim=1)
    # |2v - v| by quantiles; locations count equally
    assert scores["wasserstein"] == pytest.approx(float(values.abs().mean()), rel=0.02)


def test_a_shift_moves_the_distribution_only(waves, every_window):
    scores = fidelity(changed(every_window, lambda v: v + 0.75), waves)
    assert scores["wasserstein"] == pytest.approx(0.75, rel=1e-5)
    for name in ("spectrum_db", "autocorrelation", "cross_correlation"):
        assert scores[name] == pytest.approx(0, abs=1e-5)


def test_locations_from_different_times_lose_their_correlation_only(waves, every_window):
    generator = torch.Generator().manual_seed(0)
    n, k = every_window.n_windows, every_window.n_clusters
    order = torch.stack([torch.randperm(n, generator=generator) for _ in range(k)], dim=1)

    def shuffled(v):  # (M, steps, K)
        return v.gather(0, order[:, None].expand_as(v))

    scores = fidelity(changed(every_window, shuffled), waves)
    assert scores["cross_correlation"] > 0.3
    for name in ("spectrum_db", "autocorrelation", "wasserstein"):
        assert scores[name] == pytest.approx(0, abs=1e-6)
    assert scores["nearest_window"] > 0.5


def test_noise_has_no_autocorrelation(waves, every_window):
    windows = every_window.windows
    generator = torch.Generator().manual_seed(0)
    x = windows.x.clone()
    x[..., 0] = torch.randn(x.shape[:-1], generator=generator)
    noise = dataclasses.replace(windows, x=x, y=torch.randn(windows.y.shape, generator=generator))
    scores = fidelity(dataclasses.replace(every_window, windows=noise), waves)
    train = waves.train.values[:180, :, 0].double()
    train = train - train.mean(0)
    lags = [
        float(((train[lag:] * train[:-lag]).mean(0) / train.square().mean(0)).mean())
        for lag in range(1, 5)
    ]
    expected = math.sqrt(sum(lag**2 for lag in lags) / len(lags))
    assert scores["autocorrelation"] == pytest.approx(expected, abs=0.08)


def test_one_window_over_and_over_covers_one_group(waves, every_window):
    scores = fidelity(changed(every_window, lambda v: v[:1].expand_as(v)), waves)
    assert scores["coverage"] == pytest.approx(1 / 20)
    assert scores["nearest_window"] == pytest.approx(0, abs=1e-6)


def test_missing_targets_and_a_single_cluster(task, distilled):
    assert all(math.isfinite(value) for value in fidelity(distilled, task).values())
    one = distill(task, DistillSettings(time_ratio=0.2, clusters=1, **QUICK))
    scores = fidelity(one, task)
    assert math.isnan(scores.pop("cross_correlation"))
    assert all(math.isfinite(value) for value in scores.values())


def test_the_set_must_fit(waves, distilled):
    with pytest.raises(InputError, match="does not fit the data: horizon 3 and 2"):
        fidelity(distilled, waves)


def test_label_robust_score():
    assert label_robust_score(0.4, 0.3) == pytest.approx(0.25)
    assert label_robust_score(0.4, 0.5) < 0
    assert math.isnan(label_robust_score(0.0, 0.1))

"""Distilled files tell the truth: no value that the source cannot have, no filled value as data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from stemdist.data import canonical_series
from stemdist.distill import DistilledSet, DistillSettings, distill
from stemdist.distill.clusters import Clusters
from stemdist.distill.source_range import SourceRange, missing_inputs, physical_range
from stemdist.forecast import ForecastTask, TaskSettings

BRIEF = {
    "experts": ("linear",),
    "extra_experts": 0,
    "expert_training": {"updates": 10},
    "judging": {"updates": 5},
    "judge_seeds": 1,
    "time_ratio": 0.1,
    "space_ratio": 0.3,
}

FEW = {"iterations": 1, "steps": 5, "learning_rate": 0.5}


@pytest.fixture(scope="module")
def counts() -> ForecastTask:
    """Hourly counts near 0, one in ten of them missing."""
    rng = np.random.default_rng(0)
    time = pd.date_range("2020-01-06", periods=400, freq="h")
    rate = np.clip(3 * np.sin(2 * np.pi * np.arange(400) / 24) + 1, 0.05, None)
    values = rng.poisson(rate[:, None], (400, 8)).astype(float)
    values[rng.random(values.shape) < 0.1] = np.nan
    raw = xr.Dataset({"n": (("time", "station"), values, {"units": "1"})}, {"time": time})
    settings = TaskSettings(lookback=6, horizon=3, neighbour_context=True)
    return ForecastTask.from_series(canonical_series(raw), settings)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("default", {"synthesizer": "selection"}),
        ("default", {"synthesizer_options": {**FEW, "final_surrogates": (), "closed_form": False}}),
        ("default", {"synthesizer": "selection", "parametrisation": "spectral"}),
        ("default", {"synthesizer": "selection", "representative": "mean"}),
        ("mtt", {"synthesizer_options": {**FEW, "trajectories": 1}}),
        ("condtsf", {"synthesizer_options": {**FEW, "trajectories": 1}}),
    ],
)
def test_counts_are_never_negative_nor_above_the_highest(counts, tmp_path, method, options):
    made = distill(counts, DistillSettings.of(method, **{**BRIEF, **options}))
    stored = xr.load_dataset(made.save(tmp_path / "set.nc"))
    low, high = physical_range(counts)["n"]
    assert low == 0.0
    for part in (stored["x"].sel(feature=["n", "n_neighbours"]), stored["y"]):
        seen = part.values[np.isfinite(part.values)]
        assert seen.min() >= low
        assert seen.max() <= high


def test_statistics_keep_their_moments_and_say_nothing_of_a_range(counts):
    made = distill(counts, DistillSettings.of("moments", **BRIEF | {"judging": {"updates": 30}}))
    assert made.record["range"] == {}
    assert made.to_xarray()["y"].min() < 0  # matched exactly, not cut


def test_missing_inputs_are_missing_in_the_file_and_filled_in_training(counts, tmp_path):
    settings = DistillSettings.of("kmeans", **BRIEF)
    made = distill(counts, settings)
    stored = xr.load_dataset(made.save(tmp_path / "set.nc"))
    gaps = np.isnan(stored["x"].sel(feature="n").values)
    assert 0.05 < gaps.mean() < 0.15
    assert not np.isnan(stored["x"].sel(feature="n_neighbours")).any()
    assert stored.sizes["fill"] == gaps.sum()
    again = DistilledSet.load(tmp_path / "set.nc")
    torch.testing.assert_close(again.windows.x, made.windows.x, rtol=0, atol=1e-6)
    assert torch.equal(again.filled[..., :2], made.filled)
    xr.testing.assert_allclose(again.to_xarray(), made.to_xarray())


def test_missing_inputs_are_those_of_the_source(counts):
    medoids = torch.tensor([1, 5])
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
    chosen = torch.tensor([0, 17])
    raw = np.isnan(counts.series["n"].values)
    one = missing_inputs(
        counts, Clusters(labels=labels, medoids=medoids, representative="medoid"), chosen
    )
    assert one.shape == (2, 6, 2, 2)
    np.testing.assert_array_equal(one[1, :, :, 0], raw[17:23][:, [1, 5]])
    assert not one[..., 1].any()  # neighbour means are made
    mean = missing_inputs(
        counts, Clusters(labels=labels, medoids=medoids, representative="mean"), chosen
    )
    np.testing.assert_array_equal(mean[0, :, 0, 0], raw[:6, :3].all(1))


def test_missing_inputs_of_own_windows_are_those_of_each_cluster(counts):
    clusters = Clusters(labels=torch.arange(8) % 2, medoids=torch.tensor([0, 1]))
    own = missing_inputs(counts, clusters, torch.tensor([[3, 17], [40, 3]]))
    shared = missing_inputs(counts, clusters, torch.tensor([3, 17, 40]))
    assert torch.equal(own[:, :, 0], shared[[0, 2], :, 0])
    assert torch.equal(own[:, :, 1], shared[[1, 0], :, 1])
    assert own.any()


def test_a_range_by_hand():
    within = SourceRange(low=torch.tensor([0.0, -1.0]), high=torch.tensor([1.0, 1.0]), n_targets=2)
    x = torch.tensor([[-3.0, -3.0, -3.0], [3.0, 3.0, 3.0]])  # the third is a calendar feature
    assert within.inputs(x).tolist() == [[0.0, -1.0, -3.0], [1.0, 1.0, 3.0]]
    assert within.inputs(x[:, 1:2], first=1).tolist() == [[-1.0], [1.0]]
    y = torch.full((1, 4, 1), -3.0)  # two steps of each target
    assert within.targets(y).flatten().tolist() == [0.0, 0.0, -1.0, -1.0]


def test_values_that_lost_their_filling_are_refused(counts, tmp_path):
    made = distill(counts, DistillSettings.of("kmeans", **BRIEF)).to_xarray()
    broken = made.drop_vars("x_fill").drop_attrs(deep=False)
    broken = broken.assign_attrs({k: v for k, v in made.attrs.items() if k != "sha256"})
    with pytest.raises(Exception, match="x_fill"):
        DistilledSet.from_xarray(broken)

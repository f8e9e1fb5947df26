"""How long distilling and training will take, from a few small measurements.

Shapes: T steps, N locations, K clusters.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import xarray as xr

from stemdist.data.chunks import merged_chunks, time_edges
from stemdist.data.survey import survey
from stemdist.data.windows import TensorWindows
from stemdist.distill.budget import Plan
from stemdist.distill.settings import DistillSettings
from stemdist.forecast import TaskSettings, TrainingSettings, fit_windows
from stemdist.graph import LocationClustering
from stemdist.graph.edges import make_graph

UPDATES = 20
PLACES = 64
"""Locations with which an update is timed at most."""
ROWS = 2000
LEARNING = {"kernel-ridge": 2.0, "selection": 1.1}
"""Time of everything that learns, in trainings of the experts, by synthesizer."""


def estimated_seconds(series: xr.Dataset, forecast: TaskSettings, plan: Plan) -> dict[str, float]:
    """Return about how long each part of a distillation from a sample takes on this machine.

    A block of the series is read, a few locations are clustered, and experts make a few updates;
    this takes some seconds. Other work on the machine counts.

    Parameters
    ----------
    series : xarray.Dataset
        Canonical series.
    forecast : TaskSettings
        What is forecast from what.
    plan : Plan
        Of the distillation.

    Returns
    -------
    dict of str to float
        Seconds of ``statistics``, ``clusters``, ``sample`` and ``learning``.
    """
    held = forecast.split.boundaries(series.sizes["time"])["validation"][1]
    n_locations = series.sizes["location"]
    n_clusters = plan.settings.clusters or 1
    step = _step_seconds(series, plan.sketch_width)
    n_sample = plan.sample_locations + n_clusters
    return {
        "statistics": held * step,
        "clusters": _clustering_seconds(n_locations, n_clusters, plan.sketch_width),
        "sample": min(held, plan.sample_steps(n_sample)) * step,
        "learning": distilling_seconds(forecast, plan.settings),
    }


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _step_seconds(series: xr.Dataset, width: int) -> float:
    """Read one block for each core, and return the time of a step."""
    first = next(iter(series.data_vars.values())).transpose("time", "location")
    block = int(time_edges(merged_chunks(first))[1])
    cores = os.cpu_count() or 1
    some = series.isel(time=slice(0, 2 * cores * block))
    n_steps = some.sizes["time"]
    return _timed(lambda: survey(some, n_steps, 1, width=width)) / n_steps


def _clustering_seconds(n_locations: int, n_clusters: int, width: int) -> float:
    """Cluster a few rows in the same proportion; k-means takes N times K."""
    rows = min(n_locations, ROWS)
    few = max(1, n_clusters * rows // n_locations)
    sketch = np.random.default_rng(0).standard_normal((rows, width)).astype(np.float32)
    clustering = LocationClustering(few, random_state=0)
    seconds = _timed(lambda: clustering.fit_sketch(sketch, np.ones(rows)))
    return seconds * n_locations * n_clusters / (rows * few)


def can_estimate(settings: DistillSettings) -> bool:
    """Say whether experts determine how long a distillation takes; published methods vary."""
    return settings.labels == "expert" and settings.synthesizer in LEARNING


def distilling_seconds(forecast: TaskSettings, settings: DistillSettings) -> float:
    """Return about how long experts train and windows are learned, for a series held in memory.

    Experts that are in the cache take no time, and the estimate does not know of them.
    """
    training = settings.expert_training
    places = training.locations_per_update or PLACES
    once = sum(_fitting_seconds(family, forecast, training, places) for family in settings.experts)
    each = settings.expert_seeds + settings.extra_experts / max(1, len(settings.experts))
    return LEARNING.get(settings.synthesizer, LEARNING["kernel-ridge"]) * once * each


def training_seconds(forecast: TaskSettings, n_locations: int, family: str = "mlp") -> float:
    """Return about how long one training of a forecaster on the full data takes.

    Parameters
    ----------
    forecast : TaskSettings
        What is forecast from what.
    n_locations : int
        N, all of which an update has.
    family : str
        Registered name of the forecaster.
    """
    return _fitting_seconds(family, forecast, TrainingSettings(), n_locations)


def _fitting_seconds(
    family: str, forecast: TaskSettings, training: TrainingSettings, n_locations: int
) -> float:
    """Return the time of a training, from a few updates on random windows of some locations."""
    places = min(n_locations, PLACES)
    n_features = 2 * forecast.n_targets + 4
    shape = (4 * training.batch_windows, forecast.lookback, places, n_features)
    rows = forecast.horizon * forecast.n_targets
    windows = TensorWindows(
        x=torch.randn(shape),
        y=torch.randn(shape[0], rows, places),
        mask=torch.ones(shape[0], rows, places),
        weight=torch.ones(places),
        targets=forecast.n_targets,
    )
    nowhere = torch.zeros(2, 0, dtype=torch.int64)
    graph = make_graph(edge_index=nowhere, edge_weight=torch.zeros(0), num_nodes=places)
    brief = replace(training, updates=UPDATES)
    seconds = _timed(partial(fit_windows, family, windows, graph, brief))
    return seconds * training.updates / UPDATES * n_locations / places

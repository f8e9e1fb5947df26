"""What is distilled: a whole series in memory, or a sample of one that is larger than memory.

Shapes: T steps, N locations, n locations of the sample, K clusters, M_S synthetic windows.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stemdist.data.checks import report
from stemdist.data.chunks import time_edges, warn_of_chunks
from stemdist.data.opening import opened_with
from stemdist.data.split import PARTS
from stemdist.data.survey import Survey, check_usable, survey
from stemdist.distill.budget import Budget, Plan
from stemdist.distill.clusters import Clusters, cluster_locations
from stemdist.distill.distilled import DistilledSet
from stemdist.distill.settings import DistillSettings
from stemdist.errors import InputError
from stemdist.forecast import ForecastTask, Locations, TaskSettings
from stemdist.forecast.locations import place_index
from stemdist.forecast.sample import (
    Sample,
    draw_runs,
    sampled_task,
    shortest_run,
    surveyed_means,
    surveyed_scaler,
)
from stemdist.forecast.task import part_starts
from stemdist.graph import LocationClustering, build_graph, connectivity
from stemdist.graph.build import chosen_method, usable_locations
from stemdist.profiling import measure

if TYPE_CHECKING:
    from torch_geometric.data import Data

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Material:
    """Real data that are ready to be distilled.

    Attributes
    ----------
    task : ForecastTask
        The whole series, or a sample of its steps and locations.
    settings : DistillSettings
        How it is distilled, with the numbers of windows and clusters that were settled.
    clusters : Clusters
        Of all N locations.
    locations : Locations
        All N locations.
    places : Tensor, optional
        (n,) the locations that the task holds; all of them without it.
    facts : mapping
        For the record: boundaries of the split, training windows, what was read; JSON types.
    variable_ranges : mapping, optional
        Lowest and highest training value of each variable, where they are known.
    seconds : float
        Time of reading, clustering and sampling.
    """

    task: ForecastTask
    settings: DistillSettings
    clusters: Clusters
    locations: Locations
    facts: Mapping[str, Any]
    places: Tensor | None = None
    variable_ranges: Mapping[str, tuple[float, float]] | None = None
    seconds: float = 0.0

    @classmethod
    def of(cls, source: ForecastTask | Material, settings: DistillSettings) -> Material:
        """Return the material of a task, or material as it is."""
        if isinstance(source, Material):
            return source
        _, n_clusters = settings.sizes(len(source.train), source.n_locations)
        how = (settings.clustering, settings.representative, settings.seed)
        return cls(
            task=source,
            settings=settings,
            clusters=cluster_locations(source, n_clusters, *how),
            locations=Locations.of_task(source),
            facts={
                "split_boundaries": source.split_boundaries,
                "training_windows": len(source.train),
                "read": "everything",
            },
        )

    @property
    def held(self) -> Clusters:
        """The clusters, numbered as the locations of the task are."""
        return self.clusters if self.places is None else self.clusters.at(self.places)


def prepare(
    series: xr.Dataset,
    forecast: TaskSettings,
    settings: DistillSettings,
    *,
    memory: int | str | None = None,
    progress: bool | None = False,
) -> ForecastTask | Material:
    """Load a series where it fits into a budget of memory; otherwise stream and sample it.

    Two passes are made by dask where it does not fit: one over the training and validation
    parts, for statistics, checks, and a projection of every location, by which locations are
    clustered; and one over a sample of whole stretches of time at the representatives and other
    random locations, on which experts, judges and window selection work. Nothing of the test
    part is read.

    Parameters
    ----------
    series : xarray.Dataset
        Canonical series, opened lazily.
    forecast : TaskSettings
        What is forecast from what.
    settings : DistillSettings
        How it will be distilled.
    memory : int or str, optional
        Bytes that the process may use in all, or a text such as ``"4GiB"``; by default nine
        tenths of what the machine, the container and the process's limit leave.
    progress : bool, optional
        Show bars; None shows them on a terminal only.

    Returns
    -------
    ForecastTask or Material
        What :func:`~stemdist.distill.distill` takes.

    Raises
    ------
    InputError
        If even a sample cannot be held, or the series cannot be used.

    Examples
    --------
    >>> from stemdist.data import open_series
    >>> from stemdist.forecast import TaskSettings
    >>> series = open_series("weather-sim")
    >>> type(prepare(series, TaskSettings(), DistillSettings())).__name__
    'ForecastTask'
    """
    plan = Plan.of(series, forecast, settings, Budget.of(memory))
    if plan.in_memory:
        return ForecastTask.from_series(series, forecast)
    check_streamable(settings, forecast)
    log.warning("%s", plan)
    with measure() as cost:
        material = sample_material(series, forecast, plan, progress)
    return replace(material, seconds=cost.wall_seconds)


def sample_material(
    series: xr.Dataset, forecast: TaskSettings, plan: Plan, progress: bool | None = False
) -> Material:
    """Stream a series and load the sample that a plan says; see :func:`prepare`."""
    settings = plan.settings
    series = forecast.ordered(series)
    bounds = forecast.split.boundaries(series.sizes["time"])
    for array in series.data_vars.values():
        warn_of_chunks(array.transpose("time", "location"), shortest_run(series, forecast))
    starts = part_starts(series, forecast)
    (_, train), (_, end) = bounds["train"], bounds["validation"]
    surveys = survey(
        series.isel(time=slice(0, end)),
        train,
        forecast.n_targets,
        width=plan.sketch_width,
        seed=settings.seed,
        progress=progress,
    )
    _check(series, surveys)
    series, surveys = _usable(series, surveys, forecast)
    by_correlation = chosen_method(series, forecast.graph) == "correlation"
    sketch = surveys[0].centred_sketch(train) if by_correlation else None
    graph = build_graph(series, forecast.graph, train_steps=train, sketch=sketch)
    clusters = _clusters(surveys, graph, settings)
    sample = _sample(series, forecast, plan, clusters.medoids, ("train", "validation"))
    surveys = [replace(each, sketch=None) for each in surveys]
    task, profile = sampled_task(
        series,
        forecast,
        sample,
        scaler=surveyed_scaler(surveys),
        graph=graph,
        mean_windows=partial(surveyed_means, surveys),
        progress=progress,
    )
    settings = replace(settings, windows=min(settings.windows or 1, len(task.train)))
    ranges = {
        str(name): (each.low, each.high)
        for name, each in zip(series.data_vars, surveys, strict=True)
    }
    return Material(
        task=task,
        settings=settings,
        clusters=clusters,
        locations=Locations.of_series(series, graph, profile),
        places=sample.places,
        variable_ranges=ranges,
        facts={
            "split_boundaries": {part: list(edge) for part, edge in bounds.items()},
            "training_windows": len(starts["train"]),
            "read": _what_was_read(series, sample, end),
        },
    )


def _check(series: xr.Dataset, surveys: list[Survey]) -> None:
    """Refuse what cannot be used or meant, and warn of suspicious values."""
    accepted = opened_with(series).accept
    times, names = series.indexes["time"], series["location"].values
    for name, each in zip(series.data_vars, surveys, strict=True):
        check_usable(str(name), each)
        report(each.summary, str(name), accept=accepted, times=times, names=names)


def _usable(
    series: xr.Dataset, surveys: list[Survey], forecast: TaskSettings
) -> tuple[xr.Dataset, list[Survey]]:
    """Leave out locations without a target in training, or without a place in the graph."""
    seen = np.any([each.count > 0 for each in surveys[: forecast.n_targets]], axis=0)
    placed = usable_locations(series, chosen_method(series, forecast.graph))
    kept = seen & placed if placed.any() else seen
    if kept.all():
        return series, surveys
    log.warning(
        "%d of %d locations have no target in the training part, or no position, and are left out",
        np.count_nonzero(~kept),
        len(kept),
    )
    return series.isel(location=kept), [each.at(kept) for each in surveys]


def _clusters(surveys: list[Survey], graph: Data, settings: DistillSettings) -> Clusters:
    sketch, counts = np.zeros((1, 1), dtype=np.float32), np.ones(1, dtype=np.int64)
    for each in surveys:
        if each.sketch is not None:  # a target
            sketch = sketch + each.sketch / np.float32(each.scale)
            counts = counts + each.count
    clustering = LocationClustering(
        settings.clusters or 1, method=settings.clustering, random_state=settings.seed
    ).fit_sketch(
        sketch,
        counts,
        connectivity=connectivity(graph) if settings.clustering == "ward" else None,
    )
    return Clusters(
        labels=torch.from_numpy(clustering.labels_), medoids=torch.from_numpy(clustering.medoids_)
    )


def _sample(
    series: xr.Dataset,
    forecast: TaskSettings,
    plan: Plan,
    medoids: Tensor,
    parts: tuple[str, ...],
) -> Sample:
    """Draw stretches of time of some parts, and locations beside the representatives."""
    settings = plan.settings
    others = torch.ones(series.sizes["location"], dtype=torch.bool)
    others[medoids] = False
    others = torch.nonzero(others).squeeze(1)
    chance = torch.Generator().manual_seed(settings.seed)
    more = torch.randperm(len(others), generator=chance)[: plan.sample_locations]
    places = torch.cat([medoids, others[more]]).sort().values
    edges = time_edges(next(iter(series.data_vars.values())))
    shortest = shortest_run(series, forecast)
    bounds = forecast.split.boundaries(series.sizes["time"])
    of_all = bounds[parts[-1]][1]
    runs = {
        part: draw_runs(
            edges,
            *bounds[part],
            n_steps=plan.sample_steps(len(places)) * (bounds[part][1] - bounds[part][0]) // of_all,
            shortest=shortest,
            seed=settings.seed,
        )
        for part in parts
    }
    return Sample(runs=runs, places=places)


def sampled_with(
    distilled: DistilledSet,
    series: xr.Dataset,
    *,
    memory: int | str | None = None,
    progress: bool | None = False,
) -> tuple[ForecastTask, DistilledSet]:
    """Load the real data of a distilled set, or a sample of them where they do not fit.

    Parameters
    ----------
    distilled : DistilledSet
        A set whose scaler, graph and profiles are used.
    series : xarray.Dataset
        Canonical series it was made from.
    memory, progress
        As in :func:`prepare`.

    Returns
    -------
    ForecastTask
        Training, validation and test part, of the whole or of the sample.
    DistilledSet
        The set for the locations of the task; its windows are the same.
    """
    forecast, medoids = distilled.settings, distilled.medoids
    size = DistillSettings(windows=1, clusters=len(medoids))
    plan = Plan.of(series, forecast, size, Budget.of(memory))
    if plan.in_memory:
        return ForecastTask.from_series(series, forecast), distilled
    check_streamable(size, forecast)
    index = place_index(distilled.locations.coords, series)
    if index is None:
        raise InputError(
            "the data have other locations than the distilled set: give the data it was made from"
        )
    series = forecast.ordered(series.isel(location=index))
    sample = _sample(series, forecast, plan, medoids, PARTS)
    profile = distilled.locations.profile
    shape = (len(profile), forecast.lookback, -1)
    task, _ = sampled_task(
        series,
        forecast,
        sample,
        scaler=distilled.scaler,
        graph=distilled.locations.graph,
        mean_windows=lambda _: profile.reshape(shape),
        progress=progress,
    )
    log.warning(
        "the data do not fit into memory: a sample of %d of %d locations and %d of %d steps is "
        "used",
        task.n_locations,
        len(distilled.locations),
        len(sample.steps),
        series.sizes["time"],
    )
    return task, distilled.at(sample.places)


def _what_was_read(series: xr.Dataset, sample: Sample, end: int) -> dict[str, Any]:
    """Say in the record what was read how often."""
    steps = {part: sum(r.stop - r.start for r in runs) for part, runs in sample.runs.items()}
    return {
        "statistics_steps": end,
        "statistics_locations": series.sizes["location"],
        "sample_steps": steps,
        "sample_stretches": {part: len(runs) for part, runs in sample.runs.items()},
        "sample_locations": len(sample.places),
    }


def check_streamable(settings: DistillSettings, forecast: TaskSettings) -> None:
    """Refuse what needs the whole series in memory."""
    if forecast.scaling == "location":
        raise InputError(
            "scaling is 'location', which needs the whole series in memory, and it does not fit: "
            "choose scaling='global', or give more memory"
        )
    if settings.representative != "medoid":
        raise InputError(
            f"representative is {settings.representative!r}, which needs the whole series in "
            "memory, and it does not fit: choose representative='medoid', or give more memory"
        )

"""A task that holds a sample of a series that does not fit into memory.

Shapes: T steps, N locations, n locations of the sample, C targets, F features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stemdist.data.calendar import calendar_features
from stemdist.data.gaps import gapless_starts
from stemdist.data.scaling import Scaler
from stemdist.data.survey import Survey, progress_bar
from stemdist.data.time_axis import gap_positions, step_seconds
from stemdist.data.windows import SeriesWindows
from stemdist.errors import InputError
from stemdist.forecast.calendar_choice import (
    calendar_candidates,
    calendar_columns,
    chosen_calendar,
)
from stemdist.forecast.features import InputFeatures, feature_sources, load_centred, room_for
from stemdist.forecast.task import ForecastTask, part_starts
from stemdist.forecast.task_settings import TaskSettings
from stemdist.graph import neighbour_mean, subgraph
from stemdist.graph.subsets import neighbours_of

if TYPE_CHECKING:
    from torch_geometric.data import Data

DAY_SECONDS = 86400.0
AT_ONCE = 4
"""Blocks that are read at the same time."""
BLOCK_VALUES = 2**23
"""Values of a block at the locations that are read."""
SPANS = 4
"""Shortest stretch of the sample, in lengths of a window, so that few are cut at its ends."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Which part of a series a task holds.

    Parameters
    ----------
    runs : mapping of str to sequence of slice
        Stretches of consecutive steps of each part, in order.
    places : Tensor
        (n,) int64, numbers of the locations, ascending.
    """

    runs: Mapping[str, Sequence[slice]]
    places: Tensor

    @property
    def steps(self) -> np.ndarray:
        """Number of each step of the sample in the series."""
        return np.concatenate([np.arange(r.start, r.stop) for _, r in self._all])

    @property
    def bounds(self) -> dict[str, tuple[int, int]]:
        """Range of steps of each part within the sample."""
        found, begin = {}, 0
        for part, runs in self.runs.items():
            end = begin + sum(run.stop - run.start for run in runs)
            found[part] = (begin, end)
            begin = end
        return found

    @property
    def _all(self) -> list[tuple[str, slice]]:
        return [(part, run) for part, runs in self.runs.items() for run in runs]

    def starts(self, settings: TaskSettings, gaps: np.ndarray) -> dict[str, Tensor]:
        """Return the first step, within the sample, of every window of each part."""
        found: dict[str, list[np.ndarray]] = {part: [] for part in self.runs}
        begin, span = 0, settings.lookback + settings.horizon
        for part, run in self._all:
            inside = gapless_starts(run.start, run.stop, span, gaps)
            found[part].append(inside - run.start + begin)
            begin += run.stop - run.start
        return {part: torch.from_numpy(np.concatenate(each)) for part, each in found.items()}


def shortest_run(series: xr.Dataset, settings: TaskSettings) -> int:
    """Return the steps of a stretch: a day, and several windows."""
    day = math.ceil(DAY_SECONDS / step_seconds(series))
    return max(SPANS * (settings.lookback + settings.horizon), day)


def draw_runs(
    edges: np.ndarray, begin: int, end: int, n_steps: int, shortest: int, seed: int
) -> list[slice]:
    """Draw stretches of a part of the time axis: one of each of equal shares of it.

    Parameters
    ----------
    edges : numpy.ndarray
        First steps of the chunks; stretches end where chunks end, unless these are long.
    begin, end : int
        The part.
    n_steps : int
        Steps to draw, roughly; all where it has no more.
    shortest : int
        Steps of a stretch at least.
    seed : int
        Which stretch of each share.

    Returns
    -------
    list of slice
        In order; neighbours are joined.

    Examples
    --------
    >>> draw_runs(np.arange(0, 101, 5), 0, 60, 20, shortest=10, seed=0)
    [slice(20, 30, None), slice(40, 50, None)]
    """
    if n_steps >= end - begin:
        return [slice(begin, end)]
    units = _units(edges, begin, end, shortest, n_steps)
    wanted = max(1, min(len(units), round(n_steps * len(units) / (end - begin))))
    shares = np.linspace(0, len(units), wanted + 1).round().astype(int)
    chance = np.random.default_rng(seed)
    chosen = [units[int(chance.integers(low, high))] for low, high in pairwise(shares)]
    joined = [chosen[0]]
    for unit in chosen[1:]:
        if unit.start == joined[-1].stop:
            joined[-1] = slice(joined[-1].start, unit.stop)
        else:
            joined.append(unit)
    return joined


def _units(edges: np.ndarray, begin: int, end: int, shortest: int, n_steps: int) -> list[slice]:
    """Cut a part into stretches that end where chunks end and are not too short."""
    inside = [int(edge) for edge in edges if begin < edge < end]
    longest = int(np.diff([begin, *inside, end]).max())
    if longest > max(shortest, n_steps // 4):  # whole chunks would be too few stretches
        inside = list(range(begin + shortest, end, shortest))
    cuts = [begin]
    for edge in inside:
        if edge - cuts[-1] >= shortest and end - edge >= shortest:
            cuts.append(edge)
    return [slice(*pair) for pair in zip(cuts, [*cuts[1:], end], strict=True)]


def sampled_task(
    series: xr.Dataset,
    settings: TaskSettings,
    sample: Sample,
    *,
    scaler: Scaler,
    graph: Data,
    mean_windows: Callable[[InputFeatures], Tensor],
    progress: bool | None = False,
) -> tuple[ForecastTask, Tensor]:
    """Load a sample of a series as a task, block by block, by dask.

    Parameters
    ----------
    series : xarray.Dataset
        Canonical series at all N locations that are used.
    settings : TaskSettings
        What is forecast from what.
    sample : Sample
        What is loaded.
    scaler : Scaler
        Of the variables, from the whole training part.
    graph : torch_geometric.data.Data
        Between all N locations; neighbours outside the sample are read for their means.
    mean_windows : callable
        Returns the mean windows (N, L_in, F) of all locations; see :func:`surveyed_means`.
    progress : bool, optional
        Show a bar; None shows it on a terminal only.

    Returns
    -------
    ForecastTask
        Of the sample, scaled by the statistics of the whole training part.
    Tensor
        (N, L_in * F) profile of all locations; see :class:`~stemdist.forecast.Locations`.
    """
    end = settings.split.boundaries(series.sizes["time"])["train"][1]
    candidates = calendar_candidates(series, settings, end)
    features = InputFeatures(series, candidates, scaler, graph)
    features = replace(features, scaler=features.full_scaler())
    starts = sample.starts(settings, gap_positions(series))
    for part, each in starts.items():
        if not len(each):
            raise InputError(
                f"the sample of the {part} part holds no window without a gap: give more memory "
                "with --memory, or choose a shorter --lookback or --horizon"
            )
    values, observed = _loaded(features, sample, progress)
    steps = sample.steps
    whole = SeriesWindows(
        values=values,
        observed=observed,
        calendar=_calendar(series, candidates)[steps],
        static=features.static_features()[sample.places],
        starts=starts["train"],
        lookback=settings.lookback,
        horizon=settings.horizon,
    )
    if candidates != settings:  # the calendar is to be chosen
        settings = chosen_calendar(candidates, whole, replace(whole, starts=starts["validation"]))
        columns = calendar_columns(candidates, settings.calendar)
        whole = replace(whole, calendar=whole.calendar[:, columns])
    parts = InputFeatures(series, settings, scaler, graph)
    mean = mean_windows(parts)
    whole = replace(whole, mean=mean[sample.places])
    task = ForecastTask(
        settings=settings,
        series=series.isel(time=steps, location=sample.places.numpy()),
        graph=subgraph(graph, sample.places),
        scaler=parts.full_scaler(),
        feature_names=parts.names(),
        windows={part: replace(whole, starts=chosen) for part, chosen in starts.items()},
        bounds=sample.bounds,
    )
    return task, mean.flatten(1)


def _calendar(series: xr.Dataset, settings: TaskSettings) -> Tensor:
    return torch.from_numpy(
        calendar_features(series["time"], settings.calendar, settings.calendar_harmonics)
    )


def surveyed_scaler(surveys: Sequence[Survey]) -> Scaler:
    """Return the scaler of the variables that were surveyed."""
    return Scaler(
        mean=tuple(each.mean for each in surveys), scale=tuple(each.scale for each in surveys)
    )


def surveyed_means(surveys: Sequence[Survey], features: InputFeatures) -> Tensor:
    """Return the mean window (N, L_in, F) of every location, from statistics alone.

    A series has the mean of its training part at every lag: the first and last steps of a long
    series count little.
    """
    own, settings = features.own_scaler, features.settings
    columns = [
        (each.location_mean - mean) / scale
        for each, mean, scale in zip(surveys, own.mean, own.scale, strict=True)
    ]
    means = torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))  # (N, V)
    around = neighbour_mean(means[:, : settings.n_targets], features.graph)
    numbers = {name: means[:, [v]] for v, name in enumerate(features.variables)}
    series_part = torch.cat(
        [
            around[:, [place % settings.n_targets]] if lead is None else numbers[name]
            for place, (name, lead) in enumerate(feature_sources(features.variables, settings))
        ],
        dim=1,
    )  # (N, F_series)
    calendar = _calendar(features.series, settings)
    starts = part_starts(features.series, settings)["train"]
    lags = torch.stack([calendar[starts + lag].mean(0) for lag in range(settings.lookback)])
    static = features.static_features()
    shape = (len(series_part), settings.lookback, -1)
    return torch.cat(
        [
            series_part[:, None].expand(shape),
            lags[None].expand(shape),
            static[:, None].expand(shape),
        ],
        dim=-1,
    )


def _loaded(
    features: InputFeatures, sample: Sample, progress: bool | None
) -> tuple[Tensor, Tensor]:
    """Return scaled values (T_s, n, F_series) and which targets were observed (T_s, n, C)."""
    from dask.base import compute
    from dask.delayed import delayed

    needed = torch.cat([sample.places, neighbours_of(features.graph, sample.places)]).sort().values
    at = torch.searchsorted(needed, sample.places)
    series = features.series.isel(location=needed.numpy())
    own = replace(features, series=xr.Dataset(), graph=subgraph(features.graph, needed))
    room = room_for(features.variables, features.settings)
    shape = (len(sample.steps), len(sample.places))
    values = torch.empty(*shape, room.n_features)
    observed = torch.empty(*shape, features.n_targets, dtype=torch.bool)
    blocks = list(_blocks(features, sample, len(needed)))
    read, shared = delayed(_read), delayed((own, at))  # sent once to a worker, not with every job
    with progress_bar("sample", progress):
        for begin in range(0, len(blocks), AT_ONCE):
            now = blocks[begin : begin + AT_ONCE]
            jobs = [
                read(series.isel(time=slice(start, stop)), shared, kept)
                for _, start, stop, kept in now
            ]
            for (place, *_), found in zip(now, compute(*jobs), strict=True):  # type: ignore[no-untyped-call]
                values[place], observed[place] = found
    return values, observed


def _blocks(
    features: InputFeatures, sample: Sample, n_read: int
) -> Iterator[tuple[slice, int, int, slice]]:
    """Cut the sample into blocks: place in the sample, first and last step read, those kept.

    Before a block the steps from which it may be filled are read, and after it those that are
    known ahead of time.
    """
    settings, last = features.settings, features.series.sizes["time"]
    ahead = max(settings.future_leads, default=0)
    length = max(settings.lookback, BLOCK_VALUES // n_read)
    begin = 0
    for runs in sample.runs.values():
        for run in runs:
            for first in range(run.start, run.stop, length):
                stop = min(first + length, run.stop)
                start = max(0, first - settings.lookback)
                kept = slice(first - start, stop - start)
                yield slice(begin, begin + stop - first), start, min(stop + ahead, last), kept
                begin += stop - first


def _read(
    series: xr.Dataset, shared: tuple[InputFeatures, Tensor], kept: slice
) -> tuple[Tensor, Tensor]:
    """Make the features of a block that was read, at some locations and the steps kept."""
    features, at = shared
    here = replace(features, series=series)
    windows = here.windows(load_centred(series, room_for(here.variables, here.settings)))
    return windows.values[kept][:, at], windows.observed[kept][:, at]

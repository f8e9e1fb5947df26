"""A forecasting task: one series, its graph, its scaler and its windows.

Shapes: T steps, N locations, F features.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from torch import Tensor

from stemdist.data.checks import check_values
from stemdist.data.chunks import time_blocks
from stemdist.data.gaps import window_starts
from stemdist.data.opening import opened_with
from stemdist.data.scaling import Scaler
from stemdist.data.split import PARTS
from stemdist.data.time_axis import gap_positions
from stemdist.data.windows import SeriesWindows
from stemdist.errors import InputError
from stemdist.forecast.calendar_choice import (
    calendar_candidates,
    calendar_columns,
    chosen_calendar,
)
from stemdist.forecast.features import (
    LOAD_BLOCK,
    InputFeatures,
    bytes_of_value,
    feature_sources,
    load_centred,
    measured_scaler,
    room_for,
)
from stemdist.forecast.reopening import Reopening
from stemdist.forecast.task_options import settings_for
from stemdist.forecast.task_settings import TaskSettings
from stemdist.graph import build_graph, subgraph
from stemdist.graph.build import chosen_method, usable_locations
from stemdist.graph.neighbours import edge_weights
from stemdist.memory import available_bytes

if TYPE_CHECKING:
    from torch_geometric.data import Data

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ForecastTask:
    """A series made ready for training and evaluation; build it with :meth:`from_series`.

    Attributes
    ----------
    settings : TaskSettings
        What is forecast from what.
    series : xarray.Dataset
        The canonical series at the locations kept: those with a target value in training.
    graph : torch_geometric.data.Data
        Graph between the N locations.
    scaler : Scaler
        One mean and scale per input feature (F), from the training part; with
        ``scaling="location"`` of each location.
    feature_names : tuple of str
        The F input features in order; the targets come first.
    windows : dict of str to SeriesWindows
        Windows of ``train``, ``validation`` and ``test``, sharing one scaled series.
    bounds : mapping, optional
        Range of steps of each part, where the task holds a sample of a series (see
        :func:`~stemdist.forecast.sample.sampled_task`); otherwise the split's.
    reopening : Reopening, optional
        What is sent to other processes in its place; see :meth:`by_reference`.
    """

    settings: TaskSettings
    series: xr.Dataset
    graph: Data
    scaler: Scaler
    feature_names: tuple[str, ...]
    windows: dict[str, SeriesWindows]
    bounds: Mapping[str, tuple[int, int]] | None = None
    reopening: Reopening | None = None

    def __getstate__(self) -> dict[str, Any]:
        if self.reopening is None:
            return self.__dict__
        return {"reopening": self.reopening}

    def __getattr__(self, name: str) -> Any:
        """Make the task in another process, when it is first used."""
        reopening = self.__dict__.get("reopening")
        if reopening is None or "windows" in self.__dict__ or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        self.__dict__.update(reopening.task().__dict__)
        return getattr(self, name)

    def by_reference(self, opener: Callable[[], xr.Dataset]) -> ForecastTask:
        """Return a task that other processes make again from its data, instead of getting them.

        Jobs of a cluster are then small. The task must be that of all of the series.

        Parameters
        ----------
        opener : callable
            Opens the series from a path or address that every process can read; it is pickled,
            e.g. ``functools.partial(open_series, "/data/era5.zarr", variables=["t2m"])``.
        """
        return self.with_reopening(
            Reopening(
                opener=opener,
                maker=ForecastTask.from_series,
                settings=self.settings,
                scaler=self.full_series_scaler,
                content_hash=self.content_hash,
            )
        )

    def at(self, places: Tensor) -> ForecastTask:
        """Return the task of chosen locations (n,), ascending, with means over all neighbours."""
        whole = self.train
        part = replace(
            whole,
            values=whole.values[:, places],
            observed=whole.observed[:, places],
            static=whole.static[places],
            mean=None if whole.mean is None else whole.mean[places],
            again=None,
        )
        return replace(
            self,
            series=self.series.isel(location=places.numpy()),
            graph=subgraph(self.graph, places),
            windows={n: replace(part, starts=own.starts) for n, own in self.windows.items()},
            bounds=self.split_boundaries,
            reopening=None,
        )

    def with_reopening(self, reopening: Reopening) -> ForecastTask:
        """Return the task with what is sent to other processes in its place."""
        windows = {
            part: replace(each, again=reopening.windows) for part, each in self.windows.items()
        }
        return replace(self, windows=windows, reopening=reopening)

    @property
    def full_series_scaler(self) -> Scaler:
        """The scaler of the variables of the series alone, in their order."""
        return InputFeatures(self.series, self.settings, self.scaler, self.graph).own_scaler

    @classmethod
    def from_series(
        cls,
        series: xr.Dataset,
        settings: TaskSettings | None = None,
        *,
        scaler: Scaler | None = None,
    ) -> ForecastTask:
        """Load, scale and window a canonical series.

        Parameters
        ----------
        series : xarray.Dataset
            Canonical (time, location) series; without ``settings.targets`` its first variable
            is the target.
        settings : TaskSettings, optional
            Without it those of the series' recipe, or defaults.
        scaler : Scaler, optional
            Of all input features, as a forecaster trained before has it; by default it is
            measured on the training part.

        Raises
        ------
        InputError
            If the series is too short, constant or never observed; see the parts' own pages.

        Examples
        --------
        >>> from stemdist.data import open_series
        >>> task = ForecastTask.from_series(open_series("weather-sim"))
        >>> task.feature_names[:3], len(task.train)
        (('t2m', 't2m_neighbours', 'time_of_day_sin'), 841)
        """
        settings = settings or settings_for(series)
        series = settings.ordered(series)
        bounds = settings.split.boundaries(series.sizes["time"])
        starts = part_starts(series, settings)
        end = bounds["train"][1]
        names = tuple(map(str, series.data_vars))
        _check_memory(series, settings)
        loaded = load_centred(series, room_for(names, settings))
        variables, centre = loaded.variables(), loaded.centre
        _look_at(variables, centre, series)
        kept = _ever_seen(variables[: settings.n_targets], end)
        if scaler is None:
            training = [variable[:end] for variable in variables]
            scaler = measured_scaler(training, names, centre, settings)
        if not kept.all():
            lost = f"{np.count_nonzero(~kept)} of {len(kept)} locations"
            log.warning("%s have no target in the training part and are left out", lost)
            series, loaded, scaler = series.isel(location=kept), loaded.at(kept), scaler.at(kept)
        placed = usable_locations(series, chosen_method(series, settings.graph))
        if placed.any() and not placed.all():
            lost = f"{np.count_nonzero(~placed)} of {len(placed)} locations"
            log.warning(
                "%s have no position and are left out (--graph correlation keeps them)", lost
            )
            series, loaded = series.isel(location=placed), loaded.at(placed)
            scaler = scaler.at(placed)
        graph = build_graph(series, settings.graph, train_steps=end)
        candidates = calendar_candidates(series, settings, end)
        whole = InputFeatures(series, candidates, scaler, graph).windows(loaded)
        if candidates != settings:  # the calendar is to be chosen
            first = {part: replace(whole, starts=chosen) for part, chosen in starts.items()}
            settings = chosen_calendar(candidates, first["train"], first.get("validation"))
            columns = calendar_columns(candidates, settings.calendar)
            whole = replace(whole, calendar=whole.calendar[:, columns])
        parts = InputFeatures(series, settings, scaler, graph)
        windows = {part: replace(whole, starts=chosen) for part, chosen in starts.items()}
        return cls(
            settings=settings,
            series=series,
            graph=graph,
            scaler=parts.full_scaler(),
            feature_names=parts.names(),
            windows=windows,
        )

    @property
    def train(self) -> SeriesWindows:
        """Windows of the training part."""
        return self.windows["train"]

    @property
    def validation(self) -> SeriesWindows:
        """Windows of the validation part; the only data that selection may use."""
        return self._part("validation")

    @property
    def test(self) -> SeriesWindows:
        """Windows of the test part; read once, at the end."""
        return self._part("test")

    def _part(self, part: str) -> SeriesWindows:
        if part not in self.windows:
            raise InputError(
                f"the split gives the {part} part no time steps: {self.settings.split}. "
                "Give it a share above 0 with --split"
            )
        return self.windows[part]

    @property
    def split_boundaries(self) -> dict[str, tuple[int, int]]:
        """Half-open range of time steps of each part of the split."""
        if self.bounds is not None:
            return dict(self.bounds)
        return self.settings.split.boundaries(len(self.train.values))

    @property
    def n_locations(self) -> int:
        """Number of locations N."""
        return int(self.series.sizes["location"])

    @property
    def n_series_features(self) -> int:
        """Number of features that vary in time and space; the calendar and static ones follow."""
        return int(self.train.values.shape[-1])

    @property
    def feature_sources(self) -> list[tuple[str, int | None]]:
        """Variable and lead of each series feature; a mean over neighbours has lead None."""
        return feature_sources(tuple(map(str, self.series.data_vars)), self.settings)

    @property
    def units(self) -> str:
        """Unit of the first target, ``"1"`` where the source does not say."""
        return str(self.series[self.target_name].attrs.get("units", "1"))

    @property
    def target_name(self) -> str:
        """Name of the first variable that is forecast."""
        return self.feature_names[0]

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the C variables that are forecast."""
        return self.feature_names[: self.settings.n_targets]

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over windows, graph and settings: equal tasks give equal results."""
        digest = hashlib.sha256(repr((self.settings, self.scaler)).encode())
        whole = self.train
        starts = (windows.starts for windows in self.windows.values())
        places = [self.graph.edge_index, edge_weights(self.graph)]
        if "cell" in self.graph:
            places.append(self.graph.cell)
        inputs = (whole.values, whole.observed, whole.calendar, whole.static)
        for tensor in (*inputs, *places, *starts):
            digest.update(np.ascontiguousarray(tensor.numpy()).data)
        return digest.hexdigest()


def _check_memory(series: xr.Dataset, settings: TaskSettings) -> None:
    """Refuse, before anything is read, a series that does not fit into the memory that is free."""
    n_steps, n_locations = series.sizes["time"], series.sizes["location"]
    each = bytes_of_value(tuple(map(str, series.data_vars)), settings)
    needed, free = n_steps * n_locations * each, available_bytes()
    if needed > free:
        raise InputError(
            f"{n_steps} steps at {n_locations} locations need {needed / 2**30:.1f} GiB of memory, "
            f"and {free / 2**30:.1f} GiB are free: take fewer locations, a shorter period or fewer "
            "variables"
        )


def _ever_seen(variables: Sequence[np.ndarray], end: int) -> np.ndarray:
    """Return which locations (N,) have a value of any variable in the first ``end`` steps."""
    seen = np.zeros(variables[0].shape[1], dtype=bool)
    for variable in variables:
        for block in time_blocks(end, len(seen), LOAD_BLOCK):
            seen |= np.isfinite(variable[block]).any(axis=0)
    return seen


def _look_at(
    variables: Sequence[np.ndarray], centre: tuple[float, ...], series: xr.Dataset
) -> None:
    """Warn of suspicious values, and refuse those that cannot be meant."""
    accepted = opened_with(series).accept
    times, places = series.indexes["time"], series["location"].values
    for feature, name in enumerate(map(str, series.data_vars)):
        moved = centre[feature]
        check_values(
            variables[feature], name, accept=accepted, times=times, names=places, centre=moved
        )


def part_starts(series: xr.Dataset, settings: TaskSettings) -> dict[str, Tensor]:
    """Return the first step of every window of each part of the split.

    Raises
    ------
    InputError
        If a part that has steps has no window.
    """
    bounds = settings.split.boundaries(series.sizes["time"])
    gaps = gap_positions(series)
    return {
        part: window_starts(
            max(0, bounds[part][0] - settings.reach),
            bounds[part][1],
            settings.lookback,
            settings.horizon,
            gaps,
            part,
        )
        for part in PARTS
        if part == "train" or getattr(settings.split, part) > 0
    }

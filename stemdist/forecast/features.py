"""The input features of a task, from a series to scaled windows.

This is the one place where xarray becomes tensors.
Shapes: T steps, N locations, C targets, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stemdist.data.calendar import calendar_features
from stemdist.data.chunks import time_blocks, time_edges
from stemdist.data.gaps import fill_in_place
from stemdist.data.scaling import Entry, Scaler
from stemdist.data.windows import SeriesWindows
from stemdist.errors import InputError, unknown_name
from stemdist.forecast.task_settings import TaskSettings
from stemdist.graph import neighbour_operator

if TYPE_CHECKING:
    from torch_geometric.data import Data

LOAD_BLOCK = 2**23
"""Values that are loaded together."""
_COPIES = 8
"""Arrays of the size of a block that means over neighbours need."""


class Centred(NamedTuple):
    """Values of variables minus ``centre``, one number per variable that is often 0.

    Parameters
    ----------
    values : numpy.ndarray
        (T, N, F) float32 with room for all features that vary in time and space, so that these
        are made where they are.
    columns : tuple of int
        Which of the F features hold the variables; the others are not set yet.
    centre : tuple of float
        What was subtracted from each variable.
    """

    values: np.ndarray
    columns: tuple[int, ...]
    centre: tuple[float, ...]

    @classmethod
    def of(cls, variables: np.ndarray, centre: tuple[float, ...], room: Room) -> Centred:
        """Copy variables (T, N, V) to where there is room for all features."""
        values = np.empty((*variables.shape[:2], room.n_features), dtype=np.float32)
        values[..., list(room.columns)] = variables
        return cls(values, room.columns, centre)

    def variables(self) -> list[np.ndarray]:
        """Return a view (T, N) of each variable."""
        return [self.values[..., column] for column in self.columns]

    def at(self, locations: np.ndarray) -> Centred:
        """Return the values at chosen locations only."""
        return self._replace(values=self.values[:, locations])

    def physical(self) -> np.ndarray:
        """Return the variables (T, N, V) in physical units, float32."""
        if not any(self.centre):
            return self.values
        return np.asarray(self.values + np.asarray(self.centre), dtype=np.float32)


class Room(NamedTuple):
    """How many features there will be, and which of them are variables of the series."""

    n_features: int
    columns: tuple[int, ...]


def load_values(series: xr.Dataset) -> np.ndarray:
    """Load every variable as one (T, N, V) float32 array in physical units, in blocks of time.

    Missing entries are NaN. Only one block is held beside the result.
    """
    return load_centred(series).physical()


def load_centred(series: xr.Dataset, room: Room | None = None) -> Centred:
    """Load every variable as float32, in blocks of time, with room for features made of them.

    A variable whose values lie so far from 0 that single precision would lose part of their
    spread, such as a pressure of 10,000,000 that varies by 10, is centred in double precision
    by the mean of its first block.
    """
    names = list(series.data_vars)
    room = room or Room(len(names), tuple(range(len(names))))
    centre = tuple(_far_centre(series[name]) for name in names)
    n_steps, n_locations = series.sizes["time"], series.sizes["location"]
    values = np.empty((n_steps, n_locations, room.n_features), dtype=np.float32)
    for name, column, moved in zip(names, room.columns, centre, strict=True):
        for block in _read_blocks(series[name]):
            values[block, :, column] = series[name].isel(time=block).values - moved
    return Centred(values, room.columns, centre)


def _read_blocks(array: xr.DataArray) -> Iterator[slice]:
    """Cut the time axis where the chunks of an array end, so that none is read twice."""
    array = array.transpose("time", "location")
    if array.chunks is None:
        n_steps, n_locations = array.shape
        yield from time_blocks(n_steps, n_locations, LOAD_BLOCK)
        return
    yield from (slice(*pair) for pair in pairwise(time_edges(array).tolist()))


def _far_centre(array: xr.DataArray) -> float:
    """Return the mean of the first values if they lie 1,000 spreads away from 0, else 0."""
    block = next(time_blocks(array.sizes["time"], array.sizes["location"], LOAD_BLOCK))
    if array.dtype != np.float64:
        return 0.0
    first = array.isel(time=block).values
    seen = first[np.isfinite(first)]
    if not seen.size or abs(seen.mean()) < 1000 * seen.std():
        return 0.0
    return float(seen.mean())


def feature_sources(
    variables: Sequence[str], settings: TaskSettings
) -> list[tuple[str, int | None]]:
    """Return the variable of each feature that varies in time and space, in their order.

    Beside it stands how many steps ahead it is read, or None for a mean over neighbours.
    """
    n = settings.n_targets
    context = variables[:n] if settings.neighbour_context else ()
    return [
        *((name, 0) for name in variables[:n]),
        *((name, None) for name in context),
        *((name, 0) for name in variables[n:]),
        *((name, lead) for lead in settings.future_leads for name in settings.future),
    ]


def room_for(variables: Sequence[str], settings: TaskSettings) -> Room:
    """Return how many features vary in time and space, and which hold the variables."""
    n = settings.n_targets
    others = n * (1 + int(settings.neighbour_context))
    columns = (*range(n), *range(others, others + len(variables) - n))
    return Room(len(feature_sources(variables, settings)), columns)


def bytes_of_value(variables: Sequence[str], settings: TaskSettings) -> int:
    """Return the memory of one step at one location: float32 features and the mask of targets."""
    return 4 * room_for(variables, settings).n_features + settings.n_targets


def measured_scaler(
    training: Sequence[np.ndarray],
    names: tuple[str, ...],
    centre: tuple[float, ...],
    settings: TaskSettings,
) -> Scaler:
    """Return the scaler of the variables of a series, from its training part.

    Parameters
    ----------
    training : sequence of numpy.ndarray
        (T, N) of each variable, less ``centre``.
    names : tuple of str
        Their names, for errors.
    centre : tuple of float
        See :class:`Centred`.
    settings : TaskSettings
        Says whether locations are scaled together or each by itself.
    """
    scaler = Scaler.fit(training, names, centre)
    if settings.scaling == "location":
        scaler = scaler.per_location(training)
    return scaler.moved([-each for each in centre])


def own_scaler(training: xr.Dataset, settings: TaskSettings) -> Scaler:
    """Return the scaler of the variables of a series from its training part, which is loaded."""
    loaded, names = load_centred(training), tuple(map(str, training.data_vars))
    return measured_scaler(loaded.variables(), names, loaded.centre, settings)


def input_windows(
    series: xr.Dataset, settings: TaskSettings, scaler: Scaler, graph: Data, starts: Tensor
) -> SeriesWindows:
    """Prepare new data for a forecaster already trained.

    Parameters
    ----------
    series : xarray.Dataset
        Canonical series with the variables the forecaster was trained on.
    settings, scaler, graph
        Those of the forecaster; ``scaler`` has one entry per input feature.
    starts : Tensor
        (M,) first input step of each window; the horizon may lie beyond the series.
    """
    features = InputFeatures(series, settings, scaler, graph)
    return replace(
        features.windows(load_centred(series, room_for(features.variables, settings))),
        starts=starts,
    )


@dataclass(frozen=True)
class InputFeatures:
    """The input features of a forecaster, made from the variables of a series.

    In order: targets, their neighbour means, other variables, known future variables ahead of
    time, calendar, static features.

    Parameters
    ----------
    series : xarray.Dataset
        Canonical series whose first C variables are the targets.
    settings : TaskSettings
        Which features there are.
    scaler : Scaler
        Of the variables of the series, or of all input features.
    graph : torch_geometric.data.Data
        Whose neighbours are averaged.
    """

    series: xr.Dataset
    settings: TaskSettings
    scaler: Scaler
    graph: Data

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables of the series."""
        return tuple(map(str, self.series.data_vars))

    @property
    def n_targets(self) -> int:
        """Number of targets C."""
        return self.settings.n_targets

    @property
    def _leads(self) -> list[tuple[int, int]]:
        """(variable, steps ahead) of every known future feature."""
        known = [self.variables.index(name) for name in self.settings.future]
        return [(v, lead) for lead in self.settings.future_leads for v in known]

    def names(self) -> tuple[str, ...]:
        """Return the names of the F features."""
        targets, others = self.variables[: self.n_targets], self.variables[self.n_targets :]
        context = [f"{name}_neighbours" for name in targets if self.settings.neighbour_context]
        ahead = [f"{self.variables[v]}_ahead_{lead}" for v, lead in self._leads]
        calendar, static = self.settings.calendar_names, self.settings.static
        return (*targets, *context, *others, *ahead, *calendar, *static)

    def full_scaler(self) -> Scaler:
        """Return one entry per feature; calendar waves are already on a common scale."""
        n_waves = len(self.settings.calendar_names)
        static = self._static_scaler(self._static_values())

        def extend(
            entry: tuple[Entry, ...], neutral: float, last: tuple[Entry, ...]
        ) -> tuple[Entry, ...]:
            targets, others = entry[: self.n_targets], entry[self.n_targets :]
            context = targets if self.settings.neighbour_context else ()
            ahead = [entry[v] for v, _ in self._leads]
            return (*targets, *context, *others, *ahead, *[neutral] * n_waves, *last)

        own = self.own_scaler
        return Scaler(
            mean=extend(own.mean, 0.0, static.mean),
            scale=extend(own.scale, 1.0, static.scale),
        )

    @property
    def own_scaler(self) -> Scaler:
        """The scaler of the variables alone, whichever of the two forms was given."""
        if len(self.scaler.mean) == len(self.variables):
            return self.scaler
        others = self.n_targets * (1 + int(self.settings.neighbour_context))
        keep = [*range(self.n_targets), *range(others, len(self.scaler.mean))]
        keep = keep[: len(self.variables)]
        return Scaler(
            mean=tuple(self.scaler.mean[i] for i in keep),
            scale=tuple(self.scaler.scale[i] for i in keep),
        )

    def windows(self, loaded: Centred) -> SeriesWindows:
        """Turn loaded values into scaled windows, in place; no start is chosen yet."""
        values, targets = loaded.values, slice(0, self.n_targets)
        own = self.own_scaler.moved(loaded.centre)
        for variable, mean, scale in zip(loaded.variables(), own.mean, own.scale, strict=True):
            for block in time_blocks(len(variable), variable.shape[1], LOAD_BLOCK):
                variable[block] -= np.asarray(mean, dtype=np.float32)
                variable[block] /= np.asarray(scale, dtype=np.float32)
        observed = np.isfinite(values[..., targets])
        if self.settings.neighbour_context:
            made = values[..., self.n_targets : 2 * self.n_targets]
            self._add_context(values[..., targets], observed, made)
            fill_in_place(made, self.settings.lookback)
        for variable in loaded.variables():
            fill_in_place(variable, self.settings.lookback)
        first = values.shape[-1] - len(self._leads)
        for place, (v, lead) in enumerate(self._leads, start=first):
            values[..., place] = _ahead(values[..., loaded.columns[v]], lead)
        calendar = calendar_features(
            self.series["time"], self.settings.calendar, self.settings.calendar_harmonics
        )
        return SeriesWindows(
            values=torch.from_numpy(values),
            observed=torch.from_numpy(observed),
            calendar=torch.from_numpy(calendar),
            static=self.static_features(),
            starts=torch.empty(0, dtype=torch.int64),
            lookback=self.settings.lookback,
            horizon=self.settings.horizon,
        )

    def _add_context(self, targets: np.ndarray, observed: np.ndarray, made: np.ndarray) -> None:
        """Set the mean over observed neighbours (T, N, C); NaN where none is observed."""
        operator = neighbour_operator(self.graph)
        n_steps, n_locations, n_targets = targets.shape
        for block in time_blocks(n_steps, _COPIES * n_locations * n_targets, LOAD_BLOCK):
            seen = _columns(observed[block].astype(np.float32))  # (N, t C)
            present = _columns(np.where(observed[block], targets[block], np.float32(0)))
            share = torch.sparse.mm(operator, seen)
            mean = torch.sparse.mm(operator, present) / share.clamp_min(1e-12)
            mean[share < 1e-6] = float("nan")
            made[block] = mean.view(n_locations, -1, n_targets).transpose(0, 1).numpy()

    def static_features(self) -> Tensor:
        """Return the static features (N, S), scaled, 0 where missing."""
        values = self._static_values()
        scaled = self._static_scaler(values).transform(values)
        return torch.from_numpy(np.where(np.isfinite(scaled), scaled, np.float32(0)))

    def _static_scaler(self, values: np.ndarray) -> Scaler:
        """Mean and scale of the static features: those of training, where they are known."""
        count = values.shape[1]
        if len(self.scaler.mean) > len(self.variables):
            first = len(self.scaler.mean) - count
            return Scaler(mean=self.scaler.mean[first:], scale=self.scaler.scale[first:])
        columns = [column[np.isfinite(column)].astype(np.float64) for column in values.T]
        spread = [float(column.std()) for column in columns]
        return Scaler(
            mean=tuple(float(column.mean()) for column in columns),
            scale=tuple(s if s > 1e-6 else 1.0 for s in spread),
        )

    def _static_values(self) -> np.ndarray:
        """Return the static features (N, S) in physical units, NaN where missing."""
        columns = []
        for name in self.settings.static:
            if name not in self.series.coords:
                known = [str(c) for c in self.series.coords if c not in ("time", "location")]
                raise unknown_name("static feature", name, known)
            column = self.series[name]
            if column.dims != ("location",) or column.dtype.kind not in "fiu":
                raise InputError(
                    f"static feature {name!r} has dims {column.dims} and type {column.dtype}: "
                    "it must be one number per location"
                )
            numbers = column.values.astype(np.float32)
            if not np.isfinite(numbers).any():
                raise InputError(f"static feature {name!r} is missing at every location")
            columns.append(numbers)
        if not columns:
            return np.zeros((self.series.sizes["location"], 0), dtype=np.float32)
        return np.stack(columns, axis=1)


def _columns(values: np.ndarray) -> Tensor:
    """(t, N, C) -> (N, t * C)."""
    return torch.from_numpy(np.ascontiguousarray(values.swapaxes(0, 1))).flatten(1)


def _ahead(values: np.ndarray, lead: int) -> np.ndarray:
    """Give each step the value ``lead`` steps later; the last steps keep the last value."""
    return np.concatenate([values[lead:], np.repeat(values[-1:], min(lead, len(values)), axis=0)])

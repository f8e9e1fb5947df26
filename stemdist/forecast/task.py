"""A forecasting task: one series, its graph, its scaler and its windows.

This is the one place where xarray becomes tensors.
Shapes: T steps, N locations, F features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch_geometric.data import Data

from stemdist.data.calendar import calendar_features, check_calendar
from stemdist.data.catalogue import graph_recipe
from stemdist.data.recipe import DatasetRecipe
from stemdist.data.scaling import Scaler
from stemdist.data.series import gap_positions
from stemdist.data.split import PARTS, Split
from stemdist.data.windows import SeriesWindows, fill_forward, window_starts
from stemdist.errors import InputError, check_count, unknown_name
from stemdist.graph import GraphSettings, build_graph, neighbour_operator
from stemdist.graph.neighbours import edge_weights

LOAD_BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """What is forecast from what.

    Parameters
    ----------
    lookback, horizon : int
        Input steps L_in and output steps L_out of one window.
    split : Split
        Shares of the time axis for training, validation and test.
    calendar : tuple of str
        Calendar features added to the inputs: ``time_of_day``, ``day_of_week``,
        ``day_of_year``.
    static : tuple of str
        Numeric per-location coordinates added to the inputs, e.g. ``("lat", "elevation")``.
    neighbour_context : bool
        Add, as input feature 1, the mean of the target over each location's graph neighbours.
        It lets any forecaster use space, and a cluster keep its real neighbourhood.
    graph : GraphSettings
        How the graph between locations is made.
    """

    lookback: int = 12
    horizon: int = 12
    split: Split = field(default_factory=Split)
    calendar: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    neighbour_context: bool = True
    graph: GraphSettings = field(default_factory=GraphSettings)

    def __post_init__(self) -> None:
        check_count("lookback", self.lookback)
        check_count("horizon", self.horizon)
        object.__setattr__(self, "calendar", check_calendar(self.calendar))
        static: Any = self.static
        object.__setattr__(self, "static", (static,) if isinstance(static, str) else tuple(static))
        for name, kind in (("split", Split), ("graph", GraphSettings)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise InputError(f"{name} is {value!r}: give a stemdist.{kind.__name__}(...)")

    @classmethod
    def from_recipe(cls, recipe: DatasetRecipe | None) -> TaskSettings:
        """Return the settings a data set recipe recommends, or the defaults without one."""
        if recipe is None:
            return cls()
        split = dict(zip(PARTS, recipe.split, strict=True))
        return cls(
            lookback=recipe.lookback,
            horizon=recipe.horizon,
            split=Split(**split),
            calendar=tuple(recipe.calendar),
            graph=GraphSettings(**graph_recipe(recipe.graph).settings()),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TaskSettings:
        """Rebuild settings written by :meth:`to_json`."""
        parts = {"split": Split(**content["split"]), "graph": GraphSettings(**content["graph"])}
        return cls(**{**content, **parts})


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
        One mean and scale per input feature (F), from the training part.
    feature_names : tuple of str
        The F input features in order; the first is the target.
    windows : dict of str to SeriesWindows
        Windows of ``train``, ``validation`` and ``test``, sharing one scaled series.
    """

    settings: TaskSettings
    series: xr.Dataset
    graph: Data
    scaler: Scaler
    feature_names: tuple[str, ...]
    windows: dict[str, SeriesWindows]

    @classmethod
    def from_series(
        cls,
        series: xr.Dataset,
        settings: TaskSettings | None = None,
    ) -> ForecastTask:
        """Load, scale and window a canonical series.

        Parameters
        ----------
        series : xarray.Dataset
            Canonical (time, location) series; the first variable is the target.
        settings : TaskSettings, optional
            Defaults are used without it.

        Raises
        ------
        InputError
            If the series is too short, constant or never observed; see the parts' own pages.

        Examples
        --------
        >>> from stemdist.data import open_series
        >>> task = ForecastTask.from_series(open_series("weather-sim"))
        >>> task.feature_names, len(task.train)
        (('t2m', 't2m_neighbours'), 841)
        """
        settings = settings or TaskSettings()
        bounds = settings.split.boundaries(series.sizes["time"])
        starts = _starts(series, settings, bounds)
        end = bounds["train"][1]
        names = tuple(map(str, series.data_vars))
        values = load_values(series)  # (T, N, F_series)
        kept = np.isfinite(values[:end, :, 0]).any(axis=0)
        scaler = Scaler.fit(values[:end], names)
        if not kept.all():
            series, values = series.isel(location=kept), values[:, kept]
        graph = build_graph(series, settings.graph, train_steps=end)
        parts = _Features(series, settings, scaler, graph)
        whole = parts.windows(values)
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
    def n_locations(self) -> int:
        """Number of locations N."""
        return int(self.series.sizes["location"])

    @property
    def n_series_features(self) -> int:
        """Number of features that vary in time and space; the calendar and static ones follow."""
        return int(self.train.values.shape[-1])

    @property
    def units(self) -> str:
        """Unit of the target, ``"1"`` where the source does not say."""
        return str(self.series[self.target_name].attrs.get("units", "1"))

    @property
    def target_name(self) -> str:
        """Name of the variable that is forecast."""
        return self.feature_names[0]

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over windows, graph and settings: equal tasks give equal results."""
        digest = hashlib.sha256(repr((self.settings, self.scaler)).encode())
        whole = self.train
        starts = (windows.starts for windows in self.windows.values())
        edges = (self.graph.edge_index, edge_weights(self.graph))
        for tensor in (whole.values, whole.observed, whole.calendar, whole.static, *edges, *starts):
            digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
        return digest.hexdigest()


def load_values(series: xr.Dataset) -> np.ndarray:
    """Load every variable as one (T, N, F) float32 array, in blocks of time.

    Missing entries are NaN. Only one block is held beside the result.
    """
    n_steps, n_locations = series.sizes["time"], series.sizes["location"]
    names = list(series.data_vars)
    values = np.empty((n_steps, n_locations, len(names)), dtype=np.float32)
    for block in _time_blocks(n_steps, n_locations):
        for feature, name in enumerate(names):
            values[block, :, feature] = series[name].isel(time=block).values
    return values


def _time_blocks(n_steps: int, n_locations: int) -> Iterator[slice]:
    size = max(1, LOAD_BLOCK_BYTES // (8 * n_locations))
    for begin in range(0, n_steps, size):
        yield slice(begin, min(begin + size, n_steps))


def _starts(
    series: xr.Dataset, settings: TaskSettings, bounds: dict[str, tuple[int, int]]
) -> dict[str, Tensor]:
    gaps = gap_positions(series)
    return {
        part: window_starts(*bounds[part], settings.lookback, settings.horizon, gaps, part)
        for part in PARTS
        if part == "train" or getattr(settings.split, part) > 0
    }


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
    features = _Features(series, settings, scaler, graph)
    return replace(features.windows(load_values(series)), starts=starts)


@dataclass(frozen=True)
class _Features:
    """The input features: target, neighbour context, other variables, calendar, static."""

    series: xr.Dataset
    settings: TaskSettings
    scaler: Scaler
    graph: Data

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(map(str, self.series.data_vars))

    def names(self) -> tuple[str, ...]:
        target, *others = self.variables
        context = [f"{target}_neighbours"] if self.settings.neighbour_context else []
        calendar = [f"{n}_{wave}" for n in self.settings.calendar for wave in ("sin", "cos")]
        return (target, *context, *others, *calendar, *self.settings.static)

    def full_scaler(self) -> Scaler:
        """One entry per input feature; calendar waves are already on a common scale."""
        n_context = int(self.settings.neighbour_context)
        n_waves = 2 * len(self.settings.calendar)
        static = self._static_scaler(self._static_values())

        def extend(
            entry: tuple[float, ...], neutral: float, last: tuple[float, ...]
        ) -> tuple[float, ...]:
            first, *others = entry[: len(self.variables)]
            return (first, *[first] * n_context, *others, *[neutral] * n_waves, *last)

        return Scaler(
            mean=extend(self._own.mean, 0.0, static.mean),
            scale=extend(self._own.scale, 1.0, static.scale),
        )

    @property
    def _own(self) -> Scaler:
        """The scaler of the variables alone, whichever of the two forms was given."""
        if len(self.scaler.mean) == len(self.variables):
            return self.scaler
        keep = [0, *range(1 + int(self.settings.neighbour_context), len(self.scaler.mean))]
        keep = keep[: len(self.variables)]
        return Scaler(
            mean=tuple(self.scaler.mean[i] for i in keep),
            scale=tuple(self.scaler.scale[i] for i in keep),
        )

    def windows(self, values: np.ndarray) -> SeriesWindows:
        """Return (T, N, F_series) physical values as scaled windows, no start chosen yet."""
        values = self._own.transform(values)
        observed = np.isfinite(values[..., 0])
        filled = fill_forward(values, self.settings.lookback)
        if self.settings.neighbour_context:
            context = self._context(values[..., 0], observed)
            filled = np.concatenate([filled[..., :1], context, filled[..., 1:]], axis=-1)
        calendar = calendar_features(self.series["time"], self.settings.calendar)
        return SeriesWindows(
            values=torch.from_numpy(np.ascontiguousarray(filled, dtype=np.float32)),
            observed=torch.from_numpy(observed),
            calendar=torch.from_numpy(calendar),
            static=self._static(),
            starts=torch.empty(0, dtype=torch.int64),
            lookback=self.settings.lookback,
            horizon=self.settings.horizon,
        )

    def _context(self, target: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """Mean over observed neighbours, (T, N, 1); forward filled where none is observed."""
        operator = neighbour_operator(self.graph)
        context = np.empty((*target.shape, 1), dtype=np.float32)
        for block in _time_blocks(*target.shape):
            seen = torch.from_numpy(observed[block].astype(np.float32)).T  # (N, t)
            present = torch.from_numpy(np.where(observed[block], target[block], 0)).T
            share = torch.sparse.mm(operator, seen)
            mean = torch.sparse.mm(operator, present.float()) / share.clamp_min(1e-12)
            mean[share < 1e-6] = float("nan")
            context[block, :, 0] = mean.T.numpy()
        return fill_forward(context, self.settings.lookback)

    def _static(self) -> Tensor:
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

"""Training data of a forecaster, with what it needs to forecast the real locations.

Shapes: M windows, N locations, F features, C targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from stemdist.data.origin import origin_of
from stemdist.data.scaling import Scaler
from stemdist.data.windows import WindowSource
from stemdist.forecast.base import Forecaster
from stemdist.forecast.fitted import FittedForecaster
from stemdist.forecast.locations import Locations
from stemdist.forecast.task import ForecastTask
from stemdist.forecast.task_settings import TaskSettings
from stemdist.forecast.train import TrainingResult

if TYPE_CHECKING:
    from torch_geometric.data import Data


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Windows to learn from, real or synthetic, and the real locations they represent.

    Parameters
    ----------
    kind : str
        ``"full"`` or ``"distilled"``.
    source : WindowSource
        M scaled windows over N locations, or over the clusters of a distilled set.
    graph : torch_geometric.data.Data
        Graph between them.
    scaler : Scaler
        One mean and scale per input feature, the C targets first; or one for each real location.
    own_scaler : Scaler, optional
        The scaler of the windows, where these are of clusters; by default ``scaler``.
    content_hash : str
        Changes whenever the windows, the graph or the scaling do.
    settings : TaskSettings
        What is forecast from what.
    variables : tuple of str
        Variables of the series that the features are made from; the targets come first.
    units : str
        Unit of the first target.
    locations : Locations
        The real locations, with their graph and profiles.
    origin : mapping
        Source, opening options, units and time step of the data the windows come from (see
        :func:`stemdist.data.origin.origin_of`).
    init_times : numpy.ndarray, optional
        (M,) last observed time of each window; synthetic windows have none.
    """

    kind: str
    source: WindowSource
    graph: Data
    scaler: Scaler
    content_hash: str
    settings: TaskSettings
    variables: tuple[str, ...]
    units: str
    locations: Locations
    origin: Mapping[str, Any] = field(default_factory=dict)
    init_times: np.ndarray | None = None
    own_scaler: Scaler | None = None

    @property
    def window_scaler(self) -> Scaler:
        """The scaler of the windows as they are."""
        return self.scaler if self.own_scaler is None else self.own_scaler

    @classmethod
    def of_task(cls, task: ForecastTask) -> TrainingSet:
        """Return the training part of a task."""
        windows = task.train
        last = windows.starts.numpy() + windows.lookback - 1
        return cls(
            kind="full",
            source=windows,
            graph=task.graph,
            scaler=task.scaler,
            content_hash=task.content_hash,
            settings=task.settings,
            variables=tuple(map(str, task.series.data_vars)),
            units=task.units,
            locations=Locations.of_task(task),
            origin=origin_of(task.series),
            init_times=task.series["time"].values[last],
        )

    @property
    def source_name(self) -> str:
        """Name of the file or data set that the windows were made from."""
        return str(self.origin.get("source_name", ""))

    @cached_property
    def location_ids(self) -> np.ndarray | None:
        """(N,) ids of the locations of the windows; clusters have none."""
        return None if self.kind != "full" else self.locations.coords["location"].values

    def fitted(
        self,
        name: str,
        module: Forecaster,
        result: TrainingResult,
        quantiles: tuple[float, ...] = (),
        **record: Any,
    ) -> FittedForecaster:
        """Return a module trained on these windows as a forecaster for every real location.

        Parameters
        ----------
        name : str
            Registered name of the forecaster.
        module : Forecaster
            The trained module.
        result : TrainingResult
            How the training went.
        quantiles : tuple of float
            Levels that it forecasts.
        **record
            Further entries of the training record, as JSON types.
        """
        best = result.best_validation_error
        return FittedForecaster(
            name=name,
            forecaster=module,
            settings=self.settings,
            scaler=self.scaler,
            quantiles=quantiles,
            variables=self.variables,
            units=self.units,
            locations=self.locations,
            record={
                "trained_on": self.kind,
                **self.origin,
                "updates": result.updates,
                "seconds": result.seconds,
                "validation_error": best if best == best else None,  # NaN: nothing was validated
                "history": result.history.to_dict("records"),
                **record,
            },
        )

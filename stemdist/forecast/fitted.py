"""A trained forecaster with everything it needs to forecast new data, saved without pickle.

Shapes: N locations, M initial times, L_out horizon.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from safetensors.torch import load_file
from torch import Tensor

from stemdist.data.opening import OPENING
from stemdist.data.origin import check_origin
from stemdist.data.scaling import Scaler
from stemdist.data.series import canonical_series
from stemdist.data.windows import SeriesWindows
from stemdist.display import Fields, Shown
from stemdist.errors import InputError
from stemdist.files import atomic_path, recovered, sha256_of_file
from stemdist.forecast.base import Forecaster, make_forecaster
from stemdist.forecast.features import (
    InputFeatures,
    input_windows,
    own_scaler,
)
from stemdist.forecast.forecast_array import forecast_attributes, labelled_forecast
from stemdist.forecast.initial_times import check_observed, first_steps
from stemdist.forecast.locations import Locations, place_index
from stemdist.forecast.predict import physical_quantiles, predict_windows
from stemdist.forecast.saved import (
    DAMAGE,
    FILES,
    HASHED,
    check_digests,
    check_replaceable,
    save_weights,
)
from stemdist.forecast.task_settings import TaskSettings
from stemdist.graph import build_graph
from stemdist.markers import MADE_BY
from stemdist.types import Acceptable

if TYPE_CHECKING:
    from torch_geometric.data import Data

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, repr=False)
class FittedForecaster(Shown):
    """A trained forecaster with its settings, scaling, variables and locations.

    Parameters
    ----------
    name : str
        Registered name of the forecaster.
    forecaster : Forecaster
        The trained module, on the CPU.
    settings : TaskSettings
        Lookback, horizon, features and graph.
    scaler : Scaler
        One mean and scale per input feature, or one for each location.
    variables : tuple of str
        Variables of the series it reads; the targets come first.
    units : str
        Unit of the first target.
    locations : Locations
        The real locations of its training data, their graph and profiles.
    record : dict
        How it was trained (updates, seconds, errors, source); JSON types.
    quantiles : tuple of float
        Levels it forecasts; none for one number per target.
    """

    name: str
    forecaster: Forecaster
    settings: TaskSettings
    scaler: Scaler
    variables: tuple[str, ...]
    units: str
    locations: Locations
    record: dict[str, Any]
    quantiles: tuple[float, ...] = ()

    def fields(self) -> Fields:
        """Return what it forecasts, from what, and how it was trained, in words."""
        settings, record = self.settings, self.record
        targets = ", ".join(self.variables[: settings.n_targets])
        levels = f", quantiles {', '.join(map(str, self.quantiles))}" if self.quantiles else ""
        fields = [
            ("forecaster", self.name),
            ("forecasts", f"{settings.horizon} steps of {targets} ({self.units}){levels}"),
            ("from", f"{settings.lookback} steps of {', '.join(self.variables)}"),
            ("locations", str(len(self.locations))),
            ("weights", f"{sum(weight.numel() for weight in self.forecaster.parameters()):,}"),
        ]
        source = record.get("source_name") or "unknown data"
        if "updates" in record:
            on = f"{record.get('trained_on', 'full')} data of {source}"
            fields.append(("trained", f"{record['updates']} updates on {on}"))
        return fields

    def details(self) -> Mapping[str, Any]:
        """Return how it was trained, without the history, and its layers."""
        record = {name: value for name, value in self.record.items() if name != "history"}
        return {"record": record, "module": repr(self.forecaster)}

    def predict(
        self,
        series: xr.Dataset | xr.DataArray,
        *,
        init_times: str = "last",
        stride: int = 1,
        device: str | torch.device = "cpu",
        accept: Sequence[Acceptable] = (),
    ) -> xr.DataArray | xr.Dataset:
        """Forecast a series, in physical units.

        Parameters
        ----------
        series : xarray.Dataset or xarray.DataArray
            Canonical or raw; holds the variables it was trained on. Locations known from
            training keep their graph and profile; a series over other locations gets its own.
        init_times : {"last", "test", "all"}
            Forecast from the end of the series (with variables known ahead of time: from the
            last step that has a whole horizon of them behind it), from every step with a full
            lookback in the test part, or from every step with a full lookback.
        stride : int
            Use every ``stride``-th of these initial times, counted back from the last.
        device : str or torch.device
            Where the computation runs.
        accept : sequence of {"units", "step"}
            Differences to the training data that are meant.

        Returns
        -------
        xarray.DataArray or xarray.Dataset
            (init_time, horizon, location), or (init_time, horizon, <grid dims>) for a grid;
            ``init_time`` is the last observed time and ``valid_time`` (init_time, horizon) the
            time forecast for. Quantiles are a dimension behind ``init_time``; several targets
            are the variables of a dataset.

        Raises
        ------
        InputError
            If a variable is absent, the series is shorter than the lookback, a window to
            forecast from has no value at all, or units, time step or the value that means
            "missing" are not those of the training data.
        """
        series, starts = self._ready(series, init_times, stride, accept)
        scaler = self.scaler_of(series)
        blocks = [scaled for _, scaled in self._forecasts(series, starts, scaler, device)]
        whole = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
        return self._labelled(series, starts, scaler, whole)

    def predict_blocks(
        self,
        series: xr.Dataset | xr.DataArray,
        *,
        init_times: str = "last",
        stride: int = 1,
        device: str | torch.device = "cpu",
        accept: Sequence[Acceptable] = (),
    ) -> Iterator[xr.DataArray | xr.Dataset]:
        """Forecast as :meth:`predict`, a block of consecutive initial times after the other.

        Each block is read, forecast and given away before the next one, so that memory does not
        grow with the number of initial times; the blocks joined along ``init_time`` are what
        :meth:`predict` returns. :func:`~stemdist.forecast.forecast_file.write_forecast` writes
        them.
        """
        series, starts = self._ready(series, init_times, stride, accept)
        scaler = self.scaler_of(series)
        for own, scaled in self._forecasts(series, starts, scaler, device):
            yield self._labelled(series, own, scaler, scaled)

    def _ready(
        self,
        series: xr.Dataset | xr.DataArray,
        init_times: str,
        stride: int,
        accept: Sequence[Acceptable],
    ) -> tuple[xr.Dataset, np.ndarray]:
        """Return the canonical series, and the first steps of the windows to forecast from."""
        if stride < 1:
            raise InputError(f"stride is {stride}: it must be a whole number of at least 1")
        matching = self._matching(series)
        check_origin(matching, self.record, what="the forecaster", accept=accept)
        return matching, first_steps(matching, self.settings, init_times)[::-stride][::-1].copy()

    def _labelled(
        self, series: xr.Dataset, starts: np.ndarray, scaler: Scaler, scaled: Tensor
    ) -> xr.DataArray | xr.Dataset:
        """Return scaled forecasts as CF data."""
        init = series["time"].values[starts + self.settings.lookback - 1]
        arrays = [
            labelled_forecast(
                values,
                series,
                init,
                name=self.variables[target],
                units=self.units_of(self.variables[target]),
                quantiles=self.quantiles,
                forecaster=self.name,
            )
            for target, values in enumerate(self._physical(scaled, scaler))
        ]
        if len(arrays) == 1:
            return arrays[0]
        merged = xr.merge(arrays, join="exact", compat="equals", combine_attrs="override")
        return merged.assign_attrs(forecast_attributes(series, self.name, self.variables))

    def _forecasts(
        self,
        series: xr.Dataset,
        starts: np.ndarray,
        scaler: Scaler,
        device: str | torch.device,
    ) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Forecast the windows at ``starts`` (M,) in blocks: some of them, and (m, ..., N)."""
        locations = self._locations_of(series)
        n_locations = series.sizes["location"]
        at_once = max(1, BLOCK_VALUES // (n_locations * self.forecaster.rows))
        for own in _in_blocks(starts, self.settings.lookback, n_locations):
            windows = self._windows(series, own, locations.graph, scaler)
            for index in torch.split(torch.arange(len(own)), at_once):
                yield (
                    own[index.numpy()],
                    predict_windows(
                        self.forecaster,
                        windows,
                        locations.graph,
                        locations.profile,
                        index=index,
                        device=device,
                    ),
                )

    def _windows(
        self, series: xr.Dataset, starts: np.ndarray, graph: Data, scaler: Scaler
    ) -> SeriesWindows:
        """Load the windows at ``starts`` (M,); only the steps that they need are read.

        Missing inputs are filled with values at most one lookback before, so that much is read
        in front of the first window.
        """
        settings = self.settings
        leads = settings.future_leads if settings.future else ()
        first = max(0, int(starts[0]) - settings.lookback)
        stop = int(starts[-1]) + settings.lookback + max(leads, default=0)
        part = series.isel(time=slice(first, stop))
        windows = input_windows(part, settings, scaler, graph, torch.from_numpy(starts - first))
        check_observed(windows, part)
        return windows

    def units_of(self, variable: str) -> str:
        """Return the unit that a variable had in training; the text 1 where it had none."""
        units = self.record.get("units_of_variables") or {}
        return str(units.get(variable) or (self.units if variable == self.variables[0] else "1"))

    def _physical(self, scaled: Tensor, scaler: Scaler) -> list[np.ndarray]:
        """Return (M, Q, L_out, N) of each target in physical units, quantiles in order."""
        n_targets = self.settings.n_targets
        physical = physical_quantiles(scaled, scaler, n_targets, len(self.quantiles))
        return [part.numpy() for part in physical.chunk(n_targets, dim=2)]

    def _matching(self, series: xr.Dataset | xr.DataArray) -> xr.Dataset:
        if isinstance(series, xr.DataArray):
            series = series.to_dataset(name=series.name or "value")  # as open_series names it
        absent = [name for name in self.variables if name not in series.data_vars]
        if absent:
            raise InputError(
                f"the forecaster needs the variable(s) {', '.join(self.variables)}; the data have "
                f"{', '.join(map(str, series.data_vars)) or 'none'}"
            )
        if "location" not in series.dims or "target" not in series.attrs:
            series = self._canonical(series)
        return self.known_locations(series[list(self.variables)])

    def known_locations(self, series: xr.Dataset) -> xr.Dataset:
        """Return a canonical series at the locations of training, or as it is if any is absent."""
        index = place_index(self.locations.coords, series)
        if index is None:
            return series
        n_locations = series.sizes["location"]
        if len(index) < n_locations:
            left = f"{n_locations - len(index)} of {n_locations} locations"
            log.warning("%s are not forecast: the forecaster was trained without them", left)
        return series.isel(location=index)

    def scaler_of(self, series: xr.Dataset) -> Scaler:
        """Return the scaler for the locations of a series.

        Where each location is scaled by its own statistics, locations that are known from
        training keep theirs; if any is not, all have those of the training part of the series.
        """
        if self.scaler.n_locations is None:
            return self.scaler
        known = place_index(series, self.locations.coords)
        if known is not None:
            return self.scaler.at(known)
        series = self.settings.ordered(series)
        own = own_scaler(series.isel(time=slice(*self._training_part(series))), self.settings)
        full = InputFeatures(series, self.settings, own, self.locations.graph).full_scaler()
        return self.scaler.with_locations_of(full)

    def _training_part(self, series: xr.Dataset) -> tuple[int, int]:
        begin, end = self.settings.split.boundaries(series.sizes["time"])["train"]
        return begin, max(end, min(series.sizes["time"], begin + self.settings.lookback))

    def _canonical(self, raw: xr.Dataset) -> xr.Dataset:
        """Bring a raw data set to the canonical form in the way the training data were opened."""
        kept = self.record.get("opening") or {}
        opening = {name: kept[name] for name in ("null_value", "select") if name in kept}
        series = canonical_series(
            raw, variables=self.variables, static=self.settings.static, **opening
        )
        return series.assign_attrs({OPENING: json.dumps(opening)}) if opening else series

    def _locations_of(self, series: xr.Dataset) -> Locations:
        if place_index(self.locations.coords, series) is not None:
            return self.locations
        _, end = self._training_part(series)
        graph = build_graph(series, self.settings.graph, train_steps=end)
        starts = torch.arange(max(end - self.settings.lookback, 0) + 1)
        windows = input_windows(series, self.settings, self.scaler_of(series), graph, starts)
        return Locations(coords=self.locations.coords, graph=graph, profile=windows.profile)

    def save(
        self, folder: str | Path, *, made_by: str = "stemdist train", replace: bool = False
    ) -> Path:
        """Write ``config.json``, ``weights.safetensors`` and ``locations.nc``, all or nothing.

        Parameters
        ----------
        folder : str or Path
            It must be new, empty, or hold a saved forecaster alone, which is replaced.
        made_by : str
            The command that may replace it without being forced.
        replace : bool
            Replace whatever is there.
        """
        config = {
            MADE_BY: made_by,
            "stemdist_version": version("stemdist"),
            "forecaster": self.name,
            "forecaster_config": self.forecaster.config,
            "task": self.settings.to_json(),
            "scaler": {"mean": self.scaler.mean, "scale": self.scaler.scale},
            "quantiles": self.quantiles,
            "variables": self.variables,
            "units": self.units,
            "record": self.record,
        }
        folder = Path(folder)
        if not replace:
            check_replaceable(folder)
        try:
            json.dumps(config)
        except TypeError as error:
            raise InputError(
                f"the forecaster {self.name!r} cannot be saved, because its hyper-parameters are "
                f"no JSON ({error}): give a module's class by a name that can be imported, "
                "factory='package.module:Class'"
            ) from error
        with atomic_path(folder) as part:
            part.mkdir()
            save_weights(self.forecaster, part / "weights.safetensors")
            self.locations.to_dataset().to_netcdf(part / "locations.nc", engine="netcdf4")
            config["sha256"] = {name: sha256_of_file(part / name) for name in HASHED}
            text = json.dumps(config, indent=2)
            (part / "config.json").write_text(text + "\n", encoding="utf-8")
        return folder

    @staticmethod
    def is_saved(folder: str | Path) -> bool:
        """Say whether a folder holds the files of a saved forecaster."""
        return all((Path(folder) / name).is_file() for name in FILES)

    @classmethod
    def load(cls, folder: str | Path) -> FittedForecaster:
        """Load a folder written by :meth:`save`; nothing is unpickled.

        Raises
        ------
        InputError
            If the folder is not a saved forecaster, or its files are damaged.
        """
        folder = recovered(folder)
        if not (folder / "config.json").is_file():
            raise InputError(
                f"{str(folder)!r} is not a saved forecaster (it has no config.json): give the "
                "folder that `stemdist train ... -o FOLDER` wrote"
            )
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            check_digests(folder, config.get("sha256") or {})
            forecaster = make_forecaster(config["forecaster"], **config["forecaster_config"])
            forecaster.load_state_dict(load_file(folder / "weights.safetensors"))
            with xr.open_dataset(folder / "locations.nc", engine="netcdf4") as stored:
                locations = Locations.from_dataset(stored.load())
            settings = TaskSettings.from_json(config["task"])
            scaler = Scaler.from_json(config["scaler"])
            return cls(
                name=config["forecaster"],
                forecaster=forecaster.eval(),
                settings=settings,
                scaler=scaler,
                quantiles=tuple(config["quantiles"]),
                variables=tuple(config["variables"]),
                units=config["units"],
                locations=locations,
                record=config["record"],
            )
        except DAMAGE as error:
            raise InputError(
                f"the saved forecaster {str(folder)!r} cannot be read ({error}): train it again"
            ) from error


def _in_blocks(starts: np.ndarray, lookback: int, n_locations: int) -> list[np.ndarray]:
    """Cut starts into runs whose steps fit into a bounded block."""
    steps = max(1, BLOCK_VALUES // n_locations - lookback)
    number = (starts - starts[0]) // steps
    return np.split(starts, np.flatnonzero(np.diff(number)) + 1)


BLOCK_VALUES = 2**24
"""Values of a variable that are read for forecasts together."""

"""Forecasts from a file as a teacher: of models that cannot be run here, or were run before.

Shapes: M windows, B windows, C targets, L_out horizon, N locations.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stemdist.errors import InputError
from stemdist.files import sha256_of_file
from stemdist.forecast import TrainingSet
from stemdist.students.teacher import Teacher


class FileTeacher(Teacher):
    """Forecasts in physical units from a NetCDF file, found by initial time and location.

    Two layouts are read: that of ``stemdist predict --init-times all``, one variable for each
    target with the dims ``init_time``, ``horizon`` and the locations or grid; and that of the
    teacher outputs that ``stemdist teach`` keeps, ``forecast`` (window, target, horizon,
    location) with the coordinate ``init_time`` of the windows.

    Parameters
    ----------
    path : Path
        The file. It may hold more times, locations and steps ahead than are needed.

    Raises
    ------
    InputError
        If it is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"file:{path.name}"
        if not path.is_file():
            raise InputError(
                f"the file of forecasts {str(path)!r} does not exist: name one that stemdist "
                "predict --init-times all or another program wrote"
            )
        try:
            with xr.open_dataset(path, engine="netcdf4") as file:
                self.forecasts = _canonical(file.load(), path)
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"the file of forecasts {str(path)!r} cannot be read as NetCDF: {error}"
            ) from error

    @classmethod
    def load(cls, argument: str, device: str = "cpu") -> FileTeacher:
        """Return the teacher whose forecasts are in the file ``argument``."""
        return cls(Path(argument))

    @cached_property
    def identity(self) -> str:
        """A hash of the file."""
        return sha256_of_file(self.path)

    def check(self, data: TrainingSet, kinds: Collection[str]) -> None:
        """Raise :class:`InputError` unless all windows, steps and locations are in the file."""
        super().check(data, kinds)
        self._places(data)

    def answer(
        self, data: TrainingSet, index: Tensor, kinds: Collection[str] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Look the windows ``index`` up."""
        times, locations = self._places(data)
        source = data.source
        values = self.forecasts.values[times[index.numpy()], : source.n_targets, : source.horizon]
        chosen = np.ascontiguousarray(values[..., locations], dtype=np.float32)
        physical = torch.from_numpy(chosen).flatten(1, 2)  # (B, C * L_out, N)
        if not torch.isfinite(physical).all():
            raise InputError(
                f"{self.name}: some forecasts of the windows that are taught are missing (NaN): "
                "fill them, or leave their times out of the training part"
            )
        return data.window_scaler.scale_targets(physical, source.n_targets), {}

    def _places(self, data: TrainingSet) -> tuple[np.ndarray, np.ndarray]:
        """Return where the windows and the locations of ``data`` are in the file."""
        if data.init_times is None:
            raise InputError(
                f"{self.name}: synthetic windows have no times by which forecasts could be "
                "found: name a teacher that can be run, or teach on the full data"
            )
        sizes = self.forecasts.sizes
        for axis, needed in (("target", data.source.n_targets), ("horizon", data.source.horizon)):
            if sizes[axis] < needed:
                raise InputError(
                    f"{self.name} has {sizes[axis]} of the dimension {axis}, and {needed} are "
                    "needed: forecast more, or use a shorter --horizon or fewer targets"
                )
        times = self.forecasts.indexes["init_time"].get_indexer(data.init_times)
        ids = self.forecasts.indexes["location"].get_indexer(data.location_ids)
        for what, found, wanted in (
            ("initial times", times, data.init_times),
            ("locations", ids, data.location_ids),
        ):
            if (found < 0).any():
                absent = np.asarray(wanted)[found < 0]
                raise InputError(
                    f"{self.name} lacks {len(absent)} of {len(found)} {what} of the training "
                    f"windows, the first of them {absent[0]}: forecast them all, e.g. with "
                    "stemdist predict --init-times all"
                )
        return times, ids


def _canonical(file: xr.Dataset, path: Path) -> xr.DataArray:
    """Return forecasts (init_time, target, horizon, location)."""
    if "forecast" in file and "window" in file["forecast"].dims:
        array = file["forecast"]
        if "init_time" not in file.coords:
            raise InputError(
                f"the teacher outputs in {str(path)!r} are for synthetic windows, which have no "
                "initial times: they can be used with the teacher that computed them only"
            )
        array = array.swap_dims(window="init_time")
    else:
        chosen = [
            each
            for each in file.data_vars.values()
            if {"init_time", "horizon"} <= set(each.dims) and "quantile" not in each.dims
        ]
        if not chosen:
            raise InputError(
                f"{str(path)!r} holds no forecasts: a variable with the dimensions init_time, "
                "horizon and location (or those of the grid) is needed, without quantiles"
            )
        array = xr.concat(chosen, "target", coords="minimal", compat="override")
        grid = [d for d in array.dims if d not in ("init_time", "target", "horizon", "location")]
        if grid:
            array = array.stack(location=grid)  # the last of them varies fastest
            array = array.drop_vars(["location", *grid])
            array = array.assign_coords(location=np.arange(array.sizes["location"]))
        elif "location" not in array.dims:
            array = array.expand_dims("location")
    return array.transpose("init_time", "target", "horizon", "location")

"""What every simulation shares: settings, time axis, random streams, blocks and datasets."""

from __future__ import annotations

import dataclasses
import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from stemdist.data.simulate.variable import Variable
from stemdist.errors import InputError, check_count, check_seed, unknown_name
from stemdist.registry import Registry

Array = npt.NDArray[Any]

MINUTES_PER_DAY = 1440

SIMULATORS: Registry[type[Simulation]] = Registry(
    "simulator",
    {
        "navier-stokes": "stemdist.data.simulate.navier_stokes:NavierStokesSimulation",
        "traffic-sim": "stemdist.data.simulate.traffic:TrafficSimulation",
        "weather-sim": "stemdist.data.simulate.weather:WeatherSimulation",
    },
    group="stemdist.simulators",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simulation(ABC):
    """A seeded simulation that produces one frame per output step.

    A subclass defines the variables of a frame (:meth:`variables`), its coordinates
    (:meth:`static`), its times (:attr:`ticks`) and the time evolution (:meth:`frames`); datasets,
    blocks and files are made here. :class:`ClockSimulation` is the base for regular time axes.

    Parameters
    ----------
    step_minutes : int
        Minutes between the time stamps of two frames that follow each other.
    seed : int
        Any whole number >= 0. The same settings and seed give the same numbers.
    start : str
        First time stamp, e.g. ``"2024-01-01"`` (a Monday).
    """

    title: ClassVar[str]
    source: ClassVar[str]

    step_minutes: int
    seed: int = 0
    start: str = "2024-01-01"

    def __post_init__(self) -> None:
        check_count("step_minutes", self.step_minutes)
        check_seed("seed", self.seed)
        try:
            np.datetime64(self.start, "ns")
        except ValueError:
            raise InputError(
                f"start is {self.start!r}: it must be an ISO date, e.g. '2024-01-01'"
            ) from None

    @abstractmethod
    def variables(self) -> dict[str, Variable]:
        """Return the simulated variables in order; the first is the target."""

    @abstractmethod
    def static(self) -> xr.Dataset:
        """Return coordinates and variables that do not change in time."""

    @property
    @abstractmethod
    def ticks(self) -> Array:
        """How many ``step_minutes`` after ``start`` each frame is, (n_steps,) int64, ascending.

        A distance of more than one tick between two frames is a gap, which windows do not
        cross.
        """

    @abstractmethod
    def frames(self) -> Iterator[tuple[Array, ...]]:
        """Yield, per output step, one float32 array for each of :meth:`variables`."""

    @property
    def n_steps(self) -> int:
        """Number of output steps."""
        return len(self.ticks)

    @property
    def times(self) -> Array:
        """Time stamps, (n_steps,) datetime64[ns]."""
        step = np.timedelta64(self.step_minutes, "m")
        return np.datetime64(self.start, "ns") + self.ticks * step

    def generator(self, stream: str, *number: int) -> np.random.Generator:
        """Return the random stream called ``stream``; streams are independent of one another.

        ``number`` (at least 0) distinguishes streams of the same name.
        """
        return np.random.default_rng([self.seed, zlib.crc32(stream.encode()), *number])

    def skeleton(self) -> xr.Dataset:
        """Return everything but the simulated variables: coordinates, statics, attributes."""
        time = xr.Variable("time", self.times, {"standard_name": "time", "long_name": "time"})
        return self.static().assign_coords(time=time).assign_attrs(self._attributes())

    def _attributes(self) -> dict[str, str]:
        return {
            "Conventions": "CF-1.11",
            "title": self.title,
            "source": self.source,
            "settings": json.dumps(dataclasses.asdict(self), sort_keys=True),
            "license": "CC0-1.0",
        }

    def blocks(self, block_steps: int = 288) -> Iterator[xr.Dataset]:
        """Yield the series as consecutive datasets of at most ``block_steps`` steps.

        Only one block is held at a time, and the numbers do not depend on its size.

        Parameters
        ----------
        block_steps : int
            Steps per block; the last block may be shorter.

        Yields
        ------
        xarray.Dataset
            The variables of the block, with every coordinate and static variable.
        """
        check_count("block_steps", block_steps)
        skeleton, frames = self.skeleton(), self.frames()
        for first in range(0, self.n_steps, block_steps):
            piece = skeleton.isel(time=slice(first, first + block_steps))
            yield self._fill(piece, islice(frames, piece.sizes["time"]))

    def _fill(self, piece: xr.Dataset, frames: Iterator[tuple[Array, ...]]) -> xr.Dataset:
        n_time, variables = piece.sizes["time"], self.variables()
        filled = {
            name: np.empty((n_time, *(piece.sizes[dim] for dim in variable.dims)), np.float32)
            for name, variable in variables.items()
        }
        for step, frame in enumerate(frames):
            for values, part in zip(filled.values(), frame, strict=True):
                values[step] = part
        made = {
            name: (("time", *variable.dims), filled[name], variable.attrs)
            for name, variable in variables.items()
        }
        simulated = xr.Dataset(made, coords=piece.coords, attrs=piece.attrs)
        return simulated.assign(piece.data_vars)

    def dataset(self) -> xr.Dataset:
        """Return the whole series in memory."""
        return next(self.blocks(self.n_steps))

    def write(self, target: str | Path, *, block_steps: int = 288) -> Path:
        """Write the series block by block, in constant memory, and return the path.

        Parameters
        ----------
        target : str or Path
            A new file or store; the suffix says the format: ``.nc`` (NetCDF-4) or ``.zarr``.
        block_steps : int
            Output steps simulated, held and written at a time; also the chunk length in time.

        Raises
        ------
        InputError
            If the suffix is not one of the two.
        OutputError
            If the target cannot be written; its previous content is intact.
        MissingDependencyError
            For ``.zarr`` without the ``[zarr]`` extra.
        """
        from stemdist.data.simulate.write import write_blocks  # dask and netCDF4 load slowly

        return write_blocks(
            target,
            skeleton=self.skeleton(),
            variables=self.variables(),
            blocks=self.blocks(block_steps),
            block_steps=block_steps,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClockSimulation(Simulation):
    """A simulation of whole days, one frame every few minutes, without gaps.

    Parameters
    ----------
    days : int
        Length of the series in days.
    step_minutes : int
        Output step in minutes; must divide a day.
    """

    days: int

    def __post_init__(self) -> None:
        check_count("days", self.days)
        super().__post_init__()
        if MINUTES_PER_DAY % self.step_minutes:
            raise InputError(
                f"step_minutes is {self.step_minutes}: it must divide a day of "
                f"{MINUTES_PER_DAY} minutes, e.g. 5, 15 or 60"
            )

    @property
    def ticks(self) -> Array:
        """Every step from the first to the last, (n_steps,) int64."""
        return np.arange(self.days * MINUTES_PER_DAY // self.step_minutes)


def make_simulation(name: str, **settings: Any) -> Simulation:
    """Return the simulation called ``name`` with some settings changed.

    Parameters
    ----------
    name : str
        ``"navier-stokes"``, ``"traffic-sim"``, ``"weather-sim"``, or one that a plug-in adds.
    **settings
        Fields of the simulation's dataclass, e.g. ``days=7, seed=1``.

    Raises
    ------
    InputError
        If the name or a setting is unknown, or a value cannot be used.

    Examples
    --------
    >>> make_simulation("weather-sim", days=2).n_steps
    48
    """
    kind = SIMULATORS.get(name)
    fields = [field.name for field in dataclasses.fields(kind)]
    for setting in settings:
        if setting not in fields:
            raise unknown_name(f"setting of {name}", setting, fields)
    return kind(**settings)


def simulate(name: str, **settings: Any) -> xr.Dataset:
    """Simulate a series and return it as a dataset in memory.

    Parameters
    ----------
    name, **settings
        See :func:`make_simulation`.

    Returns
    -------
    xarray.Dataset
        ``traffic-sim``: ``speed`` (km/h) and ``flow`` (vehicles/h), (time, location).
        ``weather-sim``: ``t2m`` (K), (time, lat, lon).
        ``navier-stokes``: ``vorticity`` (no unit), (time, y, x).

    Examples
    --------
    >>> series = simulate("traffic-sim", n_sensors=5, days=1, seed=7)
    >>> series["speed"].dims, series["speed"].shape
    (('time', 'location'), (288, 5))
    """
    return make_simulation(name, **settings).dataset()

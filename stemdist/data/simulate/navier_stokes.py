"""``navier-stokes``: vorticity of two-dimensional turbulence, many short runs.

Shapes: B trajectories of one block, R records of a trajectory, S grid points per side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stemdist.data.simulate.base import Array, Simulation
from stemdist.data.simulate.variable import Variable
from stemdist.data.simulate.vorticity import VorticityEquation, random_modes
from stemdist.errors import InputError, check_count

GAP_TICKS = 5  # from the last record of a trajectory to the first of the next
# Larger arrays cost more per point: the allocator hands them back after each transform.
POINTS_AT_ONCE = 4 * 64**2


@dataclass(frozen=True, kw_only=True)
class NavierStokesSimulation(Simulation):
    """Independent flows on a periodic square, stirred by a steady force.

    Equation, forcing and initial field are those of Li et al. (2021), see
    :class:`~stemdist.data.simulate.vorticity.VorticityEquation`. Each trajectory starts from a
    Gaussian random field of its own at t = 0 and is recorded at t = 1, 2, ..., ``records``. Model
    time has no unit: the time stamps assign ``step_minutes`` to one unit of it, with a gap
    between trajectories. Windows do not cross gaps, so lookback + horizon = ``records`` gives one
    window per trajectory, and each lies within one part where the split divides the trajectories
    (50 into 30, 10 and 10).

    Parameters
    ----------
    step_minutes : int
        Minutes that the time stamps assign to one unit of model time; no effect on the flow.
    trajectories : int
        Number of runs. The initial field of run i depends on the seed and on i alone: more runs
        leave the first ones unchanged, and a finer grid adds detail to the same fields.
    records : int
        Records per run, at least 2.
    size : int
        Grid points per side of the square, S, at least 4.
    viscosity : float
        Kinematic viscosity, at least 0; like all that follows, without a unit.
    forcing : float
        Amplitude of the force, at least 0.
    initial_scale : float
        Multiple of the initial field, at least 0. With 1 (the covariance that the paper states)
        and a viscosity of 1e-3 the forcing soon dominates: differences between runs are 0.4 % of
        the mean square at t = 11 to 20. The generator published with the paper draws a field
        ``sqrt(2 * 7**1.5)`` = 6.086 times as strong, which makes it 11 %.
    dt : float
        Time step; a whole number of steps must make up 1. Over 20 units of time at 64 x 64 points
        the default errs by 2e-8 of the root mean square for a viscosity of 1e-3, and by 3e-6 for
        1e-5 (0.04: by 2e-7 and 8e-4), with the stronger initial field.

    Examples
    --------
    >>> flows = NavierStokesSimulation(trajectories=2, records=3, size=16, dt=0.05)
    >>> flows.dataset()["vorticity"].shape
    (6, 16, 16)
    >>> flows.ticks.tolist()
    [0, 1, 2, 7, 8, 9]
    """

    title: ClassVar[str] = "Simulated two-dimensional turbulence (navier-stokes)"
    source: ClassVar[str] = "stemdist navier-stokes: vorticity equation, Fourier-Galerkin method"

    step_minutes: int = 1
    trajectories: int = 50
    records: int = 20
    size: int = 64
    viscosity: float = 1e-3
    forcing: float = 0.1
    initial_scale: float = 1.0
    dt: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("trajectories", self.trajectories)
        check_count("records", self.records, minimum=2)
        if not (math.isfinite(self.initial_scale) and self.initial_scale >= 0):
            raise InputError(
                f"initial_scale is {self.initial_scale!r}: it must be a number of at least 0"
            )
        count = 1 / self.equation.dt  # the equation checks its own settings
        if not (count >= 1 and math.isclose(count, round(count), rel_tol=1e-9)):
            raise InputError(
                f"dt is {self.dt!r}: a whole number of time steps must make up 1, the time from "
                "record to record, e.g. 0.01"
            )

    @cached_property
    def equation(self) -> VorticityEquation:
        """The equation that is solved, with its settings."""
        return VorticityEquation(
            size=self.size, viscosity=self.viscosity, dt=self.dt, forcing=self.forcing
        )

    @property
    def ticks(self) -> Array:
        """Consecutive within a run, with a gap between runs, (trajectories * R,) int64."""
        first = np.arange(self.trajectories) * (self.records - 1 + GAP_TICKS)
        return (first[:, None] + np.arange(self.records)).ravel()

    def variables(self) -> dict[str, Variable]:
        """Return ``vorticity``."""
        attrs = {"long_name": "vorticity of the flow, dimensionless", "units": "1"}
        return {"vorticity": Variable(dims=("y", "x"), attrs=attrs)}

    def static(self) -> xr.Dataset:
        """Return the grid, and what the time stamps mean."""
        place = np.arange(self.size) / self.size
        axes = {
            name: (name, place, {"long_name": f"{name} in sides of the square", "units": "1"})
            for name in ("y", "x")
        }
        steps = f"{self.step_minutes} minute" + "s" * (self.step_minutes > 1)
        comment = (
            f"A unit of model time is called {steps}. Each of the {self.trajectories} runs has "
            f"{self.records} records, from t = 1 on; a gap of {GAP_TICKS * self.step_minutes} "
            "minutes separates it from the next. The square is periodic."
        )
        return xr.Dataset(coords=axes, attrs={"comment": comment})

    def frames(self) -> Iterator[tuple[Array, ...]]:
        """Yield the vorticity (S, S) of one record after the other, run after run."""
        together = max(1, POINTS_AT_ONCE // self.size**2)  # of B trajectories
        for first in range(0, self.trajectories, together):
            runs = range(first, min(first + together, self.trajectories))
            for record in self.integrate(runs).flatten(0, 1).numpy():
                yield (record,)

    def integrate(self, runs: range) -> Tensor:
        """Return the records (B, R, S, S), float32, of some runs, solved together.

        Raises
        ------
        InputError
            If the time step is too long for the flow, which then grows without bounds.
        """
        equation = self.equation
        modes = self.initial_scale * torch.stack(
            [random_modes(self.size, self.generator("trajectory", run)) for run in runs]
        )  # (B, S, K)
        records = torch.empty(len(runs), self.records, self.size, self.size)
        for record in range(self.records):
            modes = equation.advance(modes, n_steps=round(1 / self.dt))
            records[:, record] = equation.field(modes)
            if not records[:, record].isfinite().all():
                raise InputError(
                    f"the flow grew without bounds before t = {record + 1}: dt {self.dt} is too "
                    f"long for size {self.size} and viscosity {self.viscosity}; halve it"
                )
        return records

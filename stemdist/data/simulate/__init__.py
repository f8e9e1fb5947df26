"""Simulated series: the embedded default data, any size, seeded, streamed."""

from __future__ import annotations

from stemdist.data.simulate.base import (
    SIMULATORS,
    ClockSimulation,
    Simulation,
    make_simulation,
    simulate,
)
from stemdist.data.simulate.navier_stokes import NavierStokesSimulation
from stemdist.data.simulate.traffic import TrafficSimulation
from stemdist.data.simulate.variable import Variable
from stemdist.data.simulate.weather import WeatherSimulation

__all__ = [
    "SIMULATORS",
    "ClockSimulation",
    "NavierStokesSimulation",
    "Simulation",
    "TrafficSimulation",
    "Variable",
    "WeatherSimulation",
    "make_simulation",
    "simulate",
]

"""Simulated series: the embedded default data, any size, seeded, streamed."""

from __future__ import annotations

from stemdist.data.simulate.base import (
    SIMULATORS,
    Simulation,
    Variable,
    make_simulation,
    simulate,
)
from stemdist.data.simulate.traffic import TrafficSimulation
from stemdist.data.simulate.weather import WeatherSimulation

__all__ = [
    "SIMULATORS",
    "Simulation",
    "TrafficSimulation",
    "Variable",
    "WeatherSimulation",
    "make_simulation",
    "simulate",
]

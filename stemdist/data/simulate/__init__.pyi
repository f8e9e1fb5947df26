from .base import (
    SIMULATORS,
    ClockSimulation,
    Simulation,
    make_simulation,
    simulate,
)
from .navier_stokes import NavierStokesSimulation
from .traffic import TrafficSimulation
from .variable import Variable
from .weather import WeatherSimulation

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

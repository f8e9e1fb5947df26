"""``traffic-sim``: speeds and flows of a simulated motorway network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import xarray as xr

from stemdist.data.simulate.base import MINUTES_PER_DAY, Array, ClockSimulation
from stemdist.data.simulate.kinematic_wave import (
    CellTransmission,
    Floats,
    FundamentalDiagram,
    Ints,
    steady_flow,
)
from stemdist.data.simulate.road_network import (
    RoadNetwork,
    downstream_sensors,
    random_road_network,
)
from stemdist.data.simulate.variable import Variable
from stemdist.errors import InputError, check_count

CELL_KM = 0.8
FREE_KM_H = (95.0, 112.0)  # free-flow speed of a road is drawn from here
LANE_CAPACITY_PER_H = 2000.0
LANE_JAM_PER_KM = 120.0
SLOWING = 0.2  # share of the free-flow speed lost at capacity
MEAN_LANES, LEAST_LANES, MOST_LANES = 2.8, 2, 6
MEMORY_MINUTES = (150.0, 600.0)  # of the demand fluctuations per ramp, and of the region
LOCAL_SPREAD, REGIONAL_SPREAD = 0.35, 0.15  # their standard deviations, in log demand
RAMP_CAPACITY = 1.3  # of a ramp, over its planned peak inflow
OUTAGE_MINUTES = 120.0  # mean length of a sensor's outage
INCIDENT_MINUTES = 40.0  # mean duration of an incident
DRIVER_SPREAD_KM_H = 10.0  # standard deviation of single speeds around the mean
DETECTOR_ERROR_KM_H = 1.5


@dataclass(frozen=True, kw_only=True)
class TrafficSimulation(ClockSimulation):
    """Traffic on a random motorway network, seen by loop detectors.

    The kinematic-wave model (Lighthill & Whitham 1955; Richards 1956) conserves vehicles,
    ``dk/dt + dq(k)/dx = 0``, with the flow-density relation of Smulders (1990), solved
    by cell transmission (Daganzo 1994, 1995) on cells of 0.8 km; the step follows from the CFL
    condition. See :class:`~stemdist.data.simulate.kinematic_wave.CellTransmission`.
    On-ramps follow a daily profile: on weekdays a morning peak, strongest at the edge and
    heading for the centre, and an evening peak the other way round; one flat hump at weekends.
    Slow random fluctuations, regional and per ramp, make days differ. Roads have as many lanes
    as their peak traffic needs, rounded, so that lane drops become bottlenecks; incidents close
    part of a cell for a while. Detectors average over a step, with errors that shrink with the
    number of vehicles; they fail in bursts, which gives NaN.

    Parameters
    ----------
    n_sensors : int
        Number of detectors, spread evenly over the network.
    cells_per_sensor : int
        Cells of road per detector: 3 places one about every 2.4 km of carriageway.
    demand : float
        Peak demand over the capacity it was planned for; above 1 jams last longer.
    incidents_per_100_km_day : float
        Incidents per 100 km of carriageway and day.
    noise : float
        Multiple of the detectors' error; 0 for the true traffic.
    missing_share : float
        Mean share of missing values, at least 0 and below 1.

    Examples
    --------
    >>> series = TrafficSimulation(n_sensors=4, days=1).dataset()
    >>> series["speed"].attrs["units"], series["flow"].attrs["units"]
    ('km h-1', 'h-1')
    """

    title: ClassVar[str] = "Simulated motorway traffic (traffic-sim)"
    source: ClassVar[str] = "stemdist traffic-sim: kinematic-wave model, cell transmission"

    days: int = 14
    step_minutes: int = 5
    start: str = "2024-01-05"  # a Friday: the last days, often the test part, are working days
    n_sensors: int = 100
    cells_per_sensor: int = 3
    demand: float = 1.3
    incidents_per_100_km_day: float = 6.0
    noise: float = 1.0
    missing_share: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("n_sensors", self.n_sensors, minimum=2)
        check_count("cells_per_sensor", self.cells_per_sensor)
        for name in ("demand", "incidents_per_100_km_day", "noise"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value!r}: it must be a number of at least 0")
        if not 0 <= self.missing_share < 1:
            raise InputError(
                f"missing_share is {self.missing_share!r}: it must be a share of at least 0 "
                "and below 1, e.g. 0.02 for 2 %"
            )

    def variables(self) -> dict[str, Variable]:
        """Return ``speed`` (the target, km/h) and ``flow`` (vehicles/h)."""
        mean = {"cell_methods": "time: mean"}
        speed = {"long_name": "space-mean speed of traffic", "units": "km h-1", **mean}
        flow = {"long_name": "traffic flow in vehicles per hour", "units": "h-1", **mean}
        return {
            "speed": Variable(dims=("location",), attrs=speed),
            "flow": Variable(dims=("location",), attrs=flow),
        }

    @cached_property
    def network(self) -> RoadNetwork:
        """The road network."""
        n_cells = self.n_sensors * self.cells_per_sensor
        return random_road_network(n_cells, CELL_KM, self.generator("network"))

    @cached_property
    def sensors(self) -> Ints:
        """(N,) cells that have a detector, evenly spaced."""
        spread = np.linspace(0, self.network.movements.n_cells - 1, self.n_sensors)
        return np.rint(spread).astype(np.int64)

    def static(self) -> xr.Dataset:
        """Return the detectors' positions and the road graph between them."""
        source, target, cells = downstream_sensors(self.network.movements, self.sensors)
        width = max(4, len(str(self.n_sensors)))
        names = [f"S{number:0{width}d}" for number in range(1, self.n_sensors + 1)]
        degrees = {"lat": "north", "lon": "east"}
        positions = {
            name: (
                "location",
                getattr(self.network, name)[self.sensors],
                {
                    "standard_name": {"lat": "latitude", "lon": "longitude"}[name],
                    "units": f"degrees_{direction}",
                },
            )
            for name, direction in degrees.items()
        }
        edges = {
            "edge_source": (source, "position of the upstream detector along location", "1"),
            "edge_target": (target, "position of the next detector downstream", "1"),
            "edge_length_km": (cells * CELL_KM, "driving distance from source to target", "km"),
        }
        return xr.Dataset(
            {
                name: ("edge", values, {"long_name": text, "units": units})
                for name, (values, text, units) in edges.items()
            },
            coords={"location": ("location", names, {"long_name": "detector"}), **positions},
        )

    def frames(self) -> Iterator[tuple[Array, ...]]:
        """Yield speed (N,) and flow (N,) of one step after the other."""
        roads, sensors = _Roads.plan(self.network, self.generator("roads")), self.sensors
        seconds = self.step_minutes * 60
        n_sub = math.ceil(seconds * float(roads.diagram.free_km_h.max()) / 3600 / CELL_KM)
        model = CellTransmission(
            self.network.movements,
            roads.diagram,
            cell_km=CELL_KM,
            step_s=seconds / n_sub,
            entry_capacity_per_h=roads.entry_per_h * RAMP_CAPACITY,
        )
        demand = _Demand(self, roads.entry_per_h, self.network)
        incidents = _Incidents(self, self.network.movements.n_cells)
        detectors = _Detectors(self)
        for step in range(self.n_steps):
            inward, entering = demand.at(step)
            outward_share = self.network.outbound_share
            model.share = outward_share + inward * (self.network.inbound_share - outward_share)
            inflow = entering * (self.step_minutes / 60 / n_sub)  # vehicles per sub-step
            flow, speed = model.advance(incidents.open_share(), inflow, n_steps=n_sub)
            yield detectors.measure(flow[sensors], speed[sensors])


def daily_profile(hour: float, weekend: bool) -> tuple[float, float, float]:
    """Return the morning peak, the evening peak and the rest of demand at an hour of the day.

    Each is relative to the planned peak.

    Examples
    --------
    >>> morning, evening, rest = daily_profile(7.75, weekend=False)
    >>> morning > 0.5 > evening
    True
    """
    shape = _bell(hour, 13.0, 4.5)
    if weekend:
        return 0.0, 0.0, 0.06 + 0.6 * _bell(hour, 14.5, 4.0)
    return 0.65 * _bell(hour, 7.75, 1.1), 0.65 * _bell(hour, 17.25, 1.5), 0.06 + 0.5 * shape


def _bell(hour: float, middle: float, width: float) -> float:
    away = (hour - middle + 12) % 24 - 12
    return math.exp(-0.5 * (away / width) ** 2)


@dataclass(frozen=True, kw_only=True)
class _Roads:
    """Ramps and lanes that fit each other: (R,) planned peak inflow and the diagram."""

    entry_per_h: Floats
    diagram: FundamentalDiagram

    @classmethod
    def plan(cls, network: RoadNetwork, rng: np.random.Generator) -> _Roads:
        """Draw the ramps' peak inflow and give every road the lanes its peak flow needs."""
        movements, road = network.movements, network.road
        entry = rng.lognormal(0.0, 0.5, len(movements.entries))
        at_ramp = network.centrality[movements.entries]
        peak = np.maximum(
            steady_flow(movements, network.inbound_share, entry * _weights(at_ramp)[0]),
            steady_flow(movements, network.outbound_share, entry * _weights(at_ramp)[1]),
        )
        scale = MEAN_LANES * LANE_CAPACITY_PER_H / peak.mean()
        of_road = np.bincount(road, peak) / np.bincount(road) * scale
        lanes = np.rint(of_road / LANE_CAPACITY_PER_H + 0.25)
        lanes = np.clip(lanes, LEAST_LANES, MOST_LANES)[road]
        capacity = lanes * LANE_CAPACITY_PER_H * rng.uniform(0.9, 1.0, len(road))
        diagram = FundamentalDiagram(
            free_km_h=rng.uniform(*FREE_KM_H, road.max() + 1)[road],
            capacity_per_h=capacity,
            jam_per_km=lanes * LANE_JAM_PER_KM,
            slowing=SLOWING,
        )
        return cls(entry_per_h=entry * scale, diagram=diagram)


def _weights(centrality: Floats) -> tuple[Floats, Floats]:
    """(R,) weight of the morning and the evening peak of a ramp."""
    return 1.5 - centrality, 0.8 + centrality


class _Demand:
    """Inflow of the on-ramps, step by step."""

    def __init__(self, settings: TrafficSimulation, entry: Floats, network: RoadNetwork) -> None:
        self._rng = settings.generator("demand")
        self._entry = entry * settings.demand
        at_ramp = network.centrality[network.movements.entries]
        self._morning, self._evening = _weights(at_ramp)
        self._minutes, self._start = settings.step_minutes, np.datetime64(settings.start, "m")
        self._local = self._rng.standard_normal(len(entry))
        self._regional = float(self._rng.standard_normal())

    def at(self, step: int) -> tuple[float, Floats]:
        """Return the share of drivers heading inwards and the (R,) inflow, vehicles/h."""
        now = self._start + np.timedelta64(step * self._minutes, "m")
        day = now.astype("datetime64[D]")
        hour = float((now - day) / np.timedelta64(1, "h"))
        weekend = not bool(np.is_busday(day))
        morning, evening, rest = daily_profile(hour, weekend)
        self._drift()
        wander = np.exp(LOCAL_SPREAD * self._local + REGIONAL_SPREAD * self._regional)
        inflow = (self._morning * morning + self._evening * evening + rest) * wander
        inward = 1 / (1 + math.exp((hour - 12.5) / 1.5))
        return inward, self._entry * inflow

    def _drift(self) -> None:
        """Move the fluctuations on: stationary, unit variance."""
        local, regional = (math.exp(-self._minutes / memory) for memory in MEMORY_MINUTES)
        fresh = self._rng.standard_normal(len(self._local) + 1)
        self._local = local * self._local + math.sqrt(1 - local**2) * fresh[1:]
        self._regional = regional * self._regional + math.sqrt(1 - regional**2) * float(fresh[0])


class _Incidents:
    """Cells that are partly closed: Poisson arrivals, geometric durations."""

    def __init__(self, settings: TrafficSimulation, n_cells: int) -> None:
        self._rng = settings.generator("incidents")
        per_cell_day = settings.incidents_per_100_km_day * CELL_KM / 100
        self._chance = min(1.0, per_cell_day * settings.step_minutes / MINUTES_PER_DAY)
        self._clears = min(1.0, settings.step_minutes / INCIDENT_MINUTES)
        self._open = np.ones(n_cells)

    def open_share(self) -> Floats:
        """Return the (C,) open share of every cell for the next step."""
        over, begins, severity = self._rng.random((3, len(self._open)))
        self._open[over < self._clears] = 1.0
        hit = begins < self._chance
        self._open[hit] = 0.2 + 0.5 * severity[hit]
        return self._open


class _Detectors:
    """Loop detectors: errors that shrink with the vehicles seen, outages in bursts."""

    def __init__(self, settings: TrafficSimulation) -> None:
        self._rng = settings.generator("detectors")
        self._hours, self._noise = settings.step_minutes / 60, settings.noise
        share = settings.missing_share
        self._recovers = min(1.0, settings.step_minutes / OUTAGE_MINUTES)
        # Balance of failing and recovering: (1 - share) * fails = share * recovers.
        self._fails = min(1.0, self._recovers * share / (1 - share))
        self._down = self._rng.random(settings.n_sensors) < share

    def measure(self, flow: Floats, speed: Floats) -> tuple[Array, Array]:
        """Return speed and flow (N,) as measured, NaN where the detector is down."""
        vehicles = np.maximum(flow * self._hours, 1.0)
        for_speed, for_flow = self._rng.standard_normal((2, len(flow))) * self._noise
        error = np.sqrt(DETECTOR_ERROR_KM_H**2 + DRIVER_SPREAD_KM_H**2 / vehicles)
        draw = self._rng.random(len(flow))
        self._down = np.where(self._down, draw >= self._recovers, draw < self._fails)
        measured_speed = np.maximum(speed + for_speed * error, 1.0)
        measured_flow = np.maximum(flow + for_flow * np.sqrt(vehicles) / self._hours, 0.0)
        return (
            np.where(self._down, np.nan, measured_speed),
            np.where(self._down, np.nan, measured_flow),
        )

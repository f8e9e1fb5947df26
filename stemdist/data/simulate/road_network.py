"""A random motorway network: junctions, two-way roads cut into cells, ramps, turning shares.

Shapes: J junctions, W one-way roads, C cells, E movements, R entries.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import Delaunay, cKDTree

from stemdist.data.simulate.kinematic_wave import OUTSIDE, Floats, Ints, Movements

CELLS_PER_JUNCTION = 26  # about two two-way roads of 5 km per junction
CELLS_PER_RAMP = 4  # an interchange about every 3 km
KM_PER_DEGREE = 111.195  # of latitude, on a sphere of radius 6371 km
CENTRE_LAT = 45.0  # degrees north; the longitude of the centre is 0
TURN_PREFERENCE = 1.5  # weight of going straight on over turning off: exp(1.5 cos(turn))
CENTRE_PREFERENCE = 0.8  # the same for heading towards the centre


@dataclass(frozen=True, kw_only=True)
class RoadNetwork:
    """A road network cut into cells of equal length.

    Parameters
    ----------
    movements : Movements
        What is connected to what.
    inbound_share, outbound_share : numpy.ndarray
        (E,) turning and exit shares when all vehicles head for the centre or away from it;
        the shares of a cell sum to 1.
    road : numpy.ndarray
        (C,) number of the one-way road a cell belongs to.
    position_km : numpy.ndarray
        (C, 2) east and north of the centre, km, middle of the cell.
    centrality : numpy.ndarray
        (C,) 1 in the centre, falling to 0 at the edge.
    """

    movements: Movements
    inbound_share: Floats
    outbound_share: Floats
    road: Ints
    position_km: Floats
    centrality: Floats

    @property
    def lat(self) -> Floats:
        """(C,) latitude, degrees north."""
        return CENTRE_LAT + self.position_km[:, 1] / KM_PER_DEGREE

    @property
    def lon(self) -> Floats:
        """(C,) longitude, degrees east."""
        east: Floats = self.position_km[:, 0] / (KM_PER_DEGREE * np.cos(np.radians(CENTRE_LAT)))
        return east


def random_road_network(n_cells: int, cell_km: float, rng: np.random.Generator) -> RoadNetwork:
    """Draw a network of two-way motorways with at least ``n_cells`` cells.

    Junctions are a jittered lattice; two are joined when no third lies in the circle that has
    them as diameter (Gabriel & Sokal, *Systematic Zoology* 18, 1969), which gives a connected,
    planar network of corridors. Every few cells a ramp lets vehicles out and in.

    Parameters
    ----------
    n_cells : int
        Least number of cells; the network has a few per cent more.
    cell_km : float
        Length of a cell, km.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    RoadNetwork

    Examples
    --------
    >>> network = random_road_network(300, 0.75, np.random.default_rng(0))
    >>> bool(network.movements.n_cells >= 300)
    True
    """
    points = _jittered_lattice(max(4, round(n_cells / CELLS_PER_JUNCTION)), rng)
    tail, head = _gabriel_roads(points)
    road, first, position = _cut_into_cells(points, tail, head, n_cells, cell_km)
    away = np.linalg.norm(position, axis=1)
    centrality = np.clip(1 - away / away.max(), 0, 1)
    ramps = np.flatnonzero(rng.random(len(road)) < 1 / CELLS_PER_RAMP)
    ramps = np.union1d(ramps, first)  # every road has one, so that no corner is without traffic
    exit_share = np.zeros(len(road))
    exit_share[ramps] = rng.uniform(0.15, 0.35, len(ramps))
    last = np.append(first[1:], len(road)) - 1
    turn_from, turn_to, straight, inward = _turns(points, tail, head, rng)
    inside = np.setdiff1d(np.arange(len(road)), last)
    source = np.concatenate([inside, last[turn_from], ramps])
    target = np.concatenate([inside + 1, first[turn_to], np.full(len(ramps), OUTSIDE)])
    order = np.argsort(source, kind="stable")
    stays = source[: len(inside) + len(turn_from)]

    def shares(direction: float) -> Floats:  # 1 towards the centre, -1 away from it
        leaving = exit_share * (1 + direction * (2 * centrality - 1) * 0.6)
        weight = straight * np.exp(direction * CENTRE_PREFERENCE * inward)
        turning = weight / np.bincount(turn_from, weight)[turn_from]
        staying = np.concatenate([np.ones(len(inside)), turning]) * (1 - leaving[stays])
        return np.concatenate([staying, leaving[ramps]])[order]

    movements = Movements(
        n_cells=len(road), source=source[order], target=target[order], entries=ramps
    )
    return RoadNetwork(
        movements=movements,
        inbound_share=shares(1.0),
        outbound_share=shares(-1.0),
        road=road,
        position_km=position,
        centrality=centrality,
    )


def _cut_into_cells(
    points: Floats, tail: Ints, head: Ints, n_cells: int, cell_km: float
) -> tuple[Ints, Ints, Floats]:
    """(C,) road of each cell, (W,) first cell of each road, (C, 2) position of the cells, km."""
    length = np.linalg.norm(points[head] - points[tail], axis=1)
    # Roads are as long as it takes for their cells to reach n_cells; at least two cells each.
    cells_per_unit = n_cells / length.sum()
    while np.maximum(2, np.rint(length * cells_per_unit)).sum() < n_cells:
        cells_per_unit *= 1.02
    n_of_road = np.maximum(2, np.rint(length * cells_per_unit)).astype(np.int64)
    road = np.repeat(np.arange(len(tail)), n_of_road)
    first = np.cumsum(n_of_road) - n_of_road
    along = (np.arange(len(road)) - first[road] + 0.5) / n_of_road[road]
    position: Floats = (
        points[tail][road] + along[:, None] * (points[head] - points[tail])[road]
    ) * (cells_per_unit * cell_km)
    return road, first, position


def _jittered_lattice(n_points: int, rng: np.random.Generator) -> Floats:
    """(J, 2) points about one unit apart, the n_points of a lattice nearest its centre."""
    side = int(np.ceil(np.sqrt(n_points)))
    lattice = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    points = lattice - (side - 1) / 2 + rng.uniform(-0.35, 0.35, (side * side, 2))
    nearest = np.argsort(np.linalg.norm(points, axis=1))[:n_points]
    chosen: Floats = points[nearest]
    return chosen


def _gabriel_roads(points: Floats) -> tuple[Ints, Ints]:
    """(W,) tail and head junctions of the one-way roads; both directions of a road."""
    triangles = Delaunay(points).simplices
    pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [0, 2]]])
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    ends = points[pairs]  # (pairs, 2, 2)
    radius = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1) / 2
    nearest, _ = cKDTree(points).query(ends.mean(axis=1))
    kept = pairs[nearest >= radius * (1 - 1e-9)].astype(np.int64)
    return np.concatenate([kept[:, 0], kept[:, 1]]), np.concatenate([kept[:, 1], kept[:, 0]])


def _turns(
    points: Floats, tail: Ints, head: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints, Floats, Floats]:
    """Roads that follow one another, the weight of each turn, and how much it leads inwards."""
    n_roads, ones = len(tail), np.ones(len(tail))
    ends_at = csr_array((ones, (np.arange(n_roads), head)), shape=(n_roads, len(points)))
    starts_at = csr_array((ones, (tail, np.arange(n_roads))), shape=(len(points), n_roads))
    follows = (ends_at @ starts_at).tocoo()
    here, there = follows.row.astype(np.int64), follows.col.astype(np.int64)
    back = head[there] == tail[here]
    dead_end = np.bincount(tail, minlength=len(points))[head[here]] == 1
    allowed = ~back | dead_end  # U-turns at dead ends only
    here, there = here[allowed], there[allowed]
    heading = points[head] - points[tail]
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    bend = (heading[here] * heading[there]).sum(axis=1)  # cosine of the change of direction
    weight = np.exp(TURN_PREFERENCE * bend) * rng.uniform(0.6, 1.4, len(here))
    to_centre = -points[tail][there]
    to_centre /= np.maximum(np.linalg.norm(to_centre, axis=1, keepdims=True), 1e-9)
    return here, there, weight, (heading[there] * to_centre).sum(axis=1)


def downstream_sensors(movements: Movements, sensors: Ints) -> tuple[Ints, Ints, Ints]:
    """Return which sensors are met next when driving on from each sensor.

    Parameters
    ----------
    movements : Movements
        The network.
    sensors : numpy.ndarray
        (N,) cells with a sensor.

    Returns
    -------
    source, target : numpy.ndarray
        (edges,) positions in ``sensors``, upstream and downstream.
    cells : numpy.ndarray
        (edges,) shortest driving distance between the two, in cells.

    Examples
    --------
    >>> road = Movements(n_cells=5, source=np.arange(5), target=np.array([1, 2, 3, 4, OUTSIDE]),
    ...                  entries=np.array([0]))
    >>> [found.tolist() for found in downstream_sensors(road, np.array([0, 3]))]
    [[0], [1], [3]]
    """
    inside = movements.target != OUTSIDE
    source, target = movements.source[inside], movements.target[inside]
    starts = np.searchsorted(source, np.arange(movements.n_cells + 1))
    sensor_of = dict(zip(sensors.tolist(), range(len(sensors)), strict=True))
    edges: list[tuple[int, int, int]] = []
    for sensor, cell in enumerate(sensors.tolist()):
        seen, queue = {cell}, deque([(cell, 0)])
        while queue:  # breadth first: the first visit is the shortest way
            here, distance = queue.popleft()
            for there in target[starts[here] : starts[here + 1]].tolist():
                if there in seen:
                    continue
                seen.add(there)
                if there in sensor_of:
                    edges.append((sensor, sensor_of[there], distance + 1))
                else:
                    queue.append((there, distance + 1))
    table = np.array(edges, dtype=np.int64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]

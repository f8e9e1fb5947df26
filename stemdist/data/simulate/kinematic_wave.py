"""The kinematic-wave model of traffic on a road network, by cell transmission.

Shapes: C cells, E movements (cell to cell, or cell to outside), R entries (on-ramps).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stemdist.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

OUTSIDE = -1
_TINY = 1e-300  # keeps 0 / 0 (no demand for a cell) from being a NaN


@dataclass(frozen=True, kw_only=True)
class Movements:
    """Connections between cells, and the cells that on-ramps feed.

    Parameters
    ----------
    n_cells : int
        Number of cells, C.
    source : numpy.ndarray
        (E,) cell that a movement leaves; sorted, every cell at least once.
    target : numpy.ndarray
        (E,) cell that it enters, or ``OUTSIDE`` (-1) where it leaves the network.
    entries : numpy.ndarray
        (R,) cells that an on-ramp feeds.
    """

    n_cells: int
    source: Ints
    target: Ints
    entries: Ints

    def __post_init__(self) -> None:
        leaving = np.unique(self.source)
        if not np.array_equal(leaving, np.arange(self.n_cells)):
            stuck = np.setdiff1d(np.arange(self.n_cells), leaving)
            raise InputError(
                f"cells {stuck[:5].tolist()} have no movement that leaves them: give each cell "
                f"a target, {OUTSIDE} for out of the network"
            )
        if np.any(np.diff(self.source) < 0):
            raise InputError("source of the movements is not sorted: sort source and target by it")


@dataclass(frozen=True, kw_only=True)
class FundamentalDiagram:
    """Relation of flow q and density k: free up to the critical density, then jammed.

    ``q(k) = v k (1 - a k / k_c)`` below the critical density ``k_c = Q / (v (1 - a))`` and
    ``w (k_jam - k)`` above it (Smulders, *Transp. Res. B* 24, 1990); a triangle for a = 0.

    Parameters
    ----------
    free_km_h : numpy.ndarray
        (C,) free-flow speed v, km/h.
    capacity_per_h : numpy.ndarray
        (C,) capacity Q, vehicles/h over all lanes.
    jam_per_km : numpy.ndarray
        (C,) jam density, vehicles/km over all lanes.
    slowing : float
        Share a of the free-flow speed that is lost at capacity, 0 to 0.5.
    """

    free_km_h: Floats
    capacity_per_h: Floats
    jam_per_km: Floats
    slowing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.slowing <= 0.5:
            raise InputError(
                f"slowing is {self.slowing!r}: it must be between 0 and 0.5, beyond which more "
                "vehicles would mean less flow before the critical density"
            )

    @property
    def critical_per_km(self) -> Floats:
        """(C,) density k_c of greatest flow, vehicles/km."""
        return self.capacity_per_h / (self.free_km_h * (1 - self.slowing))

    @property
    def wave_km_h(self) -> Floats:
        """(C,) speed w at which a jam moves upstream: ``Q / (k_jam - k_c)``."""
        return self.capacity_per_h / (self.jam_per_km - self.critical_per_km)


class CellTransmission:
    r"""Godunov scheme for :math:`\partial_t k + \partial_x q(k) = 0` on a network.

    Per step of length dt every cell can send ``S = q(min(k, k_c)) dt`` vehicles and receive
    ``R = min(Q, w (k_jam - k)) dt``. The demand of movement e from cell i is ``share_e S_i``. A
    cell j with a total demand D_j above R_j admits the fraction ``a_j = R_j / D_j`` of each
    demand (fair merge). At a diverge each movement has its own lanes, so that a jam on one does
    not block the others; with strict first in, first out a network with loops ends in permanent
    gridlock. Vehicles are conserved to round-off. On-ramps are queues that merge in the same
    way; the outside has unlimited capacity.

    Sources: Lighthill & Whitham (1955); Richards (1956); Daganzo, *Transp. Res. B* 28 (1994)
    eq. 3-5 and 29 (1995) for networks; Jin & Zhang, *Transp. Sci.* 37 (2003) for the fair merge.

    Parameters
    ----------
    movements : Movements
        The network.
    diagram : FundamentalDiagram
        Its fundamental diagram.
    cell_km : float
        Length of a cell, km.
    step_s : float
        Length of a step, s. The scheme needs ``v dt <= cell length`` (CFL).
    entry_capacity_per_h : numpy.ndarray
        (R,) vehicles/h that an on-ramp's queue can release.

    Examples
    --------
    A closed ring of four cells keeps its vehicles:

    >>> ring = Movements(n_cells=4, source=np.arange(4), target=np.array([1, 2, 3, 0]),
    ...                  entries=np.array([], dtype=int))
    >>> road = FundamentalDiagram(free_km_h=np.full(4, 100.0), capacity_per_h=np.full(4, 2000.0),
    ...                           jam_per_km=np.full(4, 120.0))
    >>> model = CellTransmission(ring, road, cell_km=0.5, step_s=18.0,
    ...                          entry_capacity_per_h=np.array([]))
    >>> model.vehicles[:4] = [50.0, 0.0, 0.0, 0.0]
    >>> flow, speed = model.advance(np.ones(4), np.array([]), n_steps=100)
    >>> float(round(model.vehicles.sum(), 9))
    50.0
    """

    def __init__(
        self,
        movements: Movements,
        diagram: FundamentalDiagram,
        *,
        cell_km: float,
        step_s: float,
        entry_capacity_per_h: Floats,
    ) -> None:
        hours = step_s / 3600
        fastest = float(max(diagram.free_km_h.max(), diagram.wave_km_h.max()))
        if fastest * hours > cell_km * (1 + 1e-9):
            raise InputError(
                f"a step of {step_s:g} s is too long for cells of {cell_km:g} km: at "
                f"{fastest:g} km/h the longest stable step is {cell_km / fastest * 3600:.3g} s"
            )
        self._n_cells, self._hours, self._cell_km = movements.n_cells, hours, cell_km
        self._free = diagram.free_km_h
        n_entries = len(movements.entries)
        self._sink = movements.n_cells + n_entries
        # States are cells, on-ramp queues, then outside: one rule serves all three.
        self.vehicles = np.zeros(self._sink + 1)
        ramps = np.arange(movements.n_cells, self._sink)
        self._source = np.concatenate([movements.source, ramps])
        target = np.where(movements.target == OUTSIDE, self._sink, movements.target)
        self._target = np.concatenate([target, movements.entries])
        unbounded = np.full(n_entries + 1, np.inf)
        self._release = np.concatenate([diagram.free_km_h * hours / cell_km, np.ones(n_entries)])
        critical = diagram.critical_per_km * cell_km
        self._critical = np.concatenate([critical, unbounded[:-1]])
        self._slowing = np.concatenate([diagram.slowing / critical, np.zeros(n_entries)])
        self._room = np.concatenate([diagram.wave_km_h * hours / cell_km, np.ones(n_entries + 1)])
        self._jam = np.concatenate([diagram.jam_per_km * cell_km, unbounded])
        limits: list[Floats] = [
            diagram.capacity_per_h * hours,
            entry_capacity_per_h * hours,
            unbounded[:1],
        ]
        self._capacity = np.concatenate(limits)
        self.share = np.ones(len(movements.source))

    def advance(self, open_share: Floats, inflow: Floats, *, n_steps: int) -> tuple[Floats, Floats]:
        """Advance by ``n_steps`` steps and return mean flows and speeds.

        Parameters
        ----------
        open_share : numpy.ndarray
            (C,) share of the capacity that is open; below 1 during an incident.
        inflow : numpy.ndarray
            (R,) vehicles that join each on-ramp queue per step.
        n_steps : int
            Number of steps.

        Returns
        -------
        flow : numpy.ndarray
            (C,) mean flow out of each cell, vehicles/h.
        speed : numpy.ndarray
            (C,) space-mean speed, km/h: distance travelled over time spent (Edie, 1963);
            the free-flow speed where there were no vehicles.
        """
        cells, sink = self._n_cells, self._sink
        capacity = self._capacity.copy()
        capacity[:cells] *= open_share
        share = np.concatenate([self.share, np.ones(sink - cells)])
        left, present = np.zeros(sink), np.zeros(cells)
        vehicles, queues = self.vehicles, self.vehicles[cells:sink]
        for _ in range(n_steps):
            queues += inflow
            present += vehicles[:cells]
            left += self._move(vehicles, capacity, share)
        hours = n_steps * self._hours
        flow = left[:cells] / hours
        density = present / (n_steps * self._cell_km)
        speed = np.where(density > 1e-6, flow / np.maximum(density, 1e-6), self._free)
        return flow, np.minimum(speed, self._free)

    def _move(self, vehicles: Floats, capacity: Floats, share: Floats) -> Floats:
        sink = self._sink
        freely = np.minimum(vehicles[:sink], self._critical)
        sending = freely * self._release * (1 - freely * self._slowing)
        sending = np.minimum(sending, capacity[:sink])
        receiving = np.minimum((self._jam - vehicles) * self._room, capacity)
        wanted = sending[self._source] * share  # (E + R,)
        demand = np.bincount(self._target, wanted, sink + 1)
        admitted = np.minimum(receiving / (demand + _TINY), 1.0)
        moved = wanted * admitted[self._target]
        left = np.bincount(self._source, moved, sink).astype(np.float64, copy=False)  # (C + R,)
        vehicles += np.bincount(self._target, moved, sink + 1)
        vehicles[:sink] -= left
        return left


def steady_flow(movements: Movements, share: Floats, inflow: Floats) -> Floats:
    """Return the steady flow for a constant inflow and unlimited capacity.

    Solves ``q = P^T q + d``, where P holds the shares and d the on-ramps' inflow.

    Parameters
    ----------
    movements : Movements
        The network.
    share : numpy.ndarray
        (E,) share of a cell's outflow that takes each movement.
    inflow : numpy.ndarray
        (R,) inflow of each on-ramp, vehicles/h.

    Returns
    -------
    numpy.ndarray
        (C,) flow, vehicles/h.
    """
    from scipy.sparse import csc_array, eye_array
    from scipy.sparse.linalg import spsolve

    stays = movements.target != OUTSIDE
    places = (movements.target[stays], movements.source[stays])
    size = (movements.n_cells, movements.n_cells)
    passed_on = csc_array((share[stays], places), shape=size)
    entering = np.bincount(movements.entries, inflow, movements.n_cells)
    solved: Any = spsolve(csc_array(eye_array(movements.n_cells) - passed_on), entering)
    return np.asarray(solved, dtype=np.float64)

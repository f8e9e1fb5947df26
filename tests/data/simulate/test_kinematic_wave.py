"""The cell-transmission model against conservation laws and hand-derived waves."""

from __future__ import annotations

import numpy as np
import pytest

from stemdist.data.simulate.kinematic_wave import (
    OUTSIDE,
    CellTransmission,
    FundamentalDiagram,
    Movements,
    steady_flow,
)
from stemdist.data.simulate.road_network import downstream_sensors, random_road_network
from stemdist.errors import InputError

NONE = np.array([], dtype=np.int64)


def diagram(n_cells, slowing=0.0):
    return FundamentalDiagram(
        free_km_h=np.full(n_cells, 100.0),
        capacity_per_h=np.full(n_cells, 2000.0),
        jam_per_km=np.full(n_cells, 120.0),
        slowing=slowing,
    )


def straight(n_cells, entries=NONE):
    target = np.append(np.arange(1, n_cells), OUTSIDE)
    return Movements(n_cells=n_cells, source=np.arange(n_cells), target=target, entries=entries)


def model_of(movements, *, step_s=18.0, slowing=0.0):
    return CellTransmission(
        movements,
        diagram(movements.n_cells, slowing),
        cell_km=0.5,
        step_s=step_s,
        entry_capacity_per_h=np.full(len(movements.entries), 2000.0),
    )


@pytest.mark.parametrize("slowing", [0.0, 0.2])
def test_vehicles_on_a_closed_network_are_conserved(slowing):
    network = random_road_network(200, 0.5, np.random.default_rng(3))
    inside = network.movements.target != OUTSIDE  # close every off-ramp
    movements = Movements(
        n_cells=network.movements.n_cells,
        source=network.movements.source[inside],
        target=network.movements.target[inside],
        entries=NONE,
    )
    model = model_of(movements, slowing=slowing)
    share = network.inbound_share[inside]
    model.share = share / np.bincount(movements.source, share)[movements.source]
    start = np.random.default_rng(0).uniform(0, 60, movements.n_cells)
    model.vehicles[: movements.n_cells] = start
    model.advance(np.ones(movements.n_cells), np.array([]), n_steps=2000)
    assert model.vehicles.sum() == pytest.approx(start.sum(), rel=1e-9)
    assert model.vehicles[-1] == 0
    assert model.vehicles.min() >= 0
    assert model.vehicles[: movements.n_cells].max() <= 60 * (1 + 1e-12)
    assert np.abs(model.vehicles[: movements.n_cells] - start).max() > 1  # they did drive


def test_what_came_in_is_out_queued_or_on_the_road():
    network = random_road_network(150, 0.5, np.random.default_rng(1))
    movements = network.movements
    model = model_of(movements)
    model.share = network.outbound_share
    inflow = np.full(len(movements.entries), 3.0)
    for open_share in (1.0, 0.3, 1.0):
        model.advance(np.full(movements.n_cells, open_share), inflow, n_steps=300)
    assert model.vehicles.sum() == pytest.approx(3 * 300 * inflow.sum(), rel=1e-9)
    assert model.vehicles[-1] > 0


def test_free_traffic_arrives_after_length_over_speed():
    # 20 cells of 0.5 km at 100 km/h: 18 s each, so the platoon leaves in step 20 exactly.
    model = model_of(straight(20))
    model.vehicles[0] = 5.0
    model.advance(np.ones(20), np.array([]), n_steps=19)
    assert model.vehicles[19] == pytest.approx(5.0)
    model.advance(np.ones(20), np.array([]), n_steps=1)
    assert model.vehicles[-1] == pytest.approx(5.0)


def test_the_tail_of_a_queue_moves_with_the_rankine_hugoniot_speed():
    # Arrivals: q1 = 1200 /h, k1 = 12 /km. The end lets 500 /h through: behind it
    # w = 2000 / (120 - 20) = 20 km/h, so k2 = 120 - 500 / 20 = 95 /km and the shock moves at
    # (q2 - q1) / (k2 - k1) = -700 / 83 = -8.434 km/h.
    n_cells, cell_km = 200, 0.5
    model = model_of(straight(n_cells, np.array([0])))
    model.vehicles[:n_cells] = 12 * cell_km
    open_share = np.ones(n_cells)
    open_share[-1] = 500 / 2000
    inflow = np.array([1200 * 18 / 3600])
    excess = []
    for _ in range(2):
        model.advance(open_share, inflow, n_steps=400)  # 2 h each
        jammed = model.vehicles[:n_cells] / cell_km - 12
        excess.append(jammed.sum() * cell_km / (95 - 12))  # length of the queue, km
    assert (excess[1] - excess[0]) / 2 == pytest.approx(700 / 83, rel=1e-3)
    density = model.vehicles[:n_cells] / cell_km
    assert density[-20:-1] == pytest.approx(95, rel=1e-6)
    assert density[10:40] == pytest.approx(12, rel=1e-9)


def test_detectors_see_flow_and_speed_of_steady_traffic():
    model = model_of(straight(10, np.array([0])))
    inflow = np.array([5.0])  # 1000 vehicles/h
    model.advance(np.ones(10), inflow, n_steps=50)
    flow, speed = model.advance(np.ones(10), inflow, n_steps=10)
    assert flow == pytest.approx(1000.0)
    assert speed == pytest.approx(100.0)


def test_drivers_slow_down_towards_capacity():
    # q = 100 k (1 - 0.2 k / k_c) with k_c = 2000 / 80 = 25: at k = 25 the speed is 80 km/h.
    model = model_of(straight(40, np.array([0])), slowing=0.2)
    inflow = np.array([10.0])  # 2000 vehicles/h, the capacity
    model.advance(np.ones(40), inflow, n_steps=3000)
    flow, speed = model.advance(np.ones(40), inflow, n_steps=10)
    assert flow[:5] == pytest.approx(2000.0, rel=1e-3)
    assert speed[1:5] == pytest.approx(80.0, rel=0.02)


def test_steady_flow_is_where_light_traffic_settles():
    network = random_road_network(150, 0.5, np.random.default_rng(5))
    movements = network.movements
    model = model_of(movements)
    model.share = network.inbound_share
    inflow = np.full(len(movements.entries), 0.1)
    model.advance(np.ones(movements.n_cells), inflow, n_steps=5000)
    flow, _ = model.advance(np.ones(movements.n_cells), inflow, n_steps=5)
    planned = steady_flow(movements, network.inbound_share, inflow * 200)  # 200 steps per hour
    assert flow == pytest.approx(planned, rel=1e-6)


def test_network_shares_sum_to_one_and_roads_are_strongly_connected():
    network = random_road_network(400, 0.8, np.random.default_rng(2))
    movements = network.movements
    assert movements.n_cells >= 400
    for share in (network.inbound_share, network.outbound_share):
        assert np.bincount(movements.source, share) == pytest.approx(1.0)
        assert share.min() > 0
    sensors = np.arange(0, movements.n_cells, 3)
    source, target, cells = downstream_sensors(movements, sensors)
    assert set(source) == set(target) == set(range(len(sensors)))
    assert cells.min() >= 1


def test_an_unstable_step_is_refused():
    with pytest.raises(
        InputError, match=r"step of 20 s is too long .* longest stable step is 18 s"
    ):
        model_of(straight(3), step_s=20.0)


def test_a_cell_without_a_way_out_is_refused():
    with pytest.raises(InputError, match=r"cells \[1\] have no movement"):
        Movements(n_cells=2, source=np.array([0]), target=np.array([1]), entries=NONE)


def test_unsorted_movements_are_refused():
    with pytest.raises(InputError, match="not sorted"):
        Movements(n_cells=2, source=np.array([1, 0]), target=np.array([0, 1]), entries=NONE)


def test_an_impossible_slowing_is_refused():
    with pytest.raises(InputError, match=r"slowing is 0\.7"):
        diagram(2, slowing=0.7)

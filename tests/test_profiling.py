from __future__ import annotations

import time

import numpy as np
import pytest

from stemdist.profiling import measure, resident_bytes

pytestmark = pytest.mark.skipif(resident_bytes() == 0, reason="needs /proc")
MIB = 2**20


def test_peak_of_memory_that_is_freed_again():
    with measure() as cost:
        block = np.ones(40 * MIB, dtype=np.uint8)
        time.sleep(0.05)
        del block
    assert 38 * MIB < cost.added_memory_bytes < 80 * MIB
    assert cost.peak_memory_bytes >= cost.added_memory_bytes
    assert cost.peak_device_bytes == 0


def test_blocks_nest_and_a_later_one_forgets_the_earlier_peak():
    with measure() as outer:
        with measure() as first:
            block = np.ones(60 * MIB, dtype=np.uint8)
            time.sleep(0.05)
            del block
        with measure() as second:
            time.sleep(0.03)
    assert first.added_memory_bytes > 55 * MIB
    assert second.added_memory_bytes < 20 * MIB
    assert outer.peak_memory_bytes >= first.peak_memory_bytes
    assert outer.wall_seconds >= first.wall_seconds + second.wall_seconds


def test_sleep_costs_wall_time_but_no_processor_time():
    with measure() as cost:
        time.sleep(0.1)
    assert cost.wall_seconds >= 0.1
    assert cost.cpu_seconds < 0.09


def test_filled_in_when_the_block_fails():
    costs = []

    def work():
        with measure() as cost:
            costs.append(cost)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert costs[0].wall_seconds > 0

"""Random subsets: partitions, neighbourhoods, weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.graph import random_locations, random_partition, subset_weights

RING = Data(edge_index=torch.stack([torch.arange(6), (torch.arange(6) + 1) % 6]), num_nodes=6)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@given(n=st.integers(1, 60), share=st.floats(0, 1), seed=st.integers(0, 9))
def test_a_partition_covers_everything_once(n, share, seed):
    count = 1 + int(share * (n - 1))
    parts = random_partition(n, count, seeded(seed))
    assert sorted(torch.cat(parts).tolist()) == list(range(n))
    sizes = [len(part) for part in parts]
    assert len(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    again = random_partition(n, count, seeded(seed))
    assert all(a.equal(b) for a, b in zip(parts, again, strict=True))


def test_partitions_differ_from_draw_to_draw():
    generator = seeded()
    first, second = (torch.cat(random_partition(40, 4, generator)) for _ in range(2))
    assert not first.equal(second)


def test_random_locations_with_neighbours():
    drawn = random_locations(RING, 2, seeded())
    assert len(set(drawn.tolist())) == 2
    more = random_locations(RING, 2, seeded(), with_neighbours=True)
    assert more[:2].equal(drawn)
    before = {(i - 1) % 6 for i in drawn.tolist()}
    assert more[2:].tolist() == sorted(before - set(drawn.tolist()))
    assert sorted(random_locations(RING, 6, seeded(), with_neighbours=True).tolist()) == [*range(6)]


def test_weights_by_hand():
    weights = subset_weights(torch.tensor([1, 2, 5]))
    torch.testing.assert_close(weights, torch.tensor([3 / 8, 6 / 8, 15 / 8]))
    assert subset_weights(torch.tensor([7])).tolist() == [1.0]
    assert subset_weights(torch.tensor([4.0, 4.0]).double()).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: random_partition(3, 4), "n_subsets is 4, but there are only 3"),
        (lambda: random_partition(3, 0), "n_subsets is 0"),
        (lambda: random_locations(RING, 7), "has only 6 locations"),
        (lambda: random_locations(RING, 0), "size is 0"),
        (lambda: subset_weights(torch.tensor([-1, 3])), "no negative number"),
        (lambda: subset_weights(torch.tensor([0, 0])), "one at least has some"),
    ],
)
def test_errors(call, message):
    with pytest.raises(InputError, match=message):
        call()

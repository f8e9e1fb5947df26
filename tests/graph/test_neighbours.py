"""Neighbour means against a dense product, and their derivatives."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.graph import connectivity, neighbour_mean, neighbour_operator


def random_graph(size=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    dense = torch.rand(size, size, generator=generator, dtype=torch.float64)
    dense = dense * (dense > 0.6) * (1 - torch.eye(size))
    dense[:, 3] = 0  # nothing flows into location 3
    source, target = dense.nonzero().T
    graph = Data(
        edge_index=torch.stack([source, target]),
        edge_weight=dense[source, target],
        num_nodes=size,
    )
    operator = dense.T / dense.sum(0)[:, None].clamp(min=1e-30)
    alone = dense.sum(0) == 0
    operator[alone, alone] = 1
    return graph, operator


def test_by_hand():
    graph = Data(
        edge_index=torch.tensor([[0, 1], [2, 2]]),
        edge_weight=torch.tensor([1.0, 3.0]),
        num_nodes=3,
    )
    mean = neighbour_mean(torch.tensor([[4.0], [8.0], [1.0]]), graph)
    assert mean.tolist() == [[4.0], [8.0], [7.0]]


@pytest.mark.parametrize("lead", [(), (2,), (2, 5)])
def test_equals_dense(lead):
    graph, operator = random_graph()
    x = torch.randn(*lead, 9, 3, dtype=torch.float64)
    torch.testing.assert_close(neighbour_mean(x, graph), operator @ x)
    prepared = neighbour_operator(graph, dtype=x.dtype)
    torch.testing.assert_close(neighbour_mean(x, prepared), operator @ x)


def test_first_and_second_derivatives():
    graph, _ = random_graph()
    x = torch.randn(2, 9, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: neighbour_mean(x**3, graph), x)
    assert torch.autograd.gradgradcheck(lambda x: neighbour_mean(x**3, graph), x)


def test_zero_weights_and_no_edges_leave_values_alone():
    x = torch.randn(2, 3)
    none = torch.zeros(2, 0, dtype=torch.int64)
    assert neighbour_mean(x, Data(edge_index=none, num_nodes=2)).equal(x)
    zero = Data(edge_index=torch.tensor([[0], [1]]), edge_weight=torch.zeros(1), num_nodes=2)
    assert neighbour_mean(x, zero).equal(x)


def test_other_sizes_are_refused():
    graph, _ = random_graph()
    with pytest.raises(InputError, match=r"shape \(4, 8, 1\), but the graph has 9 locations"):
        neighbour_mean(torch.zeros(4, 8, 1), graph)


def test_connectivity_is_symmetric():
    graph, operator = random_graph()
    touching = connectivity(graph).toarray()
    assert (touching == touching.T).all()
    assert ((operator.numpy() > 0) <= (touching + (operator.numpy() == 1) > 0)).all()

"""Coarse graphs and subgraphs with numbers made by hand."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.graph import coarsen_graph, subgraph


def graph_of_five(**extra):
    edge_index = torch.tensor([[0, 1, 1, 2, 3, 4, 0], [1, 0, 2, 3, 2, 0, 3]])
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    return Data(edge_index=edge_index, edge_weight=weight, num_nodes=5, **extra)


LABELS = torch.tensor([0, 0, 1, 1, 2])


def as_dict(graph):
    pairs = map(tuple, graph.edge_index.T.tolist())
    return dict(zip(pairs, graph.edge_weight.tolist(), strict=True))


def test_weights_between_clusters_are_summed():
    coarse = coarsen_graph(graph_of_five(), LABELS, 3)
    assert as_dict(coarse) == {(0, 1): 3.0 + 7.0, (2, 0): 6.0}
    assert coarse.num_nodes == 3


def test_self_loops_hold_the_weight_inside():
    coarse = coarsen_graph(graph_of_five(), LABELS, 3, self_loops=True)
    assert as_dict(coarse) == {(0, 0): 3.0, (1, 1): 9.0, (0, 1): 10.0, (2, 0): 6.0}


def test_positions_are_averaged():
    pos = torch.tensor([[0.0, 0.0], [2.0, 4.0], [1.0, 1.0], [3.0, 1.0], [9.0, 9.0]])
    graph = graph_of_five(pos=pos, coordinates="x y", method="knn")
    coarse = coarsen_graph(graph, LABELS, 3)
    assert coarse.pos.tolist() == [[1.0, 2.0], [2.0, 1.0], [9.0, 9.0]]
    assert (coarse.coordinates, coarse.method) == ("x y", "knn")


def test_degrees_are_averaged_across_the_date_line():
    pos = torch.tensor([[0.0, 179.0], [0.0, -177.0], [10.0, 5.0], [20.0, 5.0], [-30.0, -60.0]])
    coarse = coarsen_graph(graph_of_five(pos=pos, coordinates="lat lon"), LABELS, 3)
    expected = torch.tensor([[0.0, -179.0], [15.0, 5.0], [-30.0, -60.0]])
    torch.testing.assert_close(coarse.pos, expected, atol=1e-4, rtol=0)


def test_limiting_cases():
    graph = graph_of_five()
    same = coarsen_graph(graph, torch.arange(5), 5)
    assert as_dict(same) == as_dict(graph)
    assert coarsen_graph(graph, torch.zeros(5), 1).num_edges == 0
    total = coarsen_graph(graph, torch.zeros(5), 1, self_loops=True)
    assert as_dict(total) == {(0, 0): 28.0}


@pytest.mark.parametrize(
    ("labels", "count", "message"),
    [
        ([0, 1], 2, r"labels has the shape \(2,\), but the graph has 5"),
        ([0, 0, 0, 0, 3], 3, "between 0 and 2"),
        ([0, 0, 0, 0, 2], 3, "cluster 1 has no location"),
        ([0] * 5, 0, "n_clusters is 0"),
    ],
)
def test_labels_that_do_not_fit(labels, count, message):
    with pytest.raises(InputError, match=message):
        coarsen_graph(graph_of_five(), torch.tensor(labels), count)


def test_subgraph_is_numbered_by_the_index():
    pos = torch.arange(10.0).reshape(5, 2)
    part = subgraph(graph_of_five(pos=pos, method="grid"), torch.tensor([3, 0, 2]))
    assert as_dict(part) == {(2, 0): 4.0, (0, 2): 5.0, (1, 0): 7.0}
    assert part.pos.tolist() == [[6.0, 7.0], [0.0, 1.0], [4.0, 5.0]]
    assert (part.num_nodes, part.method) == (3, "grid")
    assert subgraph(graph_of_five(), torch.tensor([], dtype=torch.int64)).num_nodes == 0


def test_cells_stay_with_locations_and_are_lost_with_clusters():
    cell = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1], [2, 0]])
    assert subgraph(graph_of_five(cell=cell), torch.tensor([4, 1])).cell.tolist() == [
        [2, 0],
        [0, 1],
    ]
    assert "cell" not in subgraph(graph_of_five(), torch.tensor([4, 1]))
    assert "cell" not in coarsen_graph(graph_of_five(cell=cell), LABELS, 3)


@pytest.mark.parametrize(
    ("index", "message"), [([0, 5], "the locations 0 to 4"), ([1, 1], "names a location twice")]
)
def test_subgraph_errors(index, message):
    with pytest.raises(InputError, match=message):
        subgraph(graph_of_five(), torch.tensor(index))

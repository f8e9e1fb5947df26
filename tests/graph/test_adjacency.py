"""Graphs that come in files, and files that cannot be used."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import torch
import xarray as xr

from stemdist.errors import InputError
from stemdist.graph import GraphSettings, build_graph

MATRIX = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.25], [0.0, 0.0, 1.0]])


def graph_of(path, ids=(10, 20, 30)):
    values = np.zeros((2, len(ids)))
    series = xr.Dataset({"v": (("time", "location"), values)}, coords={"location": list(ids)})
    return build_graph(series, GraphSettings(method="adjacency", file=str(path)))


def written(path, how):
    if how == "csv":
        np.savetxt(path / "a.csv", MATRIX, delimiter=",")
    elif how == "list":
        (path / "a.csv").write_text("source,target,weight\n20,30,0.25\n10,20,0.5\n10,10,1\n")
    elif how == "npz":
        np.savez(path / "a.npz", adjacency=MATRIX)
    elif how == "npy":
        np.save(path / "a.npy", MATRIX)
    else:
        sp.save_npz(path / "a.npz", sp.csr_array(MATRIX))
    return next(path.glob("a.*"))


@pytest.mark.parametrize("how", ["csv", "list", "npz", "npy", "sparse"])
def test_every_format_gives_the_same_graph(tmp_path, how):
    graph = graph_of(written(tmp_path, how))
    assert graph.edge_index.tolist() == [[0, 1], [1, 2]]  # row -> column, no self loops
    assert graph.edge_weight.tolist() == [0.5, 0.25]
    assert graph.method == "adjacency"


def test_ids_may_be_text(tmp_path):
    (tmp_path / "a.csv").write_text("source,target,weight\nb,a,2\n")
    assert graph_of(tmp_path / "a.csv", ids=("a", "b")).edge_index.tolist() == [[1], [0]]


def test_one_location(tmp_path):
    (tmp_path / "a.csv").write_text("1\n")
    assert graph_of(tmp_path / "a.csv", ids=(1,)).num_edges == 0


def test_los_loop(real_data):
    matrix = np.loadtxt(real_data("los_adj.csv"), delimiter=",")
    graph = graph_of(real_data("los_adj.csv"), ids=range(207))
    assert graph.num_edges == np.count_nonzero(matrix) - 207
    dense = torch.sparse_coo_tensor(
        graph.edge_index, graph.edge_weight, (207, 207), check_invariants=True
    ).to_dense()
    np.fill_diagonal(matrix, 0)
    np.testing.assert_allclose(dense, matrix, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "1,0\n0,1\n", r"shape \(2, 2\), but the series has 3 locations"),
        ("a.csv", "1,0,0\n0,1,0\n0,-2,1\n", "negative or not numbers, the first is -2"),
        ("a.csv", "1,0,0\n0,1,0\n0,nan,1\n", "the first is nan"),
        ("a.csv", "a,b,c\n1,2,3\n", "matrix of numbers without a header"),
        ("a.csv", "source,target,weight\n10,99,1\n", "ids are not locations.*99.*look like 10"),
        ("a.csv", "source,target,weight\n10,,1\n", "an empty id"),
        ("a.csv", "source,target,cost\n10,20,1\n", "no column weight; it has source, target, c"),
        ("a.csv", "source,target,weight\n10,20,-1\n", "the first is -1"),
        ("a.csv", "source,target,weight\n10,20,x\n", "the first is nan"),
        ("a.csv", "source,target,weight\n10,20,1\n10,20,2\n", "given twice"),
        ("a.txt", "", r"read from \.csv, \.npz, \.npy, not '\.txt'"),
        ("a.npz", "no archive", "cannot read the adjacency"),
        ("a.npy", "", "cannot read the adjacency"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        graph_of(tmp_path / name)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="there is no adjacency file"):
        graph_of(tmp_path / "a.csv")


def test_two_arrays_are_one_too_many(tmp_path):
    np.savez(tmp_path / "a.npz", ids=np.arange(3), adjacency=MATRIX)
    with pytest.raises(InputError, match="holds the arrays ids, adjacency"):
        graph_of(tmp_path / "a.npz")


def test_pickles_are_not_opened(tmp_path):
    path = tmp_path / "adj_mx.pkl"
    path.write_bytes(pickle.dumps(MATRIX))
    with pytest.raises(InputError, match=r"is a pickle.*numpy\.savez\('adj_mx\.npz'"):
        graph_of(path)
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="allow_pickle=False"):
        graph_of(tmp_path / "a.npy")

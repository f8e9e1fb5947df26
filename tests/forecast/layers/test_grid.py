"""Locations to images and back, by hand and on a real grid."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch_geometric.data import Data

from stemdist.data import open_series
from stemdist.errors import InputError
from stemdist.forecast.layers.grid import Grid
from stemdist.forecast.layers.image_conv import ImageConv, enlarge
from stemdist.graph import GraphSettings, build_graph, subgraph

# Five locations in the cells a b c / d . e of a grid of 2 x 3, in mixed order: c e a d b.
CELLS = torch.tensor([[0, 2], [1, 2], [0, 0], [1, 0], [0, 1]])
GRAPH = Data(edge_index=torch.zeros(2, 0, dtype=torch.int64), num_nodes=5, cell=CELLS)


def test_scatter_by_hand():
    rows = torch.tensor([[[3.0, -3.0], [5.0, -5.0], [1.0, -1.0], [4.0, -4.0], [2.0, -2.0]]])
    values, negative, mask = Grid.of(GRAPH).scatter(torch.cat([rows, rows + 10]))[0]
    assert values.tolist() == [[1.0, 2.0, 3.0], [4.0, 0.0, 5.0]]
    assert negative.tolist() == (-values).tolist()
    assert mask.tolist() == [[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]]


def test_gather_by_hand():
    images = torch.arange(12.0).view(1, 2, 2, 3)
    expected = [[[2.0, 5.0, 0.0, 3.0, 1.0], [8.0, 11.0, 6.0, 9.0, 7.0]]]
    assert Grid.of(GRAPH).gather(images).tolist() == expected


def test_images_lie_in_memory_as_convolutions_like_them():
    images = Grid.of(GRAPH).scatter(torch.zeros(2, 5, 3))
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_gradients_go_to_the_locations_and_to_no_empty_cell():
    rows = torch.randn(1, 5, 2, dtype=torch.float64, requires_grad=True)
    grid = Grid.of(GRAPH)
    assert torch.autograd.gradcheck(grid.scatter, rows)
    assert torch.autograd.gradgradcheck(grid.scatter, rows)
    images = torch.randn(1, 2, 2, 3, requires_grad=True)
    grid.gather(images).sum().backward()
    assert images.grad[0, 0].tolist() == [[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]]


def test_some_locations_are_the_same_image_with_holes():
    rows = torch.randn(1, 5, 1)
    chosen = torch.tensor([1, 4])  # e and b
    image = Grid.of(subgraph(GRAPH, chosen)).scatter(rows[:, chosen])[0]
    whole = Grid.of(GRAPH).scatter(rows)[0]
    there = torch.tensor([[False, True, False], [False, False, True]])
    assert torch.equal(image, torch.where(there, whole, torch.zeros(())))


def test_the_image_ends_at_the_last_location():
    grid = Grid.of(subgraph(GRAPH, torch.tensor([4, 2])))
    assert (grid.height, grid.width) == (1, 2)


def test_no_grid():
    with pytest.raises(InputError, match="clusters of a distilled set and networks of sensors"):
        Grid.of(Data(edge_index=torch.zeros(2, 0, dtype=torch.int64), num_nodes=5))


def test_every_size_can_be_halved_and_doubled_again():
    for size in ((1, 1), (2, 3), (33, 49)):
        fine = torch.randn(2, 3, *size)
        half = ImageConv(3, 4, stride=2)(fine)
        assert half.shape[2:] == tuple(-(-length // 2) for length in size)
        row, column = (torch.arange(length) // 2 for length in size)
        assert torch.equal(enlarge(half, fine), half[:, :, row][..., column])


def test_nothing_enters_from_beyond_the_edges_but_zeros():
    convolution = ImageConv(1, 2, width=5)
    image = torch.randn(1, 1, 6, 7)
    wide = functional.pad(image, (2, 2, 2, 2))
    weight = convolution[0].weight
    expected = functional.conv2d(wide, weight, convolution[0].bias)
    torch.testing.assert_close(convolution[0](image), expected)


def test_era5_there_and_back(real_data):
    series = open_series(real_data("era5-2mt-2019-03-uk.nc"), recipe="era5-uk")
    grid = Grid.of(build_graph(series, GraphSettings()))
    assert (grid.height, grid.width) == (33, 49)
    values = torch.from_numpy(series["t2m"].values[:3])  # (3, N)
    images = grid.scatter(values[..., None])
    assert torch.equal(grid.gather(images)[:, 0], values)
    assert images[:, 1].all()
    # The file begins in the north, images in the south.
    assert torch.equal(images[:, 0].flip(1), values.view(3, 33, 49))

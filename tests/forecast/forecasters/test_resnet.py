"""The residual network: its block and forward written out, its reach, and its limiting cases."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.base import make_forecaster
from stemdist.forecast.layers.residual_conv import ResidualConv

SHAPE = {"lookback": 3, "horizon": 2, "n_features": 2}


def build(**options):
    torch.manual_seed(0)
    return make_forecaster("resnet", **{**SHAPE, "hidden": 6, "layers": 2, **options}).double()


def full_grid(height, width):
    cell = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    return Data(num_nodes=len(cell), cell=cell)


def without_norm(module):
    for inner in list(module.modules()):
        for name, child in list(inner.named_children()):
            if isinstance(child, nn.GroupNorm):
                setattr(inner, name, nn.Identity())
    return module


def changed(images, others):
    """First and last row, first and last column (inclusive) where images differ."""
    row, column = (images != others).any(1).any(0).nonzero().unbind(1)
    return row.min().item(), row.max().item(), column.min().item(), column.max().item()


def test_a_block_is_the_written_out_one():
    block, h = ResidualConv(4).double(), torch.randn(2, 4, 5, 3).double()
    conv, norm = block.inner[0], block.inner[1]
    assert conv.kernel_size == block.outer.kernel_size == (3, 3)
    inner = functional.conv2d(h, conv.weight, conv.bias, padding=1)
    inner = functional.silu(functional.group_norm(inner, 1, norm.weight, norm.bias))
    outer = functional.conv2d(inner, block.outer.weight, block.outer.bias, padding=1)
    outer = functional.group_norm(outer, 1, block.norm.weight, block.norm.bias)
    total = h + outer
    torch.testing.assert_close(block(h), total * total.sigmoid())


def test_a_block_whose_change_is_zero_is_its_activation():
    block = ResidualConv(4)
    nn.init.zeros_(block.norm.weight)
    h = torch.randn(2, 4, 5, 3)
    torch.testing.assert_close(block(h), functional.silu(h))


def test_the_forecaster_is_the_written_out_one():
    """Output channel 4 r + 2 i + j is row r at the cell (2 p + i, 2 q + j) of pixel (p, q)."""
    forecaster, graph = build(n_outputs=2), full_grid(3, 5)
    x, profile = torch.randn(2, 3, 15, 2).double(), torch.zeros(15, 6).double()
    rows = x.permute(0, 2, 1, 3).reshape(2, 15, 6)
    images = torch.cat([rows.mT.reshape(2, 6, 3, 5), torch.ones(2, 1, 3, 5)], dim=1)
    h = forecaster.start(images)
    for block in (*forecaster.encode, *forecaster.decode):
        h = block(h)
    made = forecaster.end(h)  # (2, 4 * 4, 2, 3)
    forecast = forecaster(x, graph, profile) - forecaster.linear(rows).mT
    for r, row, column in [(0, 0, 0), (1, 2, 3), (3, 1, 4), (2, 2, 2)]:
        channel = 4 * r + 2 * (row % 2) + column % 2
        expected = made[:, channel, row // 2, column // 2]
        torch.testing.assert_close(forecast[:, r, 5 * row + column], expected)


def test_without_its_last_convolution_it_is_a_linear_map_of_each_window():
    forecaster, graph = build(n_outputs=2), full_grid(3, 4)
    nn.init.zeros_(forecaster.end.weight)
    nn.init.zeros_(forecaster.end.bias)
    x, profile = torch.randn(2, 3, 12, 2).double(), torch.zeros(12, 6).double()
    weight = forecaster.linear.step_weight().view(4, 3, 2)  # (O * L_out, L_in, F)
    expected = torch.einsum("btnf,rtf->brn", x, weight)
    torch.testing.assert_close(forecaster(x, graph, profile), expected)


@pytest.mark.parametrize(("layers", "first", "last"), [(1, 12, 21), (2, 8, 25)])
def test_every_block_sees_four_cells_farther(layers, first, last):
    """Cell 16 is read by pixel 8 alone; each block carries it on by 2 pixels of 2 cells."""
    forecaster, graph = without_norm(build(layers=layers)), full_grid(40, 40)
    x = torch.zeros(1, 3, 40, 40, 2).double()
    poked = x.clone()
    poked[:, :, 16, 16] = 3.0
    quiet, loud = (
        forecaster(each.flatten(2, 3), graph, torch.zeros(1600, 6)).view(1, 2, 40, 40)
        for each in (x, poked)
    )
    assert changed(quiet, loud) == (first, last, first, last)


@pytest.mark.parametrize("cells", [(1, 1), (4, 6), (5, 7)])
def test_latent_images_have_half_the_rows_and_columns_rounded_up(cells):
    forecaster, (height, width) = build(), cells
    seen = []
    forecaster.get_submodule(forecaster.states["latent"]).register_forward_hook(
        lambda module, given, made: seen.append(tuple(made.shape))
    )
    n = height * width
    forecaster(torch.zeros(2, 3, n, 2).double(), full_grid(*cells), torch.zeros(n, 6))
    assert seen == [(2, 6, (height + 1) // 2, (width + 1) // 2)]


@pytest.mark.parametrize("option", ["hidden", "layers"])
def test_wrong_options(option):
    with pytest.raises(InputError, match=f"{option} is 0: it must be a whole number of at least 1"):
        build(**{option: 0})


def test_locations_on_no_grid():
    with pytest.raises(InputError, match=r"needs locations on a regular grid.*mlp, mtgnn"):
        build()(torch.zeros(1, 3, 6, 2).double(), Data(num_nodes=6), torch.zeros(6, 6))

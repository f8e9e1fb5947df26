"""The mixer of patches: windows by hand, how far a patch is seen, and its limiting cases."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.base import make_forecaster
from stemdist.forecast.forecasters.image_mixer import MixerBlock

SHAPE = {"lookback": 3, "horizon": 2, "n_features": 2}


def build(**options):
    torch.manual_seed(0)
    small = {"hidden": 6, "layers": 2, "patch": 2, "window": 2}
    return make_forecaster("image-mixer", **{**SHAPE, **small, **options}).double()


def full_grid(height, width):
    cell = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    return Data(num_nodes=len(cell), cell=cell)


def forecast_images(forecaster, images):
    """Forecast (B, R, H, W) of input images (B, L_in, H, W, F)."""
    height, width = images.shape[2:4]
    profile = torch.zeros(height * width, 6)
    forecast = forecaster(images.flatten(2, 3), full_grid(height, width), profile)
    return forecast.unflatten(2, (height, width))


def reach(forecaster, row, column, size=24):
    """First and last row, first and last column of the forecast that a cell's input changes."""
    torch.manual_seed(1)
    quiet = torch.randn(1, 3, size, size, 2).double()
    loud = quiet.clone()
    loud[:, :, row, column] += torch.randn(1, 3, 2)
    change = forecast_images(forecaster, loud) != forecast_images(forecaster, quiet)
    rows, columns = change.any(1).any(0).nonzero().unbind(1)
    return rows.min().item(), rows.max().item(), columns.min().item(), columns.max().item()


def perceptron(layer, h):
    return layer.outer(functional.gelu(layer.inner(h)))


def test_a_window_over_the_whole_image_is_the_mixer_of_the_paper():
    """Equation 1: ``U = X + W2 gelu(W1 norm(X))``, ``Y = U + W4 gelu(W3 norm(U))``."""
    block = MixerBlock(5, window=3, shift=0).double()
    h = torch.randn(2, 3, 3, 5).double()
    x = h.flatten(1, 2).mT  # (B, D, tokens)
    normed = functional.layer_norm(x.mT, (5,), block.token_norm.weight, block.token_norm.bias)
    u = x + perceptron(block.tokens, normed.mT)
    normed = functional.layer_norm(u.mT, (5,), block.channel_norm.weight, block.channel_norm.bias)
    expected = u.mT + perceptron(block.channels, normed)
    torch.testing.assert_close(block(h), expected.view(2, 3, 3, 5))


@pytest.mark.parametrize("shift", [0, 1, 2])
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (4, 7), (6, 2)])
def test_windows_written_out_one_by_one(shift, size):
    """They start ``shift`` before the image, and what is beyond it counts as zero."""
    block, (height, width) = MixerBlock(4, window=3, shift=shift).double(), size
    h = torch.randn(2, height, width, 4).double()
    normed, expected = block.token_norm(h), h.clone()
    for top in range(-shift, height, 3):
        for left in range(-shift, width, 3):
            cells = [
                (row, column) for row in range(top, top + 3) for column in range(left, left + 3)
            ]
            inside = [0 <= row < height and 0 <= column < width for row, column in cells]
            tokens = [
                normed[:, row, column] if within else torch.zeros(2, 4).double()
                for (row, column), within in zip(cells, inside, strict=True)
            ]
            mixed = perceptron(block.tokens, torch.stack(tokens, dim=2))  # (B, D, 9)
            for place, (row, column) in enumerate(cells):
                if inside[place]:
                    expected[:, row, column] += mixed[:, :, place]
    expected = expected + perceptron(block.channels, block.channel_norm(expected))
    torch.testing.assert_close(block(h), expected)


def test_with_windows_of_one_patch_no_patch_sees_another():
    assert reach(build(window=1, layers=3), 9, 14) == (8, 9, 14, 15)


def test_one_block_sees_its_own_window():
    """The window of 2 x 2 patches of 2 x 2 cells in which the cell lies."""
    forecaster = build(layers=1)
    assert reach(forecaster, 9, 14) == (8, 11, 12, 15)
    assert reach(forecaster, 12, 11) == (12, 15, 8, 11)


def test_the_second_block_sees_across_the_edges_of_the_first():
    """Row 9 is in patches 4, 5 of the first block, which lie in 3, 4 and 5, 6 of the second."""
    assert reach(build(), 9, 14) == (6, 13, 10, 17)


def test_the_third_block_has_the_windows_of_the_first():
    """Patches 3 to 6 and 5 to 8 lie in its windows 2 to 7 and 4 to 9."""
    assert reach(build(layers=3), 9, 14) == (4, 15, 8, 19)


def test_moving_the_weather_by_a_window_moves_the_forecast():
    """Except in the outermost patches, where the zeros beyond the image are mixed in."""
    forecaster = build()
    torch.manual_seed(2)
    here, weather = torch.zeros(1, 3, 32, 32, 2).double(), torch.randn(1, 3, 5, 5, 2).double()
    there = here.clone()
    here[:, :, 12:17, 12:17] = weather
    there[:, :, 16:21, 8:13] = weather  # by a window, 4 cells, south and west
    inner = (..., slice(6, -6), slice(6, -6))
    moved = forecast_images(forecaster, here).roll((4, -4), (2, 3))
    torch.testing.assert_close(moved[inner], forecast_images(forecaster, there)[inner])


def test_patches_are_cut_and_put_back_in_place():
    """Each of a patch's four cells is made a channel of its own, and nothing is mixed."""
    forecaster = build(lookback=1, horizon=1, n_features=1, hidden=4)
    forecaster.encode = forecaster.decode = nn.Identity()
    for parameter in (forecaster.linear.weight, forecaster.embed.bias, forecaster.end.bias):
        nn.init.zeros_(parameter)
    values = torch.eye(4).view(4, 1, 2, 2)
    mask = torch.zeros(4, 1, 2, 2)
    forecaster.embed.weight.data.copy_(torch.cat([values, mask], dim=1))
    forecaster.end.weight.data.copy_(torch.eye(4).view(4, 4, 1, 1))
    x = torch.randn(2, 1, 15, 1).double()
    torch.testing.assert_close(forecaster(x, full_grid(3, 5), torch.zeros(15, 1)), x[..., 0])


def test_without_its_last_convolution_it_is_a_linear_map_of_each_window():
    forecaster, graph = build(n_outputs=2), full_grid(3, 4)
    nn.init.zeros_(forecaster.end.weight)
    nn.init.zeros_(forecaster.end.bias)
    x, profile = torch.randn(2, 3, 12, 2).double(), torch.zeros(12, 6).double()
    weight = forecaster.linear.step_weight().view(4, 3, 2)  # (O * L_out, L_in, F)
    expected = torch.einsum("btnf,rtf->brn", x, weight)
    torch.testing.assert_close(forecaster(x, graph, profile), expected)


@pytest.mark.parametrize(
    ("cells", "patch", "latent"),
    [((1, 1), 4, (1, 1)), ((8, 4), 4, (2, 1)), ((5, 7), 4, (2, 2)), ((5, 7), 3, (2, 3))],
)
def test_latent_images_have_one_pixel_a_patch(cells, patch, latent):
    forecaster, n = build(patch=patch), cells[0] * cells[1]
    seen = []
    forecaster.get_submodule(forecaster.states["latent"]).register_forward_hook(
        lambda module, given, made: seen.append(tuple(made.shape))
    )
    forecaster(torch.zeros(2, 3, n, 2).double(), full_grid(*cells), torch.zeros(n, 6))
    assert seen == [(2, 6, *latent)]


@pytest.mark.parametrize("option", ["hidden", "layers", "patch", "window"])
def test_wrong_options(option):
    with pytest.raises(InputError, match=f"{option} is 0: it must be a whole number of at least 1"):
        build(**{option: 0})


def test_locations_on_no_grid():
    with pytest.raises(InputError, match=r"needs locations on a regular grid.*mlp, mtgnn"):
        build()(torch.zeros(1, 3, 6, 2).double(), Data(num_nodes=6), torch.zeros(6, 6))

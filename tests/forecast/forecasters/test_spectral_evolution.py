"""The spectral teacher: its two branches, its two modes, its reach, and its limiting cases."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.base import make_forecaster
from stemdist.forecast.forecasters.spectral_evolution import (
    MODES,
    EvolutionBlock,
    GlobalBranch,
)
from stemdist.forecast.layers.image_conv import enlarge

SHAPE = {"lookback": 3, "horizon": 2, "n_features": 2}


def build(**options):
    torch.manual_seed(0)
    small = {"channels": 4, "hidden": 8, "layers": 2, "heads": 2}
    return make_forecaster("spectral-evolution", **{**SHAPE, **small, **options}).double()


def full_grid(height, width):
    cell = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    return Data(num_nodes=len(cell), cell=cell)


def inputs(height, width):
    torch.manual_seed(1)
    n = height * width
    return torch.randn(2, 3, n, 2).double(), full_grid(height, width), torch.zeros(n, 6).double()


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


def test_the_forecaster_is_the_written_out_one():
    forecaster, (x, graph, profile) = build(), inputs(5, 7)
    rows = x.permute(0, 2, 1, 3).reshape(2, 35, 6)
    fine = forecaster.start(torch.cat([rows.mT.reshape(2, 6, 5, 7), torch.ones(2, 1, 5, 7)], 1))
    middle = forecaster.down[0](fine)
    coarse = forecaster.down[1](middle)
    assert [h.shape[1:] for h in (fine, middle, coarse)] == [(4, 5, 7), (8, 3, 4), (8, 2, 2)]
    coarse = forecaster.evolve[1](forecaster.evolve[0](coarse))
    middle = enlarge(forecaster.up[1](coarse), middle)
    joined = forecaster.join(torch.cat([fine, enlarge(forecaster.up[0](middle), fine)], dim=1))
    expected = forecaster.end(joined).flatten(2) + forecaster.linear(rows).mT
    torch.testing.assert_close(forecaster(x, graph, profile), expected)


@pytest.mark.parametrize("mode", MODES)
def test_without_its_last_convolution_it_is_a_linear_map_of_each_window(mode):
    forecaster, (x, graph, profile) = build(n_outputs=2, mode=mode), inputs(3, 4)
    nn.init.zeros_(forecaster.end.weight)
    nn.init.zeros_(forecaster.end.bias)
    weight = forecaster.linear.step_weight().view(4, 3, 2)  # (O * L_out, L_in, F)
    expected = torch.einsum("btnf,rtf->brn", x, weight)
    torch.testing.assert_close(forecaster(x, graph, profile), expected)


def test_the_modes_have_the_same_weights_and_differ():
    parallel, alternating = build(mode="parallel"), build(mode="alternating")
    alternating.load_state_dict(parallel.state_dict())
    x, graph, profile = inputs(8, 8)
    assert not torch.allclose(parallel(x, graph, profile), alternating(x, graph, profile))


@pytest.mark.parametrize("mode", MODES)
def test_a_block_by_its_formula(mode):
    block, h = EvolutionBlock(8, heads=2, mode=mode).double(), torch.randn(2, 8, 3, 5).double()
    local = block.local(h)
    both = block.wide(local) if mode == "alternating" else local + block.wide(h)
    centred = both - both.mean((1, 2, 3), keepdim=True)  # all channels and pixels of an image
    variance = centred.square().mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(block(h), centred / (variance + 1e-5).sqrt())


@pytest.mark.parametrize("mode", MODES)
def test_without_convolution_both_modes_are_the_transformer(mode):
    """The one adds nothing to it, the other hands it the image unchanged."""

    class Nothing(nn.Module):
        def forward(self, h):
            return torch.zeros_like(h) if mode == "parallel" else h

    block, h = EvolutionBlock(8, heads=2, mode=mode), torch.randn(2, 8, 3, 5)
    block.local, block.norm = Nothing(), nn.Identity()
    torch.testing.assert_close(block(h), block.wide(h))


def test_the_transformer_branch_is_torchs_encoder_layer_of_placed_tokens():
    branch, h = GlobalBranch(8, heads=2).double(), torch.randn(2, 8, 3, 5).double()
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, nn.functional.gelu, batch_first=True).double()
    ours, theirs = branch.encode, layer.self_attn
    attention = ours.attention
    with torch.no_grad():
        theirs.in_proj_weight.copy_(
            torch.cat([attention.query.weight, attention.key.weight, attention.value.weight])
        )
        theirs.in_proj_bias.zero_()
        theirs.in_proj_bias[:8] = attention.query.bias
    theirs.out_proj.load_state_dict(attention.out.state_dict())
    layer.linear1.load_state_dict(ours.feed_forward.inner.state_dict())
    layer.linear2.load_state_dict(ours.feed_forward.outer.state_dict())
    expected = layer((h + branch.position(h)).flatten(2).mT).mT.view(2, 8, 3, 5)
    torch.testing.assert_close(branch(h), expected)


def test_the_position_convolution_alone_tells_pixels_apart():
    branch, h = GlobalBranch(8, heads=2).double(), torch.randn(2, 8, 3, 5).double()
    order = torch.randperm(15)

    def shuffled(images):
        return images.flatten(2)[..., order].view(images.shape)

    assert not torch.allclose(branch(shuffled(h)), shuffled(branch(h)))
    nn.init.zeros_(branch.position.weight)
    torch.testing.assert_close(branch(shuffled(h)), shuffled(branch(h)))


def test_convolutions_are_local_and_attention_is_not():
    """Two convolutions of width 3 reach 2 pixels."""
    block = without_norm(EvolutionBlock(8, heads=2, mode="parallel").double())
    quiet = torch.randn(1, 8, 11, 13).double()
    loud = quiet.clone()
    loud[..., 5, 6] += 1.0
    assert changed(block.local(quiet), block.local(loud)) == (3, 7, 4, 8)
    assert changed(block.wide(quiet), block.wide(loud)) == (0, 10, 0, 12)


def test_the_decoder_is_joined_with_the_finest_level():
    """When nothing comes from below, the first and last convolutions alone reach 2 cells."""
    forecaster = without_norm(build())
    nn.init.zeros_(forecaster.up[0][0].weight)
    nn.init.zeros_(forecaster.up[0][0].bias)
    x, graph, profile = inputs(12, 12)
    loud = x.clone()
    loud[:, :, 5 * 12 + 7] += 1.0
    images = [forecaster(each, graph, profile).unflatten(2, (12, 12)) for each in (x, loud)]
    assert changed(*images) == (3, 7, 5, 9)


@pytest.mark.parametrize("mode", MODES)
def test_a_forecast_sees_the_whole_grid(mode):
    forecaster, (x, graph, profile) = without_norm(build(layers=1, mode=mode)), inputs(32, 32)
    loud = x.clone()
    loud[:, :, 0] += 1.0
    images = [forecaster(each, graph, profile).unflatten(2, (32, 32)) for each in (x, loud)]
    assert changed(*images) == (0, 31, 0, 31)


@pytest.mark.parametrize(
    ("cells", "levels", "latent"),
    [((1, 1), 3, (1, 1)), ((8, 12), 3, (2, 3)), ((5, 7), 3, (2, 2)), ((5, 7), 2, (3, 4))],
)
def test_latent_images_are_halved_once_less_than_there_are_levels(cells, levels, latent):
    forecaster = build(levels=levels)
    seen = []
    forecaster.get_submodule(forecaster.states["latent"]).register_forward_hook(
        lambda module, given, made: seen.append(tuple(made.shape))
    )
    forecaster(*inputs(*cells))
    assert seen == [(2, 8, *latent)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "channels is 0: it must be a whole number of at least 1"),
        ({"hidden": 0}, "hidden is 0"),
        ({"layers": 0}, "layers is 0"),
        ({"heads": 3}, "heads is 3: 8 hidden columns cannot be split evenly.*1, 2, 4, 8"),
        ({"levels": 1}, "levels is 1: it must be a whole number of at least 2"),
        ({"mode": "paralel"}, "unknown mode 'paralel': did you mean 'parallel'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)


def test_locations_on_no_grid():
    with pytest.raises(InputError, match=r"needs locations on a regular grid.*mlp, mtgnn"):
        build()(torch.zeros(1, 3, 6, 2).double(), Data(num_nodes=6), torch.zeros(6, 6))

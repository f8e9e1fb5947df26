"""Causal convolutions: by hand, against loops over steps, how far they see."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.base import Forecaster, make_forecaster
from stemdist.forecast.forecasters.cnn import CausalBlock, blocks_to_see
from stemdist.forecast.hidden_states import hidden_states

L_IN, L_OUT, N, F, C = 8, 3, 5, 2, 4


def build(lookback: int = L_IN, **options: object) -> Forecaster:
    torch.manual_seed(0)
    return make_forecaster(
        "cnn", lookback=lookback, horizon=L_OUT, n_features=F, channels=C, **options
    ).double()


def windows(lookback: int = L_IN) -> tuple[Tensor, Data, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, lookback, N, F, dtype=torch.float64, generator=generator)
    return x, Data(num_nodes=N), x.mean(0).transpose(0, 1).flatten(1)


def naive_conv(h: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """Convolve one series (T, C) step by step; the last tap reads the step itself."""
    steps = []
    for t in range(len(h)):
        total = bias.clone()
        for tap in range(weight.shape[2]):
            source = t - dilation * (weight.shape[2] - 1 - tap)
            if source >= 0:
                total = total + weight[:, :, tap] @ h[source]
        steps.append(total)
    return torch.stack(steps)


def naive_block(block: CausalBlock, h: Tensor, dilation: int) -> Tensor:
    change = h
    for conv in block.convs:
        change = naive_conv(change, conv.conv.weight[:, :, 0], conv.conv.bias, dilation).relu()
    return (h + change).relu()


def test_block_by_hand():
    block = CausalBlock(1, kernel=2, dilation=2, dropout=0.0)
    with torch.no_grad():
        for conv in block.convs:
            conv.conv.weight.copy_(torch.tensor([10.0, 1.0]).view(1, 1, 1, 2))
            conv.conv.bias.zero_()
    h = torch.tensor([1.0, 2.0, 3.0, -40.0]).view(1, 1, 4, 1)
    # h(t) + 10 h(t - 2): 1, 2, 13, 0 (-20 cut off); once more: 1, 2, 23, 20; then h is added.
    assert block(h).flatten().tolist() == [2.0, 4.0, 26.0, 0.0]


@pytest.mark.parametrize(("kernel", "blocks"), [(2, 3), (3, 2), (5, 1)])
def test_forecast_is_that_of_loops_over_steps(kernel, blocks):
    forecaster = build(kernel=kernel, blocks=blocks, n_outputs=2)
    x, graph, profile = windows()
    forecast, states = hidden_states(forecaster, ["tokens", "features"], x, graph, profile)
    code = forecaster.code.project(forecaster.code.encoder(profile))
    assert states["tokens"].shape == (2, N, L_IN, C)
    for b in range(2):
        for n in range(N):
            h = forecaster.embed(x[b, :, n]) + code[n]  # (L_in, C)
            for level, block in enumerate(forecaster.blocks):
                h = naive_block(block, h, 2**level)
            torch.testing.assert_close(states["tokens"][b, n], h)
            torch.testing.assert_close(states["features"][b, n], h[-1])
            torch.testing.assert_close(forecast[b, :, n], forecaster.head(h[-1]))


def test_no_state_reads_a_later_step():
    forecaster, (x, graph, profile) = build(), windows()
    moved = x.clone()
    moved[:, 5] += 1.0
    before, after = (
        hidden_states(forecaster, ["tokens"], inputs, graph, profile)[1]["tokens"]
        for inputs in (x, moved)
    )
    assert torch.equal(before[:, :, :5], after[:, :, :5])
    assert not torch.allclose(before[:, :, 5], after[:, :, 5])


@pytest.mark.parametrize(
    ("steps", "kernel", "blocks"),
    # 1 + 2 (kernel - 1) (2 ** blocks - 1) steps are seen.
    [(1, 2, 1), (3, 2, 1), (4, 2, 2), (7, 2, 2), (8, 2, 3), (29, 3, 3), (30, 3, 4), (96, 3, 5)],
)
def test_enough_blocks_to_see_the_whole_window(steps, kernel, blocks):
    assert blocks_to_see(steps, kernel) == blocks
    assert len(build(steps, kernel=kernel).blocks) == blocks


@pytest.mark.parametrize(("lookback", "seen"), [(7, 7), (9, 7)])
def test_steps_outside_the_receptive_field_are_not_seen(lookback, seen):
    forecaster = build(lookback, kernel=2, blocks=2)
    x, graph, profile = windows(lookback)
    with torch.no_grad():  # positive throughout, so that no ReLU hides a step
        for parameter in forecaster.parameters():
            parameter.abs_()
    x = x.abs().requires_grad_()
    forecaster(x, graph, profile).sum().backward()
    reached = x.grad.abs().sum((0, 2, 3)) > 0
    assert reached.tolist() == [False] * (lookback - seen) + [True] * seen


def test_dropout_leaves_out_channels_at_all_steps():
    torch.manual_seed(0)
    block = CausalBlock(64, kernel=2, dilation=1, dropout=0.5)
    with torch.no_grad():
        for conv in block.convs:
            conv.conv.weight.zero_()
            conv.conv.bias.fill_(1.0)
    h = torch.zeros(1, 3, 6, 64)
    made = block(h)
    # Only the second dropout is visible here: a channel is 0, or 1 / (1 - .5), at every step.
    assert torch.equal(made, made[:, :, :1].expand_as(made))
    assert set(made.unique().tolist()) == {0.0, 2.0}
    assert 0.3 < (made > 0).float().mean() < 0.7
    assert torch.equal(block.eval()(h), torch.ones_like(h))


def test_pointwise_unless_codes_are_shared():
    assert build().pointwise
    assert not build(location_encoder="attention").pointwise


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": 1}, "kernel is 1: it must be a whole number of at least 2"),
        ({"blocks": 0}, "blocks is 0: it must be a whole number of at least 1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"location_encoder": "mpl"}, "unknown location encoder 'mpl'.*Or 'none'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)

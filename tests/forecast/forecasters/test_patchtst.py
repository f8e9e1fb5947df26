from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.base import Forecaster, make_forecaster

L_IN, L_OUT, N, F = 12, 3, 5, 2


def build(lookback: int = L_IN, **options: object) -> Forecaster:
    torch.manual_seed(0)
    return make_forecaster(
        "patchtst", lookback=lookback, horizon=L_OUT, n_features=F, hidden=8, **options
    ).double()


def windows(lookback: int = L_IN) -> tuple[Tensor, Data, Tensor]:
    x = torch.randn(
        2, lookback, N, F, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    return x, Data(num_nodes=N), x.mean(0).transpose(0, 1).flatten(1)


def test_patches_by_hand():
    forecaster = build(7, patch=4, stride=2)
    step = torch.arange(7.0)
    x = torch.stack([step, 10 * step], dim=-1)[None, :, None]  # one location, two features
    patches = forecaster.patches(x)[0, 0]
    # The last step is repeated twice; the step that is left over then is a repeated one.
    steps = torch.tensor([[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 6]])
    assert patches.tolist() == torch.cat([steps, 10 * steps], dim=1).tolist()


@pytest.mark.parametrize("lookback", [1, 2, 15, 16, 17, 23, 24, 25, 336, 720])
@pytest.mark.parametrize(("patch", "stride"), [(16, 8), (16, 16), (1, 1), (5, 40)])
def test_every_step_is_in_a_patch(lookback, patch, stride):
    forecaster = build(lookback, patch=patch, stride=stride)
    step = torch.arange(float(lookback)).view(1, lookback, 1, 1).expand(1, lookback, 1, F)
    patches = forecaster.patches(step)
    assert patches.shape[2] == len(forecaster.position)
    assert set(patches.flatten().tolist()) == set(range(lookback))


@pytest.mark.parametrize("lookback", [1, 720])
def test_any_lookback(lookback):
    assert build(lookback)(*windows(lookback)).shape == (2, L_OUT, N)


@pytest.mark.parametrize("reversible", [True, False])
def test_forecast_is_the_written_out_one(reversible):
    forecaster = build(
        patch=4, stride=2, n_outputs=2, location_encoder="mlp", reversible=reversible
    )
    x, graph, profile = windows()
    normed = x
    if reversible:
        normed, statistics = forecaster.norm.normalise(x)
    raw = torch.empty(2, 2 * L_OUT, N, dtype=torch.float64)
    code = forecaster.code.project(forecaster.code.encoder(profile))
    for b in range(2):
        for n in range(N):
            window = torch.cat([normed[b, :, n], normed[b, -1:, n], normed[b, -1:, n]])
            tokens = torch.stack([window[k : k + 4].T.flatten() for k in range(0, 11, 2)])
            h = forecaster.embed(tokens) + forecaster.position + code[n]
            h = forecaster.blocks(h[None])
            raw[b, :, n] = forecaster.head(h.flatten())
    expected = forecaster.norm.restore(raw, statistics) if reversible else raw
    torch.testing.assert_close(forecaster(x, graph, profile), expected)


def test_order_of_patches_matters():
    forecaster = build(patch=4, stride=4)
    x, graph, profile = windows()
    swapped = torch.cat([x[:, 4:8], x[:, :4], x[:, 8:]], dim=1)
    assert not torch.allclose(forecaster(swapped, graph, profile), forecaster(x, graph, profile))
    with torch.no_grad():  # without positions, and a head that adds all tokens, it does not
        forecaster.position.zero_()
        for token in forecaster.head.weight.split(8, dim=1)[1:]:
            token.copy_(forecaster.head.weight[:, :8])
    torch.testing.assert_close(forecaster(swapped, graph, profile), forecaster(x, graph, profile))


def test_level_and_scale_of_a_window_pass_through():
    forecaster, (x, graph, profile) = build(reversible=True), windows()
    forecaster.norm.floor = 0.0
    moved = x.clone()
    moved[..., 0] = 100 * x[..., 0] + 7
    expected = 100 * forecaster(x, graph, profile) + 7
    torch.testing.assert_close(forecaster(moved, graph, profile), expected)


def test_pointwise_unless_codes_are_shared():
    assert build().pointwise
    assert build(location_encoder="none").pointwise
    assert not build(location_encoder="attention").pointwise


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 0}, "patch is 0: it must be a whole number of at least 1"),
        ({"stride": 0}, "stride is 0"),
        ({"layers": 0}, "layers is 0"),
        ({"heads": 3}, "heads is 3: 8 hidden columns cannot be split"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"location_encoder": "mpl"}, "unknown location encoder 'mpl'.*Or 'none'"),
        ({"n_targets": 3, "reversible": True}, "n_targets is 3 but there are 2 features"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)

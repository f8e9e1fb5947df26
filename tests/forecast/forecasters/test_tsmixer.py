"""TSMixer: parity with a written-out form, limiting cases, wrong options."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.base import Forecaster, make_forecaster

LOOKBACK, HORIZON, N, FEATURES = 5, 3, 4, 2


def build(**options: object) -> Forecaster:
    torch.manual_seed(0)
    shape = {"lookback": LOOKBACK, "horizon": HORIZON, "n_features": FEATURES}
    return make_forecaster("tsmixer", **shape, **{"hidden": 6, **options}).double().eval()


def windows() -> tuple[Tensor, Data, Tensor]:
    x = torch.randn(2, LOOKBACK, N, FEATURES, dtype=torch.float64)
    return x, Data(num_nodes=N), x.mean(0).transpose(0, 1).flatten(1)


def standardised(h: Tensor) -> Tensor:
    """Layer norm of one (L_in, H) table at its initial weights."""
    return (h - h.mean()) / (h.var(unbiased=False) + 1e-5).sqrt()


def affine(layer: torch.nn.Linear, value: Tensor) -> Tensor:
    return value @ layer.weight.T + layer.bias


def test_equals_the_written_out_form():
    forecaster, (x, graph, profile) = build(n_outputs=2), windows()
    got = forecaster(x, graph, profile)
    codes = forecaster.code.encoder(profile) @ forecaster.code.project.weight.T
    for window in range(2):
        for place in range(N):
            h = affine(forecaster.embed, x[window, :, place]) + codes[place]  # (L_in, H)
            for block in forecaster.blocks:
                h = h + affine(block.steps, standardised(h).T).relu().T
                h = h + affine(block.outer, affine(block.inner, standardised(h)).relu())
            outputs = affine(forecaster.head, affine(forecaster.ahead, h.T).T)  # (L_out, O)
            torch.testing.assert_close(got[window, :, place], outputs.T.flatten())


def test_location_codes_tell_equal_windows_apart():
    x, graph, profile = windows()
    x = x[:, :, :1].expand(-1, -1, N, -1)
    with_code, without = build()(x, graph, profile), build(location_encoder="none")
    same = without(x, graph, profile)
    torch.testing.assert_close(same, same[..., :1].expand_as(same))
    assert (with_code - with_code[..., :1]).abs()[..., 1:].min() > 1e-6


def test_pointwise_unless_codes_read_all_locations():
    assert build().pointwise
    assert build(location_encoder="none").pointwise
    assert not build(location_encoder="attention").pointwise


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 0}, "depth is 0: it must be a whole number of at least 1"),
        ({"hidden": 0}, "hidden is 0"),
        ({"dropout": 1.0}, "dropout is 1.0: it must be a share"),
        ({"location_encoder": "atention"}, "did you mean 'attention'.*Or 'none'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)

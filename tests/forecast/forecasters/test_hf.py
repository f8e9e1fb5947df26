from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stemdist.errors import InputError, MissingDependencyError
from stemdist.forecast.base import Forecaster, make_forecaster

NAMES = ["hf-patchtst", "hf-patchtsmixer"]
L_IN, L_OUT, N, F = 7, 3, 4, 2


def build(name: str, *, lookback: int = L_IN, **options: object) -> Forecaster:
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    return make_forecaster(
        name, lookback=lookback, horizon=L_OUT, n_features=F, hidden=8, **options
    ).double()


def windows(lookback: int = L_IN) -> tuple[Tensor, Data, Tensor]:
    x = torch.randn(2, lookback, N, F, dtype=torch.float64)
    return x, Data(num_nodes=N), torch.zeros(N, lookback * F)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("lookback", "length", "stride", "steps"),
    [(12, 4, 4, 12), (13, 4, 4, 16), (12, 4, 2, 12), (11, 4, 3, 13), (1, 4, 2, 6), (5, 5, 1, 6)],
)
def test_patches_hold_every_step(name, lookback, length, stride, steps):
    forecaster = build(name, lookback=lookback, patch_length=length, patch_stride=stride)
    assert forecaster.steps == steps
    x, graph, profile = windows(lookback)
    forecaster(x.requires_grad_(), graph, profile).square().sum().backward()
    assert (x.grad != 0).any(-1).all()


@pytest.mark.parametrize("name", NAMES)
def test_reversible_forecasts_move_with_the_level_of_the_window(name):
    forecaster = build(name, reversible=True).eval()
    x, graph, profile = windows()
    shift = torch.tensor([5.0, 0.0])
    torch.testing.assert_close(
        forecaster(x + shift, graph, profile), forecaster(x, graph, profile) + 5
    )
    plain = build(name).eval()
    assert not torch.allclose(plain(x + shift, graph, profile), plain(x, graph, profile) + 5)


@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_is_that_of_the_library(name):
    forecaster = build(name, patch_length=7, patch_stride=7, lookback=14).eval()
    x, graph, profile = windows(14)
    alone = forecaster.encoder(past_values=x[1, :, 2][None]).last_hidden_state  # (1, F, P, H)
    assert alone.shape == (1, F, 2, 8)
    forecast = forecaster(x, graph, profile)[1, :, 2]
    torch.testing.assert_close(forecast, forecaster.head(alone.flatten()))


@pytest.mark.parametrize("name", NAMES)
def test_dropout_is_for_training_only(name):
    forecaster, arguments = build(name, dropout=0.5), windows()
    assert not torch.equal(forecaster(*arguments), forecaster(*arguments))
    forecaster.eval()
    assert torch.equal(forecaster(*arguments), forecaster(*arguments))


def test_channels_mix_in_the_encoder_only_when_asked():
    for mix in (True, False):
        x, *_ = windows()
        x.requires_grad_()
        h = build("hf-patchtsmixer", mix_channels=mix, patch_length=4, patch_stride=3).encoder(
            past_values=x[0].transpose(0, 1)
        )
        h.last_hidden_state[:, 0].sum().backward()
        assert bool((x.grad[..., 1] != 0).any()) == mix


@pytest.mark.parametrize("name", NAMES)
def test_absent_library_names_the_extra(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    message = rf'{name} needs transformers.*pip install "stemdist\[transformers\]"'
    with pytest.raises(MissingDependencyError, match=message):
        make_forecaster(name, lookback=L_IN, horizon=L_OUT, n_features=F)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "hidden is 8: it must be a multiple of the 3 heads"),
        ({"patch_stride": 5}, "patch_stride is 5: beyond the patch_length 4"),
        ({"patch_length": 0}, "patch_length is 0"),
        ({"layers": 0}, "layers is 0"),
        ({"dropout": 1}, "dropout is 1"),
        ({"n_targets": 3, "reversible": True}, "n_targets is 3 but there are 2 features"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        build("hf-patchtst", **options)

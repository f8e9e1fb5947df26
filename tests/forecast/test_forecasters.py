"""What every forecaster promises, whatever its family."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.base import FORECASTERS, Forecaster, make_forecaster

LOOKBACK, HORIZON, FEATURES = 5, 3, 2
SMALL: dict[str, dict[str, object]] = {
    "linear": {},
    "mlp": {"hidden": 8},
    "mtgnn": {
        "residual_channels": 4,
        "conv_channels": 4,
        "skip_channels": 6,
        "end_channels": 8,
        "neighbours": 6,
    },
}
VARIANTS = [
    *((name, SMALL.get(name, {})) for name in FORECASTERS.names()),
    ("mlp", {"hidden": 8, "location_encoder": "attention"}),
    ("mlp", {"hidden": 8, "location_encoder": "none", "dropout": 0.2}),
    ("mtgnn", {**SMALL["mtgnn"], "adjacency": "sparse", "location_encoder": "mlp"}),
]
every = pytest.mark.parametrize(
    ("name", "options"), VARIANTS, ids=["-".join([n, *map(str, o.values())]) for n, o in VARIANTS]
)


def build(name: str, options: dict, *, lookback: int = LOOKBACK) -> Forecaster:
    torch.manual_seed(0)
    return make_forecaster(
        name, lookback=lookback, horizon=HORIZON, n_features=FEATURES, **options
    ).double()


def windows(n: int, b: int = 2, *, lookback: int = LOOKBACK) -> tuple[Tensor, Data, Tensor]:
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(b, lookback, n, FEATURES, generator=generator, dtype=torch.float64)
    return x, Data(num_nodes=n), x.mean(0).transpose(0, 1).flatten(1)


@every
@pytest.mark.parametrize("n", [1, 2, 9])
@pytest.mark.parametrize("lookback", [1, 5, 25])
def test_shape(name, options, n, lookback):
    forecast = build(name, options, lookback=lookback)(*windows(n, lookback=lookback))
    assert forecast.shape == (2, HORIZON, n)
    assert forecast.dtype == torch.float64
    assert torch.isfinite(forecast).all()


@every
def test_every_parameter_has_a_gradient(name, options):
    forecaster = build(name, options)
    forecaster(*windows(9, 4)).square().sum().backward()
    dead = [
        key for key, p in forecaster.named_parameters() if p.grad is None or not p.grad.abs().sum()
    ]
    assert not dead


@every
def test_double_backward_equals_finite_difference(name, options):
    forecaster = build(name, options).eval()
    x, graph, profile = windows(9)
    x.requires_grad_()
    parameters = list(forecaster.parameters())

    def gradient_size(x: Tensor) -> Tensor:
        loss = forecaster(x, graph, profile).square().mean()
        grads = torch.autograd.grad(loss, parameters, create_graph=True)
        return sum(g.square().sum() for g in grads)

    (slope,) = torch.autograd.grad(gradient_size(x), x)
    direction = torch.randn_like(slope)
    step = 1e-6 * direction
    change = (gradient_size(x + step) - gradient_size(x - step)) / 2e-6
    torch.testing.assert_close((slope * direction).sum(), change, rtol=1e-5, atol=1e-7)


@every
def test_permuting_locations_permutes_the_forecast(name, options):
    forecaster = build(name, options).eval()
    x, graph, profile = windows(11)
    order = torch.randperm(11, generator=torch.Generator().manual_seed(1))
    permuted = forecaster(x[:, :, order], graph, profile[order])
    torch.testing.assert_close(permuted, forecaster(x, graph, profile)[..., order])


@every
def test_pointwise_forecasters_do_not_mix_locations(name, options):
    forecaster = build(name, options).eval()
    x, graph, profile = windows(11)
    some = torch.tensor([3, 7])
    alone = forecaster(x[:, :, some], graph, profile[some])
    same = torch.allclose(alone, forecaster(x, graph, profile)[..., some])
    assert same == forecaster.pointwise


@every
def test_trains_at_40_locations_and_predicts_at_70(name, options):
    forecaster = build(name, options)
    optimizer = torch.optim.SGD(forecaster.parameters(), lr=1e-3)
    forecaster(*windows(40)).square().mean().backward()
    optimizer.step()
    assert forecaster(*windows(70)).shape == (2, HORIZON, 70)


@every
def test_nothing_is_shaped_by_the_number_of_locations(name, options):
    forecaster = build(name, options)
    before = {key: value.shape for key, value in forecaster.state_dict().items()}
    forecaster(*windows(41))
    assert {key: value.shape for key, value in forecaster.state_dict().items()} == before
    assert all(41 not in shape for shape in before.values())


@every
def test_functional_call(name, options):
    forecaster = build(name, options).eval()
    state = {key: value * 0 for key, value in forecaster.state_dict().items()}
    arguments = windows(9)
    assert not functional_call(forecaster, state, arguments).any()
    assert forecaster(*arguments).any()


@every
def test_config_builds_the_same_forecaster(name, options):
    forecaster = build(name, options).eval()
    config = json.loads(json.dumps(forecaster.config))
    again = type(forecaster)(**config).double().eval()
    again.load_state_dict(forecaster.state_dict())
    arguments = windows(9)
    assert torch.equal(again(*arguments), forecaster(*arguments))


@every
def test_half_precision_forward(name, options):
    forecaster = build(name, options).eval()
    x, graph, profile = windows(9)
    exact = forecaster(x, graph, profile)
    half = forecaster.bfloat16()(x.bfloat16(), graph, profile.bfloat16())
    assert half.dtype == torch.bfloat16
    if name != "mtgnn":  # rounding the codes changes which neighbours MTGNN learns
        torch.testing.assert_close(half.double(), exact, rtol=0.1, atol=0.1)


@every
def test_gradient_flows_to_the_inputs_of_every_location(name, options):
    x, graph, profile = windows(9)
    build(name, options)(x.requires_grad_(), graph, profile).sum().backward()
    assert x.grad.abs().sum((0, 1, 3)).all()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mlp", {"hidden": 0}, "hidden is 0: it must be a whole number of at least 1"),
        ("mlp", {"dropout": 1.0}, "dropout is 1.0: it must be a share of at least 0 and below 1"),
        ("mlp", {"location_encoder": "atention"}, "did you mean 'attention'.*Or 'none'"),
        ("mlp", {"depht": 3}, "unknown hyper-parameter of 'mlp' 'depht': did you mean 'depth'"),
        ("mtgnn", {"location_encoder": "none"}, "unknown location encoder 'none'"),
        ("mtgnn", {"adjacency": "sparce"}, "unknown adjacency 'sparce': did you mean 'sparse'"),
        ("mtgnn", {"conv_channels": 30}, "conv_channels is 30: it must be a multiple of 4"),
        ("mtgnn", {"neighbours": 0}, "neighbours is 0"),
        ("mtgnn", {"retain": 1.5}, "retain is 1.5: it must be a share"),
        ("mtgnn", {"saturation": 0.0}, "saturation is 0.0: it must be a positive number"),
        ("mtgn", {}, "unknown forecaster 'mtgn': did you mean 'mtgnn'"),
    ],
)
def test_wrong_options(name, options, message):
    with pytest.raises(InputError, match=message):
        build(name, options)


def test_plain_mlp_is_the_written_out_one():
    forecaster = build("mlp", {"hidden": 8, "location_encoder": "none"})
    x, graph, profile = windows(4)
    h = forecaster.embed(x.permute(0, 2, 1, 3).reshape(2, 4, -1))
    for block in forecaster.blocks:
        h = h + block.outer(block.inner(h).relu())
    expected = forecaster.head(h.relu()).permute(0, 2, 1)
    torch.testing.assert_close(forecaster(x, graph, profile), expected)

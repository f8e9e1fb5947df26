"""What every forecaster promises, whatever its family."""

from __future__ import annotations

import json
import math
from dataclasses import fields

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.func import functional_call
from torch_geometric.data import Data

from stemdist.data import TensorWindows
from stemdist.errors import InputError
from stemdist.forecast import TrainingSettings, predict_windows, save_weights, train_forecaster
from stemdist.forecast.base import FORECASTERS, Forecaster, make_forecaster
from stemdist.graph import subgraph

LOOKBACK, HORIZON, FEATURES = 5, 3, 2


class SomeModule(torch.nn.Module):
    """Knows nothing of this package; the adapter named ``module`` makes it a forecaster."""

    def __init__(self, lookback: int, n_features: int, rows: int) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(lookback * n_features, 4)
        self.outer = torch.nn.Linear(4, rows)

    def forward(self, rows: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.inner(rows)))


# Options that make a forecaster small; one that is not listed is small as it is.
SMALL: dict[str, dict[str, object]] = {
    "image-mixer": {"hidden": 8, "patch": 2, "window": 4},
    "mlp": {"hidden": 8},
    "module": {
        "factory": f"{__name__}:SomeModule",
        "layout": "(B N) (T F)",
        "output": "(B N) H",
    },
    "mtgnn": {
        "residual_channels": 4,
        "conv_channels": 4,
        "skip_channels": 6,
        "end_channels": 8,
        "neighbours": 6,
    },
    "resnet": {"hidden": 8},
    "simvp": {"channels": 4, "hidden": 8},
    # Two levels, so that the 3 x 3 cells here leave the attention more than one pixel.
    "spectral-evolution": {"channels": 4, "hidden": 8, "layers": 2, "levels": 2},
    "unet": {"channels": 4},
}
VARIANTS = [
    *((name, SMALL.get(name, {})) for name in FORECASTERS.names()),
    ("graph-transformer", {"attention": "full", "reversible": True}),
    ("itransformer", {"attention": "landmark", "location_encoder": "none"}),
    ("mlp", {"hidden": 8, "location_encoder": "attention"}),
    ("mlp", {"hidden": 8, "location_encoder": "none", "dropout": 0.2}),
    ("mtgnn", {**SMALL["mtgnn"], "adjacency": "sparse", "location_encoder": "mlp"}),
    ("spectral-evolution", {**SMALL["spectral-evolution"], "mode": "alternating"}),
]
# Rounding changes which neighbours these learn, so half precision is another graph.
LEARNS_DISCRETE_GRAPH = {"mtgnn"}
every = pytest.mark.parametrize(
    ("name", "options"), VARIANTS, ids=["-".join([n, *map(str, o.values())]) for n, o in VARIANTS]
)


def build(name: str, options: dict, *, lookback: int = LOOKBACK, **shape: int) -> Forecaster:
    if name.startswith("hf-"):
        pytest.importorskip("transformers")
    torch.manual_seed(0)
    return make_forecaster(
        name, lookback=lookback, horizon=HORIZON, n_features=FEATURES, **shape, **options
    ).double()


def graph_of(n: int) -> Data:
    """A ring with random chords, on a grid whose last row may be cut short."""
    generator = torch.Generator().manual_seed(n)
    place, width = torch.arange(n), math.ceil(math.sqrt(n))
    ring = torch.stack([place, (place + 1) % n])
    chords = torch.randint(n, (2, n), generator=generator)
    edges = torch.cat([ring, ring.flip(0), chords], dim=1)
    edges = torch.unique(edges[:, edges[0] != edges[1]], dim=1)
    return Data(
        edge_index=edges,
        edge_weight=torch.rand(edges.shape[1], generator=generator) + 0.1,
        cell=torch.stack([place // width, place % width], dim=1),
        num_nodes=n,
    )


def windows(n: int, b: int = 2, *, lookback: int = LOOKBACK) -> tuple[Tensor, Data, Tensor]:
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(b, lookback, n, FEATURES, generator=generator, dtype=torch.float64)
    return x, graph_of(n), x.mean(0).transpose(0, 1).flatten(1)


def source(n: int, m: int = 6) -> TensorWindows:
    """Windows in single precision, as in training; a quarter of the targets is missing."""
    x, _, profile = windows(n, m)
    y = torch.randn(m, HORIZON, n, generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(y.numel()).view(y.shape) % 4 > 0).float()
    return TensorWindows(
        x=x.float(), y=y, mask=mask, weight=torch.ones(n), given_profile=profile.float()
    )


@every
@pytest.mark.parametrize("n", [1, 2, 9])
@pytest.mark.parametrize("lookback", [1, 5, 25])
def test_shape(name, options, n, lookback):
    forecast = build(name, options, lookback=lookback)(*windows(n, lookback=lookback))
    assert forecast.shape == (2, HORIZON, n)
    assert forecast.dtype == torch.float64
    assert torch.isfinite(forecast).all()


@every
def test_several_outputs(name, options):
    forecaster = build(name, options, n_outputs=3)
    assert forecaster.rows == 3 * HORIZON
    assert forecaster(*windows(9)).shape == (2, 3 * HORIZON, 9)
    assert forecaster.config["n_outputs"] == 3


@every
def test_quantiles_of_several_targets(name, options):
    forecaster = build(name, options, n_outputs=4, n_targets=2)
    assert forecaster(*windows(9)).shape == (2, 4 * HORIZON, 9)


@every
def test_every_parameter_has_a_gradient(name, options):
    forecaster = build(name, options)
    forecaster(*windows(9, 4)).square().sum().backward()
    dead = [
        key for key, p in forecaster.named_parameters() if p.grad is None or not p.grad.abs().sum()
    ]
    assert not dead


@pytest.mark.slow
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
    permuted = forecaster(x[:, :, order], subgraph(graph, order), profile[order])
    torch.testing.assert_close(permuted, forecaster(x, graph, profile)[..., order])


@every
def test_pointwise_forecasters_do_not_mix_locations(name, options):
    forecaster = build(name, options).eval()
    x, graph, profile = windows(11)
    some = torch.tensor([3, 7])
    alone = forecaster(x[:, :, some], subgraph(graph, some), profile[some])
    same = torch.allclose(alone, forecaster(x, graph, profile)[..., some])
    assert same == forecaster.pointwise


@every
def test_learned_edges_say_what_is_read(name, options):
    forecaster = build(name, options).eval()
    profile = windows(30)[2]
    edges = forecaster.learned_edges(profile)
    assert (edges is not None) == (name in ("agcrn", "graph-wavenet", "mtgnn"))
    if edges is None:
        return
    (source, target), weight = edges
    shares = weight.new_zeros(30).index_add(0, target, weight)
    torch.testing.assert_close(shares, torch.ones_like(shares))
    assert len(source) == len(weight) < 30 * 30


@pytest.mark.slow
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
    forecaster, other = build(name, options).eval(), build(name, options).eval()
    state = {key: value + 0.1 for key, value in forecaster.state_dict().items()}
    other.load_state_dict(state)
    arguments = windows(9)
    before = forecaster(*arguments)
    called = functional_call(forecaster, state, arguments)
    torch.testing.assert_close(called, other(*arguments))
    assert torch.equal(forecaster(*arguments), before)
    assert not torch.allclose(called, before)


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
    if name not in LEARNS_DISCRETE_GRAPH:
        torch.testing.assert_close(half.double(), exact, rtol=0.1, atol=0.1)


@every
def test_gradient_flows_to_the_inputs_of_every_location(name, options):
    x, graph, profile = windows(9)
    build(name, options)(x.requires_grad_(), graph, profile).sum().backward()
    assert x.grad.abs().sum((0, 1, 3)).all()


@pytest.mark.slow
@every
def test_training_does_not_read_missing_targets(name, options):
    data = source(9)
    noisy = TensorWindows(
        x=data.x,
        y=torch.where(data.mask > 0, data.y, torch.full((), 1e3)),
        mask=data.mask,
        weight=data.weight,
        given_profile=data.given_profile,
    )
    weights = []
    for windows_ in (data, noisy):
        forecaster = build(name, options).float()
        settings = TrainingSettings(updates=2, batch_windows=3)
        result = train_forecaster(forecaster, windows_, graph_of(9), settings)
        assert result.updates == 2
        weights.append(forecaster.state_dict())
    for key, value in weights[0].items():
        assert torch.equal(value, weights[1][key]), key


@pytest.mark.slow
@every
def test_resumes_exactly(name, options, tmp_path):
    data, graph = source(9), graph_of(9)
    settings = TrainingSettings(updates=4, batch_windows=3, validate_every=2)
    whole = build(name, options).float()
    train_forecaster(whole, data, graph, settings)

    calls: list[Tensor] = []

    class Dies(TensorWindows):
        def batch(self, index, locations=None):
            calls.append(index)
            if len(calls) == 4:  # after two updates and the identity that is saved with them
                raise KeyboardInterrupt
            return super().batch(index, locations)

    dying = Dies(**{f.name: getattr(data, f.name) for f in fields(data)})
    with pytest.raises(KeyboardInterrupt):
        train_forecaster(
            build(name, options).float(), dying, graph, settings, checkpoint=tmp_path / "state"
        )
    assert (tmp_path / "state").exists()
    resumed = build(name, options).float()
    train_forecaster(resumed, data, graph, settings, checkpoint=tmp_path / "state")
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


@every
def test_saved_weights_give_the_same_forecast(name, options, tmp_path):
    forecaster = build(name, options).eval()
    save_weights(forecaster, tmp_path / "weights.safetensors")
    again = make_forecaster(name, **forecaster.config).double().eval()
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(again(*windows(9)), forecaster(*windows(9)))


@pytest.mark.slow
@every
def test_blocked_prediction_equals_unblocked(name, options):
    forecaster, data, graph = build(name, options).float(), source(11), graph_of(11)
    whole = predict_windows(forecaster, data, graph)
    assert whole.shape == (6, HORIZON, 11)
    for block in (1, 5, 25):
        blocked = predict_windows(forecaster, data, graph, block_series=block)
        torch.testing.assert_close(blocked, whole, rtol=1e-5, atol=1e-6)


@every
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu(name, options):
    forecaster = build(name, options).eval()
    x, graph, profile = windows(9)
    here = forecaster(x, graph, profile)
    there = forecaster.cuda()(x.cuda(), graph.to("cuda"), profile.cuda())
    torch.testing.assert_close(there.cpu(), here)


@every
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_double_backward_on_cuda(name, options):
    forecaster = build(name, options).cuda()
    x, graph, profile = windows(9)
    x = x.cuda().requires_grad_()
    with torch.backends.cudnn.flags(enabled=False):
        loss = forecaster(x, graph.to("cuda"), profile.cuda()).square().mean()
        grads = torch.autograd.grad(loss, list(forecaster.parameters()), create_graph=True)
        (slope,) = torch.autograd.grad(sum(g.square().sum() for g in grads), x)
    assert torch.isfinite(slope).all()
    assert slope.any()


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

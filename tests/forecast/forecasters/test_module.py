from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stemdist.errors import InputError
from stemdist.forecast.base import make_forecaster
from stemdist.forecast.forecasters.module import ModuleForecaster

B, T, N, F, H = 2, 4, 5, 3, 2


class Steps(nn.Module):
    """Gives feature 0 of the last ``rows`` steps, each in the layout it is told."""

    def __init__(self, rows: int, layout: str, output: str) -> None:
        super().__init__()
        self.rows, self.layout, self.output = rows, layout, output
        self.seen: tuple[int, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        self.seen = tuple(x.shape)
        x = {
            "B T N F": lambda: x,
            "B F N T": lambda: x.permute(0, 3, 2, 1),
            "(B N) T F": lambda: x.view(B, N, T, F).transpose(1, 2),
            "(B N) F T": lambda: x.view(B, N, F, T).permute(0, 3, 1, 2),
            "B T (N F)": lambda: x.view(B, T, N, F),
            "N B (F T)": lambda: x.view(N, B, F, T).permute(1, 3, 0, 2),
        }[self.layout]()
        y = x[:, -self.rows :, :, 0]  # (B, H, N)
        return {
            "B H N": lambda: y,
            "B N H": lambda: y.transpose(1, 2),
            "B H N 1": lambda: y[..., None],
            "(B N) H": lambda: y.transpose(1, 2).flatten(0, 1),
            "(B N) 1 H": lambda: y.transpose(1, 2).flatten(0, 1)[:, None],
            "B (H N)": lambda: y.flatten(1),
        }[self.output]()


class Returns(nn.Module):
    """Returns what it is told, whatever it is given."""

    def __init__(self, shape: list[int] | None) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> object:
        return (x,) if self.shape is None else x.new_zeros(self.shape)


class Even(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        if hidden % 2:
            raise ValueError("hidden must be even")


def some_function(**options: object) -> nn.Module:
    raise RuntimeError("a function was called")


def build(factory: str, n_outputs: int = 1, **options: object) -> ModuleForecaster:
    return ModuleForecaster(
        lookback=T,
        horizon=H,
        n_features=F,
        n_outputs=n_outputs,
        factory=factory if ":" in factory else f"{__name__}:{factory}",
        **options,
    )


def windows() -> tuple[Tensor, Data, Tensor]:
    x = torch.arange(B * T * N * F, dtype=torch.float64).view(B, T, N, F)
    return x, Data(num_nodes=N), torch.zeros(N, T * F)


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("B T N F", (B, T, N, F)),
        ("B F N T", (B, F, N, T)),
        ("(B N) T F", (B * N, T, F)),
        ("(B N) F T", (B * N, F, T)),
        ("B T (N F)", (B, T, N * F)),
        ("N B (F T)", (N, B, F * T)),
    ],
)
@pytest.mark.parametrize("output", ["B H N", "B N H", "B H N 1", "(B N) H", "(B N) 1 H", "B (H N)"])
def test_layouts(layout, shape, output):
    told = {"layout": layout, "output": output}
    forecaster = build("Steps", options=told, **told)
    x, *rest = windows()
    assert torch.equal(forecaster(x, *rest), x[:, -H:, :, 0])
    assert forecaster.module.seen == shape
    assert forecaster.pointwise == (layout.startswith("(B N)") and output.startswith("(B N)"))


def test_shape_is_passed_on_where_the_class_asks_for_it_and_options_do_not_say():
    told = {"layout": "B T N F", "output": "B H N"}
    assert build("Steps", n_outputs=3, options=told).module.rows == 3 * H
    assert build("Steps", options={**told, "rows": 1}).module.rows == 1


def test_config_is_plain_and_builds_it_again():
    options = {"in_features": T * F, "out_features": H}
    forecaster = build("torch.nn:Linear", options=options, layout="(B N) (T F)", output="(B N) H")
    config = json.loads(json.dumps(forecaster.config))
    again = make_forecaster("module", **config)
    again.load_state_dict(forecaster.state_dict())
    x, *rest = windows()
    assert torch.equal(again(x.float(), *rest), forecaster(x.float(), *rest))


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (f"{__name__}:some_function", "is not a class of torch.nn.Module"),
        ("builtins:eval", "is not a class of torch.nn.Module"),
        ("subprocess:Popen", "is not a class of torch.nn.Module"),
        ("torch.nn:Linaer", "'torch.nn:Linaer' cannot be found.*Linaer"),
        ("no_such_package:Linear", "cannot be found: No module named 'no_such_package'"),
        ("torch.nn.Linear:", "must name a class as 'package.module:Class', e.g. 'torch.nn:Linear'"),
        (":Linear", "must name a class"),
        ("torch:nn.Linear", "must name a class"),
    ],
)
def test_only_a_module_class_is_called(factory, message):
    with pytest.raises(InputError, match=message):
        build(factory, options={})


def test_without_a_factory_it_says_what_it_needs():
    with pytest.raises(InputError, match=r"factory is ''.*'package\.module:Class'"):
        make_forecaster("module", lookback=T, horizon=H, n_features=F)


@pytest.mark.parametrize(
    ("factory", "options", "message"),
    [
        ("torch.nn:Linear", {"in_features": 3}, "cannot be built.*'out_features'.*parameters are"),
        ("Returns", {"shape": None, "hiden": 3}, "unexpected keyword argument 'hiden'.*shape"),
        ("Even", {"hidden": 3}, r"cannot be built from \{'hidden': 3\}: hidden must be even"),
        ("Even", "hidden=3", "options is 'hidden=3': it must be keyword arguments"),
    ],
)
def test_options_the_class_refuses(factory, options, message):
    with pytest.raises(InputError, match=message):
        build(factory, options=options)


@pytest.mark.parametrize(
    ("layouts", "message"),
    [
        ({"layout": "B T N"}, "layout is 'B T N': it must have each of B, T, N, F once"),
        ({"layout": "B T N F 1"}, "layout is 'B T N F 1'"),
        ({"layout": "(B N T F"}, r"layout is '\(B N T F'.*in parentheses, e.g. 'B T N F'"),
        ({"layout": "B T N F F"}, "layout is"),
        ({"output": "B T N"}, "output is 'B T N': it must have each of B, H, N once.*'B H N 1'"),
    ],
)
def test_wrong_layouts(layouts, message):
    with pytest.raises(InputError, match=message):
        build("Returns", options={"shape": [1]}, **layouts)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([B, N, H], rf"returned \[2, 5, 2\]: the output 'B H N' .* shape \[{B}, {H}, {N}\]"),
        (None, "returned <class 'tuple'>"),
    ],
)
def test_wrong_output(shape, message):
    with pytest.raises(InputError, match=message):
        build("Returns", options={"shape": shape})(*windows())


def test_inputs_the_module_cannot_read():
    options = {"in_features": 7, "out_features": H}
    forecaster = build("torch.nn:Linear", options=options, layout="(B N) (T F)", output="(B N) H")
    message = r"torch.nn:Linear failed on inputs of shape \[10, 12\], the layout '\(B N\) \(T F\)'"
    with pytest.raises(InputError, match=message):
        forecaster(*(value.float() if torch.is_tensor(value) else value for value in windows()))

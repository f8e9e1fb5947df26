"""Any ``torch.nn.Module`` as a forecaster.

Shapes, as layouts name them: B windows, T = L_in lookback, N locations, F features, H = O *
L_out rows.
"""

from __future__ import annotations

import copy
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from math import prod
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from stemdist.errors import InputError
from stemdist.forecast.base import Forecaster

if TYPE_CHECKING:
    from torch_geometric.data import Data


class ModuleForecaster(Forecaster):
    """Forecast by any torch module: inputs in, forecasts out.

    A class is best named, so that a saved forecaster can be built again: of a name, only a class
    of ``torch.nn.Module`` is ever called, but its module is imported, so load forecasters of this
    kind only from sources you trust. A module, or a function that makes one, can be
    given from Python and trained, but not saved. The module is given the inputs
    alone. To read the graph or location codes, write a :class:`stemdist.forecast.Forecaster`.

    What forecasters promise is up to the module here: no weight whose shape depends on the
    number of locations (a mixing layer over N does not carry over to another N), two
    derivatives for distillation by gradient matching, and no statistics over the batch
    (``BatchNorm``), which would make a forecast depend on its neighbours in the batch.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F. These, ``n_outputs`` and ``rows`` (H) are passed on
        where the class has parameters of those names that ``options`` does not set.
    n_outputs : int
        O, the numbers forecast per location and step.
    factory : str, torch.nn.Module or callable
        ``"package.module:Class"``, a subclass of ``torch.nn.Module``; or such a class, a function
        that returns a module, or a module, of which every training begins with a copy.
    options : mapping, optional
        Keyword arguments of the class, JSON-serialisable.
    layout : str
        Axes of the module's input: B, T, N and F once each in any order; those in parentheses
        are one axis, e.g. ``"B T N F"``, ``"B F N T"``, ``"(B N) T F"``, ``"B T (N F)"``.
    output : str
        Axes of the module's output: B, H and N likewise, and any ``1``, e.g. ``"B H N"``,
        ``"B H N 1"``, ``"(B N) H"``.

    Raises
    ------
    InputError
        If the class cannot be found or built, a layout is wrong, or, when forecasting, the
        output is not of the layout's shape.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> import torch
    >>> forecaster = ModuleForecaster(
    ...     lookback=12,
    ...     horizon=3,
    ...     n_features=1,
    ...     factory="torch.nn:Linear",
    ...     options={"in_features": 12, "out_features": 3},
    ...     layout="(B N) (T F)",
    ...     output="(B N) H",
    ... )
    >>> forecaster(torch.zeros(4, 12, 5, 1), Data(num_nodes=5), torch.zeros(5, 12)).shape
    torch.Size([4, 3, 5])
    """

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        factory: str | nn.Module | Callable[..., nn.Module] = "",
        options: Mapping[str, Any] | None = None,
        layout: str = "B T N F",
        output: str = "B H N",
    ) -> None:
        if not isinstance(options, Mapping | None):
            raise InputError(
                f"options is {options!r}: it must be keyword arguments, e.g. {{'hidden': 8}}"
            )
        factory = _named(factory)
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            factory=factory,
            options=dict(options or {}),
            layout=layout,
            output=output,
        )
        self.factory, self.output = _text(factory), output
        self.input_axes = _parse("layout", layout, "BTNF", "'B T N F' or '(B N) T F'")
        self.output_axes = _parse("output", output, "BHN1", "'B H N', 'B H N 1' or '(B N) H'")
        shape = {
            "lookback": lookback,
            "horizon": horizon,
            "n_features": n_features,
            "n_outputs": n_outputs,
            "rows": self.rows,
        }
        self.module = _build(factory, shape, self.config["options"])

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """True if windows and locations are one axis of the input and of the output."""
        return {"B", "N"} in map(set, self.input_axes) and {"B", "N"} in map(set, self.output_axes)

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units; reads ``x`` only."""
        sizes = {"B": x.shape[0], "T": x.shape[1], "N": x.shape[2], "F": x.shape[3]}
        sizes |= {"H": self.rows, "1": 1}
        order = "".join(self.input_axes)
        given = x.permute(["BTNF".index(axis) for axis in order])
        forecast = self._call(given.reshape(_shape(self.input_axes, sizes)))
        expected = _shape(self.output_axes, sizes)
        if not isinstance(forecast, Tensor) or list(forecast.shape) != expected:
            found = list(forecast.shape) if isinstance(forecast, Tensor) else type(forecast)
            raise InputError(
                f"{self.factory} returned {found}: the output {self.output!r} of this call is a "
                f"tensor of shape {expected}; change the class, its options or the output layout"
            )
        axes = "".join(self.output_axes).replace("1", "")
        forecast = forecast.reshape([sizes[axis] for axis in axes])
        return forecast.permute([axes.index(axis) for axis in "BHN"])

    def _call(self, given: Tensor) -> Any:
        try:
            return self.module(given)
        except RuntimeError as error:
            raise InputError(
                f"{self.factory} failed on inputs of shape {list(given.shape)}, the layout "
                f"{self.config['layout']!r} of this call: {error}"
            ) from error


def _parse(name: str, layout: str, axes: str, examples: str) -> list[str]:
    """Return the axes of a layout, those in parentheses joined: '(B N) H' is ['BN', 'H']."""
    words = re.findall(r"\([^()]*\)|\S", layout)
    found = ["".join(word[1:-1].split()) if len(word) > 1 else word for word in words]
    once = sorted("".join(found).replace("1", "")) == sorted(axes.replace("1", ""))
    if not once or ("1" not in axes and "1" in layout):
        listing = ", ".join(axes.replace("1", ""))
        raise InputError(
            f"{name} is {layout!r}: it must have each of {listing} once, those that are one "
            f"axis in parentheses, e.g. {examples}"
        )
    return found


def _shape(axes: Sequence[str], sizes: Mapping[str, int]) -> list[int]:
    return [prod(sizes[axis] for axis in joined) for joined in axes]


def _named(
    factory: str | nn.Module | Callable[..., nn.Module],
) -> str | nn.Module | Callable[..., nn.Module]:
    """Return the name of a class where it can be imported again by it, else what was given."""
    if not isinstance(factory, type):
        return factory
    name = f"{factory.__module__}:{factory.__name__}"
    module = sys.modules.get(factory.__module__)
    importable = factory.__module__ != "__main__" and hasattr(module, factory.__name__)
    return name if importable else factory


def _text(factory: object) -> str:
    return factory if isinstance(factory, str) else getattr(factory, "__name__", repr(factory))


def _build(
    factory: str | nn.Module | Callable[..., nn.Module],
    shape: Mapping[str, Any],
    options: Mapping[str, Any],
) -> nn.Module:
    """Build the module, with those of ``shape`` that its class takes."""
    if isinstance(factory, nn.Module):
        return copy.deepcopy(factory)
    kind = _module_class(factory) if isinstance(factory, str) else factory
    signature = inspect.signature(kind)
    given = {**{key: shape[key] for key in shape if key in signature.parameters}, **options}
    try:
        module = kind(**given)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{_text(factory)} cannot be built from {given}: {error}; its parameters are "
            f"{signature}"
        ) from error
    if not isinstance(module, nn.Module):
        raise InputError(
            f"{_text(factory)} returned a {type(module).__name__}: it must return a torch.nn.Module"
        )
    return module


def _module_class(factory: str) -> type[nn.Module]:
    """Find the class, and make sure that it is one before anything is called."""
    module, _, name = factory.partition(":")
    if not module or not name.isidentifier():
        raise InputError(
            f"factory is {factory!r}: it must name a class as 'package.module:Class', "
            "e.g. 'torch.nn:Linear'"
        )
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"factory {factory!r} cannot be found: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise InputError(f"factory {factory!r} is not a class of torch.nn.Module")
    return kind

"""A perceptron for a window's trend and one for what is left.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, H hidden
columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemdist.errors import check_count, unknown_name
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.moving_average import check_kernel, moving_average
from stemdist.forecast.layers.reversible_norm import ReversibleNorm, check_targets, normalised
from stemdist.forecast.search_space import WIDTHS, Choice, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data

NORMS = ("layer", "none")
LEVELS = ("mean", "reversible", "none")


class DecompositionMLPForecaster(Forecaster):
    """Split each window into trend and remainder; one hidden layer each, one forecast.

    The student of TimeDistill: Ni et al., KDD 2026 (arXiv 2502.15016). The trend is a moving
    average of the window, extended by repeating its first and last value; each part goes
    through its own ``Linear -> norm -> ReLU -> Linear``, and the two are added. Weights are
    shared by all locations. Two changes: the batch norm of the paper, whose statistics belong
    to variables and to the rest of a batch, would tie the student to one N, so its place is
    taken by layer norm over the hidden columns or by nothing; and a window holds all features
    of its location, not the target alone. The paper has 512 hidden columns.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs : int
        O, the numbers forecast per location and step.
    n_targets : int
        Leading features that are targets; output ``o`` belongs to target ``o % n_targets``.
    kernel : int
        Steps of the moving average; odd.
    hidden : int
        H, of each part.
    norm : str
        ``"layer"`` or ``"none"``. Layer norm evens out how much a window varies.
    level : str
        Statistics removed from the targets of each window and restored in their forecast: their
        ``"mean"``, mean and scale (``"reversible"``), or ``"none"``.

    Raises
    ------
    InputError
        If the kernel is even, features and outputs cannot belong to that many targets, a value
        is outside its range or a name is unknown.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> forecaster = DecompositionMLPForecaster(lookback=12, horizon=3, n_features=2)
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    search_space: ClassVar[Space] = {"hidden": WIDTHS, "kernel": Choice((5, 13, 25))}

    pointwise = True
    states: ClassVar[Mapping[str, str]] = {"features": "features"}
    average: Tensor

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        n_targets: int = 1,
        kernel: int = 25,
        hidden: int = 128,
        norm: str = "layer",
        level: str = "mean",
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            n_targets=check_targets(n_targets, n_features, n_outputs),
            kernel=check_kernel(kernel),
            hidden=check_count("hidden", hidden),
            norm=_check_name("norm", norm, NORMS),
            level=_check_name("level", level, LEVELS),
        )
        self.register_buffer("average", moving_average(lookback, kernel), persistent=False)
        self.level: ReversibleNorm | None = None
        if level != "none":
            scales = level == "reversible"
            self.level = ReversibleNorm(n_features, n_outputs, n_targets, scales=scales)
        self.trend = nn.Linear(lookback * n_features, hidden)
        self.remainder = nn.Linear(lookback * n_features, hidden)
        self.trend_norm, self.remainder_norm = (
            nn.LayerNorm(hidden) if norm == "layer" else nn.Identity() for _ in range(2)
        )
        self.features = nn.Identity()  # exposes the sum of both first layers as features
        self.head = nn.Linear(2 * hidden, self.rows)  # the sum of one map for each part

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units; reads ``x`` only."""
        return normalised(self.level, x, self._forecast)

    def _forecast(self, x: Tensor) -> Tensor:
        trend, remainder = self._first_layers(x.transpose(1, 2).flatten(2))  # (B, N, H) each
        self.features(trend + remainder)
        h = torch.cat([self.trend_norm(trend), self.remainder_norm(remainder)], dim=-1)
        forecast: Tensor = self.head(torch.relu_(h))  # (B, N, O * L_out)
        return forecast.transpose(1, 2)

    def _first_layers(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        # Both parts are linear in the window, so the average is taken of the weights: they are
        # fewer than the windows of a batch.
        weights = torch.stack([self.trend.weight, self.remainder.weight])
        weights = torch.unflatten(weights, 2, (self.lookback, self.n_features))  # (2, H, L_in, F)
        smooth = torch.einsum("phtf,ts->phsf", weights, self.average)
        weight, rest = smooth[0].flatten(1), (weights[1] - smooth[1]).flatten(1)  # (H, L_in * F)
        trend = functional.linear(rows, weight, self.trend.bias)
        return trend, functional.linear(rows, rest, self.remainder.bias)


def _check_name(kind: str, name: str, choices: tuple[str, ...]) -> str:
    if name not in choices:
        raise unknown_name(kind, name, choices)
    return name

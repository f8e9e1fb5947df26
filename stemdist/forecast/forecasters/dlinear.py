"""Linear maps of a window's trend and of what is left.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.moving_average import check_kernel, moving_average
from stemdist.forecast.layers.reversible_norm import check_targets, target_of_rows
from stemdist.forecast.layers.window_linear import WindowLinear
from stemdist.forecast.search_space import Choice, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data


class DLinearForecaster(Forecaster):
    """Split each window into trend and remainder, and forecast each by its own affine map.

    Zeng et al., *Are Transformers Effective for Time Series Forecasting?*, AAAI 2023, section
    4: the trend is a moving average of the window, extended by repeating its first and last
    value. The maps are shared by all locations; both start at the mean of their part, as in
    the paper's code, so their sum starts at the mean of the window.

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

    Raises
    ------
    InputError
        If the kernel is even, or features and outputs cannot belong to that many targets.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> forecaster = DLinearForecaster(lookback=12, horizon=3, n_features=2)
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    search_space: ClassVar[Space] = {"kernel": Choice((5, 13, 25))}

    pointwise = True
    states: ClassVar[Mapping[str, str]] = {"features": "hidden"}
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
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            n_targets=check_targets(n_targets, n_features, n_outputs),
            kernel=check_kernel(kernel),
        )
        self.register_buffer("average", moving_average(lookback, kernel), persistent=False)
        start = target_of_rows(n_targets, n_outputs, horizon)
        self.trend = WindowLinear(lookback, n_features, start)
        self.remainder = WindowLinear(lookback, n_features, start)
        self.hidden = nn.Identity()  # no hidden layer: the forecast serves as features

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units; reads ``x`` only."""
        # Both parts are linear in the window, so it is cheaper to add their maps.
        trend, remainder = (
            part.step_weight().view(self.rows, self.lookback, self.n_features)
            for part in (self.trend, self.remainder)
        )  # (O * L_out, L_in, F) each
        weight = remainder + torch.einsum("rtf,ts->rsf", trend - remainder, self.average)
        rows = x.transpose(1, 2).flatten(2)  # (B, N, L_in * F)
        bias = self.trend.bias + self.remainder.bias
        forecast: Tensor = self.hidden(functional.linear(rows, weight.flatten(1), bias))
        return forecast.transpose(1, 2)

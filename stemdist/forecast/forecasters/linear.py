"""One linear map shared by all locations.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.reversible_norm import check_targets, target_of_rows
from stemdist.forecast.layers.window_linear import WindowLinear

if TYPE_CHECKING:
    from torch_geometric.data import Data


class LinearForecaster(Forecaster):
    """Forecast each location by one affine map of its own lookback window.

    The "Linear" baseline of Zeng et al., *Are Transformers Effective for Time Series
    Forecasting?*, AAAI 2023, section 4, with weights shared by all locations. It starts at the
    mean of the window. Train it by gradient descent like any forecaster, or exactly with
    :func:`stemdist.forecast.closed_form.fit_linear`.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs : int
        O, the numbers forecast per location and step.
    n_targets : int
        Leading features that are targets; output ``o`` belongs to target ``o % n_targets``.

    Raises
    ------
    InputError
        If features and outputs cannot belong to that many targets.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> import torch
    >>> forecaster = LinearForecaster(lookback=12, horizon=3, n_features=2)
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    pointwise = True

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        n_targets: int = 1,
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            n_targets=check_targets(n_targets, n_features, n_outputs),
        )
        start = target_of_rows(n_targets, n_outputs, horizon)
        self.head = WindowLinear(lookback, n_features, start)

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units; reads ``x`` only."""
        rows = x.transpose(1, 2).flatten(2)  # (B, N, L_in * F)
        forecast: Tensor = self.head(rows)  # (B, N, O * L_out)
        return forecast.transpose(1, 2)

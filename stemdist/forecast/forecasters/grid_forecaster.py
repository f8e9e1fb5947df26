"""What networks over the images of a regular grid share.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, H rows and W
columns of the grid.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from torch import Tensor

from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.grid import Grid
from stemdist.forecast.layers.reversible_norm import check_targets, target_of_rows
from stemdist.forecast.layers.window_linear import WindowLinear

if TYPE_CHECKING:
    from torch_geometric.data import Data


class GridForecaster(Forecaster):
    """A network over images with all input steps as channels, added to a linear forecast.

    The affine map of each location's own window is shared by all locations and is the linear
    forecaster where the network returns zero. Inputs of missing cells are zero, and a mask channel
    marks them. The edges of the graph and the profile are not read.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs, n_targets : int
        O, and leading features that are targets; output ``o`` belongs to target ``o % n_targets``.
    **hyperparameters
        The subclass's own.
    """

    needs_grid = True

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int,
        n_targets: int,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            n_targets=check_targets(n_targets, n_features, n_outputs),
            **hyperparameters,
        )
        start = target_of_rows(n_targets, n_outputs, horizon)
        self.linear = WindowLinear(lookback, n_features, start)

    @property
    def image_channels(self) -> int:
        """Channels of the images that the network is given: all inputs, and the mask."""
        return self.lookback * self.n_features + 1

    @abstractmethod
    def change(self, images: Tensor) -> Tensor:
        """Return what is added to the linear forecast.

        Parameters
        ----------
        images : Tensor
            (B, L_in * F + 1, H, W).

        Returns
        -------
        Tensor
            (B, O * L_out, H, W), or more rows and columns at the end, which are cut off.
        """

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units."""
        grid = Grid.of(graph)
        rows = x.transpose(1, 2).flatten(2)  # (B, N, L_in * F)
        own: Tensor = self.linear(rows)  # (B, N, O * L_out)
        change = self.change(grid.scatter(rows))[..., : grid.height, : grid.width]
        return own.transpose(1, 2) + grid.gather(change)

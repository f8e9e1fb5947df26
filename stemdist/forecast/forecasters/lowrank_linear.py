"""Two linear maps with few columns between them.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, K columns
between the maps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from stemdist.errors import check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.reversible_norm import check_targets, target_of_rows
from stemdist.forecast.layers.window_linear import WindowLinear
from stemdist.forecast.search_space import Choice, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data


class LowRankLinearForecaster(Forecaster):
    """Forecast each location by one affine map of low rank of its own lookback window.

    Izenman, *Reduced-Rank Regression for the Multivariate Linear Model*, Journal of
    Multivariate Analysis 5 (1975), with weights shared by all locations and learned by gradient
    descent. A window is mapped to K columns and these to the forecast; the columns are the
    hidden state (``features``) that a linear student can learn from a teacher. With a rank of
    at least ``min(L_in * F, O * L_out)`` it can be any map of the ``linear`` forecaster. Like
    that one it is learned in the frequencies of the window and starts at its mean: the first
    columns start as the means of the targets, the only ones that the head reads at the start;
    the others start as different random maps, so that they do not learn the same.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs : int
        O, the numbers forecast per location and step.
    n_targets : int
        Leading features that are targets; output ``o`` belongs to target ``o % n_targets``.
    rank : int
        K. Targets beyond it start at 0.

    Raises
    ------
    InputError
        If the rank is below 1, or features and outputs cannot belong to that many targets.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> forecaster = LowRankLinearForecaster(lookback=12, horizon=3, n_features=2, rank=4)
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    search_space: ClassVar[Space] = {"rank": Choice((4, 8, 16, 32))}

    pointwise = True

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        n_targets: int = 1,
        rank: int = 16,
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            n_targets=check_targets(n_targets, n_features, n_outputs),
            rank=check_count("rank", rank),
        )
        means = list(range(min(rank, n_targets)))
        self.reduce = WindowLinear(lookback, n_features, [*means, *[None] * (rank - len(means))])
        self.head = nn.Linear(rank, self.rows)
        targets = torch.tensor(target_of_rows(n_targets, n_outputs, horizon))  # (O * L_out,)
        with torch.no_grad():
            self.head.weight.copy_(targets[:, None] == torch.arange(rank))
            self.head.bias.zero_()

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units; reads ``x`` only."""
        columns = self.reduce(x.transpose(1, 2).flatten(2))  # (B, N, K)
        forecast: Tensor = self.head(columns)  # (B, N, O * L_out)
        return forecast.transpose(1, 2)

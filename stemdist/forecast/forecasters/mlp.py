"""STID-style multi-layer perceptron shared by all locations.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, H hidden
columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from stemdist.errors import check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.dropout import check_dropout
from stemdist.forecast.layers.location_code import LocationCode
from stemdist.forecast.search_space import DROPOUTS, LAYERS, WIDTHS, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data


class ResidualBlock(nn.Module):
    """``h + dropout(W2 relu(W1 h))`` on the last axis (H columns)."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(hidden, hidden)
        self.outer = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor) -> Tensor:
        """Return (..., H) for (..., H)."""
        change: Tensor = self.dropout(self.outer(torch.relu(self.inner(h))))
        return h + change


class MLPForecaster(Forecaster):
    """Residual multi-layer perceptron on each location's own window and location code.

    Shao et al., *Spatial-Temporal Identity*, CIKM 2022, section 4: a location's identity is
    added to the embedding of its window, then residual blocks and a linear head follow. The
    free node embedding of the paper is replaced by a location encoder that reads the profile,
    so the same weights serve any number of locations. Neighbours enter as an ordinary input
    feature (the mean of their target), prepared with the data.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs : int
        O, the numbers forecast per location and step.
    hidden : int
        H.
    depth : int
        Number of residual blocks.
    dropout : float
        Share of each block's output set to zero in training, in [0, 1).
    location_encoder : str
        ``"mlp"``, ``"attention"`` or ``"landmark"`` (codes depend on all locations together,
        so the forecaster is not pointwise), or ``"none"``.
    code_size : int
        Columns of the location code; not used without a location encoder.

    Raises
    ------
    InputError
        If a value is outside its range or the location encoder is unknown.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> forecaster = MLPForecaster(lookback=12, horizon=3, n_features=2)
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    search_space: ClassVar[Space] = {"hidden": WIDTHS, "depth": LAYERS, "dropout": DROPOUTS}

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        hidden: int = 64,
        depth: int = 2,
        dropout: float = 0.0,
        location_encoder: str = "mlp",
        code_size: int = 10,
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            hidden=check_count("hidden", hidden),
            depth=check_count("depth", depth, minimum=0),
            dropout=check_dropout(dropout),
            location_encoder=location_encoder,
            code_size=check_count("code_size", code_size),
        )
        width = lookback * n_features
        self.embed = nn.Linear(width, hidden)
        self.code = LocationCode(location_encoder, width, code_size, hidden)
        self.blocks = nn.Sequential(*(ResidualBlock(hidden, dropout) for _ in range(depth)))
        self.head = nn.Linear(hidden, self.rows)

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """True unless the location codes depend on all locations together."""
        return self.code.pointwise

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units."""
        h = self.code(self.embed(x.transpose(1, 2).flatten(2)), profile)  # (B, N, H)
        forecast: Tensor = self.head(torch.relu(self.blocks(h)))  # (B, N, O * L_out)
        return forecast.transpose(1, 2)

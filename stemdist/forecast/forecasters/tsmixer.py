"""Perceptrons that mix the time steps and the features of a window in turn.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, H hidden
columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from stemdist.errors import check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.dropout import FastDropout, check_dropout
from stemdist.forecast.layers.location_code import LocationCode
from stemdist.forecast.search_space import DROPOUTS, LAYERS, NARROW_WIDTHS, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data


class MixerBlock(nn.Module):
    """``h + steps(norm(h))``, then ``h + columns(norm(h))``, for h (..., L_in, H)."""

    def __init__(self, lookback: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.step_norm = nn.LayerNorm((lookback, hidden))
        self.steps = nn.Linear(lookback, lookback)
        self.column_norm = nn.LayerNorm((lookback, hidden))
        self.inner = nn.Linear(hidden, hidden)
        self.outer = nn.Linear(hidden, hidden)
        self.dropout = FastDropout(dropout)

    def forward(self, h: Tensor) -> Tensor:
        """Return (..., L_in, H) for (..., L_in, H)."""
        across = self.steps(self.step_norm(h).transpose(-1, -2))  # (..., H, L_in)
        h = h + self.dropout(torch.relu(across)).transpose(-1, -2)
        inner = self.dropout(torch.relu(self.inner(self.column_norm(h))))
        change: Tensor = self.dropout(self.outer(inner))
        return h + change


class TSMixerForecaster(Forecaster):
    """Mix the steps of each location's window, then its columns, several times.

    Chen et al., *TSMixer*, TMLR 2023, sections 4.1 and 4.2. In the paper the columns are the
    series, which ties the weights to their number. Here they are H hidden columns of the F
    features of one location (the paper's alignment of auxiliary features), so locations are
    not mixed: neighbours enter as an input feature. A location code takes the place of the
    paper's static features. Layer norm over steps and columns replaces batch norm, so that
    a forecast does not depend on the other windows of its batch.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs : int
        O, the numbers forecast per location and step.
    hidden : int
        H.
    depth : int
        Number of blocks.
    dropout : float
        Share set to zero after each perceptron layer in training, in [0, 1).
    location_encoder : str
        A location encoder's name, or ``"none"``. With one that reads all locations together
        the forecaster is not pointwise.
    code_size : int
        Columns of the location code; not used without a location encoder.

    Raises
    ------
    InputError
        If a value is outside its range or the location encoder is unknown.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> forecaster = TSMixerForecaster(lookback=12, horizon=3, n_features=2)
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    search_space: ClassVar[Space] = {"hidden": NARROW_WIDTHS, "depth": LAYERS, "dropout": DROPOUTS}

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        hidden: int = 32,
        depth: int = 2,
        dropout: float = 0.1,
        location_encoder: str = "mlp",
        code_size: int = 10,
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            hidden=check_count("hidden", hidden),
            depth=check_count("depth", depth),
            dropout=check_dropout(dropout),
            location_encoder=location_encoder,
            code_size=check_count("code_size", code_size),
        )
        self.embed = nn.Linear(n_features, hidden)
        self.code = LocationCode(location_encoder, lookback * n_features, code_size, hidden)
        self.blocks = nn.Sequential(*(MixerBlock(lookback, hidden, dropout) for _ in range(depth)))
        self.ahead = nn.Linear(lookback, horizon)
        self.head = nn.Linear(hidden, n_outputs)

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """True unless the location codes depend on all locations together."""
        return self.code.pointwise

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units."""
        h = self.code(self.embed(x.transpose(1, 2)), profile)  # (B, N, L_in, H)
        ahead = self.ahead(self.blocks(h).transpose(2, 3))  # (B, N, H, L_out)
        forecast: Tensor = self.head(ahead.transpose(2, 3))  # (B, N, L_out, O)
        return forecast.permute(0, 3, 2, 1).flatten(1, 2)

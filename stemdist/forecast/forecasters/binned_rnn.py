"""Simple recurrent network that scores bins of the forecast.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, H state
columns, R = O * L_out rows of a forecast, K bins.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stemdist.errors import InputError, check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.dropout import FastDropout, check_dropout
from stemdist.forecast.layers.location_code import LocationCode
from stemdist.forecast.layers.recurrent import RNN

if TYPE_CHECKING:
    from torch_geometric.data import Data

DEFAULT_BINS = tuple(round(-3 + 0.3 * step, 1) for step in range(21))
"""Centres -3, -2.7, ... 3: three standard deviations of the training part on either side."""


class BinScores(nn.Module):
    """Linear map (..., H) -> (..., R, K): a score for each bin of each row of a forecast.

    Examples
    --------
    >>> BinScores(4, rows=3, n_bins=5)(torch.zeros(2, 6, 4)).shape
    torch.Size([2, 6, 3, 5])
    """

    def __init__(self, columns: int, rows: int, n_bins: int) -> None:
        super().__init__()
        self.linear = nn.Linear(columns, rows * n_bins)
        self.shape = (rows, n_bins)

    def forward(self, h: Tensor) -> Tensor:
        """Return (..., R, K) for (..., H)."""
        scores: Tensor = self.linear(h)
        return torch.unflatten(scores, -1, self.shape)


class BinnedRNNForecaster(Forecaster):
    """Read all features of each location's window, and forecast a distribution over bins.

    The layers of :class:`~stemdist.forecast.forecasters.recurrent.RNNForecaster`, whose last
    state is mapped to K scores for each step ahead; the forecast is the expectation of the
    bins' centres under the softmax of the scores. Imani & White, *Improving Regression
    Performance with Distributional Losses*, ICML 2018, predict such histograms in
    place of numbers. The scores can be taught with cross-entropy, as those of a classifier in
    Hinton et al., *Distilling the Knowledge in a Neural Network*, 2015, section 2; trained
    alone it learns from the expectation like any forecaster. No forecast can leave the bins.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs : int
        O, the numbers forecast per location and step; all have the same bins.
    bins : sequence of float
        K ascending centres in scaled units (0 is the mean of the training part, 1 its standard
        deviation).
    hidden : int
        H.
    layers : int
        Number of recurrent layers, each reading the states of the one before.
    dropout : float
        Share of each layer's states set to zero in training, in [0, 1).
    location_encoder : str
        A location encoder, ``"mlp"`` for example, or ``"none"``. With one that reads all
        locations together the forecaster is not pointwise.
    code_size : int
        Columns of the location code; not used without a location encoder.

    Raises
    ------
    InputError
        If the bins are fewer than two, not finite or not ascending, another value is outside
        its range, or the location encoder is unknown.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> forecaster = BinnedRNNForecaster(
    ...     lookback=12, horizon=3, n_features=2, bins=[-2.0, 0.0, 2.0])
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    centres: Tensor

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        bins: Sequence[float] = DEFAULT_BINS,
        hidden: int = 64,
        layers: int = 1,
        dropout: float = 0.0,
        location_encoder: str = "mlp",
        code_size: int = 10,
    ) -> None:
        centres = check_bins(bins)
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            bins=centres,
            hidden=check_count("hidden", hidden),
            layers=check_count("layers", layers),
            dropout=check_dropout(dropout),
            location_encoder=location_encoder,
            code_size=check_count("code_size", code_size),
        )
        self.hidden = hidden
        self.register_buffer("centres", torch.tensor(centres), persistent=False)
        self.code = LocationCode(location_encoder, lookback * n_features, code_size, hidden)
        self.layers = nn.ModuleList(
            RNN(nn.Linear(columns, hidden), nn.Linear(hidden, hidden, bias=False))
            for columns in [n_features] + [hidden] * (layers - 1)
        )
        self.dropout = FastDropout(dropout)
        self.last = nn.Identity()  # exposes the last state as features
        self.logits = BinScores(hidden, self.rows, len(centres))

    @property
    def states(self) -> Mapping[str, str]:  # type: ignore[override]
        """Scores of the bins, the last state, and the states at every step of the window."""
        return {"logits": "logits", "features": "last", "tokens": f"layers.{len(self.layers) - 1}"}

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """True unless the location codes depend on all locations together."""
        return self.code.pointwise

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units."""
        start = self.code(x.new_zeros(x.shape[0], x.shape[2], self.hidden), profile)  # (B, N, H)
        h = x.transpose(1, 2)  # (B, N, L_in, F)
        for layer in self.layers:
            h = self.dropout(layer(h, start))  # (B, N, L_in, H)
        scores = self.logits(self.last(h[:, :, -1]))  # (B, N, R, K)
        return (torch.softmax(scores, dim=-1) @ self.centres).transpose(1, 2)


def check_bins(values: Sequence[float]) -> list[float]:
    """Return the centres of bins as a list if they are finite and ascend, else raise.

    Examples
    --------
    >>> check_bins((-1, 0, 2))
    [-1.0, 0.0, 2.0]
    """
    numbers = isinstance(values, Sequence) and all(
        isinstance(value, int | float) and math.isfinite(value) for value in values
    )
    if not numbers or len(values) < 2 or any(a >= b for a, b in itertools.pairwise(values)):
        raise InputError(
            f"bins is {values!r}: give the centres of at least two bins in scaled units, finite "
            "and in ascending order, e.g. [-2, -1, 0, 1, 2]"
        )
    return [float(value) for value in values]

"""Multi-layer perceptron whose last hidden state is a short random code.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, H hidden
columns, Z columns of the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from stemdist.errors import check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.forecasters.mlp import ResidualBlock
from stemdist.forecast.layers.dropout import check_dropout
from stemdist.forecast.layers.location_code import LocationCode
from stemdist.forecast.search_space import DROPOUTS, LAYERS, WIDTHS, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data

_LIMIT = 8.0  # |log variance|: standard deviations from 0.018 to 55
_START = -4.0  # log variance: a new network is nearly deterministic, standard deviation 0.16


class GaussianCode(nn.Module):
    """Means and log variances (..., 2 Z) of a random code of a hidden state (..., H).

    Log variances are squashed smoothly to values within 8 of 0: the noise of a code and its
    divergence from the standard normal stay bounded, and unlike clamped values they keep a
    gradient.

    Parameters
    ----------
    columns, code_columns : int
        H and Z.

    Examples
    --------
    >>> GaussianCode(16, code_columns=4)(torch.zeros(2, 5, 16)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, columns: int, code_columns: int) -> None:
        super().__init__()
        self.linear = nn.Linear(columns, 2 * code_columns)
        with torch.no_grad():
            self.linear.bias[code_columns:] += _START

    def forward(self, h: Tensor) -> Tensor:
        """Return (..., 2 Z): means, then log variances."""
        mean, log_variance = self.linear(h).chunk(2, dim=-1)
        return torch.cat([mean, _LIMIT * torch.tanh(log_variance / _LIMIT)], dim=-1)


class BottleneckMLPForecaster(Forecaster):
    """The layers of ``mlp``, then a random code from which the forecast is read.

    The student of EasyST: Tang et al., CIKM 2024, who distil graph networks into a perceptron
    with an information bottleneck. As in
    :class:`~stemdist.forecast.forecasters.mlp.MLPForecaster`, a code read from the location's
    profile replaces the free node embedding of the paper; time of day and day of week, where
    the data have them, are input features, so they need no embedding of their own. Alemi et
    al., *Deep Variational Information Bottleneck*, ICLR 2017, section 3: means and log variances
    of a Gaussian code are linear in the last hidden state; training draws a code, evaluation
    takes its mean. Trained alone the network can outgrow the noise; the information in a code is
    limited by a loss that pulls it towards the standard normal, which model distillation adds.

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
    bottleneck : int
        Z.
    dropout : float
        Share of each block's output set to zero in training, in [0, 1).
    location_encoder : str
        A location encoder, ``"mlp"`` for example, or ``"none"``. With one that reads all
        locations together the forecaster is not pointwise.
    code_size : int
        Columns of the location code; not used without a location encoder.

    Raises
    ------
    InputError
        If a value is outside its range or the location encoder is unknown.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> forecaster = BottleneckMLPForecaster(lookback=12, horizon=3, n_features=2)
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    search_space: ClassVar[Space] = {"hidden": WIDTHS, "depth": LAYERS, "dropout": DROPOUTS}

    states: ClassVar[Mapping[str, str]] = {"bottleneck": "bottleneck"}

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        hidden: int = 64,
        depth: int = 2,
        bottleneck: int = 32,
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
            bottleneck=check_count("bottleneck", bottleneck),
            dropout=check_dropout(dropout),
            location_encoder=location_encoder,
            code_size=check_count("code_size", code_size),
        )
        width = lookback * n_features
        self.embed = nn.Linear(width, hidden)
        self.code = LocationCode(location_encoder, width, code_size, hidden)
        self.blocks = nn.Sequential(*(ResidualBlock(hidden, dropout) for _ in range(depth)))
        self.bottleneck = GaussianCode(hidden, bottleneck)
        self.head = nn.Linear(bottleneck, self.rows)

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """True unless the location codes depend on all locations together."""
        return self.code.pointwise

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units.

        In training two calls differ, unless ``torch.manual_seed`` comes before each.
        """
        h = self.code(self.embed(x.transpose(1, 2).flatten(2)), profile)  # (B, N, H)
        z = self._draw(self.bottleneck(torch.relu(self.blocks(h))))  # (B, N, Z)
        forecast: Tensor = self.head(z)  # (B, N, O * L_out)
        return forecast.transpose(1, 2)

    def _draw(self, code: Tensor) -> Tensor:
        mean, log_variance = code.chunk(2, dim=-1)
        if not self.training:
            return mean
        # Drawn on the CPU, whose generator checkpoints keep, so that runs are the same on every
        # device and resume exactly.
        noise = torch.randn(mean.shape, dtype=mean.dtype).to(mean.device)
        return mean + noise * torch.exp(log_variance / 2)

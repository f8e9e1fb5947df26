"""STNorm: dilated convolutions over time that also read spatially and temporally normalised input.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, T time
steps left, C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from stemdist.errors import check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.dropout import FastDropout, check_dropout
from stemdist.forecast.layers.location_code import LocationCode
from stemdist.forecast.layers.wavenet import WaveNet, doubling_dilations
from stemdist.forecast.search_space import DROPOUTS, NARROW_WIDTHS, Range, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data

_LOCATIONS, _STEPS = 1, 2  # dimensions of (B, N, T, C)


class AxisNorm(nn.Module):
    """Normalise over one dimension, then scale and shift each channel.

    Deng et al., ST-Norm, KDD 2021, section 4. For a dimension of size 1 the variance is zero
    and only the shift is left.

    Parameters
    ----------
    channels : int
        C.
    dim : int
        Dimension of (B, N, T, C) that is normalised over.
    eps : float
        Added to the variance.

    Examples
    --------
    >>> h = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1)
    >>> AxisNorm(1, dim=1, eps=0.0)(h).flatten().tolist()
    [-1.0, 1.0]
    """

    def __init__(self, channels: int, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, N, T, C) for (B, N, T, C)."""
        centred = h - h.mean(self.dim, keepdim=True)
        variance = centred.square().mean(self.dim, keepdim=True)
        return centred * (torch.rsqrt(variance + self.eps) * self.scale) + self.shift


class _Views(nn.Module):
    """The states joined with their spatially and temporally normalised versions."""

    def __init__(self, channels: int, code: LocationCode) -> None:
        super().__init__()
        self.spatial = AxisNorm(channels, _LOCATIONS)
        self.temporal = AxisNorm(channels, _STEPS)
        self.code = code

    def forward(self, h: Tensor, profile: Tensor) -> Tensor:
        """Return (B, N, T, 3 C) for (B, N, T, C)."""
        return torch.cat([h, self.spatial(h), self.code(self.temporal(h), profile)], dim=-1)


class _Residual(nn.Module):
    """Linear map, dropout and residual."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)
        self.dropout = FastDropout(dropout)

    def forward(self, gated: Tensor, h: Tensor, profile: Tensor) -> Tensor:
        """Return (B, N, T, C) for the convolved and the earlier states (B, N, T, C)."""
        change: Tensor = self.dropout(self.linear(gated))
        return h + change


class STNormForecaster(Forecaster):
    """Dilated convolutions over time with spatial and temporal normalisation before each.

    Deng et al., *ST-Norm: Spatial and Temporal Normalization for Multi-variate Time Series
    Forecasting*, KDD 2021, section 4, on the WaveNet backbone of its experiments. Spatial
    normalisation is over the locations at each time step and shows what is local; temporal
    normalisation is over the time steps of each location and shows what changes fast. Two
    changes: a location code takes the place of the temporal shift of each location, and the
    temporal mean and variance are those of the window, not running ones over many windows: a
    forecast must not depend on the windows seen before. The graph given to ``forward`` is not
    read: locations interact through the spatial normalisation, and codes that depend on all.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs : int
        O, the numbers forecast per location and step.
    blocks, layers : int
        Blocks of ``layers`` convolutions with dilations 1, 2, 4 ...; the receptive field is
        ``1 + blocks * (2**layers - 1)`` steps.
    channels, skip_channels, end_channels : int
        Channels of each part.
    dropout : float
        Share set to zero before each residual, in [0, 1).
    location_encoder : str
        Name of the location encoder, or ``"none"``.
    code_size : int
        Columns of the location code; not used without a location encoder.

    Raises
    ------
    InputError
        If a value is outside its range or the location encoder is unknown.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> forecaster = STNormForecaster(lookback=12, horizon=3, n_features=2)
    >>> forecaster(torch.zeros(4, 12, 5, 2), Data(num_nodes=5), torch.zeros(5, 24)).shape
    torch.Size([4, 3, 5])
    """

    search_space: ClassVar[Space] = {
        "channels": NARROW_WIDTHS,
        "layers": Range(1, 3),
        "dropout": DROPOUTS,
    }

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        blocks: int = 4,
        layers: int = 2,
        channels: int = 16,
        skip_channels: int = 64,
        end_channels: int = 128,
        dropout: float = 0.1,
        location_encoder: str = "mlp",
        code_size: int = 10,
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            blocks=check_count("blocks", blocks),
            layers=check_count("layers", layers),
            channels=check_count("channels", channels),
            skip_channels=check_count("skip_channels", skip_channels),
            end_channels=check_count("end_channels", end_channels),
            dropout=check_dropout(dropout),
            location_encoder=location_encoder,
            code_size=check_count("code_size", code_size),
        )

        def views() -> _Views:
            width = lookback * n_features
            return _Views(channels, LocationCode(location_encoder, width, code_size, channels))

        self.stack = WaveNet(
            n_features=n_features,
            lookback=lookback,
            rows=self.rows,
            channels=channels,
            skip_channels=skip_channels,
            end_channels=end_channels,
            dilations=doubling_dilations(blocks, layers),
            before=views,
            joined=3,
            after=lambda: _Residual(channels, dropout),
        )

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units."""
        forecast: Tensor = self.stack(x, profile)
        return forecast

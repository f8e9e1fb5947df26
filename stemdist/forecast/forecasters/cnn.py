"""Temporal convolutional network shared by all locations.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemdist.errors import check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.dropout import FastDropout, check_dropout
from stemdist.forecast.layers.location_code import LocationCode
from stemdist.forecast.layers.temporal_conv import TemporalConv
from stemdist.forecast.search_space import DROPOUTS, NARROW_WIDTHS, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data


class CausalBlock(nn.Module):
    """``relu(h + change(h))``: two dilated causal convolutions, each with ReLU and dropout.

    Bai et al., 2018, section 3.4 and figure 1b, for equally many channels before and after.
    As there, dropout leaves out a channel at all steps.

    Parameters
    ----------
    channels : int
        C.
    kernel : int
        Steps that each convolution reads.
    dilation : int
        Distance in steps between those it reads.
    dropout : float
        Share of channels set to zero in training, in [0, 1).

    Examples
    --------
    >>> CausalBlock(8, kernel=3, dilation=4, dropout=0.0)(torch.zeros(2, 5, 12, 8)).shape
    torch.Size([2, 5, 12, 8])
    """

    def __init__(self, channels: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.reach = dilation * (kernel - 1)
        self.convs = nn.ModuleList(
            TemporalConv(channels, channels, kernel, dilation) for _ in range(2)
        )
        self.dropout = FastDropout(dropout)

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, N, L_in, C) for (B, N, L_in, C)."""
        change = h
        for conv in self.convs:
            # Zeros before the first step, so that no output reads a later one.
            change = torch.relu(conv(functional.pad(change, (0, 0, self.reach, 0))))
            change = change * self.dropout(torch.ones_like(change[:, :, :1]))
        return torch.relu(h + change)


class CNNForecaster(Forecaster):
    """Dilated causal convolutions over each location's window, shared by all locations.

    Bai, Kolter & Koltun, *An Empirical Evaluation of Generic Convolutional and Recurrent
    Networks for Sequence Modeling*, 2018 (arXiv 1803.01271), section 3: residual blocks whose
    dilation doubles from one to the next, and a linear map of the channels at the last step.
    Two changes: a linear embedding of each step, to which the location's code is added, replaces
    the 1x1 convolution of the first block; and the convolutions have no weight norm, which so
    few blocks do not need.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs : int
        O, the numbers forecast per location and step.
    channels : int
        C.
    kernel : int
        Steps that each convolution reads, at least 2.
    blocks : int, optional
        Number of blocks; the receptive field is ``1 + 2 (kernel - 1) (2 ** blocks - 1)`` steps.
        By default enough to cover the whole window.
    dropout : float
        Share of channels set to zero after each convolution in training, in [0, 1).
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
    >>> forecaster = CNNForecaster(lookback=12, horizon=3, n_features=2)
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    search_space: ClassVar[Space] = {"channels": NARROW_WIDTHS, "dropout": DROPOUTS}

    states: ClassVar[Mapping[str, str]] = {"tokens": "blocks"}

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        channels: int = 32,
        kernel: int = 3,
        blocks: int | None = None,
        dropout: float = 0.0,
        location_encoder: str = "mlp",
        code_size: int = 10,
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            channels=check_count("channels", channels),
            kernel=check_count("kernel", kernel, minimum=2),
            blocks=blocks if blocks is None else check_count("blocks", blocks),
            dropout=check_dropout(dropout),
            location_encoder=location_encoder,
            code_size=check_count("code_size", code_size),
        )
        n_blocks = blocks_to_see(lookback, kernel) if blocks is None else blocks
        self.embed = nn.Linear(n_features, channels)
        self.code = LocationCode(location_encoder, lookback * n_features, code_size, channels)
        self.blocks = nn.Sequential(
            *(CausalBlock(channels, kernel, 2**level, dropout) for level in range(n_blocks))
        )
        self.head = nn.Linear(channels, self.rows)

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """True unless the location codes depend on all locations together."""
        return self.code.pointwise

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units."""
        h = self.code(self.embed(x.transpose(1, 2)), profile)  # (B, N, L_in, C)
        forecast: Tensor = self.head(self.blocks(h)[:, :, -1])  # (B, N, O * L_out)
        return forecast.transpose(1, 2)


def blocks_to_see(steps: int, kernel: int) -> int:
    """Return the number of blocks whose receptive field covers ``steps`` steps; at least one.

    Examples
    --------
    >>> blocks_to_see(5, kernel=3), blocks_to_see(6, kernel=3)
    (1, 2)
    """
    blocks = 1
    while 1 + 2 * (kernel - 1) * (2**blocks - 1) < steps:
        blocks += 1
    return blocks

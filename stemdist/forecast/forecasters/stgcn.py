"""STGCN: graph convolutions between gated convolutions over time.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, T time
steps left, C channels, G channels of the graph convolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemdist.errors import check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.dropout import FastDropout, check_dropout
from stemdist.forecast.layers.graph_conv import GraphConv, chebyshev_terms
from stemdist.forecast.layers.location_code import LocationCode
from stemdist.forecast.layers.products import Product, symmetric_product
from stemdist.forecast.layers.temporal_conv import TemporalConv
from stemdist.forecast.search_space import DROPOUTS, NARROW_WIDTHS, Range, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data


class GatedLinearConv(nn.Module):
    """Convolution over time through a gated linear unit: ``(P + h) * sigmoid(Q)``.

    Yu et al., STGCN, IJCAI 2018, section 3.3. The residual is on the channels that ``h`` and
    the result both have.

    Parameters
    ----------
    channels_in, channels_out : int
        C before and after.
    width : int
        Steps that the kernel reads.

    Examples
    --------
    >>> GatedLinearConv(3, 8, width=3)(torch.zeros(2, 5, 12, 3)).shape
    torch.Size([2, 5, 10, 8])
    """

    def __init__(self, channels_in: int, channels_out: int, width: int) -> None:
        super().__init__()
        self.both = TemporalConv(channels_in, 2 * channels_out, width)

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, N, T - width + 1, C_out) for (B, N, T, C_in)."""
        signal, gate = self.both(h).chunk(2, dim=-1)
        latest = h[:, :, -signal.shape[2] :]
        same = functional.pad(latest, (0, signal.shape[3] - h.shape[3]))  # (B, N, T', C_out)
        out: Tensor = (signal + same) * torch.sigmoid(gate)
        return out


class _Block(nn.Module):
    """Convolution over time, graph convolution, convolution over time, norm, code, dropout."""

    def __init__(
        self,
        *,
        channels_in: int,
        channels: int,
        graph_channels: int,
        width: int,
        order: int,
        dropout: float,
        code: LocationCode,
    ) -> None:
        super().__init__()
        self.order = order
        self.before = GatedLinearConv(channels_in, channels, width)
        self.graph = GraphConv(channels, graph_channels, order)
        self.after = GatedLinearConv(graph_channels, channels, width)
        self.norm = nn.LayerNorm(channels)
        self.code = code
        self.dropout = FastDropout(dropout)

    def forward(self, h: Tensor, product: Product, profile: Tensor) -> Tensor:
        """Return (B, N, T - 2 (width - 1), C) for (B, N, T, C_in)."""
        h = self.before(h)  # (B, N, T', C)
        terms = chebyshev_terms(h.flatten(2), product, self.order)
        h = self.after(torch.relu(self.graph(h, terms)))  # (B, N, T'', C)
        out: Tensor = self.dropout(self.code(self.norm(h), profile))
        return out


class STGCNForecaster(Forecaster):
    """Convolutions over time and over the given graph in turn, with no recurrence.

    Yu et al., *Spatio-Temporal Graph Convolutional Networks*, IJCAI 2018, section 3: blocks of
    a graph convolution (3.2, Chebyshev polynomials of the Laplacian) between two gated
    convolutions over time (3.3), then an output layer (3.4). Three changes: layer norm is over
    channels only, and location codes take the place of the paper's shifts of each location; all
    steps ahead are forecast at once, where the paper feeds one-step forecasts back; channels
    default to 32, 16, 32 rather than 64, 16, 64. Lookbacks too short for the blocks are padded
    with zeros on the left.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs : int
        O, the numbers forecast per location and step.
    blocks : int
        Number of blocks; each takes ``2 * (width - 1)`` steps off the window.
    channels, graph_channels : int
        C and G.
    width : int
        Steps that each convolution over time reads (the paper's K_t).
    order : int
        Highest Chebyshev polynomial (the paper's K_s - 1); it reaches that many edges far.
    dropout : float
        Share set to zero after each block, in [0, 1).
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
    >>> forecaster = STGCNForecaster(lookback=12, horizon=3, n_features=2)
    >>> graph = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=5)
    >>> forecaster(torch.zeros(4, 12, 5, 2), graph, torch.zeros(5, 24)).shape
    torch.Size([4, 3, 5])
    """

    search_space: ClassVar[Space] = {
        "channels": NARROW_WIDTHS,
        "order": Range(1, 3),
        "dropout": DROPOUTS,
    }

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        blocks: int = 2,
        channels: int = 32,
        graph_channels: int = 16,
        width: int = 3,
        order: int = 2,
        dropout: float = 0.0,
        location_encoder: str = "mlp",
        code_size: int = 10,
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            blocks=check_count("blocks", blocks),
            channels=check_count("channels", channels),
            graph_channels=check_count("graph_channels", graph_channels),
            width=check_count("width", width),
            order=check_count("order", order),
            dropout=check_dropout(dropout),
            location_encoder=location_encoder,
            code_size=check_count("code_size", code_size),
        )
        consumed = 2 * blocks * (width - 1)
        self.padding = max(consumed + 1 - lookback, 0)
        self.blocks = nn.ModuleList(
            _Block(
                channels_in=channels if block else n_features,
                channels=channels,
                graph_channels=graph_channels,
                width=width,
                order=order,
                dropout=dropout,
                code=LocationCode(location_encoder, lookback * n_features, code_size, channels),
            )
            for block in range(blocks)
        )
        self.last = GatedLinearConv(channels, channels, lookback + self.padding - consumed)
        self.head = nn.Linear(channels, self.rows)

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units."""
        product = symmetric_product(graph, x.dtype, self_loops=False)
        h = functional.pad(x.transpose(1, 2), (0, 0, self.padding, 0))  # (B, N, T, F)
        for block in self.blocks:
            h = block(h, product, profile)
        forecast: Tensor = self.head(self.last(h).squeeze(2))  # (B, N, O * L_out)
        return forecast.transpose(1, 2)

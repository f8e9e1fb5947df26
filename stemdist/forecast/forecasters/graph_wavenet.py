"""Graph WaveNet: dilated convolutions over time between diffusion convolutions over locations.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, T time
steps left, C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from stemdist.errors import check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.dropout import FastDropout, check_dropout
from stemdist.forecast.layers.graph_conv import GraphConv, diffusion_terms
from stemdist.forecast.layers.learned_graph import as_edges, softmax_adjacency
from stemdist.forecast.layers.location_encoder import make_location_encoder
from stemdist.forecast.layers.products import Product, formulation, random_walks
from stemdist.forecast.layers.wavenet import WaveNet, doubling_dilations
from stemdist.forecast.search_space import DROPOUTS, NARROW_WIDTHS, Range, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data

_WALKS = 3  # along the given graph, against it, over the learned one


class _Diffusion(nn.Module):
    """Diffusion convolution, dropout, residual and layer norm."""

    def __init__(self, channels: int, hops: int, dropout: float) -> None:
        super().__init__()
        self.hops = hops
        self.conv = GraphConv(channels, channels, _WALKS * hops)
        self.dropout = FastDropout(dropout)
        self.norm = nn.LayerNorm(channels)

    def forward(self, gated: Tensor, h: Tensor, walks: list[Product]) -> Tensor:
        """Return (B, N, T, C) for the convolved and the earlier states (B, N, T, C)."""
        terms = diffusion_terms(gated.flatten(2), walks, self.hops)
        normed: Tensor = self.norm(self.dropout(self.conv(gated, terms)) + h)
        return normed


class GraphWaveNetForecaster(Forecaster):
    """Dilated convolutions over time, random walks over the given graph and over a learned one.

    Wu et al., *Graph WaveNet for Deep Spatial-Temporal Graph Modeling*, IJCAI 2019: diffusion
    convolution with a self-adaptive graph (section 3.2), gated dilated convolutions (3.3) and
    skip connections (3.4); default settings of its experiments (section 4.2), with a smaller
    skip and end. Four changes. The two node embeddings are location encoder outputs, so that no
    weight belongs to a location. The learned graph keeps the strongest pairs of each location,
    so that memory is linear in N. Batch norm is replaced by layer norm over channels: a
    forecast must not depend on the other windows of a batch. The graph convolution after the
    last layer, which reaches no output, is left out.

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
    hops : int
        Steps of each random walk.
    neighbours : int
        Learned neighbours per location; all of them where there are fewer.
    dropout : float
        Share set to zero after each graph convolution, in [0, 1).
    location_encoder : str
        ``"attention"`` (time quadratic in N), ``"landmark"`` or ``"mlp"`` (linear).
    code_size : int
        Columns of each of the two location codes.

    Raises
    ------
    InputError
        If a value is outside its range or the location encoder is unknown.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> import torch
    >>> forecaster = GraphWaveNetForecaster(lookback=12, horizon=3, n_features=2)
    >>> graph = Data(edge_index=torch.tensor([[0, 1], [1, 2]]), num_nodes=5)
    >>> forecaster(torch.zeros(4, 12, 5, 2), graph, torch.zeros(5, 24)).shape
    torch.Size([4, 3, 5])
    """

    search_space: ClassVar[Space] = {
        "channels": NARROW_WIDTHS,
        "hops": Range(1, 3),
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
        channels: int = 32,
        skip_channels: int = 64,
        end_channels: int = 128,
        hops: int = 2,
        neighbours: int = 20,
        dropout: float = 0.3,
        location_encoder: str = "landmark",
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
            hops=check_count("hops", hops),
            neighbours=check_count("neighbours", neighbours),
            dropout=check_dropout(dropout),
            location_encoder=location_encoder,
            code_size=check_count("code_size", code_size),
        )
        self.neighbours = neighbours
        profile_size = lookback * n_features
        self.source_encoder = make_location_encoder(location_encoder, profile_size, code_size)
        self.target_encoder = make_location_encoder(location_encoder, profile_size, code_size)
        self.stack = WaveNet(
            n_features=n_features,
            lookback=lookback,
            rows=self.rows,
            channels=channels,
            skip_channels=skip_channels,
            end_channels=end_channels,
            dilations=doubling_dilations(blocks, layers),
            after=lambda: _Diffusion(channels, hops, dropout),
        )

    def learned_edges(self, profile: Tensor) -> tuple[Tensor, Tensor]:
        """Return the edges (source, target) and the weights of the learned graph."""
        return softmax_adjacency(*self._codes(profile), self.neighbours, as_edges)

    def _codes(self, profile: Tensor) -> tuple[Tensor, Tensor]:
        return self.source_encoder(profile), self.target_encoder(profile)

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units."""
        adaptive = formulation("auto", len(profile))
        learned = softmax_adjacency(*self._codes(profile), self.neighbours, adaptive)
        walks = [*random_walks(graph, x.dtype), learned]
        forecast: Tensor = self.stack(x, walks)
        return forecast

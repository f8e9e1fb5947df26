"""A graph Transformer: neighbours by the given graph and all locations by attention, at once.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, C columns
of a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from stemdist.errors import check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.attention import FeedForward, check_heads, make_attention
from stemdist.forecast.layers.dropout import FastDropout, check_dropout
from stemdist.forecast.layers.location_code import LocationCode
from stemdist.forecast.layers.products import Product, check_adjacency, symmetric_product
from stemdist.forecast.layers.reversible_norm import ReversibleNorm, normalised
from stemdist.forecast.search_space import DROPOUTS, NARROW_WIDTHS, Range, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data


class GPSLayer(nn.Module):
    """Message passing and attention side by side, their sum, and a feed forward.

    Rampasek et al., *Recipe for a General, Powerful, Scalable Graph Transformer*, NeurIPS
    2022, section 3.2, equations 1 to 3, with a graph convolution (Kipf & Welling, ICLR 2017)
    as message passing and layer norm instead of batch norm. torch_geometric's ``GPSConv`` on
    windows (B, N, C), with the products and the attention of this package.

    Parameters
    ----------
    attention : torch.nn.Module
        Maps (B, N, C) to (B, N, C).
    columns, hidden : int
        C and the columns inside the feed forward.
    dropout : float
        Share set to zero in training, in [0, 1).
    """

    def __init__(self, attention: nn.Module, columns: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.local = nn.Linear(columns, columns)
        self.local_norm = nn.LayerNorm(columns)
        self.attention = attention
        self.attention_norm = nn.LayerNorm(columns)
        self.feed_forward = FeedForward(columns, hidden, dropout)
        self.norm = nn.LayerNorm(columns)
        self.dropout = FastDropout(dropout)

    def forward(self, h: Tensor, product: Product) -> Tensor:
        """Return (B, N, C) for (B, N, C) and the product with the normalised adjacency."""
        local = self.local_norm(h + self.dropout(self.local(product(h))))
        mixed = local + self.attention_norm(h + self.dropout(self.attention(h)))
        out: Tensor = self.norm(mixed + self.feed_forward(mixed))
        return out


class GraphTransformerForecaster(Forecaster):
    """Graph convolution and attention among locations, each one token with its whole window.

    The layers are those of Rampasek et al., NeurIPS 2022 (:class:`GPSLayer`); tokens,
    instance normalisation and head are those of Liu et al., iTransformer, ICLR 2024, section
    3. The code of a location encoder takes the place of the positional encodings of the
    former's section 3.1, which need eigenvectors of each graph. Time and memory are linear in
    locations and edges with landmark attention (Lee et al., *Set Transformer*, ICML 2019,
    section 3.1); with full attention time grows with the square of N.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs, n_targets : int
        O, the numbers forecast per location and step, and how many leading features are targets.
    hidden, feed_forward : int
        C and the columns inside the feed forward of each layer.
    heads : int
        Attention heads; C is a multiple.
    layers : int
        Number of layers.
    attention : str
        ``"landmark"`` or ``"full"``.
    landmarks : int
        Landmarks of each layer; not used with full attention.
    dropout : float
        Share set to zero in each layer in training, in [0, 1).
    reversible : bool
        Normalise the targets of each window, and undo it in the forecast. By default it is left
        out, because it removes levels, which makes forecasts from short traffic windows worse.
    location_encoder : str
        A location encoder, ``"mlp"`` for example, or ``"none"``.
    code_size : int
        Columns of the location code; not used without a location encoder.
    adjacency : str
        ``"dense"``, ``"sparse"`` (same numbers), or ``"auto"``: whichever is faster for the
        number of locations.

    Raises
    ------
    InputError
        If a value is outside its range or a name is unknown.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> import torch
    >>> forecaster = GraphTransformerForecaster(lookback=12, horizon=3, n_features=2)
    >>> x, profile = torch.zeros(4, 12, 3, 2), torch.zeros(3, 24)
    >>> graph = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=3)
    >>> forecaster(x, graph, profile).shape
    torch.Size([4, 3, 3])
    """

    search_space: ClassVar[Space] = {
        "hidden": NARROW_WIDTHS,
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
        n_targets: int = 1,
        hidden: int = 64,
        feed_forward: int = 128,
        heads: int = 4,
        layers: int = 2,
        attention: str = "landmark",
        landmarks: int = 16,
        dropout: float = 0.0,
        reversible: bool = False,
        location_encoder: str = "mlp",
        code_size: int = 10,
        adjacency: str = "auto",
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            n_targets=n_targets,
            hidden=check_count("hidden", hidden),
            feed_forward=check_count("feed_forward", feed_forward),
            heads=check_heads(heads, hidden),
            layers=check_count("layers", layers),
            attention=attention,
            landmarks=check_count("landmarks", landmarks),
            dropout=check_dropout(dropout),
            reversible=reversible,
            location_encoder=location_encoder,
            code_size=check_count("code_size", code_size),
            adjacency=check_adjacency(adjacency),
        )
        width = lookback * n_features
        self.adjacency = adjacency
        self.norm = ReversibleNorm(n_features, n_outputs, n_targets) if reversible else None
        self.embed = nn.Linear(width, hidden)
        self.code = LocationCode(location_encoder, width, code_size, hidden)
        self.layers = nn.ModuleList()
        for _ in range(layers):
            reading = make_attention(
                attention,
                hidden,
                heads,
                landmarks=landmarks,
                hidden=feed_forward,
                dropout=dropout,
            )
            self.layers.append(GPSLayer(reading, hidden, feed_forward, dropout))
        self.head = nn.Linear(hidden, self.rows)

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units."""
        product = symmetric_product(graph, x.dtype, self.adjacency)
        return normalised(self.norm, x, lambda windows: self._forecast(windows, profile, product))

    def _forecast(self, x: Tensor, profile: Tensor, product: Product) -> Tensor:
        h = self.code(self.embed(x.transpose(1, 2).flatten(2)), profile)  # (B, N, C)
        for layer in self.layers:
            h = layer(h, product)
        forecast: Tensor = self.head(h)  # (B, N, O * L_out)
        return forecast.transpose(1, 2)

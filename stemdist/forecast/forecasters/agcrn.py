"""AGCRN: a recurrent network whose graph and weights come from location codes.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, R code
columns, H state columns, C input columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from stemdist.errors import check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.learned_graph import as_edges, softmax_adjacency
from stemdist.forecast.layers.location_encoder import make_location_encoder
from stemdist.forecast.layers.products import Product, formulation
from stemdist.forecast.layers.recurrent import GRU
from stemdist.forecast.search_space import NARROW_WIDTHS, Range, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data

Weights = dict[nn.Module, tuple[Tensor, Tensor]]
"""Each layer's weight (N, 2 C, C_out) and bias (N, C_out) at every location."""


class AdaptiveGraphConv(nn.Module):
    """Graph convolution whose weights at a location are a mixture of R maps, given by its code.

    Bai et al., AGCRN, NeurIPS 2020, sections 3.1 and 3.2, equations 4 and 5: the location's own
    inputs and the weighted mean of its neighbours' have one map each. Weights are made once
    for all windows and steps, which measures several times faster than mixing the outputs of
    all R maps.

    Parameters
    ----------
    channels_in, channels_out : int
        C before and after.
    code_size : int
        R.

    Examples
    --------
    >>> conv = AdaptiveGraphConv(3, 4, code_size=2)
    >>> weights = {conv: conv.weights(torch.ones(5, 2))}
    >>> conv(torch.ones(2, 5, 6, 3), torch.abs, weights).shape
    torch.Size([2, 5, 6, 4])
    """

    def __init__(self, channels_in: int, channels_out: int, code_size: int) -> None:
        super().__init__()
        self.pool = nn.Parameter(torch.empty(code_size, 2 * channels_in, channels_out))
        self.bias_pool = nn.Parameter(torch.zeros(code_size, channels_out))
        nn.init.xavier_uniform_(self.pool)

    def weights(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weight (N, 2 C, C_out) and bias (N, C_out) of codes (N, R)."""
        return torch.tensordot(codes, self.pool, 1), codes @ self.bias_pool

    def forward(self, h: Tensor, product: Product, weights: Weights) -> Tensor:
        """Return (B, N, ..., C_out) for (B, N, ..., C_in)."""
        weight, bias = weights[self]
        both = torch.cat([h, product(h.flatten(2)).view(h.shape)], dim=-1)  # (B, N, ..., 2 C)
        rows = both.transpose(0, 1).flatten(1, -2)  # (N, B ..., 2 C)
        out = torch.baddbmm(bias[:, None], rows, weight)  # (N, B ..., C_out)
        return out.view(len(bias), h.shape[0], *h.shape[2:-1], -1).transpose(0, 1)


class AGCRNForecaster(Forecaster):
    """Graph recurrent network that learns its graph and each location's weights from codes.

    Bai et al., *Adaptive Graph Convolutional Recurrent Network*, NeurIPS 2020: weights of a
    location from its code and a shared pool (section 3.1), graph from the codes (3.2), gated
    recurrent units with such graph convolutions (3.3), and all steps ahead from the last state
    (3.4). Changes: node embeddings are location encoder outputs, so that no weight belongs to a
    location; the graph keeps the strongest pairs of each location, so that memory is linear in
    N; the reset gate is applied after the map of the state, as in ``torch.nn.GRU``, so a step
    takes one graph convolution rather than two; 32 state columns rather than 64, for speed. The
    graph given to ``forward`` is not read: the learned one takes its place. The weights at all
    locations are held during a forward pass: for each location and layer ``6 H (C + H)``
    numbers.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs : int
        O, the numbers forecast per location and step.
    hidden : int
        H.
    layers : int
        Number of recurrent layers.
    neighbours : int
        Learned neighbours per location; all of them where there are fewer.
    location_encoder : str
        ``"attention"`` (time quadratic in N), ``"landmark"`` or ``"mlp"`` (linear).
    code_size : int
        R.

    Raises
    ------
    InputError
        If a value is outside its range or the location encoder is unknown.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> forecaster = AGCRNForecaster(lookback=12, horizon=3, n_features=2)
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    search_space: ClassVar[Space] = {"hidden": NARROW_WIDTHS, "layers": Range(1, 2)}

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        hidden: int = 32,
        layers: int = 2,
        neighbours: int = 20,
        location_encoder: str = "landmark",
        code_size: int = 10,
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            hidden=check_count("hidden", hidden),
            layers=check_count("layers", layers),
            neighbours=check_count("neighbours", neighbours),
            location_encoder=location_encoder,
            code_size=check_count("code_size", code_size),
        )
        self.hidden, self.neighbours = hidden, neighbours
        self.encoder = make_location_encoder(location_encoder, lookback * n_features, code_size)
        self.cells = nn.ModuleList(
            GRU(
                AdaptiveGraphConv(hidden if layer else n_features, 3 * hidden, code_size),
                AdaptiveGraphConv(hidden, 3 * hidden, code_size),
            )
            for layer in range(layers)
        )
        self.head = nn.Linear(hidden, self.rows)

    def learned_edges(self, profile: Tensor) -> tuple[Tensor, Tensor]:
        """Return the edges (source, target) and the weights of the learned graph."""
        codes = self.encoder(profile)
        return softmax_adjacency(codes, codes, self.neighbours, as_edges)

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units."""
        codes = self.encoder(profile)  # (N, R)
        adaptive = formulation("auto", len(codes))
        product = softmax_adjacency(codes, codes, self.neighbours, adaptive)
        weights: Weights = {
            layer: layer.weights(codes)
            for layer in self.modules()
            if isinstance(layer, AdaptiveGraphConv)
        }
        h = x.transpose(1, 2)  # (B, N, L_in, F)
        start = h.new_zeros(*h.shape[:2], self.hidden)
        for cell in self.cells:
            h = cell(h, start, product, weights)  # (B, N, L_in, H)
        forecast: Tensor = self.head(h[:, :, -1])  # (B, N, O * L_out)
        return forecast.transpose(1, 2)

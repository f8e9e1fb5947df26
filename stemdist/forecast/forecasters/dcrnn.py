"""DCRNN: a recurrent encoder and decoder whose maps are diffusion convolutions.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, H state
columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from stemdist.errors import check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.diffusion import DiffusionConvolution
from stemdist.forecast.layers.products import Product, check_adjacency, random_walks
from stemdist.forecast.layers.recurrent import GRU
from stemdist.forecast.search_space import NARROW_WIDTHS, Range, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data


class DCRNNForecaster(Forecaster):
    """Recurrent encoder and decoder over the given graph, by random walks in both directions.

    Li et al., *Diffusion Convolutional Recurrent Neural Network*, ICLR 2018: diffusion
    convolution (section 2.2) takes the place of the maps in gated recurrent units; an encoder
    reads the window, and a decoder starts from its states and a zero input, and reads its own
    forecast of one step to make the next (section 2.3). Walks of up to 2 steps are those of
    the paper's experiments. Changes: the reset gate is applied after the map of the state, as
    in ``torch.nn.GRU``, so a step takes one diffusion rather than two; all gates share it; one
    layer of 32 columns rather than two of 64, for speed; and the decoder reads its own
    forecasts in training too (no scheduled sampling), because a forecaster sees no targets.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs : int
        O, the numbers forecast per location and step.
    hidden : int
        H.
    layers : int
        Number of recurrent layers in the encoder, and in the decoder.
    walk_steps : int
        Longest random walk in steps; 0 does not read the graph.
    adjacency : str
        ``"dense"``, ``"sparse"`` (same numbers), or ``"auto"``: whichever is faster for the
        number of locations.

    Raises
    ------
    InputError
        If a value is outside its range or the adjacency is unknown.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> forecaster = DCRNNForecaster(lookback=12, horizon=3, n_features=2)
    >>> graph = Data(edge_index=torch.tensor([[0, 1], [1, 2]]), num_nodes=5)
    >>> forecaster(torch.zeros(4, 12, 5, 2), graph, torch.zeros(5, 24)).shape
    torch.Size([4, 3, 5])
    """

    search_space: ClassVar[Space] = {"hidden": NARROW_WIDTHS, "walk_steps": Range(1, 3)}

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        hidden: int = 32,
        layers: int = 1,
        walk_steps: int = 2,
        adjacency: str = "auto",
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            hidden=check_count("hidden", hidden),
            layers=check_count("layers", layers),
            walk_steps=check_count("walk_steps", walk_steps, minimum=0),
            adjacency=check_adjacency(adjacency),
        )
        self.hidden, self.walk_steps, self.adjacency = hidden, walk_steps, adjacency
        deeper = [hidden] * (layers - 1)
        self.encoder = nn.ModuleList(_cell(c, hidden, walk_steps) for c in [n_features, *deeper])
        self.decoder = nn.ModuleList(_cell(c, hidden, walk_steps) for c in [n_outputs, *deeper])
        self.head = nn.Linear(hidden, n_outputs)

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """True without random walks."""
        return self.walk_steps == 0

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units; reads no profile."""
        walks = random_walks(graph, x.dtype, self.adjacency)
        return self._decode(self._encode(x, walks), walks)

    def _encode(self, x: Tensor, walks: tuple[Product, Product]) -> list[Tensor]:
        """Return each layer's state (B, N, H) after the window."""
        start = x.new_zeros(x.shape[0], x.shape[2], self.hidden)
        h, last = x.transpose(1, 2), []  # (B, N, L_in, F)
        for layer in self.encoder:
            h = layer(h, start, *walks)  # (B, N, L_in, H)
            last.append(h[:, :, -1])
        return last

    def _decode(self, states: list[Tensor], walks: tuple[Product, Product]) -> Tensor:
        """Return the forecast (B, O * L_out, N) made from the encoder's states."""
        value = states[0].new_zeros(*states[0].shape[:2], 1, self.n_outputs)  # (B, N, 1, O)
        steps = []
        for _ in range(self.horizon):
            h = value
            for i, layer in enumerate(self.decoder):
                h = layer(h, states[i], *walks)  # (B, N, 1, H)
                states[i] = h[:, :, 0]
            value = self.head(h)
            steps.append(value)
        forecast = torch.cat(steps, dim=2)  # (B, N, L_out, O)
        return forecast.transpose(2, 3).flatten(2).transpose(1, 2)


def _cell(columns: int, hidden: int, walk_steps: int) -> GRU:
    return GRU(
        DiffusionConvolution(columns, 3 * hidden, walk_steps),
        DiffusionConvolution(hidden, 3 * hidden, walk_steps),
    )

"""MTGNN with a learned graph that does not depend on the number of locations.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, T time
steps left, C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemdist.errors import InputError, check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.dropout import FastDropout, check_dropout
from stemdist.forecast.layers.inception import KERNELS, DilatedInception
from stemdist.forecast.layers.learned_graph import alike_together, as_edges, learned_adjacency
from stemdist.forecast.layers.location_encoder import make_location_encoder
from stemdist.forecast.layers.mix_hop import MixHop
from stemdist.forecast.layers.products import SPARSE_FROM, Product, check_adjacency, formulation
from stemdist.forecast.search_space import DROPOUTS, LAYERS, NARROW_WIDTHS, Range, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data

_SHRINK = KERNELS[-1] - 1  # time steps that each layer consumes
_PART_ROWS = 16_384
"""Windows x locations computed at once on CPU: tensors of more would leave the cache and be
returned to the system after each use, which costs a quarter of the step at N = 1,617."""


class _ChannelTimeNorm(nn.Module):
    """Layer norm over (T, C) whose weight and bias are (C, T), as in the published code.

    The numbers are those of ``torch.nn.LayerNorm((T, C))``; gradient matching compares
    gradients row by row, and here a row is a channel.
    """

    def __init__(self, steps: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, steps))
        self.bias = nn.Parameter(torch.zeros(channels, steps))

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, N, T, C) for (B, N, T, C)."""
        return functional.layer_norm(h, h.shape[2:], self.weight.T, self.bias.T)


class _Block(nn.Module):
    """Gated convolution over time, skip output, mix-hop propagation, residual, layer norm."""

    def __init__(
        self,
        *,
        steps: int,
        residual_channels: int,
        conv_channels: int,
        skip_channels: int,
        hops: int,
        retain: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.inception = DilatedInception(residual_channels, conv_channels)
        self.dropout = FastDropout(dropout)
        self.skip = nn.Linear(steps * conv_channels, skip_channels)
        self.mix_hop = MixHop(conv_channels, residual_channels, hops, retain)
        self.norm = _ChannelTimeNorm(steps, residual_channels)

    def forward(
        self, h: Tensor, along: Product, against: Product, start: nn.Linear | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return h (B, N, T - 6, C) and the skip output (B, N, S) for h (B, N, T, C).

        With ``start``, ``h`` is (B, N, T, F) and ``start(h)`` takes its place.
        """
        last = h[:, :, _SHRINK:]
        if start is None:
            convolved = self.inception(h)
        else:
            convolved, last = self.inception.after(start, h), start(last)
        gated = self.dropout(convolved)  # (B, N, T - 6, C)
        mixed = self.mix_hop(gated, along, against)
        return self.norm(mixed + last), self.skip(gated.flatten(2))


class MTGNNForecaster(Forecaster):
    """Graph neural network that learns its graph from location profiles.

    Wu et al., *Connecting the Dots*, KDD 2020: graph learning (section 4.2), mix-hop
    propagation (4.3), dilated inception (4.4), skip connections (4.5); default settings of
    its multi-step experiments (appendix). Two changes make the weights independent of N, as
    in STemDist (Kwon et al., ICDE 2026, section on location encoders): the two node
    embeddings are location encoder outputs, and the layer norm has no parameters per
    location. Inputs shorter than the receptive field are padded with zeros on the left. The
    graph given to ``forward`` is not read: the learned one takes its place.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs : int
        O, the numbers forecast per location and step.
    layers : int
        Number of blocks; the receptive field is ``6 * layers + 1`` steps.
    residual_channels, conv_channels, skip_channels, end_channels : int
        Channels of each part; ``conv_channels`` a multiple of 4.
    hops : int
        Mix-hop depth.
    retain : float
        Share of the input kept at each hop (the paper's beta), in [0, 1).
    neighbours : int
        Learned neighbours per location; all of them where there are fewer.
    saturation : float
        Slope of the tanh that shapes codes and edge weights.
    dropout : float
        Share set to zero after each convolution, in [0, 1).
    location_encoder : str
        ``"attention"`` (STemDist's; time quadratic in N), ``"landmark"`` or ``"mlp"`` (linear).
    code_size : int
        Columns of each of the two location codes.
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
    >>> forecaster = MTGNNForecaster(lookback=12, horizon=3, n_features=2)
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    search_space: ClassVar[Space] = {
        "layers": LAYERS,
        "residual_channels": NARROW_WIDTHS,
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
        layers: int = 3,
        residual_channels: int = 32,
        conv_channels: int = 32,
        skip_channels: int = 64,
        end_channels: int = 128,
        hops: int = 2,
        retain: float = 0.05,
        neighbours: int = 20,
        saturation: float = 3.0,
        dropout: float = 0.3,
        location_encoder: str = "landmark",
        code_size: int = 10,
        adjacency: str = "auto",
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            layers=check_count("layers", layers),
            residual_channels=check_count("residual_channels", residual_channels),
            conv_channels=check_count("conv_channels", conv_channels),
            skip_channels=check_count("skip_channels", skip_channels),
            end_channels=check_count("end_channels", end_channels),
            hops=check_count("hops", hops),
            retain=_check_retain(retain),
            neighbours=check_count("neighbours", neighbours),
            saturation=_check_saturation(saturation),
            dropout=check_dropout(dropout),
            location_encoder=location_encoder,
            code_size=check_count("code_size", code_size),
            adjacency=check_adjacency(adjacency),
        )
        self.neighbours, self.saturation, self.adjacency = neighbours, saturation, adjacency
        self.steps = max(lookback, layers * _SHRINK + 1)
        profile_size = lookback * n_features
        self.source_encoder = make_location_encoder(location_encoder, profile_size, code_size)
        self.target_encoder = make_location_encoder(location_encoder, profile_size, code_size)
        self.start = nn.Linear(n_features, residual_channels)
        self.input_dropout = FastDropout(dropout)
        self.input_skip = nn.Linear(lookback * n_features, skip_channels)
        steps_left = [self.steps - (layer + 1) * _SHRINK for layer in range(layers)]
        self.blocks = nn.ModuleList(
            _Block(
                steps=steps,
                residual_channels=residual_channels,
                conv_channels=conv_channels,
                skip_channels=skip_channels,
                hops=hops,
                retain=retain,
                dropout=dropout,
            )
            for steps in steps_left
        )
        self.last_skip = nn.Linear(steps_left[-1] * residual_channels, skip_channels)
        self.end = nn.Sequential(
            nn.ReLU(),
            nn.Linear(skip_channels, end_channels),
            nn.ReLU(),
            nn.Linear(end_channels, self.rows),
        )

    def codes(self, profile: Tensor) -> tuple[Tensor, Tensor]:
        """Return the source and the target code (N, R) of each location, in (-1, 1)."""
        source = torch.tanh(self.saturation * self.source_encoder(profile))
        target = torch.tanh(self.saturation * self.target_encoder(profile))
        return source, target

    def learned_graph(self, source: Tensor, target: Tensor) -> tuple[Product, Product]:
        """Return the products with the learned graph, along and against its edges."""
        product = formulation(self.adjacency, len(source))
        return learned_adjacency(source, target, self.neighbours, self.saturation, product)

    def learned_edges(self, profile: Tensor) -> tuple[Tensor, Tensor]:
        """Return the edges (source, target) and the weights of the learned graph."""
        codes = self.codes(profile)
        return learned_adjacency(*codes, self.neighbours, self.saturation, as_edges)[0]

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units."""
        source, target = self.codes(profile)
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return self._forecast(x, *self.learned_graph(source, target))
        order = back = None
        if len(profile) >= SPARSE_FROM:
            order = alike_together(source, target)
            back = torch.argsort(order)
            source, target, x = source[order], target[order], x[:, :, order]
        along, against = self.learned_graph(source, target)
        at_once = max(1, _PART_ROWS // len(profile))
        parts = [self._forecast(part, along, against) for part in torch.split(x, at_once)]
        forecast = parts[0] if len(parts) == 1 else torch.cat(parts)
        return forecast if back is None else forecast[:, :, back]

    def _forecast(self, x: Tensor, along: Product, against: Product) -> Tensor:
        x = x.transpose(1, 2)  # (B, N, L_in, F)
        # The padding of the input is zero, so the skip connection reads the real steps only.
        skip = self.input_skip(self.input_dropout(x).flatten(2))  # (B, N, S)
        h = functional.pad(x, (0, 0, self.steps - self.lookback, 0))  # (B, N, T, F)
        start: nn.Linear | None = self.start
        for block in self.blocks:
            h, output = block(h, along, against, start)
            skip, start = skip + output, None
        skip = skip + self.last_skip(h.flatten(2))
        forecast: Tensor = self.end(skip)  # (B, N, O * L_out)
        return forecast.transpose(1, 2)


def _check_retain(value: float) -> float:
    if not 0 <= value < 1:
        raise InputError(
            f"retain is {value!r}: it must be a share of at least 0 and below 1, e.g. 0.05"
        )
    return float(value)


def _check_saturation(value: float) -> float:
    if not 0 < value < float("inf"):
        raise InputError(f"saturation is {value!r}: it must be a positive number, e.g. 3.0")
    return float(value)

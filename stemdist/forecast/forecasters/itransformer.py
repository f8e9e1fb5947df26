"""iTransformer: a Transformer whose tokens are the windows of whole locations.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, C columns
of a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from stemdist.errors import check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.attention import EncoderBlock, check_heads, make_attention
from stemdist.forecast.layers.dropout import FastDropout, check_dropout
from stemdist.forecast.layers.location_code import LocationCode
from stemdist.forecast.layers.reversible_norm import ReversibleNorm, normalised
from stemdist.forecast.search_space import DROPOUTS, NARROW_WIDTHS, SWITCH, Range, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data


class ITransformerForecaster(Forecaster):
    """Attention among locations, each of which is one token that holds its whole window.

    Liu et al., *iTransformer: Inverted Transformers Are Effective for Time Series
    Forecasting*, ICLR 2024, section 3: instance normalisation (an option here), one linear map
    of a window to its token, encoder blocks over the tokens with layer norm, one linear map of
    a token to its forecast. Two changes: a token holds all features of its location, and a
    location encoder may add a code of the profile.

    Full attention reads all pairs of locations: its time grows with the square of N. Its
    memory is linear in N, because scores are made in blocks. Landmark attention (Lee et al.,
    *Set Transformer*, ICML 2019, section 3.1) is linear in both.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs, n_targets : int
        O, the numbers forecast per location and step, and how many leading features are targets.
    hidden, feed_forward : int
        C and the columns inside the feed forward of each block.
    heads : int
        Attention heads; C is a multiple.
    layers : int
        Number of blocks.
    attention : str
        ``"full"`` or ``"landmark"``.
    landmarks : int
        Landmarks of each block; not used with full attention.
    dropout : float
        Share set to zero in each block in training, in [0, 1).
    reversible : bool
        Normalise the targets of each window, and undo it in the forecast. The paper does; by
        default it is left out: it removes levels, and short traffic windows are forecast worse.
    location_encoder : str
        A location encoder, ``"mlp"`` for example, or ``"none"``.
    code_size : int
        Columns of the location code; not used without a location encoder.

    Raises
    ------
    InputError
        If a value is outside its range or a name is unknown.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> import torch
    >>> forecaster = ITransformerForecaster(lookback=12, horizon=3, n_features=2)
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    search_space: ClassVar[Space] = {
        "hidden": NARROW_WIDTHS,
        "layers": Range(1, 3),
        "dropout": DROPOUTS,
        "reversible": SWITCH,
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
        attention: str = "full",
        landmarks: int = 16,
        dropout: float = 0.0,
        reversible: bool = False,
        location_encoder: str = "mlp",
        code_size: int = 10,
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
        )
        width = lookback * n_features
        self.norm = ReversibleNorm(n_features, n_outputs, n_targets) if reversible else None
        self.embed = nn.Linear(width, hidden)
        self.code = LocationCode(location_encoder, width, code_size, hidden)
        self.dropout = FastDropout(dropout)
        self.blocks = nn.Sequential()
        for _ in range(layers):
            reading = make_attention(
                attention,
                hidden,
                heads,
                landmarks=landmarks,
                hidden=feed_forward,
                dropout=dropout,
            )
            self.blocks.append(EncoderBlock(reading, hidden, feed_forward, dropout))
        self.head = nn.Linear(hidden, self.rows)

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units."""
        return normalised(self.norm, x, lambda windows: self._forecast(windows, profile))

    def _forecast(self, x: Tensor, profile: Tensor) -> Tensor:
        tokens = self.embed(x.transpose(1, 2).flatten(2))  # (B, N, C)
        h = self.blocks(self.dropout(self.code(tokens, profile)))
        forecast: Tensor = self.head(h)  # (B, N, O * L_out)
        return forecast.transpose(1, 2)

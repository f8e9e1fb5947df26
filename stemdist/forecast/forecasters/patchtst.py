"""PatchTST: a Transformer over the patches of each location's window.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, P steps of
a patch, K patches, C columns of a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from stemdist.errors import check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.attention import EncoderBlock, MultiHeadAttention, check_heads
from stemdist.forecast.layers.dropout import FastDropout, check_dropout
from stemdist.forecast.layers.location_code import LocationCode
from stemdist.forecast.layers.reversible_norm import ReversibleNorm, normalised
from stemdist.forecast.search_space import DROPOUTS, NARROW_WIDTHS, SWITCH, Range, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data


class PatchTSTForecaster(Forecaster):
    """Transformer encoder whose tokens are short pieces of one location's window.

    Nie et al., *A Time Series is Worth 64 Words*, ICLR 2023, section 3.1: instance
    normalisation (an option here), patches that overlap where the stride is shorter than they
    are, the last step repeated at the end so that every step is in a patch, learned positions,
    encoder blocks, and one linear map of all tokens to the forecast. Four changes: the
    channels that the paper keeps apart are the locations, and a patch holds all features of
    its steps; a location encoder may add a code of the location; instance normalisation has no
    affine map; and layer norm takes the place of batch norm, whose running statistics and
    dependence on the rest of the batch would make a window's forecast depend on others.
    Lookbacks shorter than a patch shorten it.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs, n_targets : int
        O, the numbers forecast per location and step, and how many leading features are targets.
    patch, stride : int
        P and the steps from one patch to the next.
    hidden, feed_forward : int
        C and the columns inside the feed forward of each block.
    heads : int
        Attention heads; C is a multiple.
    layers : int
        Number of blocks.
    dropout : float
        Share set to zero in each block in training, in [0, 1).
    reversible : bool
        Normalise the targets of each window, and undo it in the forecast. The paper does; by
        default it is left out: it removes levels, and short traffic windows are forecast worse.
    location_encoder : str
        A location encoder, ``"mlp"`` for example, or ``"none"``. With one that reads all
        locations together the forecaster is not pointwise.
    code_size : int
        Columns of the location code; not used without a location encoder.

    Raises
    ------
    InputError
        If a value is outside its range or a name is unknown.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> forecaster = PatchTSTForecaster(lookback=12, horizon=3, n_features=2)
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

    states: ClassVar[Mapping[str, str]] = {"tokens": "blocks", "features": "blocks"}

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        n_targets: int = 1,
        patch: int = 16,
        stride: int = 8,
        hidden: int = 64,
        feed_forward: int = 128,
        heads: int = 4,
        layers: int = 2,
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
            patch=check_count("patch", patch),
            stride=check_count("stride", stride),
            hidden=check_count("hidden", hidden),
            feed_forward=check_count("feed_forward", feed_forward),
            heads=check_heads(heads, hidden),
            layers=check_count("layers", layers),
            dropout=check_dropout(dropout),
            reversible=reversible,
            location_encoder=location_encoder,
            code_size=check_count("code_size", code_size),
        )
        self.patch = min(patch, lookback)
        self.stride = min(stride, self.patch)
        n_patches = (lookback - self.patch) // self.stride + 2
        self.norm = ReversibleNorm(n_features, n_outputs, n_targets) if reversible else None
        self.embed = nn.Linear(self.patch * n_features, hidden)
        self.position = nn.Parameter(torch.empty(n_patches, hidden).uniform_(-0.02, 0.02))
        self.code = LocationCode(location_encoder, lookback * n_features, code_size, hidden)
        self.dropout = FastDropout(dropout)
        self.blocks = nn.Sequential(
            *(
                EncoderBlock(MultiHeadAttention(hidden, heads), hidden, feed_forward, dropout)
                for _ in range(layers)
            )
        )
        self.head = nn.Linear(n_patches * hidden, self.rows)

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """True unless the location codes depend on all locations together."""
        return self.code.pointwise

    def patches(self, x: Tensor) -> Tensor:
        """Return patches (B, N, K, F P) of windows (B, L_in, N, F), the last step repeated."""
        x = torch.cat([x, x[:, -1:].expand(-1, self.stride, -1, -1)], dim=1)
        return x.unfold(1, self.patch, self.stride).permute(0, 2, 1, 3, 4).flatten(3)

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units."""
        return normalised(self.norm, x, lambda windows: self._forecast(windows, profile))

    def _forecast(self, x: Tensor, profile: Tensor) -> Tensor:
        h = self.code(self.embed(self.patches(x)), profile) + self.position  # (B, N, K, C)
        h = self.blocks(self.dropout(h).flatten(0, 1))  # (B N, K, C)
        forecast: Tensor = self.head(h.flatten(1)).view(x.shape[0], -1, self.rows)
        return forecast.transpose(1, 2)  # (B, O * L_out, N)

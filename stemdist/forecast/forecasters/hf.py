"""PatchTST and PatchTSMixer of the ``transformers`` library (extra ``transformers``).

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, P patches,
H hidden columns.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional

from stemdist.dependencies import require
from stemdist.errors import InputError, check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.dropout import check_dropout
from stemdist.forecast.layers.reversible_norm import ReversibleNorm, normalised

if TYPE_CHECKING:
    from torch_geometric.data import Data


class PatchForecaster(Forecaster):
    """An encoder of patches from ``transformers``, then a linear head; see its subclasses.

    Each location's window is one series of F channels for the encoder. Windows are padded with
    zeros on the left to whole patches, at least two of them. The head reads the patches of all
    channels together: in the library's own heads a channel forecasts itself alone, so that
    neighbours and calendar features would not help the target.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs : int
        O, the numbers forecast per location and step.
    n_targets : int
        Leading features that are targets.
    patch_length, patch_stride : int
        Steps of a patch, and from the start of one patch to the next; the stride at most the
        length.
    hidden : int
        H.
    layers : int
        Number of layers of the encoder.
    dropout : float
        Share set to zero in training, in [0, 1).
    reversible : bool
        Normalise the targets of each window, and undo it in the forecast, as both papers do;
        by default their level is kept, as in the other Transformers here.
    **own
        Hyper-parameters of the subclass.
    """

    pointwise = True

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int,
        n_targets: int,
        patch_length: int,
        patch_stride: int,
        hidden: int,
        layers: int,
        dropout: float,
        reversible: bool,
        **own: Any,
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            n_targets=n_targets,
            patch_length=check_count("patch_length", patch_length),
            patch_stride=check_count("patch_stride", patch_stride),
            hidden=check_count("hidden", hidden),
            layers=check_count("layers", layers),
            dropout=check_dropout(dropout),
            reversible=reversible,
            **own,
        )
        if patch_stride > patch_length:
            raise InputError(
                f"patch_stride is {patch_stride}: beyond the patch_length {patch_length}, steps "
                "between patches would not be read"
            )
        self.norm = ReversibleNorm(n_features, n_outputs, n_targets) if reversible else None
        patches = max(2, 1 - (patch_length - lookback) // patch_stride)
        self.steps = patch_length + (patches - 1) * patch_stride
        shape = {
            "context_length": self.steps,
            "num_input_channels": n_features,
            "patch_length": patch_length,
            "patch_stride": patch_stride,
            "scaling": None,
        }
        self.encoder = self._encoder(shape)
        self.head = nn.Linear(n_features * patches * hidden, self.rows)

    @abstractmethod
    def _encoder(self, shape: dict[str, Any]) -> nn.Module:
        """Build the encoder of ``transformers`` from the shape of its inputs and ``config``."""

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units; reads ``x`` only."""
        return normalised(self.norm, x, self._forecast)

    def _forecast(self, x: Tensor) -> Tensor:
        b, _, n, _ = x.shape
        series = x.transpose(1, 2).flatten(0, 1)  # (B N, L_in, F)
        series = functional.pad(series, (0, 0, self.steps - self.lookback, 0))
        h = self.encoder(past_values=series).last_hidden_state  # (B N, F, P, H)
        forecast: Tensor = self.head(h.flatten(1)).view(b, n, -1)
        return forecast.transpose(1, 2)


class HFPatchTSTForecaster(PatchForecaster):
    """Transformer over patches of each location's window, by the ``transformers`` library.

    Nie et al., *A Time Series is Worth 64 Words*, ICLR 2023, section 3.1. Changes: layer norm
    in place of batch norm, whose running statistics would make a forecast depend on the batch
    it was trained in; learned positions; attention written out, because the fused one has no
    double backward on CPU; no bias of the keys, which softmax removes. The parameters of
    :class:`PatchForecaster`, and one more.

    Parameters
    ----------
    heads : int
        Attention heads; ``hidden`` is a multiple of it.

    Raises
    ------
    InputError
        If a value is outside its range.
    MissingDependencyError
        If ``transformers`` is not installed.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> import torch
    >>> forecaster = HFPatchTSTForecaster(lookback=12, horizon=3, n_features=2)
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        n_targets: int = 1,
        patch_length: int = 4,
        patch_stride: int = 4,
        hidden: int = 32,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
        reversible: bool = False,
    ) -> None:
        if check_count("hidden", hidden) % check_count("heads", heads):
            raise InputError(f"hidden is {hidden}: it must be a multiple of the {heads} heads")
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            n_targets=n_targets,
            patch_length=patch_length,
            patch_stride=patch_stride,
            hidden=hidden,
            layers=layers,
            heads=heads,
            dropout=dropout,
            reversible=reversible,
        )

    def _encoder(self, shape: dict[str, Any]) -> nn.Module:
        library = require("transformers", "transformers", "the forecaster hf-patchtst")
        config = library.PatchTSTConfig(
            **shape,
            d_model=self.config["hidden"],
            ffn_dim=2 * self.config["hidden"],
            num_hidden_layers=self.config["layers"],
            num_attention_heads=self.config["heads"],
            ff_dropout=self.config["dropout"],
            path_dropout=self.config["dropout"],
            norm_type="layernorm",
            positional_encoding_type="random",
            attn_implementation="eager",
        )
        model = library.PatchTSTModel(config)
        for layer in model.encoder.layers:
            layer.self_attn.k_proj.bias = None
        encoder: nn.Module = model
        return encoder


class HFPatchTSMixerForecaster(PatchForecaster):
    """Perceptrons across patches and columns of each window, by the ``transformers`` library.

    Ekambaram et al., *TSMixer: Lightweight MLP-Mixer Model for Multivariate Time Series
    Forecasting*, KDD 2023, section 3: patch mixing, feature mixing and gated attention, with
    layer norm. The parameters of :class:`PatchForecaster`, and one more.

    Parameters
    ----------
    mix_channels : bool
        Mix the F channels in the encoder too, not in the head alone.

    Raises
    ------
    InputError
        If a value is outside its range.
    MissingDependencyError
        If ``transformers`` is not installed.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> import torch
    >>> forecaster = HFPatchTSMixerForecaster(lookback=12, horizon=3, n_features=2)
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        n_targets: int = 1,
        patch_length: int = 4,
        patch_stride: int = 4,
        hidden: int = 16,
        layers: int = 2,
        mix_channels: bool = True,
        dropout: float = 0.0,
        reversible: bool = False,
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            n_targets=n_targets,
            patch_length=patch_length,
            patch_stride=patch_stride,
            hidden=hidden,
            layers=layers,
            mix_channels=mix_channels,
            dropout=dropout,
            reversible=reversible,
        )

    def _encoder(self, shape: dict[str, Any]) -> nn.Module:
        library = require("transformers", "transformers", "the forecaster hf-patchtsmixer")
        config = library.PatchTSMixerConfig(
            **shape,
            d_model=self.config["hidden"],
            num_layers=self.config["layers"],
            mode="mix_channel" if self.config["mix_channels"] else "common_channel",
            dropout=self.config["dropout"],
        )
        encoder: nn.Module = library.PatchTSMixerModel(config)
        return encoder

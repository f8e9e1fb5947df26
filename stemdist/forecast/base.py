"""The one interface of every forecaster.

Shapes: B windows, L_in lookback, L_out horizon, N locations, F features, O outputs per
location and step ahead.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from stemdist.errors import InputError, check_count, unknown_name
from stemdist.forecast.search_space import Space
from stemdist.registry import Registry

if TYPE_CHECKING:
    from torch_geometric.data import Data


class Forecaster(nn.Module, ABC):
    """Maps the last L_in steps of N locations to the next L_out steps.

    No parameter or buffer has a shape that depends on N, so the same weights serve K clusters
    and N locations. A subclass passes every hyper-parameter to ``super().__init__``, which
    keeps them in ``config``; ``type(f)(**f.config)`` builds the same forecaster again.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in, L_out and F.
    n_outputs : int
        O, the numbers forecast per location and step ahead: several targets, several quantiles,
        or both.
    **hyperparameters
        The subclass's own, JSON-serialisable.
    """

    pointwise: ClassVar[bool] = False
    """True if a location's forecast depends on its own inputs and profile only, so that
    locations can be computed in any blocks."""
    needs_grid: ClassVar[bool] = False
    """True if it works on images, so that locations must be cells of a regular grid."""
    search_space: ClassVar[Space] = {}
    """Hyper-parameters that a search tries, and their values, besides those of the training."""
    states: ClassVar[Mapping[str, str]] = {}
    """Hidden states that a student can learn, and the submodule whose output each is; see
    :data:`stemdist.forecast.hidden_states.STATES` for the kinds and their shapes. ``features``
    need no entry in a forecaster that ends in a linear layer."""

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        **hyperparameters: Any,
    ) -> None:
        super().__init__()
        self.lookback = check_count("lookback", lookback)
        self.horizon = check_count("horizon", horizon)
        self.n_features = check_count("n_features", n_features)
        self.n_outputs = check_count("n_outputs", n_outputs)
        shape = {"lookback": lookback, "horizon": horizon, "n_features": n_features}
        if n_outputs > 1:
            shape["n_outputs"] = n_outputs
        self.config: dict[str, Any] = {**shape, **hyperparameters}

    @property
    def rows(self) -> int:
        """O * L_out, the numbers forecast per location."""
        return self.n_outputs * self.horizon

    @abstractmethod
    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast in scaled units.

        Parameters
        ----------
        x : Tensor
            (B, L_in, N, F) scaled inputs; the targets come first.
        graph : torch_geometric.data.Data
            Location graph: ``edge_index`` (2, E), ``edge_weight`` (E,), ``num_nodes`` N, and
            ``cell`` (N, 2), row and column of each location, where they lie on a regular grid.
        profile : Tensor
            (N, L_in * F) mean window of each location.

        Returns
        -------
        Tensor
            (B, O * L_out, N): the steps of output 0, then those of output 1, and so on.
        """

    def learned_edges(self, profile: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the graph that a forecaster computes from location profiles.

        Parameters
        ----------
        profile : Tensor
            (N, L_in * F) mean window of each location.

        Returns
        -------
        tuple of Tensor, or None
            ``edge_index`` (2, E) of (source, target), and weights (E,), which sum to 1 over the
            incoming edges of each location; self loops are possible. None for forecasters that
            learn no graph.
        """
        return None


FORECASTERS: Registry[type[Forecaster]] = Registry(
    "forecaster",
    {
        "agcrn": "stemdist.forecast.forecasters.agcrn:AGCRNForecaster",
        "binned-rnn": "stemdist.forecast.forecasters.binned_rnn:BinnedRNNForecaster",
        "bottleneck-mlp": "stemdist.forecast.forecasters.bottleneck_mlp:BottleneckMLPForecaster",
        "cnn": "stemdist.forecast.forecasters.cnn:CNNForecaster",
        "dcrnn": "stemdist.forecast.forecasters.dcrnn:DCRNNForecaster",
        "decomposition-mlp": (
            "stemdist.forecast.forecasters.decomposition_mlp:DecompositionMLPForecaster"
        ),
        "dlinear": "stemdist.forecast.forecasters.dlinear:DLinearForecaster",
        "graph-transformer": (
            "stemdist.forecast.forecasters.graph_transformer:GraphTransformerForecaster"
        ),
        "graph-wavenet": "stemdist.forecast.forecasters.graph_wavenet:GraphWaveNetForecaster",
        "gru": "stemdist.forecast.forecasters.recurrent:GRUForecaster",
        "hf-patchtsmixer": "stemdist.forecast.forecasters.hf:HFPatchTSMixerForecaster",
        "hf-patchtst": "stemdist.forecast.forecasters.hf:HFPatchTSTForecaster",
        "image-mixer": "stemdist.forecast.forecasters.image_mixer:ImageMixerForecaster",
        "itransformer": "stemdist.forecast.forecasters.itransformer:ITransformerForecaster",
        "linear": "stemdist.forecast.forecasters.linear:LinearForecaster",
        "lowrank-linear": "stemdist.forecast.forecasters.lowrank_linear:LowRankLinearForecaster",
        "lstm": "stemdist.forecast.forecasters.recurrent:LSTMForecaster",
        "mlp": "stemdist.forecast.forecasters.mlp:MLPForecaster",
        "module": "stemdist.forecast.forecasters.module:ModuleForecaster",
        "mtgnn": "stemdist.forecast.forecasters.mtgnn:MTGNNForecaster",
        "patchtst": "stemdist.forecast.forecasters.patchtst:PatchTSTForecaster",
        "resnet": "stemdist.forecast.forecasters.resnet:ResNetForecaster",
        "rlinear": "stemdist.forecast.forecasters.rlinear:RLinearForecaster",
        "rnn": "stemdist.forecast.forecasters.recurrent:RNNForecaster",
        "simvp": "stemdist.forecast.forecasters.simvp:SimVPForecaster",
        "spectral-evolution": (
            "stemdist.forecast.forecasters.spectral_evolution:SpectralEvolutionForecaster"
        ),
        "stgcn": "stemdist.forecast.forecasters.stgcn:STGCNForecaster",
        "stnorm": "stemdist.forecast.forecasters.stnorm:STNormForecaster",
        "tsmixer": "stemdist.forecast.forecasters.tsmixer:TSMixerForecaster",
        "unet": "stemdist.forecast.forecasters.unet:UNetForecaster",
    },
    group="stemdist.forecasters",
)


def make_forecaster(
    name: str,
    *,
    lookback: int,
    horizon: int,
    n_features: int,
    n_outputs: int = 1,
    n_targets: int = 1,
    **hyperparameters: Any,
) -> Forecaster:
    """Build an untrained forecaster by name.

    Parameters
    ----------
    name : str
        Registered name.
    lookback, horizon, n_features, n_outputs : int
        As in :class:`Forecaster`.
    n_targets : int
        Leading features that are targets; output ``o`` belongs to target ``o % n_targets``.
        Passed to forecasters that have a parameter of this name.
    **hyperparameters
        The forecaster's own.

    Raises
    ------
    InputError
        If the name or a hyper-parameter is unknown; the message lists the valid ones.

    Examples
    --------
    >>> type(make_forecaster("linear", lookback=12, horizon=12, n_features=1)).__name__
    'LinearForecaster'
    """
    kind = FORECASTERS.get(name)
    known = set(inspect.signature(kind.__init__).parameters) - {"self"}
    for key in hyperparameters:
        if key not in known:
            own = known - {"lookback", "horizon", "n_features", "n_outputs", "n_targets"}
            raise unknown_name(f"hyper-parameter of {name!r}", key, own)
    shape = {"lookback": lookback, "horizon": horizon, "n_features": n_features}
    if n_outputs > 1:
        if "n_outputs" not in known:
            raise InputError(
                f"forecaster {name!r} forecasts one number per location and step, not {n_outputs}: "
                "choose another for several targets or quantiles, or give it a parameter n_outputs"
            )
        shape["n_outputs"] = n_outputs
    if n_targets > 1 and "n_targets" in known:
        shape["n_targets"] = n_targets
    forecaster = kind(**shape, **hyperparameters)
    if not isinstance(forecaster, Forecaster):
        raise InputError(
            f"forecaster {name!r} is a {type(forecaster).__name__}: a plug-in must subclass "
            "stemdist.Forecaster"
        )
    return forecaster

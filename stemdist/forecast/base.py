"""The one interface of every forecaster.

Shapes: B windows, L_in lookback, L_out horizon, N locations, F features.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn
from torch_geometric.data import Data

from stemdist.errors import InputError, check_count, unknown_name
from stemdist.registry import Registry


class Forecaster(nn.Module, ABC):
    """Maps the last L_in steps of N locations to the next L_out steps.

    No parameter or buffer has a shape that depends on N, so the same weights serve K clusters
    and N locations. A subclass passes every hyper-parameter to ``super().__init__``, which
    keeps them in ``config``; ``type(f)(**f.config)`` builds the same forecaster again.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in, L_out and F.
    **hyperparameters
        The subclass's own, JSON-serialisable.
    """

    pointwise: ClassVar[bool] = False
    """True if a location's forecast depends on its own inputs and profile only, so that
    locations can be computed in any blocks."""

    def __init__(
        self, *, lookback: int, horizon: int, n_features: int, **hyperparameters: Any
    ) -> None:
        super().__init__()
        self.lookback = check_count("lookback", lookback)
        self.horizon = check_count("horizon", horizon)
        self.n_features = check_count("n_features", n_features)
        self.config: dict[str, Any] = {
            "lookback": lookback,
            "horizon": horizon,
            "n_features": n_features,
            **hyperparameters,
        }

    @abstractmethod
    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast in scaled units.

        Parameters
        ----------
        x : Tensor
            (B, L_in, N, F) scaled inputs; feature 0 is the target.
        graph : torch_geometric.data.Data
            Location graph: ``edge_index`` (2, E), ``edge_weight`` (E,), ``num_nodes`` N.
        profile : Tensor
            (N, L_in * F) mean window of each location.

        Returns
        -------
        Tensor
            (B, L_out, N).
        """


FORECASTERS: Registry[type[Forecaster]] = Registry(
    "forecaster",
    {
        "linear": "stemdist.forecast.linear:LinearForecaster",
        "mlp": "stemdist.forecast.mlp:MLPForecaster",
        "mtgnn": "stemdist.forecast.mtgnn:MTGNNForecaster",
    },
    group="stemdist.forecasters",
)


def make_forecaster(
    name: str, *, lookback: int, horizon: int, n_features: int, **hyperparameters: Any
) -> Forecaster:
    """Build an untrained forecaster by name.

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
            own = known - {"lookback", "horizon", "n_features"}
            raise unknown_name(f"hyper-parameter of {name!r}", key, own)
    forecaster = kind(lookback=lookback, horizon=horizon, n_features=n_features, **hyperparameters)
    if not isinstance(forecaster, Forecaster):
        raise InputError(
            f"forecaster {name!r} is a {type(forecaster).__name__}: a plug-in must subclass "
            "stemdist.Forecaster"
        )
    return forecaster

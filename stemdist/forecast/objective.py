"""The objective that an update minimises: the hook of the training loop for every method.

Shapes: B windows, L_in lookback, R = O * L_out rows of a forecast, N locations, F features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn

from stemdist.forecast.base import Forecaster
from stemdist.forecast.batches import batch_index
from stemdist.forecast.losses import get_loss, weighted_mean

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from stemdist.forecast.training_settings import TrainingSettings


class Update(NamedTuple):
    """The windows of one update, in scaled units."""

    x: Tensor
    """(B, L_in, N, F) inputs."""
    y: Tensor
    """(B, C * L_out, N) targets; zero where not observed."""
    mask: Tensor
    """(B, C * L_out, N) 1 where the target counts."""
    graph: Data
    """Graph between the N locations; that of all locations of the source where the forecaster
    is pointwise and does not read it."""
    profile: Tensor
    """(N, L_in * F) mean window of each location."""
    weight: Tensor
    """(N,) location weights, mean 1."""
    windows: Tensor
    """(B,) indices of the windows in their source, before any permutation per location."""
    locations: Tensor | None
    """(N,) indices of the locations in their source; None for all of them."""


class Objective(nn.Module, ABC):
    """Terms whose sum an update minimises.

    Parameters of an objective (adapters between layers, for example) are trained together with
    the forecaster, and kept in its checkpoint.
    """

    @property
    def needs_windows(self) -> bool:
        """True if terms depend on which windows the update has, by their numbers."""
        return False

    def draw(
        self, n_windows: int, settings: TrainingSettings, update: int
    ) -> tuple[Tensor, Tensor | None]:
        """Choose the windows of one update: by default shuffled epochs of equal windows.

        Parameters
        ----------
        n_windows : int
            M windows of the source.
        settings : TrainingSettings
            Windows per update, seed and number of updates.
        update : int
            Number of the update, from 0.

        Returns
        -------
        Tensor, Tensor or None
            (B,) indices of the windows, and (B,) how much each counts; None where they are equal.
        """
        return batch_index(n_windows, settings.batch_windows, update, settings.seed), None

    @abstractmethod
    def identity(self) -> Any:
        """Return, as JSON types, all that the terms depend on besides the windows."""

    @abstractmethod
    def forward(self, forecaster: Forecaster, update: Update) -> dict[str, Tensor]:
        """Return the terms of one update by name, weighted, each a number.

        Parameters
        ----------
        forecaster : Forecaster
            In training mode.
        update : Update
            Its windows.
        """


class ForecastLoss(Objective):
    """The error of the forecast, averaged over observed targets.

    Parameters
    ----------
    loss : str
        A name of ``LOSSES``, or ``"quantile"``.
    quantiles : tuple of float
        Levels of a quantile loss.
    """

    def __init__(self, loss: str = "mse", quantiles: tuple[float, ...] = ()) -> None:
        super().__init__()
        self.name, self.quantiles = loss, quantiles
        self.loss = get_loss(loss, quantiles)

    def identity(self) -> Any:
        """Return the name of the loss and its levels."""
        return [self.name, self.quantiles]

    def forward(self, forecaster: Forecaster, update: Update) -> dict[str, Tensor]:
        """Return the one term ``forecast``."""
        return {"forecast": self.of(forecaster(update.x, update.graph, update.profile), update)}

    def of(self, forecast: Tensor, update: Update) -> Tensor:
        """Return the loss of a forecast (B, O * L_out, N) of the windows of an update."""
        return weighted_mean(self.loss(forecast, update.y), update.mask, update.weight)

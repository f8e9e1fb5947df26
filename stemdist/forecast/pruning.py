"""Training on fewer windows where the forecaster is good already.

Shapes: M windows of the source, B windows of an update, R target rows, N locations.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from stemdist.errors import InputError, check_ratio
from stemdist.forecast.base import Forecaster
from stemdist.forecast.batches import batch_index
from stemdist.forecast.losses import weighted_mean
from stemdist.forecast.objective import ForecastLoss, Objective, Update
from stemdist.forecast.training_settings import TrainingSettings


class PrunedLoss(Objective):
    """The error of the forecast, for which windows with a low loss are drawn less often.

    Qin et al., *InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning*, ICLR
    2024, section 2. At the start of an epoch each window whose last loss is below the mean of all
    last losses is left out with probability r; those of them that are kept count 1 / (1 - r), so
    that the expected sum of the losses of an epoch is that of all windows. The last updates have
    all windows, equally. Losses are those of the updates themselves: pruning takes no time.

    Where locations are shuffled in training, the loss of a window is that of the mixture in its
    place; the expected sum is the same.

    Parameters
    ----------
    n_windows : int
        M.
    settings : TrainingSettings
        Of the training; its loss is minimised.
    probability : float
        r, above 0 and below 1.
    annealed : float
        Share of the updates, the last ones, without pruning.

    Examples
    --------
    >>> objective = PrunedLoss(4, TrainingSettings(updates=100, batch_windows=4))
    >>> objective.losses.copy_(torch.tensor([0.1, 0.1, 0.9, 0.9]))
    tensor([0.1000, 0.1000, 0.9000, 0.9000])
    >>> objective.prune(epoch=1, seed=2)
    >>> objective.counts.tolist()
    [0.0, 2.0, 1.0, 1.0]
    """

    losses: Tensor
    """(M,) last loss of each window, NaN before its first update."""
    counts: Tensor
    """(M,) how much a window counts in this epoch; 0 where it is left out."""
    place: Tensor
    """(2,) number of the epoch, and updates made in it."""

    def __init__(
        self,
        n_windows: int,
        settings: TrainingSettings,
        *,
        probability: float = 0.5,
        annealed: float = 0.125,
    ) -> None:
        super().__init__()
        self.inner = ForecastLoss(settings.loss, settings.quantiles)
        if not 0 < probability < 1:
            raise InputError(
                f"probability is {probability!r}: windows are left out with one above 0 and below 1"
            )
        self.probability = probability
        self.annealed = check_ratio("annealed", annealed)
        self.register_buffer("losses", torch.full((n_windows,), math.nan))
        self.register_buffer("counts", torch.ones(n_windows))
        self.register_buffer("place", torch.zeros(2, dtype=torch.int64))

    def identity(self) -> Any:
        """Return the loss, and how windows are left out."""
        return [self.inner.identity(), self.probability, self.annealed]

    def draw(
        self, n_windows: int, settings: TrainingSettings, update: int
    ) -> tuple[Tensor, Tensor | None]:
        """Return the next windows of the epoch (B,), and how much each counts (B,)."""
        seed, size = settings.seed, min(settings.batch_windows, n_windows)
        if update >= settings.updates * (1 - self.annealed):
            return batch_index(n_windows, size, update, seed), None
        epoch, made = self.place.tolist()
        if made and (made + 1) * size > int((self.counts > 0).sum()):
            epoch, made = epoch + 1, 0
            self.prune(epoch, seed)
        self.place.copy_(torch.tensor([epoch, made + 1]))
        order = torch.randperm(n_windows, generator=_generator(seed, epoch))
        counts = self.counts.cpu()[order]
        kept = (counts > 0).nonzero().squeeze(1)[made * size : (made + 1) * size]
        return order[kept], counts[kept]

    def prune(self, epoch: int, seed: int) -> None:
        """Decide which windows the epoch leaves out, and how much the others count."""
        low = self.losses.cpu() < self.losses.nanmean().cpu()  # never where the loss is unknown
        drawn = torch.rand(len(low), generator=_generator(seed, -1 - epoch))
        rescaled = torch.where(drawn < self.probability, 0.0, 1 / (1 - self.probability))
        self.counts.copy_(torch.where(low, rescaled, 1.0))

    def forward(self, forecaster: Forecaster, update: Update) -> dict[str, Tensor]:
        """Return the one term ``forecast``, and remember the loss of each window."""
        forecast = forecaster(update.x, update.graph, update.profile)  # (B, R, N)
        errors = self.inner.loss(forecast, update.y)
        share = (update.mask * update.weight).flatten(1)
        each = (errors.detach().flatten(1) * share).sum(1) / share.sum(1)  # (B,)
        self.losses[update.windows.to(each.device)] = each.to(self.losses)
        return {"forecast": weighted_mean(errors, update.mask, update.weight)}


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)

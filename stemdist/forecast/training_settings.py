"""How a forecaster is trained: one frozen description."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, get_args

from stemdist.errors import InputError, check_count, check_seed, unknown_name
from stemdist.types import Loss, Schedule

if TYPE_CHECKING:
    from torch.optim import Optimizer, lr_scheduler

DEFAULT_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
QUANTILE = "quantile"

MakeSchedule = Callable[["Optimizer", "TrainingSettings"], "lr_scheduler.LRScheduler"]


def _one_cycle(optimizer: Optimizer, settings: TrainingSettings) -> lr_scheduler.LRScheduler:
    from torch.optim.lr_scheduler import OneCycleLR

    return OneCycleLR(optimizer, settings.learning_rate, total_steps=settings.updates)


def _cosine(optimizer: Optimizer, settings: TrainingSettings) -> lr_scheduler.LRScheduler:
    from torch.optim.lr_scheduler import CosineAnnealingLR

    return CosineAnnealingLR(optimizer, settings.updates)


def _constant(optimizer: Optimizer, settings: TrainingSettings) -> lr_scheduler.LRScheduler:
    from torch.optim.lr_scheduler import ConstantLR

    return ConstantLR(optimizer, factor=1.0)


SCHEDULES: dict[str, MakeSchedule] = {
    "one-cycle": _one_cycle,
    "cosine": _cosine,
    "constant": _constant,
}


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a forecaster is trained.

    Parameters
    ----------
    updates : int
        Optimizer updates to make (the budget).
    batch_windows : int
        Windows per update.
    learning_rate : float
        Highest learning rate of AdamW.
    weight_decay : float
        Weight decay of AdamW.
    clip_norm : float
        Norm to which the gradient of an update is clipped.
    schedule : str
        Course of the learning rate.
    loss : str
        Elementwise loss in scaled units. With ``quantile`` several quantiles are forecast
        instead of one number, scored by an estimate of the CRPS.
    quantiles : tuple of float
        Levels to forecast; 0.1, 0.25, 0.5, 0.75 and 0.9 for ``loss="quantile"`` by default.
    locations_per_update : int, optional
        Train each update on this many random locations, so that its cost does not grow with N.
    shuffle_locations : bool, optional
        Permute the windows of an update independently at each location, so that forecasters that
        mix locations cannot learn from the neighbours what a few windows show of them by chance;
        forecasters that see each location alone learn the same. With a single window, each
        update has a random half of the locations instead. By default it is done where the
        targets follow from each location's own windows (soft labels of pointwise experts).
    validate_every : int
        Updates between validations, where validation windows are given.
    validation_windows : int
        Evenly spaced validation windows to use at most.
    patience : int, optional
        Stop after this many validations without improvement.
    seed : int
        Random seed of the order of windows, the location subsets and dropout.
    """

    updates: int = 800
    batch_windows: int = 32
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    clip_norm: float = 5.0
    schedule: Schedule = "one-cycle"
    loss: Loss = "mse"
    quantiles: tuple[float, ...] = ()
    locations_per_update: int | None = None
    shuffle_locations: bool | None = None
    validate_every: int = 100
    validation_windows: int = 128
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("updates", "batch_windows", "validate_every", "validation_windows"):
            check_count(name, getattr(self, name))
        for name in ("locations_per_update", "patience"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        check_seed("seed", self.seed)
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError(f"learning_rate is {self.learning_rate!r}: it must be above 0")
        if not (self.weight_decay >= 0 and self.clip_norm > 0):
            raise InputError(
                f"weight_decay is {self.weight_decay!r} and clip_norm {self.clip_norm!r}: the "
                "first must be at least 0, the second above 0"
            )
        if self.schedule not in SCHEDULES:
            raise unknown_name("schedule", self.schedule, SCHEDULES)
        self._check_loss()

    def _check_loss(self) -> None:
        if self.loss == QUANTILE:
            levels = check_quantiles(self.quantiles or DEFAULT_QUANTILES)
            object.__setattr__(self, "quantiles", levels)
        elif self.quantiles:
            raise InputError(
                f"quantiles {self.quantiles} are forecast with loss='quantile' only, and the loss "
                f"is {self.loss!r}: choose that loss, or leave the quantiles out"
            )
        if self.loss not in get_args(Loss):
            raise unknown_name("loss", self.loss, get_args(Loss))

    def changed(self, changes: TrainingSettings | Mapping[str, Any], name: str) -> TrainingSettings:
        """Return other settings: those given, or these with some fields changed.

        Parameters
        ----------
        changes : TrainingSettings or mapping
            Settings that replace these, or fields to change, e.g. ``{"updates": 200}``.
        name : str
            What they are for, to be named in errors.

        Raises
        ------
        InputError
            If ``changes`` is something else, or a field is unknown.

        Examples
        --------
        >>> TrainingSettings(seed=3).changed({"updates": 200}, "judging").seed
        3
        """
        if isinstance(changes, TrainingSettings):
            return changes
        if not isinstance(changes, Mapping):
            raise InputError(
                f"{name} is {changes!r}: give a stemdist.TrainingSettings(...), or a mapping of "
                'the fields to change, e.g. {"updates": 200}'
            )
        known = {field.name for field in fields(self)}
        for key in changes:
            if key not in known:
                raise unknown_name(f"field of {name}", key, known)
        return replace(self, **changes)


def check_quantiles(quantiles: tuple[float, ...]) -> tuple[float, ...]:
    """Return quantile levels if they ascend inside (0, 1), else raise :class:`InputError`."""
    levels = tuple(float(level) for level in quantiles)
    ascending = all(low < high for low, high in itertools.pairwise(levels))
    if not (levels and ascending and levels[0] > 0 and levels[-1] < 1):
        raise InputError(
            f"quantiles is {quantiles}: give levels above 0 and below 1 in ascending order, "
            "e.g. 0.1,0.5,0.9"
        )
    return levels

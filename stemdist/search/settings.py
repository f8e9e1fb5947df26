"""What is searched, and how each configuration is trained: one frozen description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from stemdist.errors import InputError, check_count, check_distinct, check_seed, unknown_name
from stemdist.forecast import FORECASTERS, TrainingSettings
from stemdist.types import ForecasterName, PrunerName, SamplerName

REPORTS, REPORTS_TO_PRUNERS = 4, 10
"""Validations of a trial, and of one that a pruner may stop after each."""


class TrialSettings:
    """How configurations are trained; its fields are those of the dataclasses built on it."""

    batch_windows: int
    locations_per_update: int | None
    validation_windows: int
    seed: int

    def training_of(
        self, found: Mapping[str, Any], updates: int, validations: int
    ) -> TrainingSettings:
        """Return the training of a configuration, with evenly spaced validations."""
        return TrainingSettings(
            **found,
            updates=updates,
            batch_windows=self.batch_windows,
            locations_per_update=self.locations_per_update,
            validate_every=max(1, updates // validations),
            validation_windows=self.validation_windows,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class TuneSettings(TrialSettings):
    """What is searched, and how each configuration is trained.

    Parameters
    ----------
    forecasters : tuple of str
        Families to search; each has its own search space.
    lookbacks : tuple of int
        Numbers of input steps to try: the last ones of the set's windows, so at most as many as
        those have; all of them by default.
    trials : int
        Configurations to train, those that were pruned included.
    updates : int
        Optimizer updates of a trial.
    batch_windows : int
        Windows per update.
    locations_per_update : int, optional
        Random locations per update; all by default.
    validation_windows : int
        Evenly spaced real validation windows, at all locations, on which trials are scored; fewer
        where there are many locations.
    sampler : str
        How the next configuration is chosen: by a tree-structured Parzen estimator, by a Gaussian
        process, or at random.
    pruner : str
        Which trials are stopped early; ``none`` trains all to the end.
    finalists : int
        Best configurations that are trained on the full data, where the winner is chosen, besides
        the best of each family and the best default; 0 for none.
    final_updates : int
        Optimizer updates of a finalist, and of the winner.
    seed : int
        Random seed of the sampler and of every training.

    Raises
    ------
    InputError
        If a value cannot be used.

    Examples
    --------
    >>> TuneSettings(forecasters=("mlp",), trials=5).training({"learning_rate": 0.01}).updates
    300
    """

    forecasters: tuple[ForecasterName, ...] = ("linear", "mlp", "gru")
    lookbacks: tuple[int, ...] = ()
    trials: int = 40
    updates: int = 300
    batch_windows: int = 16
    locations_per_update: int | None = 16
    validation_windows: int = 64
    sampler: SamplerName = "tpe"
    pruner: PrunerName = "none"
    finalists: int = 0
    final_updates: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        families = check_distinct("forecasters", self.forecasters)
        for family in families:
            FORECASTERS.get(family)
        object.__setattr__(self, "forecasters", families)
        if self.lookbacks:
            object.__setattr__(self, "lookbacks", check_distinct("lookbacks", self.lookbacks))
        for steps in self.lookbacks:
            check_count("lookbacks", steps)
        for name in ("trials", "updates", "batch_windows", "validation_windows", "final_updates"):
            check_count(name, getattr(self, name))
        check_count("finalists", self.finalists, minimum=0)
        if self.locations_per_update is not None:
            check_count("locations_per_update", self.locations_per_update)
        check_seed("seed", self.seed)
        for name, known in (("sampler", SamplerName), ("pruner", PrunerName)):
            if getattr(self, name) not in get_args(known):
                raise unknown_name(name, getattr(self, name), get_args(known))
        if self.updates < self.reports:
            raise InputError(
                f"updates is {self.updates}, and a trial with the pruner {self.pruner!r} is "
                f"validated {self.reports} times: give more updates"
            )

    @property
    def reports(self) -> int:
        """Validations of a trial."""
        return REPORTS if self.pruner == "none" else REPORTS_TO_PRUNERS

    def training(self, found: Mapping[str, Any], *, final: bool = False) -> TrainingSettings:
        """Return how a configuration is trained: in a trial, or on the full data."""
        return self.training_of(found, self.final_updates if final else self.updates, self.reports)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        return asdict(self)

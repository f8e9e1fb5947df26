"""Which configurations are ranked, and how each is trained: one frozen description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from stemdist.errors import InputError, check_count, check_distinct, check_seed
from stemdist.forecast import TrainingSettings
from stemdist.search.configurations import Configuration, draw_configurations
from stemdist.search.settings import TrialSettings
from stemdist.types import ForecasterName, ReferenceName

VALIDATIONS = 4
"""Validations of a training: the weights with the lowest error count."""


@dataclass(frozen=True, kw_only=True)
class RankingSettings(TrialSettings):
    """Which configurations are ranked, and how each is trained.

    Parameters
    ----------
    forecasters : tuple of str
        Forecasters from whose search spaces configurations are drawn.
    configurations : int
        How many, in equal parts of each forecaster.
    references : tuple of str
        Training data to rank with besides the distilled set, see ``REFERENCES``.
    updates : int
        Optimizer updates on small training sets.
    full_updates : int
        Optimizer updates on the full data, whose order is taken as the true one.
    batch_windows : int
        Windows per update.
    locations_per_update : int, optional
        Random locations per update; all by default.
    validation_windows : int
        Evenly spaced real validation windows, at all locations, on which trainings are scored;
        fewer where there are many locations.
    top : int
        Size of the group of truly best configurations within which orders are also compared.
    space : mapping
        Changes of the search spaces; see :func:`~stemdist.search.spaces_of`.
    seed : int
        Random seed of the configurations, of every training and of random draws.

    Raises
    ------
    InputError
        If a value cannot be used.

    Examples
    --------
    >>> len(RankingSettings(configurations=6).drawn())
    6
    """

    forecasters: tuple[ForecasterName, ...] = ("linear", "mlp", "gru")
    configurations: int = 24
    references: tuple[ReferenceName, ...] = ("random-expert",)
    updates: int = 300
    full_updates: int = 1500
    batch_windows: int = 16
    locations_per_update: int | None = 16
    validation_windows: int = 64
    top: int = 10
    space: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "forecasters", check_distinct("forecasters", self.forecasters))
        if self.references:
            object.__setattr__(self, "references", check_distinct("references", self.references))
        for name in ("configurations", "full_updates", "batch_windows", "validation_windows"):
            check_count(name, getattr(self, name))
        check_count("top", self.top, minimum=2)
        check_count("updates", self.updates, minimum=VALIDATIONS)
        if self.locations_per_update is not None:
            check_count("locations_per_update", self.locations_per_update)
        check_seed("seed", self.seed)
        if self.configurations < 3:
            raise InputError(
                f"configurations is {self.configurations}: an order of fewer than 3 says nothing"
            )

    def drawn(self) -> tuple[Configuration, ...]:
        """Return the configurations to rank."""
        return draw_configurations(
            self.forecasters, self.configurations, seed=self.seed, changes=self.space
        )

    def training(self, configuration: Configuration, updates: int) -> TrainingSettings:
        """Return how a configuration is trained."""
        return self.training_of(configuration.training, updates, VALIDATIONS)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        return asdict(self)

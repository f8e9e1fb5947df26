"""What is evaluated and how: one frozen description of the whole comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from stemdist.errors import InputError, check_count, check_distinct, check_seed, unknown_name
from stemdist.evaluate.comparison.budgets import BUDGETS, CONVERGED, EQUAL
from stemdist.forecast import TrainingSettings
from stemdist.types import BudgetName, ForecasterName, ReferenceName, Schedule, Shuffle

SHUFFLES = {"auto": None, "always": True, "never": False}
"""Values of ``TrainingSettings.shuffle_locations`` by name."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """The comparison: every method trains the same forecasters in the same way.

    Parameters
    ----------
    forecasters : tuple of str
        Forecasters trained on each method's data.
    references : tuple of str
        Training data to compare, see ``REFERENCES``; ``distilled`` is the set itself. Training
        on ``compressed`` takes as long as on ``full``.
    seeds : int
        How many seeds of the initial weights, of the order of windows, and of random draws.
    first_seed : int
        The first of them; the others follow.
    learning_rates : tuple of float
        Grid. The rate is chosen for each method and forecaster by the validation error of
        the first seed, and used for its other seeds.
    shuffles : tuple of str
        Whether windows are permuted independently per location for forecasters that mix
        locations (see :class:`~stemdist.forecast.TrainingSettings`); one of several is chosen
        together with the learning rate.
    weight_decay : float
        Weight decay of every training run; published comparisons often have none.
    schedule : str
        Course of the learning rate of every training run.
    budget : str
        How long forecasters train: equal updates, until converged, or both.
    updates : int
        Optimizer updates of every training at equal updates.
    converged_updates : tuple of int
        Updates that converged forecasters try, in ascending order, each with a complete schedule,
        the longer ones with the learning rate that was best before: more are tried while the last
        lowered the validation error by 0.5 %, and the best by validation counts.
    batch_windows : int
        Windows per update (all of them, where a method has fewer).
    locations_per_update : int, optional
        Random locations per update for forecasters that mix locations, so that their cost does
        not grow with N; all of them where a method has fewer. Others see all at equal updates, and
        as many when they converge. Those that need a whole grid always see all.
    validate_every : int
        Updates between validations; the weights with the lowest validation error are kept.
    validation_windows : int
        Evenly spaced validation windows to use at most.
    test_windows : int, optional
        Test on at most so many evenly spaced windows; on all by default.
    quantiles : tuple of float
        Train forecasters for quantiles at these levels, e.g. 0.1,0.5,0.9: the median counts as
        their point forecast, and ``crps`` judges them all. Without it point forecasts.
    options : mapping
        Hyper-parameters of forecasters, e.g. ``{"mtgnn": {"layers": 2}}``.
    selection_seed : int
        Added to the seed of random draws of windows and locations.
    season_steps : int
        Season of MASE's in-sample persistence, in steps.
    area_weighted : bool
        Weight errors by cos(latitude).

    Raises
    ------
    InputError
        If a name is unknown or a number cannot be used.

    Examples
    --------
    >>> EvaluationSettings().training(seed=0, learning_rate=1e-3).updates
    600
    """

    forecasters: tuple[ForecasterName, ...] = ("linear", "mlp", "mtgnn")
    references: tuple[ReferenceName, ...] = (
        "full",
        "random",
        "random-expert",
        "coreset",
        "clustered",
        "compressed",
        "distilled",
    )
    seeds: int = 3
    first_seed: int = 0
    learning_rates: tuple[float, ...] = (5e-3, 1e-3)
    shuffles: tuple[Shuffle, ...] = ("auto",)
    weight_decay: float = 1e-2
    schedule: Schedule = "one-cycle"
    budget: BudgetName = "equal"
    updates: int = 600
    converged_updates: tuple[int, ...] = (600, 2000, 5000)
    batch_windows: int = 32
    locations_per_update: int | None = 64
    validate_every: int = 100
    validation_windows: int = 128
    test_windows: int | None = None
    quantiles: tuple[float, ...] = ()
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    selection_seed: int = 0
    season_steps: int = 1
    area_weighted: bool = False

    def __post_init__(self) -> None:
        # Imported where values are checked: the command line's --help needs the fields alone.
        from stemdist.evaluate.comparison.training_data import REFERENCES
        from stemdist.forecast import FORECASTERS

        for name in ("forecasters", "references", "learning_rates", "shuffles"):
            object.__setattr__(self, name, check_distinct(name, getattr(self, name)))
        for kind, registry in (("forecasters", FORECASTERS), ("references", REFERENCES)):
            for name in getattr(self, kind):
                registry.get(name)
        self._check_grids()
        for name in self.options:
            if name not in self.forecasters:
                raise InputError(
                    f"options are given for {name!r}, which is not evaluated: the forecasters "
                    f"are {', '.join(self.forecasters)}"
                )
        for name in ("seeds", "season_steps"):
            check_count(name, getattr(self, name))
        for name in ("first_seed", "selection_seed"):
            check_seed(name, getattr(self, name))
        if self.test_windows is not None:
            check_count("test_windows", self.test_windows)
        for rate in self.learning_rates:
            if not (math.isfinite(rate) and rate > 0):
                raise InputError(f"learning_rates has {rate!r}: every rate must be above 0")
        for name in self.shuffles:
            if name not in SHUFFLES:
                raise unknown_name("way to shuffle", name, SHUFFLES)
        self._check_budget()
        self.training(seed=0, learning_rate=self.learning_rates[0])

    def _check_budget(self) -> None:
        """Raise if updates descend, or are given for a budget that is not compared."""
        if self.budget not in BUDGETS:
            raise unknown_name("budget", self.budget, BUDGETS)
        tried = check_distinct("converged_updates", self.converged_updates)
        for updates in tried:
            check_count("converged_updates", updates)
        if list(tried) != sorted(tried):
            raise InputError(f"converged_updates is {tried}: give them in ascending order")
        object.__setattr__(self, "converged_updates", tried)
        used = {"updates": EQUAL, "converged_updates": CONVERGED}
        for name, budget in used.items():
            given = getattr(self, name) != type(self).__dataclass_fields__[name].default
            if given and budget not in self.budgets:
                raise InputError(
                    f"{name} is {getattr(self, name)}, but budget is {self.budget!r}: it is for "
                    f"budget {budget!r} or 'both'"
                )

    @property
    def budgets(self) -> tuple[str, ...]:
        """The budgets that are compared; the last one is that of the headline."""
        return BUDGETS[self.budget]

    def tried_updates(self, budget: str) -> tuple[int, ...]:
        """Return the numbers of updates that a budget tries, in ascending order."""
        return self.converged_updates if budget == CONVERGED else (self.updates,)

    def _check_grids(self) -> None:
        """Raise if a forecaster needs a grid that the data of a method are none of."""
        from stemdist.evaluate.comparison.training_data import REFERENCES
        from stemdist.forecast import FORECASTERS

        parts = [name for name in self.references if not REFERENCES.get(name).all_locations]
        for name in self.forecasters:
            if parts and FORECASTERS.get(name).needs_grid:
                raise InputError(
                    f"{name!r} needs a regular grid, and the data of the references "
                    f"{', '.join(parts)} are none: leave it out, or compare on all locations "
                    "(reference full)"
                )

    def training(
        self,
        *,
        seed: int,
        learning_rate: float,
        shuffle: str = "auto",
        all_locations: bool = False,
        updates: int | None = None,
    ) -> TrainingSettings:
        """Return the settings of one training run; equal for all methods."""
        return TrainingSettings(
            updates=self.updates if updates is None else updates,
            batch_windows=self.batch_windows,
            learning_rate=learning_rate,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            locations_per_update=None if all_locations else self.locations_per_update,
            shuffle_locations=SHUFFLES[shuffle],
            validate_every=self.validate_every,
            validation_windows=self.validation_windows,
            loss="quantile" if self.quantiles else "mse",
            quantiles=tuple(self.quantiles),
            seed=seed,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        return asdict(self)

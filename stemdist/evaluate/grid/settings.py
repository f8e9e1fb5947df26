"""What a benchmark compares: one frozen description of the whole grid."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from stemdist.distill import DistillSettings
from stemdist.distill.methods import METHODS
from stemdist.distill.settings import OF_EXPERTS
from stemdist.errors import InputError, check_count, check_distinct, check_ratio, unknown_name
from stemdist.evaluate.comparison.settings import EvaluationSettings
from stemdist.forecast import TrainingSettings
from stemdist.types import (
    BudgetName,
    ForecasterName,
    HoldOutPattern,
    ReferenceName,
    Schedule,
    Shuffle,
)

OF_THE_GRID = ("time_ratio", "space_ratio", "seed", "synthesizer")
"""Fields of DistillSettings that are not for all distillations: axes of the grid, or a method's."""
WITHOUT_EXPERTS = frozenset({"full", "pruned", "random"})
"""References that need no experts."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkSettings:
    """The grid: methods x ratios x forecasters x seeds, and how each cell is trained.

    Parameters
    ----------
    methods : tuple of str
        Ways of distilling: default, stemdist and the other names of ``METHODS``, or variants.
    variants : mapping
        More methods made from others, e.g. ``{"long": {"method": "stemdist",
        "synthesizer_options": {"iterations": 100}}}``.
    references : tuple of str
        What to compare with.
    ratios : tuple of str
        Shares of the training windows and of the locations to keep, e.g. 0.1x0.1,0.025x0.1.
    surrogates : tuple of str
        Forecasters to distil with, one set each, for methods that have a surrogate; each
        method's own by default.
    distill : mapping
        Fields of ``DistillSettings`` for all distillations, e.g. ``{"experts": "mlp"}``;
        options of a synthesizer go to the methods that know them.
    seeds : int
        Distillations of every method (and draws of every random reference).
    trainings : int
        Forecasters of each kind trained on every distilled set, from different weights.
    forecasters : tuple of str
        Forecasters trained on each method's data.
    learning_rates : tuple of float
        Highest learning rates to try; one is chosen for each set and forecaster by the
        validation error of its first training.
    shuffles : tuple of str
        Whether windows are permuted independently per location for forecasters that mix
        locations; one of several is chosen together with the learning rate.
    weight_decay : float
        Weight decay of every training run; published comparisons often have none.
    schedule : str
        Course of the learning rate of every training run.
    budget : str
        How long forecasters train.
    updates : int
        Optimizer updates of every training at equal updates.
    converged_updates : tuple of int
        Updates that converged forecasters try, in ascending order, each with a complete schedule,
        the longer ones with the learning rate that was best before: more are tried while the last
        lowered the validation error by 0.5 %, and the best by validation counts.
    batch_windows : int
        Windows per update (all of them, where a set has fewer).
    locations_per_update : int, optional
        Random locations per update for forecasters that mix locations, and for all but those that
        need a whole grid when they converge.
    validate_every : int
        Updates between validations; the weights with the lowest validation error are kept.
    validation_windows : int
        Evenly spaced validation windows to use at most.
    test_windows : int, optional
        Test on at most so many evenly spaced windows; on all by default.
    hold_out : float
        Share of the locations from which nothing is learned, and at which alone everything is
        tested; 0 learns from all and tests at all.
    hold_out_pattern : str
        ``scattered`` for random ones, ``region`` for some next to each other in the graph.
    options : mapping
        Hyper-parameters of forecasters, e.g. ``{"mtgnn": {"layers": 2}}``.
    season_steps : int
        Season of MASE's in-sample persistence, in steps.
    area_weighted : bool
        Weight errors by cos(latitude).

    Raises
    ------
    InputError
        If a name is unknown or a value cannot be used, for any of the methods.

    Examples
    --------
    >>> settings = BenchmarkSettings(methods=("stemdist",), ratios=("0.1x0.05",))
    >>> settings.distillation("stemdist", "0.1x0.05", seed=2).space_ratio
    0.05
    """

    methods: tuple[str, ...] = ("default", "stemdist")
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    references: tuple[ReferenceName, ...] = ("full", "random", "random-expert")
    ratios: tuple[str, ...] = ("0.1x0.1",)
    surrogates: tuple[ForecasterName, ...] = ()
    distill: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 3
    trainings: int = 1
    forecasters: tuple[ForecasterName, ...] = ("linear", "mlp", "mtgnn")
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
    hold_out: float = 0.0
    hold_out_pattern: HoldOutPattern = "scattered"
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    season_steps: int = 1
    area_weighted: bool = False

    def __post_init__(self) -> None:
        # Imported where values are checked: the command line's --help needs the fields alone.
        from stemdist.evaluate.comparison.unseen import PATTERNS, check_hold_out

        for name, minimum in (("methods", 1), ("references", 0), ("surrogates", 0)):
            given = check_distinct(name, getattr(self, name), minimum=minimum)
            object.__setattr__(self, name, given)
        shares = (_label(*ratio_pair(text)) for text in _texts(self.ratios))
        object.__setattr__(self, "ratios", check_distinct("ratios", shares))
        check_count("seeds", self.seeds)
        check_count("trainings", self.trainings)
        if self.hold_out:
            check_hold_out(self.hold_out, self.hold_out_pattern)
        elif self.hold_out_pattern != PATTERNS[0]:
            raise InputError(
                f"hold_out_pattern is {self.hold_out_pattern!r}, but no locations are held out: "
                "give their share, e.g. hold_out 0.2"
            )
        self._check_names()
        self.evaluation(("distilled",))
        for method in self.methods:
            for surrogate in self.surrogates_of(method):
                self.distillation(method, self.ratios[0], 0, surrogate)
        self.starting_point(self.ratios[0])
        self._check_options()

    def evaluation(
        self,
        references: tuple[str, ...],
        *,
        forecasters: tuple[ForecasterName, ...] | None = None,
        seeds: int = 1,
        first_seed: int = 0,
    ) -> EvaluationSettings:
        """Return how forecasters are trained and tested; equal for all methods."""
        names = {f.name for f in dataclasses.fields(EvaluationSettings)}
        shared = {k: getattr(self, k) for k in names & {f.name for f in dataclasses.fields(self)}}
        used = self.forecasters if forecasters is None else forecasters
        chosen = {
            "forecasters": used,
            "references": references,
            "seeds": seeds,
            "first_seed": first_seed,
            "options": {k: v for k, v in self.options.items() if forecasters is None or k in used},
        }
        return EvaluationSettings(**{**shared, **chosen})

    def surrogates_of(self, method: str) -> tuple[str, ...]:
        """Return the forecasters a method is distilled with; an empty name where it has none."""
        own = self._own(method)
        known = synthesizer_options(own.synthesizer)
        name = _surrogate_option(known)
        if not name:
            return ("",)
        common = self.distill.get("synthesizer_options", {}).get(name, known[name])
        used = own.synthesizer_options.get(name, common)
        return self.surrogates or (used if isinstance(used, str) else ",".join(used),)

    def distillation(
        self, method: str, ratio: str, seed: int, surrogate: str = ""
    ) -> DistillSettings:
        """Return the settings of one distillation.

        Parameters
        ----------
        method : str
            A method or a variant.
        ratio : str
            Shares of time and space, e.g. ``"0.1x0.1"``.
        seed : int
            Random seed.
        surrogate : str
            The forecaster to distil with, where the method has one.
        """
        base, changes = self._parts(method)
        own = self._own(method)
        known = synthesizer_options(own.synthesizer)
        common = dict(self.distill)
        shared = {k: v for k, v in common.pop("synthesizer_options", {}).items() if k in known}
        options = {**shared, **changes.pop("synthesizer_options", {})}
        if surrogate:
            options |= _of_surrogate(surrogate, known, given=bool(self.surrogates))
        usual = own.synthesizer_options.get("surrogate", known.get("surrogate"))
        if "surrogate_options" in known and options.get("surrogate", usual) != usual:
            # those of the method's own surrogate mean nothing to another one
            options["surrogate_options"] = shared.get("surrogate_options", {})
        time_ratio, space_ratio = ratio_pair(ratio)
        return DistillSettings.of(
            base,
            **{**common, **changes},
            synthesizer_options=options,
            time_ratio=time_ratio,
            space_ratio=space_ratio,
            seed=seed,
        )

    def starting_point(self, ratio: str) -> DistillSettings:
        """Return the settings of the real windows whose size the references take."""
        keep = (*OF_EXPERTS, "clustering", "representative", "selection", "window_times")
        common = {k: v for k, v in self.distill.items() if k in keep}
        needs_experts = set(self.references) - WITHOUT_EXPERTS
        time_ratio, space_ratio = ratio_pair(ratio)
        return DistillSettings(
            **common,
            labels="expert" if needs_experts else "observed",
            synthesizer="selection",
            judging=TrainingSettings(updates=1),
            judge_seeds=1,
            time_ratio=time_ratio,
            space_ratio=space_ratio,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        return asdict(self)

    def _parts(self, method: str) -> tuple[str, dict[str, Any]]:
        """Return the method a variant is made from, and what it changes there."""
        changes = dict(self.variants.get(method, {}))
        return str(changes.pop("method", "default" if method in self.variants else method)), changes

    def _own(self, method: str) -> DistillSettings:
        """Return a method's settings without what is given for all."""
        base, changes = self._parts(method)
        return DistillSettings.of(base, **changes)

    def _check_names(self) -> None:
        from stemdist.distill.clusters import check_on_clusters
        from stemdist.evaluate.comparison.training_data import REFERENCES

        known = {f.name for f in dataclasses.fields(DistillSettings)}
        for name in (*self.distill, *(k for v in self.variants.values() for k in v)):
            if name not in {*known, "method"}:
                raise unknown_name("field of DistillSettings", name, known)
        for name in self.distill:
            if name in {*OF_THE_GRID, "method"}:
                raise InputError(
                    f"distill has {name!r}, which is not for all distillations: use methods, "
                    "variants, ratios and seeds"
                )
        for name in self.variants:
            if name in METHODS:
                raise InputError(f"the variant {name!r} has the name of a method: rename it")
        for method in self.methods:
            if method not in {*METHODS, *self.variants}:
                raise unknown_name("method", method, {*METHODS, *self.variants})
        for reference in self.references:
            REFERENCES.get(reference)
        if "distilled" in self.references:
            raise InputError(
                "references has 'distilled', which is what the methods make: leave it out"
            )
        check_on_clusters("surrogate", self.surrogates)

    def _check_options(self) -> None:
        """Raise if an option for all synthesizers is known by none of them."""
        names = [self._own(method).synthesizer for method in self.methods]
        known = {option for name in names for option in synthesizer_options(name)}
        for option in self.distill.get("synthesizer_options", {}):
            if option not in known:
                raise unknown_name("option of the methods' synthesizers", option, known)
        if self.surrogates and not _surrogate_option(known):
            raise InputError(
                "surrogates are given, but no method has a surrogate: leave them out, or add a "
                "method that matches gradients, e.g. stemdist"
            )


def ratio_pair(text: str) -> tuple[float, float]:
    """Return the shares of time and space that ``"0.1x0.05"`` stands for.

    Examples
    --------
    >>> ratio_pair("0.1x0.05")
    (0.1, 0.05)
    """
    try:
        time, space = (float(part) for part in text.split("x"))
    except ValueError as error:
        raise InputError(
            f"ratios has {text!r}: give the shares of time and space, e.g. 0.1x0.05"
        ) from error
    return check_ratio("time ratio", time), check_ratio("space ratio", space)


def synthesizer_options(name: str) -> dict[str, Any]:
    """Return the options of a synthesizer with their defaults."""
    from stemdist.distill import SYNTHESIZERS

    parameters = inspect.signature(SYNTHESIZERS.get(name)).parameters
    return {key: value.default for key, value in parameters.items() if key != "self"}


def _surrogate_option(known: Collection[str]) -> str:
    """Return the option of a synthesizer that names its surrogate, or its several ones."""
    return next((name for name in ("surrogate", "surrogates") if name in known), "")


def _of_surrogate(surrogate: str, known: Collection[str], *, given: bool) -> dict[str, Any]:
    """Return the options of a synthesizer that is to use a surrogate, and no other if given."""
    none: dict[str, Any] = {"final_surrogates": ()} if given and "final_surrogates" in known else {}
    return {_surrogate_option(known): surrogate, **none}


def _label(time: float, space: float) -> str:
    return f"{time:g}x{space:g}"


def _texts(values: Any) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else tuple(values)

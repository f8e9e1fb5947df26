"""How a data set is distilled: one frozen description.

Shapes: M_S synthetic windows, K clusters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, get_args

import xarray as xr

from stemdist.data.catalogue import recipe_of
from stemdist.distill.methods import method_fields
from stemdist.errors import (
    InputError,
    check_count,
    check_distinct,
    check_ratio,
    check_seed,
    unknown_name,
)
from stemdist.forecast import TrainingSettings
from stemdist.types import (
    Clustering,
    DistillMethod,
    Effort,
    ForecasterName,
    Labels,
    ParametrisationName,
    Representative,
    SynthesizerName,
    WindowSelection,
    WindowTimes,
)

FEWEST_CLUSTERS = 6
"""Clusters that a share of the locations stands for at least, where there are as many locations:
one of ten or twelve stations does not show how the others differ (decision 035)."""

OF_EXPERTS = ("experts", "expert_seeds", "extra_experts", "expert_training")
"""Fields that determine the experts."""


def _expert_training() -> TrainingSettings:
    return TrainingSettings(updates=1200, locations_per_update=32)


def _judging() -> TrainingSettings:
    return TrainingSettings(updates=100, batch_windows=8, locations_per_update=32)


_TRAINING = {"expert_training": _expert_training, "judging": _judging}


@dataclass(frozen=True, kw_only=True)
class DistillSettings:
    """How a data set is distilled.

    Parameters
    ----------
    time_ratio : float
        Share of the training windows to keep, above 0 and at most 1.
    space_ratio : float
        Share of the locations to keep, above 0 and at most 1, but at least six of them. Of a
        series larger than the budget of memory, as many windows and locations as fit are kept.
    windows : int, optional
        Number of windows to keep, instead of a share of them.
    clusters : int, optional
        Number of locations to keep, instead of a share of them.
    clustering : str
        How locations are clustered.
    representative : str
        Series that represents a cluster: its most central real location, or the mean of all.
    selection : str
        How the real windows to start from are chosen.
    window_times : str
        Whether the windows of all clusters have the same times (``shared``), or each cluster has
        ``own`` windows, so that few of them cover many times. Own ones suit targets that follow
        from each location's own inputs: ``auto`` chooses them for soft labels of experts that
        forecast locations one by one.
    labels : str
        Where targets come from; incremental ones are observed at first and move towards the soft
        labels by the synthesizer's ``relabel`` share in every iteration.
    experts : tuple of str
        Forecasters trained as experts; their forecasts are combined with the weights that are best
        on the validation part.
    expert_seeds : int
        Experts per family.
    extra_experts : int
        Further experts, trained one by one, each of the family that then has the largest weight.
    expert_training : TrainingSettings or mapping
        How experts are trained; a mapping changes single fields, e.g. ``{"updates": 200}``.
    synthesizer : str
        What improves the windows; ``selection`` keeps the real windows with their labels.
    synthesizer_options : mapping
        Parameters of the synthesizer, e.g. ``{"iterations": 100, "subsets": 8}``.
    parametrisation : str
        How windows are stored while they are learned.
    parametrisation_options : mapping
        Options of the parametrisation.
    judges : tuple of str
        Forecasters whose validation error chooses the iterate.
    judging : TrainingSettings or mapping
        How judges are trained; a mapping changes single fields.
    judge_seeds : int
        Judges per family.
    seed : int
        Random seed.
    """

    without_effect: ClassVar[tuple[str, ...]] = (
        "expert_training.quantiles",
        "expert_training.loss=quantile",
        "judging.quantiles",
        "judging.loss=quantile",
        "judging.patience",
        "judging.validate_every",
    )
    """Options that the command line does not offer, because they cannot change a result."""

    time_ratio: float = 0.1
    space_ratio: float = 0.1
    windows: int | None = None
    clusters: int | None = None
    clustering: Clustering = "kmeans"
    representative: Representative = "medoid"
    selection: WindowSelection = "kmeans"
    window_times: WindowTimes = "auto"
    labels: Labels = "expert"
    experts: tuple[ForecasterName, ...] = ("mlp", "decomposition-mlp")
    expert_seeds: int = 1
    extra_experts: int = 1
    expert_training: TrainingSettings = field(default_factory=_expert_training)
    synthesizer: SynthesizerName = "kernel-ridge"
    synthesizer_options: Mapping[str, Any] = field(default_factory=dict)
    parametrisation: ParametrisationName = "tensor"
    parametrisation_options: Mapping[str, Any] = field(default_factory=dict)
    judges: tuple[ForecasterName, ...] = ("mlp",)
    judging: TrainingSettings = field(default_factory=_judging)
    judge_seeds: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        # Imported where values are checked: the command line's --help needs the fields alone.
        from stemdist.distill.clusters import check_on_clusters
        from stemdist.distill.labels import expert_share
        from stemdist.distill.parametrisation import PARAMETRISATIONS, parametrisation_type
        from stemdist.distill.selection import SELECTIONS
        from stemdist.distill.synthesizer import make_synthesizer
        from stemdist.forecast import FORECASTERS
        from stemdist.graph import LocationClustering

        check_ratio("time_ratio", self.time_ratio)
        check_ratio("space_ratio", self.space_ratio)
        for name in ("windows", "clusters"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        check_count("expert_seeds", self.expert_seeds)
        check_count("extra_experts", self.extra_experts, minimum=0)
        check_count("judge_seeds", self.judge_seeds)
        check_seed("seed", self.seed)
        expert_share(self.labels)
        if self.selection not in SELECTIONS:
            raise unknown_name("window selection", self.selection, SELECTIONS)
        if self.window_times not in get_args(WindowTimes):
            raise unknown_name("window times", self.window_times, get_args(WindowTimes))
        for name in ("experts", "judges"):
            several = f"{name[:-1]}_seeds trains a forecaster several times"
            families = check_distinct(name, getattr(self, name), hint=several)
            for family in families:
                FORECASTERS.get(family)
            object.__setattr__(self, name, families)
        check_on_clusters("judge", self.judges)
        for name, default in _TRAINING.items():
            object.__setattr__(self, name, default().changed(getattr(self, name), name))
            if getattr(self, name).quantiles:
                raise InputError(
                    f"{name} has loss='quantile': labels and judgements need one number per "
                    "target. Choose mse, mae or huber there; forecasters trained on the distilled "
                    "set may still forecast quantiles"
                )
        self._check_judging()
        LocationClustering(
            1, method=self.clustering, representative=self.representative
        ).check_parameters()
        make_synthesizer(self.synthesizer, **self.synthesizer_options)
        parametrisation_type(self.parametrisation, self.parametrisation_options)
        if self.window_times == "own" and not self.can_have_own_times:
            raise InputError(
                f"window_times is 'own', which the selection {self.selection!r} or the "
                f"parametrisation {self.parametrisation!r} cannot have: choose the selection "
                "kmeans or random and the parametrisation tensor, or window_times='shared'"
            )
        needed = PARAMETRISATIONS.get(self.parametrisation).selection
        if needed not in (None, self.selection):
            raise InputError(
                f"selection is {self.selection!r}: the parametrisation {self.parametrisation!r} "
                f"needs selection={needed!r}"
            )

    @property
    def can_have_own_times(self) -> bool:
        """Whether each cluster can have windows of its own."""
        from stemdist.distill.parametrisation import PARAMETRISATIONS
        from stemdist.distill.selection import OWN_SELECTIONS

        free = PARAMETRISATIONS.get(self.parametrisation).own_times
        return free and self.selection in OWN_SELECTIONS

    def _check_judging(self) -> None:
        """Refuse what changes nothing: judges make all their updates without validation."""
        for name in ("patience", "validate_every"):
            value = getattr(self.judging, name)
            if value != getattr(TrainingSettings(), name):
                raise InputError(
                    f"judging has {name}={value!r}, which changes nothing, because judges are not "
                    "validated while they are trained: leave it out"
                )

    @classmethod
    def of(
        cls, method: DistillMethod | str, *, effort: Effort = "default", **changes: Any
    ) -> DistillSettings:
        """Return the settings of a named method, with changes.

        Parameters
        ----------
        method : str
            The default, a published method, or a coreset; see ``METHODS``.
        effort : str
            How long a distillation may take; see ``EFFORTS``.
        **changes
            Fields that differ from it; options of the same synthesizer are merged.

        Raises
        ------
        InputError
            If the method is unknown, has no such effort, or a value cannot be used.

        Examples
        --------
        >>> DistillSettings.of("stemdist", time_ratio=0.05).synthesizer
        'gradient-matching'
        """
        fields = method_fields(method, changes, effort)
        known = {each.name for each in dataclasses.fields(cls)}
        for name in fields:
            if name not in known:
                raise unknown_name("option of a distillation", name, known)
        return cls(**fields)

    @classmethod
    def for_series(
        cls,
        series: xr.Dataset,
        method: DistillMethod | str = "default",
        *,
        effort: Effort = "default",
        **changes: Any,
    ) -> DistillSettings:
        """Return the settings of a method for a series, whose recipe may recommend ratios.

        Parameters
        ----------
        series : xarray.Dataset
            Canonical series; see :func:`~stemdist.data.catalogue.recipe_of`.
        method, effort, **changes
            As in :meth:`of`; changes win over the recipe.

        Examples
        --------
        >>> from stemdist.data import open_series
        >>> DistillSettings.for_series(open_series("traffic-sim"), "mtt").time_ratio
        0.1
        """
        recipe = recipe_of(series)
        ratios = {name: getattr(recipe, name, None) for name in ("time_ratio", "space_ratio")}
        recommended = {name: ratio for name, ratio in ratios.items() if ratio is not None}
        return cls.of(method, effort=effort, **{**recommended, **changes})

    def of_experts(self) -> dict[str, Any]:
        """Return the fields that determine the experts, as plain JSON types."""
        return {name: value for name, value in self.to_json().items() if name in OF_EXPERTS}

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> DistillSettings:
        """Rebuild settings written by :meth:`to_json`."""
        nested = {
            name: TrainingSettings(**content[name]) for name in ("expert_training", "judging")
        }
        tuples = {name: tuple(content[name]) for name in ("experts", "judges")}
        earlier = {"window_times": "shared"}  # of sets made before there was a choice
        return cls(**{**earlier, **content, **nested, **tuples})

    def sizes(self, train_windows: int, n_locations: int) -> tuple[int, int]:
        """Return M_S and K for so many training windows and locations.

        A share of the windows is at least one of them, a share of the locations at least six.

        Raises
        ------
        InputError
            If a number is given that is larger than what there is.

        Examples
        --------
        >>> DistillSettings(clusters=30).sizes(1000, 200)
        (100, 30)
        >>> DistillSettings().sizes(1000, 12)
        (100, 6)
        """
        found = []
        for name, ratio, total, fewest in (
            ("windows", self.time_ratio, train_windows, 1),
            ("clusters", self.space_ratio, n_locations, FEWEST_CLUSTERS),
        ):
            asked = getattr(self, name)
            if asked is not None and asked > total:
                what = "training windows" if name == "windows" else "locations"
                raise InputError(f"{name} is {asked}, but there are only {total} {what}")
            found.append(asked or max(round(ratio * total), min(fewest, total)))
        return found[0], found[1]

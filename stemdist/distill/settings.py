"""How a data set is distilled: one frozen description.

Shapes: M_S synthetic windows, K clusters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from stemdist.distill.clusters import check_on_clusters
from stemdist.distill.labels import expert_share
from stemdist.distill.methods import method_fields
from stemdist.distill.parametrisation import PARAMETRISATIONS, parametrisation_type
from stemdist.distill.selection import SELECTIONS
from stemdist.distill.synthesizer import make_synthesizer
from stemdist.errors import InputError, check_count, check_distinct, check_ratio, unknown_name
from stemdist.forecast import FORECASTERS, ForecastTask, TrainingSettings
from stemdist.graph import LocationClustering

OF_EXPERTS = ("experts", "expert_seeds", "extra_experts", "expert_training")
"""Fields that say who the experts are."""


@dataclass(frozen=True, kw_only=True)
class DistillSettings:
    """How a data set is distilled.

    Parameters
    ----------
    time_ratio, space_ratio : float
        Shares of the training windows and of the locations to keep, in (0, 1].
    clustering : str
        How locations are clustered: ``kmeans``, ``minibatch``, ``ward`` or ``random``.
    representative : {"medoid", "mean"}
        What stands for a cluster: its most central real location, or the mean of all.
    selection : {"kmeans", "k-center", "herding", "contiguous", "random"}
        How the windows to start from are chosen.
    labels : {"expert", "observed", "mixed", "incremental"}
        Where targets come from; ``incremental`` ones are observed at first and move towards the
        experts' answers by the synthesizer's ``relabel`` share in every iteration.
    experts : tuple of str
        Forecasters trained as experts; their answers are averaged with the weights that are best
        on the validation part.
    expert_seeds : int
        Experts per family.
    extra_experts : int
        Experts that are trained after those, one by one, of whichever family then has the greatest
        weight.
    expert_training : TrainingSettings
        How experts are trained.
    synthesizer : str
        What improves the windows, see ``SYNTHESIZERS``; ``selection`` stops at the relabelled
        real windows.
    synthesizer_options : mapping
        Parameters of the synthesizer, e.g. ``{"iterations": 100, "subsets": 8}``.
    parametrisation : str
        How windows are stored while they are learned; see ``PARAMETRISATIONS``.
    parametrisation_options : mapping
        Its options.
    judges : tuple of str
        Forecasters whose validation error chooses the iterate.
    judging : TrainingSettings
        How judges are trained.
    judge_seeds : int
        Judges per family.
    seed : int
        Of everything random.
    """

    time_ratio: float = 0.1
    space_ratio: float = 0.1
    clustering: str = "kmeans"
    representative: str = "medoid"
    selection: str = "kmeans"
    labels: str = "expert"
    experts: tuple[str, ...] = ("mlp", "linear", "decomposition-mlp")
    expert_seeds: int = 1
    extra_experts: int = 1
    expert_training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(updates=1200, locations_per_update=96)
    )
    synthesizer: str = "kernel-ridge"
    synthesizer_options: Mapping[str, Any] = field(default_factory=dict)
    parametrisation: str = "tensor"
    parametrisation_options: Mapping[str, Any] = field(default_factory=dict)
    judges: tuple[str, ...] = ("mlp",)
    judging: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(
            updates=100, batch_windows=8, locations_per_update=32
        )
    )
    judge_seeds: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        check_ratio("time_ratio", self.time_ratio)
        check_ratio("space_ratio", self.space_ratio)
        check_count("expert_seeds", self.expert_seeds)
        check_count("extra_experts", self.extra_experts, minimum=0)
        check_count("judge_seeds", self.judge_seeds)
        check_count("seed", self.seed, minimum=0)
        expert_share(self.labels)
        if self.selection not in SELECTIONS:
            raise unknown_name("window selection", self.selection, SELECTIONS)
        for name in ("experts", "judges"):
            several = f"{name[:-1]}_seeds trains a forecaster several times"
            families = check_distinct(name, getattr(self, name), hint=several)
            for family in families:
                FORECASTERS.get(family)
            object.__setattr__(self, name, families)
        check_on_clusters("judge", self.judges)
        for name in ("expert_training", "judging"):
            if getattr(self, name).quantiles:
                raise InputError(
                    f"{name} has loss='quantile': labels and judgements need one number per "
                    "target. Choose mse, mae or huber there; forecasters trained on the distilled "
                    "set may still forecast quantiles"
                )
        LocationClustering(
            1, method=self.clustering, representative=self.representative
        ).check_parameters()
        make_synthesizer(self.synthesizer, **self.synthesizer_options)
        parametrisation_type(self.parametrisation, self.parametrisation_options)
        needed = PARAMETRISATIONS.get(self.parametrisation).selection
        if needed not in (None, self.selection):
            raise InputError(
                f"selection is {self.selection!r}: the parametrisation {self.parametrisation!r} "
                f"needs selection={needed!r}"
            )

    @classmethod
    def of(cls, method: str, **changes: Any) -> DistillSettings:
        """Return the settings of a named method, with changes.

        Parameters
        ----------
        method : str
            A name of ``METHODS``: the default, a published method, or a coreset.
        **changes
            Fields that differ from it; options of the same synthesizer are merged.

        Raises
        ------
        InputError
            If the method is unknown or a value cannot be used.

        Examples
        --------
        >>> DistillSettings.of("stemdist", time_ratio=0.05).synthesizer
        'gradient-matching'
        """
        return cls(**method_fields(method, changes))

    def of_experts(self) -> dict[str, Any]:
        """Return the fields that say who the experts are, as plain JSON types."""
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
        return cls(**{**content, **nested, **tuples})

    def sizes(self, task: ForecastTask) -> tuple[int, int]:
        """Return M_S and K for a task."""
        n_windows = max(1, round(self.time_ratio * len(task.train)))
        return n_windows, max(1, round(self.space_ratio * task.n_locations))

"""The flagship recipe: cluster, select, ask the experts, match, keep the best on validation.

Shapes: M training windows, M_S synthetic windows, N locations, K clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from stemdist.cost import Cost, measure
from stemdist.data.windows import TensorWindows, WindowSource, materialise
from stemdist.distill.clusters import (
    Clusters,
    check_on_clusters,
    cluster_graph,
    cluster_locations,
    cluster_windows,
)
from stemdist.distill.distilled import DistilledSet, compression_ratios
from stemdist.distill.experts import Expert, expert_answers, mean_answer, train_experts
from stemdist.distill.labels import RelabelledWindows, expert_share
from stemdist.distill.parametrisation import PARAMETRISATIONS, parametrisation_type
from stemdist.distill.problem import DistillationProblem
from stemdist.distill.recipes import recipe_fields
from stemdist.distill.selection import SELECTIONS, select_windows
from stemdist.distill.synthesizer import Synthesizer, make_synthesizer
from stemdist.errors import InputError, check_count, check_ratio, unknown_name
from stemdist.files import hash_of
from stemdist.forecast import FORECASTERS, ForecastTask, Locations, TrainingSettings
from stemdist.graph import LocationClustering


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
        Forecasters tried as experts; the family with the lowest validation error labels.
    expert_seeds : int
        Experts per family; their answers are averaged.
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
    experts: tuple[str, ...] = ("mlp",)
    expert_seeds: int = 2
    expert_training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(updates=1200, locations_per_update=256)
    )
    synthesizer: str = "kernel-ridge"
    synthesizer_options: Mapping[str, Any] = field(default_factory=dict)
    parametrisation: str = "tensor"
    parametrisation_options: Mapping[str, Any] = field(default_factory=dict)
    judges: tuple[str, ...] = ("mlp",)
    judging: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(updates=300, locations_per_update=256)
    )
    judge_seeds: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        check_ratio("time_ratio", self.time_ratio)
        check_ratio("space_ratio", self.space_ratio)
        check_count("expert_seeds", self.expert_seeds)
        check_count("judge_seeds", self.judge_seeds)
        check_count("seed", self.seed, minimum=0)
        expert_share(self.labels)
        if self.selection not in SELECTIONS:
            raise unknown_name("window selection", self.selection, SELECTIONS)
        for name in ("experts", "judges"):
            given = getattr(self, name)
            families = (given,) if isinstance(given, str) else tuple(given)
            if not families:
                raise InputError(f"{name} is empty: name at least one forecaster")
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
            A name of ``RECIPES``: the default, a published method, or a coreset.
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
        return cls(**recipe_fields(method, changes))

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


@dataclass(frozen=True, kw_only=True)
class StartingPoint:
    """Relabelled real windows at the representatives: what a synthesizer must beat.

    Attributes
    ----------
    windows : TensorWindows
        M_S selected windows over K clusters.
    real : WindowSource
        All M training windows over the K clusters, with the same kind of labels.
    clusters : Clusters
        The space axis.
    experts : list of Expert
        Those who gave the labels; none for observed labels.
    graph : torch_geometric.data.Data
        Graph between the clusters.
    labels : str
        Kind of labels.
    """

    windows: TensorWindows
    real: WindowSource
    clusters: Clusters
    experts: list[Expert]
    graph: Data
    labels: str

    @property
    def answer(self) -> Callable[[WindowSource], Tensor] | None:
        """How experts label synthetic inputs; None where labels are learned.

        Experts that look at all real locations at once cannot answer for a few clusters.
        """
        pointwise = all(expert.forecaster.pointwise for expert in self.experts)
        if self.labels not in ("expert", "incremental") or not pointwise:
            return None
        return partial(mean_answer, self.experts, graph=self.graph)


def starting_point(
    task: ForecastTask,
    settings: DistillSettings,
    *,
    cache: str | Path | None = None,
    progress: bool | None = False,
) -> StartingPoint:
    """Cluster the locations, select windows and label them.

    Parameters
    ----------
    task : ForecastTask
        The real data.
    settings : DistillSettings
        Ratios, clustering, selection, labels and experts.
    cache : str or Path, optional
        Folder in which trained experts are kept.
    progress : bool, optional
        Show bars; None shows them on a terminal only.
    """
    n_windows, n_clusters = settings.sizes(task)
    clusters = cluster_locations(
        task, n_clusters, settings.clustering, settings.representative, settings.seed
    )
    real: WindowSource = cluster_windows(task.train, clusters)
    chosen = select_windows(real, n_windows, settings.selection, settings.seed)
    share, experts = expert_share(settings.labels), []
    if settings.labels != "observed":
        experts = train_experts(
            task,
            settings.experts,
            settings.expert_seeds,
            settings.expert_training,
            cache=cache,
            progress=progress,
        )
    if share > 0:
        answers = expert_answers(experts, task, clusters, torch.arange(len(task.train)))
        real = RelabelledWindows(source=real, answers=answers, share=share)
    windows = materialise(real, chosen)
    return StartingPoint(
        windows=windows,
        real=real,
        clusters=clusters,
        experts=experts,
        graph=cluster_graph(task, clusters),
        labels=settings.labels,
    )


def distill(
    task: ForecastTask,
    settings: DistillSettings | None = None,
    *,
    work: str | Path | None = None,
    experts: str | Path | None = None,
    progress: bool | None = False,
) -> DistilledSet:
    """Distil a task along time and space.

    Only the training and validation parts are read. The result is never worse on validation
    than relabelled real windows.

    Parameters
    ----------
    task : ForecastTask
        The real data.
    settings : DistillSettings, optional
        Defaults are used without it.
    work : str or Path, optional
        Folder in which iterates are kept, so that a run that was stopped continues there
        exactly.
    experts : str or Path, optional
        Folder in which trained experts are kept under a hash of data and settings, so that
        another run with the same ones starts at once; ``experts`` in ``work`` by default.
    progress : bool, optional
        Show bars; None shows them on a terminal only.

    Returns
    -------
    DistilledSet
        Save it with :meth:`DistilledSet.save`.

    Raises
    ------
    InputError
        If a setting cannot be used with this task.

    Examples
    --------
    >>> from stemdist.data import simulate, canonical_series
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=5, n_lon=6))
    >>> quick = DistillSettings(
    ...     labels="observed", synthesizer="selection", judging=TrainingSettings(updates=5))
    >>> distill(ForecastTask.from_series(series), quick).windows.x.shape
    torch.Size([9, 12, 3, 2])
    """
    settings = settings or DistillSettings()
    with measure() as cost:
        cache = Path(work) / "experts" if experts is None and work is not None else experts
        start = starting_point(task, settings, cache=cache, progress=progress)
        problem = DistillationProblem(
            task=task,
            real=start.real,
            graph=start.graph,
            start=start.windows,
            judges=settings.judges,
            judging=settings.judging,
            judge_seeds=settings.judge_seeds,
            n_learned=task.n_series_features,
            answer=start.answer,
            parametrisation=settings.parametrisation,
            parametrisation_options=settings.parametrisation_options,
        )
        synthesizer = make_synthesizer(settings.synthesizer, **settings.synthesizer_options)
        key = hash_of([task.content_hash, settings.to_json()])
        state = None if work is None else Path(work) / f"{key}.state"
        synthesizer.fit(problem, seed=settings.seed, state=state, cache=cache, progress=progress)
    return DistilledSet(
        windows=synthesizer.windows_,
        cluster_graph=start.graph,
        cluster_of_location=start.clusters.labels,
        medoids=start.clusters.medoids,
        y_kind=settings.labels,
        locations=Locations.of_task(task),
        settings=task.settings,
        scaler=task.scaler,
        feature_names=task.feature_names,
        variables=tuple(map(str, task.series.data_vars)),
        units=task.units,
        record=_record(task, settings, start, synthesizer, cost),
    )


def _record(
    task: ForecastTask,
    settings: DistillSettings,
    start: StartingPoint,
    synthesizer: Synthesizer,
    cost: Cost,
) -> dict[str, Any]:
    """Say how a distilled set was made, and what it cost."""
    attrs = task.series.attrs
    boundaries = task.settings.split.boundaries(len(task.train.values))
    begin, end = boundaries["train"]
    series_bytes = 4 * (end - begin) * task.n_locations * len(task.series.data_vars)
    return {
        "stemdist_version": version("stemdist"),
        "settings": settings.to_json(),
        "content_hash": task.content_hash,
        "source_name": str(attrs.get("source_name", "")),
        "split_boundaries": boundaries,
        "training_windows": len(task.train),
        "history": synthesizer.history_,
        "expert_family": start.experts[0].family if start.experts else None,
        "expert_validation_error": [expert.validation_error for expert in start.experts],
        "expert_seconds": sum(expert.seconds for expert in start.experts),
        "seconds": cost.wall_seconds
        + synthesizer.earlier_seconds_
        + synthesizer.cached_seconds_
        + sum(expert.seconds for expert in start.experts if expert.cached),
        "peak_memory_bytes": cost.peak_memory_bytes,
        "stored_numbers": synthesizer.n_numbers_,
        "ratios": compression_ratios(
            synthesizer.windows_,
            task.n_series_features,
            len(task.train),
            task.n_locations,
            series_bytes,
            synthesizer.n_numbers_,
        ),
        **{k: str(attrs[k]) for k in ("title", "license", "citation") if k in attrs},
    }

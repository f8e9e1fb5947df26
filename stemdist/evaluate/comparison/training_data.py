"""References: the training data of a comparison, one small class for each.

Shapes: M_S selected windows, K clusters or selected locations, N locations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from stemdist.data.windows import WindowSource, materialise
from stemdist.distill.clusters import Clusters, cluster_graph
from stemdist.distill.distilled import DistilledSet
from stemdist.distill.experts import Expert, expert_answers, relabelled
from stemdist.distill.pipeline import experts_of, starting_point
from stemdist.distill.settings import DistillSettings
from stemdist.errors import InputError
from stemdist.files import hash_of
from stemdist.forecast import ForecastTask, Objective, TrainingSettings
from stemdist.graph import random_locations, subgraph
from stemdist.registry import Registry

if TYPE_CHECKING:
    from torch_geometric.data import Data


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a reference is made from.

    Parameters
    ----------
    task : ForecastTask
        The real data; references read its training and validation parts only.
    distilled : DistilledSet, optional
        The set under test; other references have its numbers of windows M_S and locations K.
        Without it only the full data are available.
    seed : int
        Random seed.
    cache : Path, optional
        Folder of trained experts.
    device : str
        Where experts forecast, and where those not in the cache are trained.
    """

    task: ForecastTask
    distilled: DistilledSet | None
    seed: int
    cache: Path | None = None
    device: str = "cpu"

    @property
    def given(self) -> DistilledSet:
        """The set under test.

        Raises
        ------
        InputError
            If there is none.
        """
        if self.distilled is None:
            raise InputError(
                "this reference needs a distilled set: give one, or use references=('full',)"
            )
        return self.distilled


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Training data of a forecaster.

    Parameters
    ----------
    source : WindowSource
        Windows; location encoders read their profile in training.
    graph : torch_geometric.data.Data
        Graph between their locations.
    recorded_seconds : float
        Recorded time of making them earlier (distillation, cached experts).
    stored_numbers : int, optional
        Numbers that represent the targets and the inputs that differ in time and space; by
        default those of the windows, or of the series they are cut from.
    objective : callable, optional
        Makes, from the settings of a training run, what its updates minimise; by default the loss
        of the settings.
    """

    source: WindowSource
    graph: Data
    recorded_seconds: float = 0.0
    stored_numbers: int | None = None
    objective: Callable[[TrainingSettings], Objective] | None = None


class Reference(ABC):
    """One way to get training data."""

    title: ClassVar[str]
    """Name in tables."""
    random: ClassVar[bool] = False
    """True if the data are drawn anew for every seed of the comparison."""
    all_locations: ClassVar[bool] = False
    """True if the data are at all N locations, so that a regular grid is preserved."""
    sized: ClassVar[bool] = True
    """False if the data do not depend on the set under test, nor on its size."""

    @abstractmethod
    def identity(self, budget: Budget) -> Any:
        """Return, as JSON types, all that the data depend on besides the task."""

    @abstractmethod
    def data(self, budget: Budget) -> TrainingData:
        """Return the training data."""


class FullData(Reference):
    """All training windows at all N locations: the upper reference."""

    title = "full data"
    all_locations = True
    sized = False

    def identity(self, budget: Budget) -> Any:
        """Return None: the data depend on the task only."""
        return None

    def data(self, budget: Budget) -> TrainingData:
        """Return the training part."""
        return TrainingData(source=budget.task.train, graph=budget.task.graph)


class RandomWindows(Reference):
    """M_S random windows at K random locations, with observed targets."""

    title = "random windows"
    random = True

    def identity(self, budget: Budget) -> Any:
        """Return the two sizes and the seed."""
        return [budget.given.n_windows, budget.given.n_clusters, budget.seed]

    def data(self, budget: Budget) -> TrainingData:
        """Return the drawn windows; locations keep the profile of all training windows."""
        index, locations = draw(budget)
        source = materialise(budget.task.train, index, locations)
        return TrainingData(source=source, graph=subgraph(budget.task.graph, locations))


class RandomExpertWindows(Reference):
    """The windows of ``random`` with expert labels, to separate the effects of labels and data."""

    title = "random windows + expert labels"
    random = True

    def identity(self, budget: Budget) -> Any:
        """Return the identity of the draw and the settings of the experts."""
        return [RandomWindows().identity(budget), expert_identity(budget)]

    def data(self, budget: Budget) -> TrainingData:
        """Return the drawn windows with the soft labels of the experts."""
        task, experts = budget.task, recorded_experts(budget)
        index, locations = draw(budget)
        # each drawn location represents an equal part; only their order matters for the labels
        parts = torch.arange(task.n_locations) % len(locations)
        drawn = Clusters(labels=parts, medoids=locations)
        observed = RandomWindows().data(budget)
        answers = expert_answers(experts, task, drawn, index)
        labelled = relabelled(observed.source, answers, experts)
        return TrainingData(
            source=materialise(labelled, torch.arange(len(index))),
            graph=observed.graph,
            recorded_seconds=sum(expert.seconds for expert in experts),
        )


class StartingPointWindows(Reference):
    """Selected real windows at the representatives, labelled: the start of the distillation."""

    title = "selected windows + labels"

    def identity(self, budget: Budget) -> Any:
        """Return the settings of the distillation."""
        settings = recorded_settings(budget)
        keep = ("time_ratio", "space_ratio", "clustering", "representative", "selection")
        chosen = [getattr(settings, name) for name in (*keep, "window_times", "labels")]
        return hash_of([chosen, settings.seed, settings.of_experts()])

    def data(self, budget: Budget) -> TrainingData:
        """Return the start from which the synthesizer begins."""
        settings = recorded_settings(budget)
        start = starting_point(budget.task, settings, cache=budget.cache, device=budget.device)
        return TrainingData(
            source=start.windows,
            graph=cluster_graph(budget.task.graph, start.clusters),
            recorded_seconds=sum(expert.seconds for expert in start.experts),
        )


class DistilledWindows(Reference):
    """The distilled set under test."""

    title = "distilled"

    def identity(self, budget: Budget) -> Any:
        """Return the hash of its content."""
        return budget.given.content_hash

    def data(self, budget: Budget) -> TrainingData:
        """Return its windows and cluster graph."""
        distilled = budget.given
        return TrainingData(
            source=distilled.windows,
            graph=distilled.cluster_graph,
            recorded_seconds=float(distilled.record.get("seconds", 0.0)),
            stored_numbers=distilled.record.get("stored_numbers"),
        )


REFERENCES: Registry[type[Reference]] = Registry(
    "reference",
    {
        "full": "stemdist.evaluate.comparison.training_data:FullData",
        "full-expert": "stemdist.evaluate.comparison.controls:FullExpertData",
        "random": "stemdist.evaluate.comparison.training_data:RandomWindows",
        "random-expert": "stemdist.evaluate.comparison.training_data:RandomExpertWindows",
        "clustered": "stemdist.evaluate.comparison.controls:ClusteredSeries",
        "clustered-expert": "stemdist.evaluate.comparison.controls:ClusteredExpertSeries",
        "compressed": "stemdist.evaluate.comparison.controls:CompressedSeries",
        "pruned": "stemdist.evaluate.comparison.controls:PrunedData",
        "coreset": "stemdist.evaluate.comparison.training_data:StartingPointWindows",
        "distilled": "stemdist.evaluate.comparison.training_data:DistilledWindows",
    },
    group="stemdist.references",
)


def draw(budget: Budget) -> tuple[Tensor, Tensor]:
    """Draw M_S training windows and K locations, each in ascending order."""
    generator = torch.Generator().manual_seed(budget.seed)
    order = torch.randperm(len(budget.task.train), generator=generator)
    index = order[: budget.given.n_windows].sort().values
    locations = random_locations(budget.task.graph, budget.given.n_clusters, generator)
    return index, locations.sort().values


def recorded_settings(budget: Budget) -> DistillSettings:
    """Return the settings with which the set was distilled.

    Raises
    ------
    InputError
        If the set does not record them.
    """
    settings = budget.given.record.get("settings")
    if settings is None:
        raise InputError(
            "the distilled set does not record how it was made, which all references but 'full', "
            "'random' and 'distilled' need: leave them out with --references full,random,distilled"
        )
    return DistillSettings.from_json(settings)


def recorded_experts(budget: Budget) -> list[Expert]:
    """Train the experts that the set was distilled with, or take them from the cache."""
    settings = recorded_settings(budget)
    return experts_of(budget.task, settings, cache=budget.cache, device=budget.device)


def expert_identity(budget: Budget) -> str:
    """Return a hash of the settings of the experts."""
    return hash_of(recorded_settings(budget).of_experts())

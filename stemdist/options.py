"""Keyword options of the headline functions, typed so that an editor completes them.

Each class lists the fields of the settings that it stands for, which document them;
``tests/test_options.py`` holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from stemdist.forecast.task_options import TaskOptions
from stemdist.forecast.training_settings import TrainingSettings
from stemdist.students.term import Term
from stemdist.types import (
    BudgetName,
    Clustering,
    ForecasterName,
    HoldOutPattern,
    Labels,
    Loss,
    ParametrisationName,
    PrunerName,
    ReferenceName,
    Representative,
    SamplerName,
    Schedule,
    Shuffle,
    SynthesizerName,
    TeacherCombination,
    WindowSelection,
    WindowTimes,
)


class DistillOptions(TaskOptions, total=False):
    """Fields of :class:`~stemdist.distill.DistillSettings`, and what is forecast from what."""

    time_ratio: float
    space_ratio: float
    windows: int | None
    clusters: int | None
    clustering: Clustering
    representative: Representative
    selection: WindowSelection
    window_times: WindowTimes
    labels: Labels
    experts: Sequence[ForecasterName]
    expert_seeds: int
    extra_experts: int
    expert_training: TrainingSettings | Mapping[str, Any]
    synthesizer: SynthesizerName
    synthesizer_options: Mapping[str, Any]
    parametrisation: ParametrisationName
    parametrisation_options: Mapping[str, Any]
    judges: Sequence[ForecasterName]
    judging: TrainingSettings | Mapping[str, Any]
    judge_seeds: int
    seed: int


class TrainingOptions(TypedDict, total=False):
    """Fields of :class:`~stemdist.forecast.TrainingSettings`."""

    updates: int
    batch_windows: int
    learning_rate: float
    weight_decay: float
    clip_norm: float
    schedule: Schedule
    loss: Loss
    quantiles: Sequence[float]
    locations_per_update: int | None
    shuffle_locations: bool | None
    validate_every: int
    validation_windows: int
    patience: int | None
    seed: int


class TrainOptions(TaskOptions, TrainingOptions, total=False):
    """How a forecaster is trained and, for a series, what is forecast from what."""


class TeachOptions(TaskOptions, TrainingOptions, total=False):
    """How a student is taught, how it is trained and, for a series, what is forecast.

    Beside the fields of the training those of :class:`~stemdist.students.StudentSettings`.
    """

    student: ForecasterName
    student_options: Mapping[str, Any]
    teacher_options: Mapping[str, Any]
    terms: Sequence[Term]
    weights: Mapping[str, float]
    observed_weight: float
    teacher_weight: float | Sequence[float]
    combine: TeacherCombination
    online: bool
    initialise: Sequence[str]
    freeze: bool
    teacher_training: TrainingSettings | Mapping[str, Any]


class _ComparisonOptions(TypedDict, total=False):
    """What evaluations and benchmarks share."""

    forecasters: Sequence[ForecasterName]
    references: Sequence[ReferenceName]
    seeds: int
    learning_rates: Sequence[float]
    shuffles: Sequence[Shuffle]
    weight_decay: float
    schedule: Schedule
    budget: BudgetName
    updates: int
    converged_updates: Sequence[int]
    batch_windows: int
    locations_per_update: int | None
    validate_every: int
    validation_windows: int
    test_windows: int | None
    options: Mapping[str, Mapping[str, Any]]
    season_steps: int
    area_weighted: bool


class EvaluateOptions(_ComparisonOptions, total=False):
    """Fields of :class:`~stemdist.evaluate.EvaluationSettings`."""

    first_seed: int
    quantiles: Sequence[float]
    selection_seed: int


class BenchmarkOptions(_ComparisonOptions, total=False):
    """Fields of :class:`~stemdist.evaluate.BenchmarkSettings`."""

    methods: Sequence[str]
    variants: Mapping[str, Mapping[str, Any]]
    ratios: Sequence[str]
    surrogates: Sequence[ForecasterName]
    distill: Mapping[str, Any]
    trainings: int
    hold_out: float
    hold_out_pattern: HoldOutPattern


class TuneOptions(TypedDict, total=False):
    """Fields of :class:`~stemdist.search.TuneSettings`."""

    forecasters: Sequence[ForecasterName]
    trials: int
    updates: int
    batch_windows: int
    locations_per_update: int | None
    validation_windows: int
    sampler: SamplerName
    pruner: PrunerName
    finalists: int
    final_updates: int
    seed: int

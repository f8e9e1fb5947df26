"""Types of choices list what is there, and typed options the fields of the settings."""

from __future__ import annotations

from dataclasses import fields
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from stemdist import options, types
from stemdist.data import READERS
from stemdist.data.calendar import CALENDAR_FEATURES
from stemdist.distill import SYNTHESIZERS, DistillSettings
from stemdist.distill.methods import EFFORTS
from stemdist.distill.methods import METHODS as DISTILL_METHODS
from stemdist.distill.parametrisation import PARAMETRISATIONS
from stemdist.distill.selection import SELECTIONS
from stemdist.evaluate import REFERENCES, BenchmarkSettings, EvaluationSettings
from stemdist.evaluate.comparison.budgets import BUDGETS
from stemdist.evaluate.comparison.settings import SHUFFLES
from stemdist.evaluate.comparison.tables import ERRORS
from stemdist.evaluate.comparison.unseen import PATTERNS
from stemdist.forecast import FORECASTERS, TaskOptions, TaskSettings, TrainingSettings
from stemdist.forecast.losses import LOSSES, QUANTILE
from stemdist.forecast.training_settings import SCHEDULES
from stemdist.graph import GRAPH_METHODS
from stemdist.students import METHODS as TEACH_METHODS
from stemdist.students import StudentSettings
from stemdist.students.settings import COMBINE


def names_of(kind):
    literal = kind if get_origin(kind) is Literal else get_args(kind)[0]
    return sorted(get_args(literal))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (types.CalendarFeature, (*CALENDAR_FEATURES, "auto", "none")),
        (types.ReaderName, READERS.names()),
        (types.GraphName, ["auto", *GRAPH_METHODS.names()]),
        (types.WindowSelection, SELECTIONS),
        (types.Effort, EFFORTS),
        (types.DistillMethod, DISTILL_METHODS),
        (types.SynthesizerName, SYNTHESIZERS.names()),
        (types.ParametrisationName, PARAMETRISATIONS.names()),
        (types.ForecasterName, FORECASTERS.names()),
        (types.Schedule, SCHEDULES),
        (types.Loss, [*LOSSES, QUANTILE]),
        (types.TeachMethod, TEACH_METHODS),
        (types.TeacherCombination, COMBINE),
        (types.ReferenceName, REFERENCES.names()),
        (types.ErrorName, ERRORS),
        (types.Shuffle, SHUFFLES),
        (types.BudgetName, BUDGETS),
        (types.HoldOutPattern, PATTERNS),
    ],
)
def test_choices_are_those_that_are_there(kind, names):
    assert names_of(kind) == sorted(names)


@pytest.mark.parametrize(
    ("kind", "settings", "more"),
    [
        (options.DistillOptions, (DistillSettings, TaskSettings), set()),
        (options.TrainingOptions, (TrainingSettings,), set()),
        (options.TrainOptions, (TrainingSettings, TaskSettings), set()),
        (options.EvaluateOptions, (EvaluationSettings,), set()),
        (options.BenchmarkOptions, (BenchmarkSettings,), set()),
        (options.TeachOptions, (StudentSettings, TrainingSettings, TaskSettings), {"weights"}),
    ],
)
def test_typed_options_are_the_fields_of_the_settings(kind, settings, more):
    of_graph = {"neighbours", "cutoff_km", "sigma_km", "graph_file"}
    known = {field.name for each in settings for field in fields(each)}
    known |= of_graph if TaskSettings in settings else set()
    known -= {"teachers", "training"} if StudentSettings in settings else set()
    assert set(get_type_hints(kind)) == known | more


def test_options_of_a_task_are_its_settings():
    of_graph = {"neighbours", "cutoff_km", "sigma_km", "graph_file"}
    assert set(TaskOptions.__annotations__) == {f.name for f in fields(TaskSettings)} | of_graph

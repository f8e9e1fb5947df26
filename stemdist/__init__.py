"""Distil spatio-temporal data sets along time and space.

>>> import stemdist
>>> series = stemdist.open_series("traffic-sim")
>>> dict(series.sizes)
{'time': 4032, 'location': 100}
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import stemdist.accessor as _accessor  # noqa: F401  (registers ds.stemdist)

if TYPE_CHECKING:
    from stemdist.api import benchmark, distill_series, evaluate_distilled, teach, train, tune
    from stemdist.data import (
        Split,
        canonical_series,
        fetch,
        list_datasets,
        list_graphs,
        open_series,
        simulate,
        to_grid,
    )
    from stemdist.distill import DistilledSet, DistillSettings, Synthesizer
    from stemdist.errors import StemdistError
    from stemdist.evaluate import (
        Benchmark,
        BenchmarkSettings,
        Evaluation,
        EvaluationSettings,
        rolling_tasks,
    )
    from stemdist.forecast import (
        Callback,
        FittedForecaster,
        Forecaster,
        ForecastTask,
        TaskSettings,
        TrainingSettings,
        settings_for,
    )
    from stemdist.forecast.deploy import deploy
    from stemdist.graph import GraphSettings, LocationClustering
    from stemdist.students import StudentSettings, Teacher, Term

__version__ = version("stemdist")

_HOMES = {
    "stemdist.api": ("benchmark", "distill_series", "evaluate_distilled", "teach", "train", "tune"),
    "stemdist.data": (
        "Split",
        "canonical_series",
        "fetch",
        "list_datasets",
        "list_graphs",
        "open_series",
        "simulate",
        "to_grid",
    ),
    "stemdist.distill": ("DistillSettings", "DistilledSet", "Synthesizer"),
    "stemdist.errors": ("StemdistError",),
    "stemdist.evaluate": (
        "Benchmark",
        "BenchmarkSettings",
        "Evaluation",
        "EvaluationSettings",
        "rolling_tasks",
    ),
    "stemdist.forecast": (
        "Callback",
        "FittedForecaster",
        "ForecastTask",
        "Forecaster",
        "TaskSettings",
        "TrainingSettings",
        "settings_for",
    ),
    "stemdist.forecast.deploy": ("deploy",),
    "stemdist.graph": ("GraphSettings", "LocationClustering"),
    "stemdist.students": ("StudentSettings", "Teacher", "Term"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Benchmark",
    "BenchmarkSettings",
    "Callback",
    "DistillSettings",
    "DistilledSet",
    "Evaluation",
    "EvaluationSettings",
    "FittedForecaster",
    "ForecastTask",
    "Forecaster",
    "GraphSettings",
    "LocationClustering",
    "Split",
    "StemdistError",
    "StudentSettings",
    "Synthesizer",
    "TaskSettings",
    "Teacher",
    "Term",
    "TrainingSettings",
    "benchmark",
    "canonical_series",
    "deploy",
    "distill_series",
    "evaluate_distilled",
    "fetch",
    "list_datasets",
    "list_graphs",
    "open_series",
    "rolling_tasks",
    "settings_for",
    "simulate",
    "teach",
    "to_grid",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use: the command line must not wait for torch to say help."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'stemdist' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""Metrics, the evaluation protocol, quality scores and their tables."""

from __future__ import annotations

from stemdist.evaluate.comparison.evaluation import Evaluation
from stemdist.evaluate.comparison.fidelity import fidelity
from stemdist.evaluate.comparison.figures import plot_distilled, plot_evaluation, save_figure
from stemdist.evaluate.comparison.protocol import evaluate
from stemdist.evaluate.comparison.quality import break_even, gap_closed, label_robust_score
from stemdist.evaluate.comparison.settings import EvaluationSettings
from stemdist.evaluate.comparison.tables import check_error, forecaster_table, text_table
from stemdist.evaluate.comparison.trained import TrainedErrors, evaluate_trained
from stemdist.evaluate.comparison.training_data import REFERENCES, Budget, Reference, TrainingData
from stemdist.evaluate.comparison.unseen import Unseen, hold_out
from stemdist.evaluate.grid.benchmark import benchmark, rolling_tasks
from stemdist.evaluate.grid.figure import plot_benchmark
from stemdist.evaluate.grid.result import Benchmark
from stemdist.evaluate.grid.settings import BenchmarkSettings
from stemdist.evaluate.grid.tables import benchmark_text
from stemdist.evaluate.metrics.errors import ErrorSums, forecast_errors, skill
from stemdist.evaluate.metrics.targets import TargetSummary, area_weights, persistence_scale
from stemdist.evaluate.metrics.verification import Verification
from stemdist.evaluate.report import report_benchmark, report_evaluation

__all__ = [
    "REFERENCES",
    "Benchmark",
    "BenchmarkSettings",
    "Budget",
    "ErrorSums",
    "Evaluation",
    "EvaluationSettings",
    "Reference",
    "TargetSummary",
    "TrainedErrors",
    "TrainingData",
    "Unseen",
    "Verification",
    "area_weights",
    "benchmark",
    "benchmark_text",
    "break_even",
    "check_error",
    "evaluate",
    "evaluate_trained",
    "fidelity",
    "forecast_errors",
    "forecaster_table",
    "gap_closed",
    "hold_out",
    "label_robust_score",
    "persistence_scale",
    "plot_benchmark",
    "plot_distilled",
    "plot_evaluation",
    "report_benchmark",
    "report_evaluation",
    "rolling_tasks",
    "save_figure",
    "skill",
    "text_table",
]

"""Metrics, the evaluation protocol, quality scores and their tables."""

from __future__ import annotations

from stemdist.evaluate.benchmark import benchmark, rolling_tasks
from stemdist.evaluate.benchmark_figure import plot_benchmark
from stemdist.evaluate.benchmark_result import Benchmark
from stemdist.evaluate.benchmark_settings import BenchmarkSettings
from stemdist.evaluate.benchmark_tables import benchmark_text
from stemdist.evaluate.evaluation import Evaluation
from stemdist.evaluate.fidelity import fidelity
from stemdist.evaluate.figures import plot_distilled, plot_evaluation, save_figure
from stemdist.evaluate.methods import METHODS, Budget, Method, TrainingData
from stemdist.evaluate.metrics import ErrorSums, forecast_errors, skill
from stemdist.evaluate.protocol import evaluate
from stemdist.evaluate.quality import break_even, gap_closed, label_robust_score
from stemdist.evaluate.report import report_benchmark, report_evaluation
from stemdist.evaluate.settings import EvaluationSettings
from stemdist.evaluate.table import check_error, forecaster_table, text_table
from stemdist.evaluate.targets import TargetSummary, area_weights, persistence_scale
from stemdist.evaluate.trained import TrainedErrors, evaluate_trained
from stemdist.evaluate.yardstick import Yardstick
from stemdist.evaluate.zero_shot import Unseen, hold_out

__all__ = [
    "METHODS",
    "Benchmark",
    "BenchmarkSettings",
    "Budget",
    "ErrorSums",
    "Evaluation",
    "EvaluationSettings",
    "Method",
    "TargetSummary",
    "TrainedErrors",
    "TrainingData",
    "Unseen",
    "Yardstick",
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

from .comparison.evaluation import Evaluation
from .comparison.fidelity import fidelity
from .comparison.figures import plot_distilled, plot_evaluation, save_figure
from .comparison.protocol import evaluate
from .comparison.quality import break_even, gap_closed, label_robust_score
from .comparison.settings import EvaluationSettings
from .comparison.tables import check_error, forecaster_table, text_table
from .comparison.trained import TrainedErrors, evaluate_trained
from .comparison.training_data import REFERENCES, Budget, Reference, TrainingData
from .comparison.unseen import Unseen, hold_out
from .grid.benchmark import benchmark, rolling_tasks
from .grid.figure import plot_benchmark
from .grid.result import Benchmark
from .grid.settings import BenchmarkSettings
from .grid.tables import benchmark_text
from .metrics.errors import ErrorSums, forecast_errors, skill
from .metrics.targets import TargetSummary, area_weights, persistence_scale
from .metrics.verification import Verification
from .ranking.ranking import Ranking, rank
from .ranking.settings import RankingSettings
from .report import report_benchmark, report_evaluation

__all__ = [
    "REFERENCES",
    "Benchmark",
    "BenchmarkSettings",
    "Budget",
    "ErrorSums",
    "Evaluation",
    "EvaluationSettings",
    "Ranking",
    "RankingSettings",
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
    "rank",
    "report_benchmark",
    "report_evaluation",
    "rolling_tasks",
    "save_figure",
    "skill",
    "text_table",
]

"""Results as one HTML file that opens anywhere; needs the extra ``report``."""

from __future__ import annotations

from stemdist.evaluate.report.of_benchmark import report_benchmark
from stemdist.evaluate.report.of_evaluation import report_evaluation

__all__ = ["report_benchmark", "report_evaluation"]

"""What costs nothing, printed beside every result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stemdist.cli.console import print_fields

MOST_VALUES = 2**23
FEWEST_LOCATIONS = 64
"""Steps times locations on which baselines are fitted; more take longer than distilling."""

if TYPE_CHECKING:
    from stemdist.evaluate import Evaluation
    from stemdist.forecast import ForecastTask


def print_baselines(
    task: ForecastTask, reached: float | None, what: str, column: str = "relative_rmse"
) -> None:
    """Print the baselines' errors on the validation part, and a sentence where one wins.

    Parameters
    ----------
    task : ForecastTask
        The real data.
    reached : float, optional
        The error of what was trained, in the unit of ``column``.
    what : str
        What was trained, for the sentence.
    column : str
        ``relative_rmse``, or ``rmse`` in the unit of the target.
    """
    from stemdist.evaluate.metrics.untrained import better_untrained, untrained_errors

    if "validation" not in task.windows:
        return
    task, where = _within_reason(task)
    errors = untrained_errors(task, task.validation, column)
    unit = "relative RMSE" if column == "relative_rmse" else f"RMSE, {task.units}"
    lines = [(name, f"{error:.4g}") for name, error in errors.items()]
    print_fields(f"without training (validation part{where}, {unit})", lines)
    sentence = None if reached is None else better_untrained(errors, reached, what)
    if sentence:
        print(f"  {sentence}")


def _within_reason(task: ForecastTask) -> tuple[ForecastTask, str]:
    """Return a task of fewer locations where there are many values, and words that say so."""
    most = max(FEWEST_LOCATIONS, MOST_VALUES // len(task.train.values))
    if task.n_locations <= most:
        return task, ""
    from stemdist.data.windows import evenly_spaced

    return task.at(evenly_spaced(task.n_locations, most)), f", {most} locations"


def print_winner(evaluation: Evaluation, column: str) -> None:
    """Print a sentence where a baseline of a comparison beats every forecaster of it."""
    from stemdist.evaluate.comparison.statistics import records
    from stemdist.evaluate.metrics.untrained import better_untrained

    means = [(tuple(map(str, key)), v) for key, v in records(evaluation.summary(column)).items()]
    trained = {key: value["mean"] for key, value in means if key[1]}
    untrained = {key[0]: value["mean"] for key, value in means if not key[1]}
    if not trained or not untrained:
        return
    best = min(trained, key=lambda key: trained[key])
    what = f"what any forecaster reached, {best[1]} on {best[0]} data"
    sentence = better_untrained(untrained, trained[best], what)
    if sentence:
        print(f"\n{sentence}")

"""``stemdist evaluate``: how good a distilled set is, on data it has never seen."""

from __future__ import annotations

from stemdist.cli.arguments import Given
from stemdist.cli.console import Console, print_fields
from stemdist.cli.outputs import (
    default_output,
    expert_folder,
    output_results,
    write_report,
    write_tables,
)
from stemdist.cli.sources import matching_task, refuse
from stemdist.data import OpenOptions
from stemdist.distill import DistilledSet
from stemdist.errors import InputError
from stemdist.evaluate import EvaluationSettings, text_table
from stemdist.evaluate import evaluate as compare
from stemdist.evaluate.report import report_evaluation
from stemdist.evaluate.table import check_error


def evaluate(
    distilled: str,
    *,
    data: str | None = None,
    output: str | None = None,
    metric: str = "relative_rmse",
    jobs: int = 1,
    device: str = "cpu",
    settings: EvaluationSettings,
    opening: OpenOptions,
    console: Console,
    given: Given,
) -> None:
    """Compare a distilled set with the full data and with simple choices of the same size.

    Every method trains fresh forecasters with the same updates and seeds; learning rates and
    weights are chosen on the validation part, and the test part is read once, at the end. A
    comparison that was stopped goes on where it was when the same command is run again.

    Parameters
    ----------
    distilled : str
        A distilled set.
    data : str, optional
        The real data it was distilled from: a file or folder, or a data set of the catalogue.
    output : str, optional
        Folder for the tables (CSV, JSON), the report (HTML) and the finished training runs; by
        default named after DISTILLED.
    metric : str
        Error to print and draw, e.g. relative_rmse or mae.
    jobs : int
        Training runs at the same time.
    device : str
        Where to compute: cpu, cuda, cuda:0.

    Examples
    --------
      stemdist evaluate uk.distilled.nc --data era5.nc --forecasters linear,mlp,mtgnn --seeds 3
      stemdist evaluate traffic-sim.distilled.nc --data traffic-sim --updates 300 -o results

    relative_rmse is the root mean squared error in units of the targets' standard deviation.
    The report needs matplotlib and jinja2: pip install "stemdist[report]".
    """
    check_error(metric)
    refuse(given & {"variables", "static"}, OpenOptions, "the distilled set names its variables")
    stored = DistilledSet.load(distilled)
    if data is None:
        source = stored.record.get("source_name") or "FILE"
        raise InputError(
            f"stemdist evaluate needs the real data that {distilled!r} was made from: add "
            f"--data {source}"
        )
    folder = output_results(output or default_output(distilled, ".evaluation"))
    task = matching_task(data, opening, stored)
    evaluation = compare(
        stored,
        task,
        settings,
        results=folder,
        experts=expert_folder(),
        n_jobs=jobs,
        device=device,
        progress=console.progress,
    )
    written = write_tables(evaluation, folder)
    print(text_table(evaluation, metric))
    print()
    written += write_report(
        lambda path: report_evaluation(
            path, evaluation, distilled=stored, task=task, column=metric
        ),
        folder,
    )
    print_fields("written", written)

"""``stemdist compare``: which forecaster suits a data file, at what cost."""

from __future__ import annotations

import dataclasses

from stemdist.cli.answer import Result
from stemdist.cli.arguments import usual_options
from stemdist.cli.baselines import print_winner
from stemdist.cli.console import Console, print_fields
from stemdist.cli.option_types import Given
from stemdist.cli.outputs import (
    default_output,
    files_of,
    output_folder,
    results_in,
    write_report,
    write_tables,
)
from stemdist.cli.sources import refuse, task_of
from stemdist.data import OpenOptions
from stemdist.evaluate import EvaluationSettings
from stemdist.forecast import TaskOptions
from stemdist.types import ErrorName


@usual_options(
    "output metric jobs device scheduler forecasters seeds budget updates learning_rates",
    "test_windows recipe variables select null_value start step_minutes lookback horizon split",
    "calendar targets graph",
    renamed={"methods": "references"},
)
def compare(
    data: str,
    *,
    output: str | None = None,
    metric: ErrorName = "relative_rmse",
    jobs: int = 1,
    device: str = "cpu",
    scheduler: str | None = None,
    settings: EvaluationSettings,
    opening: OpenOptions,
    task: TaskOptions,
    console: Console,
    given: Given,
) -> Result:
    """Train several forecasters on a data file in full and compare errors and costs.

    Every forecaster makes the same updates from the same seeds, or as many as it needs
    (--budget); learning rates and weights are chosen on the validation part, and the test part
    is read once, at the end. A comparison that was stopped goes on where it was when the same
    command is run again.

    Parameters
    ----------
    data : str
        A file or folder, or a data set of the catalogue.
    output : str, optional
        Folder for the tables (CSV, JSON), the report (HTML) and the finished training runs; by
        default named after DATA.
    metric : str
        Error to print and sort by.
    jobs : int
        Training runs at the same time.
    device : str
        Where to compute: cpu, cuda, cuda:0.
    scheduler : str, optional
        A dask cluster on which data are read and jobs run: its address, tcp://host:8786, or
        processes for all cores of this machine. Workers must be able to read DATA.

    Examples
    --------
      stemdist compare traffic-sim --forecasters linear,mlp,stgcn --updates 300
      stemdist compare era5.nc --variable t2m --forecasters mlp,unet,mtgnn -o era5-comparison

    relative_rmse is the root mean squared error in units of the targets' standard deviation.
    Times are medians over the seeds; added memory is the highest that a training run took.
    """
    from stemdist.evaluate import evaluate, forecaster_table
    from stemdist.evaluate.report import report_evaluation

    unused = {"references", "selection_seed"}
    refuse(given & unused, EvaluationSettings, "every forecaster is trained on the full data")
    asked = output or default_output(data, ".comparison")
    folder = output_folder(asked, data, command="compare", force=console.force)
    whole = task_of(data, opening, task)
    with results_in(folder, "compare", console):
        comparison = evaluate(
            None,
            whole,
            dataclasses.replace(settings, references=("full",)),
            results=folder,
            n_jobs=jobs,
            device=device,
            progress=console.progress,
        )
        written = write_tables(comparison, folder)
    print(forecaster_table(comparison, metric))
    print_winner(comparison, metric)
    print()
    written += write_report(
        lambda path: report_evaluation(path, comparison, task=whole, column=metric), folder
    )
    print_fields("written", written)
    values = {
        "summary": comparison.summary(metric),
        "table": comparison.table,
        "facts": comparison.facts,
    }
    return Result(values=values, written=[folder, *files_of(written)])

"""``stemdist evaluate``: how good a distilled set is, on data it has never seen."""

from __future__ import annotations

import dataclasses
from typing import Any

from stemdist.cli.answer import Result
from stemdist.cli.arguments import usual_options
from stemdist.cli.console import Console, print_fields
from stemdist.cli.option_types import Given
from stemdist.cli.outputs import (
    default_output,
    expert_folder,
    files_of,
    output_folder,
    results_in,
    write_report,
    write_tables,
)
from stemdist.cli.sources import matching_sample, refuse, series_for
from stemdist.data import OpenOptions
from stemdist.errors import InputError
from stemdist.evaluate import EvaluationSettings
from stemdist.types import ErrorName

_OF_TRAINED = {"test_windows", "season_steps"}


@usual_options(
    "data beside output metric jobs device memory scheduler forecasters references seeds budget",
    "updates ranking",
    "learning_rates test_windows recipe select null_value start step_minutes",
    renamed={"methods": "references"},
)
def evaluate(
    distilled: str,
    *,
    data: str | None = None,
    beside: tuple[str, ...] = (),
    output: str | None = None,
    metric: ErrorName = "relative_rmse",
    ranking: bool = False,
    configurations: int = 24,
    jobs: int = 1,
    device: str = "cpu",
    memory: str | None = None,
    scheduler: str | None = None,
    settings: EvaluationSettings,
    opening: OpenOptions,
    console: Console,
    given: Given,
) -> Result:
    """Compare a distilled set with the full data and with simple choices of the same size.

    Or measure forecasters that are trained already, students and their teachers for example, on
    the test part of the data.

    For a distilled set, every method trains the same fresh forecasters; learning rates and weights
    are chosen on the validation part, and the test part is read once, at the end. The last lines
    say what was found. The same command resumes a comparison that was stopped.

    Parameters
    ----------
    distilled : str
        A distilled set, or the folder of a trained forecaster.
    data : str, optional
        The real data: a file or folder, or a data set of the catalogue. For a distilled set,
        those it was distilled from.
    beside : tuple of str
        Folders of more trained forecasters for the same table.
    output : str, optional
        Folder for the tables (CSV, JSON), the report (HTML) and the finished training runs; by
        default named after DISTILLED.
    metric : str
        Error to print and draw.
    ranking : bool
        Also measure how well the set orders configurations of the forecasters.
    configurations : int
        How many configurations --ranking trains.
    jobs : int
        Training runs at the same time.
    device : str
        Where to compute: cpu, cuda, cuda:0.
    memory : str, optional
        What the process may use in all, e.g. 4GiB; by default nine tenths of what is free. Of
        data that do not fit a sample is used.
    scheduler : str, optional
        A dask cluster on which data are read and jobs run: its address, tcp://host:8786, or
        processes for all cores of this machine. Workers must be able to read DATA.

    Examples
    --------
      stemdist evaluate uk.distilled.nc --data era5.nc --forecasters linear,mlp,mtgnn --seeds 3
      stemdist evaluate traffic-sim.distilled.nc --data traffic-sim --updates 300 -o results
      stemdist evaluate uk.distilled.nc --data era5.nc --budget both --ranking
      stemdist evaluate student --data ETTh1.csv --beside teacher

    relative_rmse is the root mean squared error in units of the targets' standard deviation.
    The report needs matplotlib and jinja2: pip install "stemdist[report]".
    """
    from stemdist.distill import DistilledSet
    from stemdist.evaluate import RankingSettings, rank, text_table
    from stemdist.evaluate import evaluate as compare
    from stemdist.evaluate.comparison.tables import check_error
    from stemdist.evaluate.report import report_evaluation
    from stemdist.forecast import FittedForecaster

    check_error(metric)
    refuse(given & {"variables", "static"}, OpenOptions, "the distilled set names its variables")
    if "configurations" in given and not ranking:
        raise InputError(
            "--configurations is how many configurations --ranking trains: add --ranking, or leave "
            "it out"
        )
    if FittedForecaster.is_saved(distilled):
        unused = {each.name for each in dataclasses.fields(settings)} - _OF_TRAINED
        refuse(given & unused, EvaluationSettings, "the forecasters are trained already")
        if ranking:
            raise InputError(f"--ranking is for a distilled set, and {distilled!r} is none")
        folders = [distilled, *beside]
        how = (output, metric, device, settings, opening, console)
        return _evaluate_trained(folders, data, *how)
    if beside:
        raise InputError(
            "--beside is for trained forecasters, and "
            f"{distilled!r} is none: name the folder of one first"
        )
    stored = DistilledSet.load(distilled)
    if data is None:
        source = stored.record.get("source_name") or "FILE"
        raise InputError(
            f"stemdist evaluate needs the real data that {distilled!r} was made from: add "
            f"--data {source}"
        )
    ranked = None
    ranked_how = RankingSettings(
        forecasters=settings.forecasters, configurations=configurations, seed=settings.first_seed
    )
    asked = output or default_output(distilled, ".evaluation")
    folder = output_folder(asked, distilled, data, command="evaluate", force=console.force)
    task, stored = matching_sample(data, opening, stored, memory, progress=console.progress)
    with results_in(folder, "evaluate", console):
        shared: dict[str, Any] = {
            "results": folder,
            "experts": expert_folder(),
            "n_jobs": jobs,
            "device": device,
            "progress": console.progress,
        }
        evaluation = compare(stored, task, settings, **shared)
        written = write_tables(evaluation, folder)
        if ranking:
            ranked = rank(stored, task, ranked_how, **shared)
            written += [(path.suffix[1:], str(path)) for path in ranked.write(folder)]
    print(text_table(evaluation, metric))
    print("" if ranked is None else f"\n{ranked}\n")
    written += write_report(
        lambda path: report_evaluation(
            path, evaluation, distilled=stored, task=task, ranking=ranked, column=metric
        ),
        folder,
    )
    print_fields("written", written)
    values = {
        "verdict": evaluation.verdict(metric),
        "summary": evaluation.summary(metric),
        "quality": evaluation.quality(metric),
        "table": evaluation.table,
        "facts": evaluation.facts,
        "ranking": None if ranked is None else {"scores": ranked.scores, "table": ranked.table},
    }
    return Result(values=values, written=[folder, *files_of(written)])


def _evaluate_trained(
    folders: list[str],
    data: str | None,
    output: str | None,
    metric: str,
    device: str,
    settings: EvaluationSettings,
    opening: OpenOptions,
    console: Console,
) -> Result:
    from stemdist.evaluate import evaluate_trained
    from stemdist.forecast import FittedForecaster

    fitted = {folder: FittedForecaster.load(folder) for folder in folders}
    first = fitted[folders[0]]
    if data is None:
        source = first.record.get("source_name") or "FILE"
        raise InputError(f"stemdist evaluate needs data to forecast: add --data {source}")
    asked = output or default_output(folders[0], ".evaluation")
    folder = output_folder(asked, *folders, data, command="evaluate", force=console.force)
    errors = evaluate_trained(
        fitted,
        series_for(first, data, opening),
        at_most=settings.test_windows,
        season_steps=settings.season_steps,
        device=device,
    )
    print(errors.text(metric))
    print()
    with results_in(folder, "evaluate", console):
        files = errors.write_csv(folder)
    print_fields("written", [("csv", str(path)) for path in files])
    values = {"table": errors.table, "by_horizon": errors.by_horizon, "facts": errors.facts}
    return Result(values=values, written=[folder, *files])

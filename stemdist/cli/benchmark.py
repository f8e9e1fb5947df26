"""``stemdist benchmark``: which way of distilling is best, on many data sets and ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from stemdist.cli.answer import Result
from stemdist.cli.arguments import usual_options
from stemdist.cli.console import Console, print_fields
from stemdist.cli.outputs import (
    default_output,
    expert_folder,
    files_of,
    output_file,
    output_folder,
    results_in,
    write_report,
)
from stemdist.cli.sources import series_and_settings, travelling
from stemdist.data import OpenOptions
from stemdist.errors import InputError, StemdistError
from stemdist.evaluate import BenchmarkSettings
from stemdist.files import write_json
from stemdist.forecast import TaskOptions
from stemdist.types import ErrorName

if TYPE_CHECKING:
    from stemdist.evaluate import Benchmark
    from stemdist.forecast import ForecastTask


@usual_options(
    "output shares metric jobs device submit methods references ratios distill seeds forecasters",
    "budget updates recipe variables select null_value start step_minutes lookback horizon split",
    "calendar targets graph",
)
def benchmark(
    data: list[str],
    *,
    output: str = "benchmark",
    shares: tuple[float, ...] = (1.0,),
    metric: ErrorName = "relative_rmse",
    jobs: int = 1,
    device: str = "cpu",
    scheduler: str | None = None,
    submit: str | None = None,
    settings: BenchmarkSettings,
    opening: OpenOptions,
    task: TaskOptions,
    console: Console,
) -> Result:
    """Distil data sets by several methods and compare what forecasters learn from the sets.

    Every method distils every data set at every ratio with several seeds; the same forecasters
    are trained on each set and tested on the real test part. The same command resumes a benchmark
    that was stopped; a larger one reuses what is there. What fails is listed at the end.

    Parameters
    ----------
    data : list of str
        Files, folders or data sets of the catalogue; options apply to each of them.
    output : str
        Folder for tables, the report (HTML), distilled sets and finished training runs.
    shares : tuple of float
        Leading shares of the time axis to use, each with its own split, e.g. 1.0,0.85,0.7.
    metric : str
        Error to print and draw.
    jobs : int
        Distillations and trainings at a time.
    device : str
        Where to compute: cpu, cuda, cuda:0.
    scheduler : str, optional
        A dask cluster on which data are read and jobs run: its address, tcp://host:8786, or
        processes for all cores of this machine. Workers must be able to read DATA.
    submit : str, optional
        Also write the results of the one method as a file for the leaderboard, .json.

    Examples
    --------
      stemdist benchmark los.nc traffic-sim --methods default,stemdist --ratios 0.1x0.1,0.025x0.1
      stemdist benchmark traffic-sim --forecasters linear,mlp --surrogates linear,mlp --seeds 2
      stemdist benchmark weather-sim --distill experts=mlp --shares 1.0,0.85 -o results --jobs 2

    A ratio 0.1x0.05 keeps 10 % of the training windows and 5 % of the locations. Figures and
    the report need matplotlib and jinja2: pip install "stemdist[report]".
    """
    from stemdist.evaluate import benchmark as run_benchmark
    from stemdist.evaluate.comparison.tables import check_error
    from stemdist.evaluate.grid.tables import benchmark_text
    from stemdist.evaluate.leaderboard.submission import check_submittable, submission
    from stemdist.evaluate.report import report_benchmark

    check_error(metric)
    folder = output_folder(output, *data, command="benchmark", force=console.force)
    entry = None
    if submit is not None:
        method = check_submittable([default_output(name, "") for name in data], settings, shares)
        entry = output_file(submit, (".json",), *data, command="benchmark", force=console.force)
    tasks = _tasks(data, opening, task, shares)
    with results_in(folder, "benchmark", console):
        found = run_benchmark(
            tasks,
            settings,
            results=folder,
            experts=expert_folder(),
            n_jobs=jobs,
            device=device,
            progress=console.progress,
        )
        written = [(path.suffix[1:], str(path)) for path in found.write(folder)]
    written += _figure(found, metric, folder)
    print(benchmark_text(found, metric))
    print()
    written += write_report(lambda path: report_benchmark(path, found, column=metric), folder)
    if entry is not None:
        write_json(entry, submission(found, method), sort_keys=False)
        written.append(("submission", str(entry)))
    print_fields("written", written)
    values = {
        "verdicts": found.verdicts(metric) if len(found.table) else [],
        "excess": found.excess(metric, by=("data",)) if found.has_full else [],
        "table": found.table,
        "failures": found.failures,
        "facts": found.facts,
    }
    return Result(
        values=values, written=[folder, *files_of(written)], failure=_failure(found.failures)
    )


def _failure(failures: Sequence[Mapping[str, str]]) -> StemdistError | None:
    if not failures:
        return None
    first = failures[0]
    return StemdistError(
        f"{len(failures)} of the benchmark's jobs failed, the first: {first['job']} "
        f"({first['error']}). The results of the others are kept: correct the cause and run "
        "the same command again"
    )


def _tasks(
    sources: list[str], opening: OpenOptions, options: TaskOptions, shares: tuple[float, ...]
) -> dict[str, dict[str, ForecastTask]]:
    """Open all data sets; each is called by the name of its file."""
    from stemdist.evaluate.grid.benchmark import rolling_tasks

    found: dict[str, dict[str, ForecastTask]] = {}
    for source in sources:
        name = default_output(source, "")
        if name in found:
            raise InputError(f"two data sets are called {name!r}: rename one, or give it only once")
        series, settings = series_and_settings(source, opening, options)
        found[name] = {
            share: travelling(task, source, opening, task.series)
            for share, task in rolling_tasks(series, settings, shares).items()
        }
    return found


def _figure(found: Benchmark, metric: str, folder: Path) -> list[tuple[str, str]]:
    """Draw the excess where there is one and matplotlib is installed."""
    from stemdist.evaluate import plot_benchmark, save_figure

    compared = found.table[found.table["forecaster"] != ""]
    drawn = "full data" in set(compared["method"]) and compared["ratio"].any()
    if not drawn or find_spec("matplotlib") is None:
        return []
    return [("png", str(save_figure(plot_benchmark(found, metric), folder / "excess.png")))]

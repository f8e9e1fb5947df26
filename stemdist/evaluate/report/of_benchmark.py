"""The report of a benchmark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stemdist.evaluate.comparison.tables import ERROR_WORDS, check_error
from stemdist.evaluate.comparison.verdict import footnote
from stemdist.evaluate.grid.figure import plot_benchmark
from stemdist.evaluate.grid.result import Benchmark
from stemdist.evaluate.grid.tables import benchmark_tables, heading
from stemdist.evaluate.report import figures
from stemdist.evaluate.report.provenance import LOOKS, config_section
from stemdist.page.elements import (
    Details,
    Image,
    Images,
    Page,
    Paragraph,
    Part,
    Rows,
    Section,
    Table,
    check_installed,
)

SECTIONS = {
    "Excess over full data": {
        "excess": "Excess: error over that of the same forecaster on full data, less 1; mean over "
        "all, ± 95 % interval over sets",
        "excess_by_data": "Excess by data set",
        "excess_by_forecaster": "Excess by the forecaster that is trained",
    },
    "Cross-architecture": {
        "cross_architecture": "Mean excess by the surrogate of a set (rows) and the forecaster "
        "trained on it (columns)",
    },
    "Paired tests": {
        "paired": "Relative difference from random windows in matched cells; negative is better. "
        "With many tests, some p-values are small by chance",
    },
    "Ranks, quality and fidelity": {
        "scores": "Ranks in matched cells (1 is best), gap closed from random windows to full "
        "data, improvement under equal labels, and fidelity",
    },
    "Costs": {
        "costs": "Making: distilling or drawing, experts included; breaks even after so many "
        "trainings",
    },
    "Errors": {"errors": "Test error by data set, mean over forecasters and seeds"},
}
"""Tables of each section and their captions."""


def report_benchmark(
    path: str | Path, benchmark: Benchmark, *, column: str = "relative_rmse"
) -> Path:
    """Write a benchmark as one HTML file with tables and figures, which needs no network.

    Parameters
    ----------
    path : str or Path
        File to write, atomically.
    benchmark : Benchmark
        Result of :func:`~stemdist.evaluate.grid.benchmark`; tables and curves whose reference is
        missing are left out.
    column : str
        The error to show; lower is better.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the error is unknown.
    MissingDependencyError
        If matplotlib or jinja2 is not installed.
    OutputError
        If the file cannot be written.
    """
    check_error(column)
    check_installed()
    tables = benchmark_tables(benchmark, column)
    more: dict[str, list[Part]] = {
        "Excess over full data": _curves(benchmark, column) if "excess" in tables else [],
        "Ranks, quality and fidelity": [_looks()] if "scores" in tables else [],
        "Costs": _costs(benchmark) if "costs" in tables else [],
    }
    sections = [*_failures(benchmark), *_verdicts(benchmark, column, tables)]
    for title, captions in SECTIONS.items():
        own = [
            Table(caption=caption, rows=tables[name])
            for name, caption in captions.items()
            if name in tables
        ]
        if own:
            sections.append(Section(title=title, parts=[own[0], *more.get(title, []), *own[1:]]))
    sections += [_tasks(benchmark), config_section(benchmark.facts)]
    names = dict.fromkeys(str(task["data"]) for task in benchmark.facts["tasks"])
    page = Page(
        title=f"Benchmark: {', '.join(names)}",
        verdict=benchmark.headline_verdict(column).replace("+-", "±") if tables else "",
        lines=[
            f"Error: {ERROR_WORDS[column]} ({column}).",
            *heading(benchmark, column).replace("+-", "±").splitlines(),
        ],
        sections=sections,
    )
    return page.write(path)


def _verdicts(benchmark: Benchmark, column: str, tables: dict[str, Rows]) -> list[Section]:
    """Return what is found, in sentences, and what the mark of results means."""
    found = benchmark.verdicts(column) if tables else []
    note = footnote([row for rows in tables.values() for row in rows])
    parts: list[Part] = [Paragraph(text=text.replace("+-", "±")) for text in [*found, note] if text]
    return [Section(title="Each method", parts=parts)] if parts else []


def _curves(benchmark: Benchmark, column: str) -> list[Part]:
    """Excess against ratio over all data sets, and of each where there are several."""
    names = list(dict.fromkeys(benchmark.table["data"]))
    single = names if len(names) > 1 else []
    parts = {"All data sets": benchmark} | {
        name: replace(benchmark, table=benchmark.table[benchmark.table["data"] == name])
        for name in single
    }
    images = [
        Image(
            figure=plot_benchmark(part, column),
            alt=f"Curves with intervals: excess of {column} over full data against the kept share "
            f"of time x space, one curve for each method; {name}. The numbers are in the tables.",
            caption=f"{name}: mean and 95 % interval over sets; lower is better.",
            wide=True,
        )
        for name, part in parts.items()
    ]
    return [Images(figures=images)]


def _costs(benchmark: Benchmark) -> list[Part]:
    """Bars of seconds, one figure for each ratio."""
    costs = benchmark.costs()
    images = []
    for ratio in dict.fromkeys(costs.index.get_level_values("ratio")):
        own = costs.xs(ratio, level="ratio")
        seconds = {
            str(name): (float(row["make_seconds"]), float(row["train_seconds"]))
            for name, row in own.iterrows()
        }
        images.append(
            Image(
                figure=figures.plot_costs(seconds),
                alt=f"Bars: seconds of making the data and of training one forecaster, by "
                f"method, at ratio {ratio}. The numbers are in the table above.",
                caption=f"Ratio {ratio}: time to make the data and to train one forecaster.",
            )
        )
    return [Images(figures=images)]


def _looks() -> Details:
    rows: Rows = [["score", "what", "best"]]
    rows += [[name, *meaning] for name, meaning in LOOKS.items()]
    table = Table(caption="Scores of fidelity", rows=rows, sentences=("what",))
    return Details(title="What the scores of fidelity mean", table=table)


def _tasks(benchmark: Benchmark) -> Section:
    sizes = ("locations", "held_out_locations", "training_windows", "test_windows")
    names = ("data", "split", "target", "units", *sizes)
    tasks = benchmark.facts["tasks"]
    rows: Rows = [[*(name.replace("_", " ") for name in names), "content hash"]]
    for task in tasks:
        rows.append([*(str(task[name]) or "-" for name in names), task["content_hash"][:12]])
    return Section(title="Tasks", parts=[Table(caption="Data sets and splits", rows=rows)])


def _failures(benchmark: Benchmark) -> list[Section]:
    if not benchmark.failures:
        return []
    rows: Rows = [["job", "error"]]
    rows += [[failure["job"], failure["error"]] for failure in benchmark.failures]
    text = f"{len(rows) - 1} of the jobs failed; their results are missing below."
    table = Table(caption="What failed", rows=rows, sentences=("error",))
    return [Section(title="Failures", parts=[Paragraph(text=text, failed=True), table])]

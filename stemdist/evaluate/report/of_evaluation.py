"""The report of a comparison.

Shapes: N locations.
"""

from __future__ import annotations

import math
from pathlib import Path

from stemdist.distill.distilled import DistilledSet
from stemdist.distill.real_windows import real_windows
from stemdist.evaluate.comparison.budgets import FULL_TEXT
from stemdist.evaluate.comparison.evaluation import Evaluation
from stemdist.evaluate.comparison.fidelity import fidelity, spectra
from stemdist.evaluate.comparison.figures import method_title, plot_evaluation
from stemdist.evaluate.comparison.statistics import records
from stemdist.evaluate.comparison.tables import (
    ERROR_WORDS,
    MIB,
    Comparison,
    by_budget,
    check_error,
    digits,
    evaluation_tables,
    forecaster_rows,
    heading,
)
from stemdist.evaluate.comparison.verdict import footnote
from stemdist.evaluate.ranking.ranking import Ranking
from stemdist.evaluate.report import figures
from stemdist.evaluate.report.maps import maps_section
from stemdist.evaluate.report.provenance import LOOKS, config_section, looks_like
from stemdist.forecast import ForecastTask
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


def report_evaluation(
    path: str | Path,
    evaluation: Evaluation,
    *,
    distilled: DistilledSet | None = None,
    task: ForecastTask | None = None,
    ranking: Ranking | None = None,
    column: str = "relative_rmse",
) -> Path:
    """Write a comparison as one HTML file with tables and figures, which needs no network.

    If all forecasters were trained on the full data, the tables compare forecasters.

    Parameters
    ----------
    path : str or Path
        File to write, atomically.
    evaluation : Evaluation
        Result of :func:`~stemdist.evaluate.evaluate`.
    distilled : DistilledSet, optional
        The set under test; without it there are no maps of clusters and no windows.
    task : ForecastTask, optional
        The data of the comparison; without it synthetic windows are shown without real ones.
    ranking : Ranking, optional
        How well the set orders configurations (see :func:`~stemdist.evaluate.rank`).
    column : str
        The error to show; lower is better.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the error is unknown, or the set does not fit the task.
    MissingDependencyError
        If matplotlib or jinja2 is not installed.
    OutputError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from stemdist.data import canonical_series, simulate
    >>> from stemdist.evaluate import EvaluationSettings, evaluate
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=3, n_lon=3))
    >>> task = ForecastTask.from_series(series)
    >>> only = EvaluationSettings(forecasters=("linear",), references=("full",), seeds=1, updates=2)
    >>> file = Path(tempfile.mkdtemp()) / "report.html"
    >>> report_evaluation(file, evaluate(None, task, only), task=task).read_text()[:15]
    '<!DOCTYPE html>'
    """
    check_error(column)
    check_installed()
    record = {} if distilled is None else dict(distilled.record)
    attrs = record if task is None else {**task.series.attrs, **record}
    source = attrs.get("source_name") or attrs.get("title") or evaluation.facts["target"]
    tables = evaluation_tables(evaluation, column)
    sections = [
        _errors(evaluation, tables, column),
        _horizon(evaluation, column),
        _costs(evaluation.at(evaluation.headline), tables),
        *([] if ranking is None else [_ranking(ranking)]),
        maps_section(evaluation.at(evaluation.headline), distilled, task, column),
        *([] if distilled is None else [_windows(distilled, task)]),
        config_section(evaluation.facts, record),
    ]
    kind = "Comparison of forecasters" if evaluation.of_forecasters else "Evaluation"
    page = Page(
        title=f"{kind}: {source}",
        verdict=evaluation.at(evaluation.headline).verdict(column).replace("+-", "±"),
        lines=[
            f"Error: {ERROR_WORDS[column]} ({column}).",
            *heading(evaluation, column, "mean ± 95 % interval").splitlines(),
        ],
        sections=sections,
    )
    return page.write(path)


def _errors(evaluation: Evaluation, tables: dict[str, Rows], column: str) -> Section:
    shown = f"Test {column}, mean ± 95 % interval over seeds"
    parts: list[Part]
    if evaluation.of_forecasters:
        caption = f"{shown}, and costs; in brackets without training"
        rows = forecaster_rows(evaluation, column)
        parts = [Table(caption=caption, rows=rows), *_paragraphs(footnote(rows))]
    else:
        untrained: Rows = [["forecast", column], *tables["references"][1:]]
        parts = [
            *_paragraphs(_other_budgets(evaluation, column).replace("+-", "±")),
            Table(caption=f"{shown}; * lowest of its column", rows=tables["errors"]),
            *_paragraphs(footnote(tables["errors"])),
            Table(caption=f"Test {column} of forecasts without training", rows=untrained),
        ]
        if "excess" in tables:
            base = FULL_TEXT[evaluation.headline]
            caption = f"Excess: error over that of the same forecaster and seed on {base}, less 1"
            parts.append(Table(caption=caption, rows=tables["excess"]))
    parts.append(
        Images(
            figures=[
                Image(
                    figure=plot_evaluation(evaluation, column),
                    alt=f"Dots with intervals: test {column} of each forecaster by what it was "
                    "trained on; dashed lines are forecasts without training. The numbers are in "
                    "the tables above.",
                    caption="Test error with 95 % intervals over seeds; lower is better.",
                    wide=True,
                )
            ]
        )
    )
    parts.append(Details(title="Errors by size of the target", table=_strata(evaluation)))
    return Section(title="Test error", parts=parts)


def _other_budgets(evaluation: Evaluation, column: str) -> str:
    """Return the verdicts at other budgets than that of the headline, which is on top."""
    others = (name for name in evaluation.budgets if name != evaluation.headline)
    return " ".join(evaluation.at(name).verdict(column) for name in others)


def _paragraphs(text: str) -> list[Part]:
    """Return a paragraph, or nothing where there is no text."""
    return [Paragraph(text=text)] if text else []


def _strata(evaluation: Evaluation) -> Table:
    """Mean absolute error and bias in each range of the target; smoothed extremes show here."""
    rows = by_budget(evaluation, lambda own, _: _strata_rows(own))
    units = evaluation.facts["units"] or "no unit"
    return Table(caption=f"Errors by size of the target ({units}), mean over seeds", rows=rows)


def _strata_rows(evaluation: Comparison) -> Rows:
    found = evaluation.by_stratum.query("count > 0")
    rows: Rows = [["trained on", "forecaster", "from", "to", "targets", "mae", "bias"]]
    groups = found.groupby(["method", "forecaster", "stratum"], sort=False)
    for (method, forecaster, _), own in groups:
        low, high = (f"{own[end].iloc[0]:.4g}" for end in ("from", "to"))
        count = f"{own['count'].iloc[0]:,.0f}"
        errors = (digits(float(own[name].mean())) for name in ("mae", "bias"))
        rows.append([method_title(str(method)), str(forecaster) or "-", low, high, count, *errors])
    return rows


def _horizon(evaluation: Evaluation, column: str) -> Section:
    headline = evaluation.at(evaluation.headline)
    shown = [
        Image(
            figure=figures.plot_horizon(headline.by_horizon, name, column),
            alt=f"Curves: test {column} of {name} over the horizon steps, one curve for each "
            "reference and grey dashes for forecasts without training. The numbers are in the "
            "table below.",
            caption=f"{name}: mean over seeds, bands are 95 % intervals. Forecasts without "
            "training may be above the axes.",
        )
        for name in evaluation.facts["settings"]["forecasters"]
    ]
    rows = by_budget(evaluation, lambda own, _: _horizon_rows(own, column))
    table = Table(caption=f"Test {column} by horizon step, mean over seeds", rows=rows)
    numbers = Details(title="Numbers by horizon step", table=table)
    return Section(title="Error by horizon", parts=[Images(figures=shown), numbers])


def _horizon_rows(evaluation: Comparison, column: str) -> Rows:
    """One row for each reference and forecaster, one column for each step."""
    steps = evaluation.by_horizon.groupby(["method", "forecaster", "horizon"], sort=False)[column]
    means = steps.mean().unstack("horizon", sort=False)
    rows: Rows = [["trained on", "forecaster", *(f"step {step}" for step in means.columns)]]
    for (method, forecaster), own in zip(means.index, means.to_numpy(), strict=True):
        errors = (digits(float(value)) for value in own)
        rows.append([method_title(method), forecaster or "-", *errors])
    return rows


def _costs(evaluation: Evaluation, tables: dict[str, Rows]) -> Section:
    settings = evaluation.facts["settings"]
    kind, over = "method", "forecasters and seeds"
    where = " The numbers are in the table above."
    if evaluation.of_forecasters:
        kind, over, where = "forecaster", "seeds", ""
    seconds, peaks = {}, {}
    for name in settings["references" if kind == "method" else "forecasters"]:
        own = evaluation.table[evaluation.table[kind] == name]
        title = method_title(name) if kind == "method" else name
        seconds[title] = (float(own["data_seconds"].max()), float(own["train_seconds"].mean()))
        peaks[title] = (
            float(own["peak_memory_bytes"].max()) / MIB,
            float(own["added_memory_bytes"].max()) / MIB,
        )
    images = [
        Image(
            figure=figures.plot_costs(seconds),
            alt="Bars: seconds of making the training data and of one training run, by "
            f"{kind}.{where}",
            caption="Time to make the training data (experts included) and to train one "
            f"forecaster, mean over {over}.",
        ),
        Image(
            figure=figures.plot_memory(peaks),
            alt=f"Bars: peak memory of a training run in MiB, by {kind}.{where}",
            caption="Highest resident memory of the whole process in a training run.",
        ),
        *_break_even(evaluation),
    ]
    parts: list[Part] = [Table(caption="Costs and sizes", rows=tables["costs"])]
    if "quality" in tables:
        parts.append(
            Table(
                caption="Share of the gap from random windows to full data that is closed, and "
                "the number of trainings after which making the data breaks even",
                rows=tables["quality"],
            )
        )
    made = evaluation.facts.get("distill_seconds")
    if made is not None:
        peak = (evaluation.facts.get("distill_peak_memory_bytes") or math.nan) / MIB
        text = f"Distilling took {made:.1f} s, experts included, and {peak:.0f} MiB at its peak."
        parts.append(Paragraph(text=text))
    return Section(title="Costs", parts=[*parts, Images(figures=images)])


def _break_even(evaluation: Evaluation) -> list[Image]:
    """Return one figure of all forecasters, where the full data and others were evaluated."""
    after: dict[str, dict[str, float]] = {}
    for (method, forecaster), row in records(evaluation.quality()).items():
        if not math.isnan(row["break_even"]):
            after.setdefault(method_title(method), {})[forecaster] = row["break_even"]
    if not after:
        return []
    return [
        Image(
            figure=figures.plot_break_even(after),
            alt="Dots: the number of trainings until making the data has paid for itself, by "
            "method, one dot for each forecaster; those at never save no time.",
            caption="Trainings until data and training together took less time than as many "
            "trainings on the full data.",
        )
    ]


def _ranking(ranking: Ranking) -> Section:
    caption = "Rank correlation with trainings on the full data, and time relative to theirs"
    parts: list[Part] = [
        Paragraph(text=ranking.sentence),
        Table(caption=caption, rows=ranking.rows),
    ]
    return Section(title="Order of configurations", parts=parts)


def _windows(distilled: DistilledSet, task: ForecastTask | None) -> Section:
    if task is None:
        text = "Without the real data, the windows of the set are not compared with them."
        return Section(title="Windows of the set", parts=[Paragraph(text=text)])
    kind = distilled.window_kind.capitalize()
    drawn = figures.plot_windows(distilled, real_windows(distilled, task))
    texts = (f"{kind} of the set", "Training windows")
    images = [
        Image(
            figure=figure,
            alt=f"Curves: inputs and targets of a few {text.lower()} at the largest clusters.",
            caption=f"{text} at the largest clusters, evenly spaced; both figures have the same "
            "axes.",
        )
        for figure, text in zip(drawn, texts, strict=True)
    ]
    images.append(
        Image(
            figure=figures.plot_spectra(spectra(distilled, task)),
            alt="Curves: mean power along time against period for the set and the training part.",
            caption="Mean power spectra along time of windows (inputs and targets joined).",
        )
    )
    scores = fidelity(distilled, task)
    rows = [["score", "value", "what", "best"]]
    rows += [[name, looks_like(value), *LOOKS[name]] for name, value in scores.items()]
    table = Table(caption="Fidelity of the set", rows=rows, sentences=("what",))
    note = Paragraph(
        text=f"The set has {distilled.contents}. These scores are descriptive: a set need not look "
        "real to train good forecasters."
    )
    return Section(title="Windows of the set", parts=[Images(figures=images), table, note])

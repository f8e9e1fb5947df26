"""The result of a search as one HTML page, with Optuna's plots."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stemdist.dependencies import require
from stemdist.page.elements import Details, Drawing, Page, Paragraph, Part, Rows, Section, Table
from stemdist.search.study import FORECASTER

if TYPE_CHECKING:
    from stemdist.search.tuned import Tuned

SHOWN_TRIALS = 20
_CLEAR = "rgba(0, 0, 0, 0)"


def write_page(path: str | Path, tuned: Tuned, title: str) -> Path:
    """Write the page; it needs no other file and no network.

    Parameters
    ----------
    path : str or Path
        File to write, .html.
    tuned : Tuned
        The result.
    title : str
        What was searched.

    Raises
    ------
    MissingDependencyError
        Without plotly or jinja2, which the extra ``tune`` installs.
    """
    for module in ("plotly", "jinja2"):
        require(module, "tune", "the page of a search")
    best = yaml.safe_dump(tuned.configuration, sort_keys=False)
    page = Page(
        title=title,
        verdict=tuned.verdict,
        lines=[tuned.sentence],
        sections=[
            Section(title="The best configuration", parts=[*_finalists(tuned), _yaml(best)]),
            Section(title=f"The best {SHOWN_TRIALS} trials", parts=[_trials(tuned)]),
            *_plots(tuned),
        ],
    )
    return page.write(path)


def _yaml(text: str) -> Details:
    return Details(title="As options of stemdist train (best.yaml)", text=text)


def _finalists(tuned: Tuned) -> list[Part]:
    if not tuned.finalists:
        return [Paragraph(text="No trial was trained on the full data.")]
    rows: Rows = [
        ["trial", "forecaster", "RMSE after the small set", "RMSE after the full data", "seconds"]
    ]
    for one in tuned.finalists:
        trial = tuned.study.trials[one.trial]
        errors = (f"{trial.value:.4f}", f"{one.error:.4f}", f"{one.seconds:.1f}")
        rows.append([str(one.trial), str(trial.params[FORECASTER]), *errors])
    caption = "Finalists, trained on the full data; RMSE on validation in scaled units"
    return [Table(caption=caption, rows=rows)]


def _trials(tuned: Tuned) -> Table:
    table = tuned.table.head(SHOWN_TRIALS)
    rows: Rows = [list(map(str, table.columns))]
    rows += [[_text(value) for value in row] for row in table.to_numpy(dtype=object)]
    caption = "Trained on the small set; RMSE on validation in scaled units"
    return Table(caption=caption, rows=rows)


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _plots(tuned: Tuned) -> list[Section]:
    """Return Optuna's plots; the first brings plotly with it."""
    import optuna.visualization as drawn

    study, best = tuned.study, str(tuned.winner.params[FORECASTER])
    names = [name for name in tuned.winner.params if name.startswith(f"{best}.")]
    plots: list[tuple[str, str, Callable[[], Any]]] = [
        (
            "History",
            "Dots: the error of each trial in the order of trials, and a line of the lowest so far",
            lambda: drawn.plot_optimization_history(study, target_name="RMSE"),
        ),
        (
            "Importance",
            "Bars: how much the error depends on each hyper-parameter",
            lambda: drawn.plot_param_importances(study, params=list(tuned.importance)),
        ),
        (
            f"Hyper-parameters of {best}",
            f"Dots: the error of each trial of {best} against each of its hyper-parameters",
            lambda: drawn.plot_slice(study, params=names, target_name="RMSE"),
        ),
        (
            "Seconds",
            "Bars: when each trial ran and for how long",
            lambda: drawn.plot_timeline(study),
        ),
    ]
    sections: list[Section] = []
    for title, alt, plot in plots:
        if title == "Importance" and not tuned.importance:
            continue
        drawing = Drawing(html=_html(plot, first=not sections), alt=alt)
        sections.append(Section(title=title, parts=[drawing]))
    return sections


def _html(plot: Callable[[], Any], *, first: bool) -> str:
    """Return a plot with no colour of paper, so that it fits a light and a dark page."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some plots are called experimental
        figure = plot()
    figure.update_layout(
        paper_bgcolor=_CLEAR, plot_bgcolor=_CLEAR, title=None, height=340, margin={"t": 20}
    )
    shown = {"displaylogo": False, "responsive": True}
    html: str = figure.to_html(full_html=False, include_plotlyjs=first, config=shown)
    return html

"""The result of a search as one HTML page, with Optuna's plots."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stemdist.dependencies import require
from stemdist.files import atomic_path
from stemdist.search.study import FORECASTER

if TYPE_CHECKING:
    from stemdist.search.tuned import Tuned

SHOWN_TRIALS = 20
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.8rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
pre { background: #f4f4f4; padding: 1rem; overflow-x: auto; }
.wide { overflow-x: auto; }
"""


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
        Without plotly, which the extra ``tune`` installs.
    """
    require("plotly", "tune", "the page of a search")
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(tuned.sentence)}</p>",
        "<h2>The best configuration</h2>",
        f"<pre>{escape(yaml.safe_dump(tuned.configuration, sort_keys=False))}</pre>",
        *_finalists(tuned),
        f"<h2>The best {SHOWN_TRIALS} trials</h2>",
        f'<div class="wide">{_trials(tuned)}</div>',
        *_plots(tuned),
    ]
    body = "\n".join(parts)
    text = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
    return Path(path)


def _finalists(tuned: Tuned) -> list[str]:
    if not tuned.finalists:
        return []
    rows: list[tuple[str, ...]] = []
    for one in tuned.finalists:
        small = tuned.study.trials[one.trial].value
        rows.append((str(one.trial), f"{small:.4f}", f"{one.error:.4f}", f"{one.seconds:.1f}"))
    names = ("trial", "RMSE after the small set", "RMSE after the full data", "seconds")
    return ["<h2>Finalists, trained on the full data</h2>", _table(names, rows)]


def _trials(tuned: Tuned) -> str:
    table = tuned.table.head(SHOWN_TRIALS)
    rows = [tuple(_text(value) for value in row) for row in table.to_numpy(dtype=object)]
    return _table(tuple(map(str, table.columns)), rows)


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><tr>{head}</tr>{body}</table>"


def _plots(tuned: Tuned) -> list[str]:
    """Return Optuna's plots as HTML; the first brings plotly with it."""
    import optuna.visualization as drawn

    study, best = tuned.study, str(tuned.winner.params[FORECASTER])
    names = [name for name in tuned.winner.params if name.startswith(f"{best}.")]
    plots: list[tuple[str, Callable[[], Any]]] = [
        ("History", lambda: drawn.plot_optimization_history(study)),
        ("Importance", lambda: drawn.plot_param_importances(study, params=list(tuned.importance))),
        (f"Hyper-parameters of {best}", lambda: drawn.plot_slice(study, params=names)),
        ("Seconds", lambda: drawn.plot_timeline(study)),
    ]
    parts: list[str] = []
    for title, plot in plots:
        if title == "Importance" and not tuned.importance:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some plots are called experimental
            figure = plot()
        html = figure.to_html(full_html=False, include_plotlyjs=not parts)
        parts += [f"<h2>{escape(title)}</h2>", html]
    return parts

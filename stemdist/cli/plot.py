"""``stemdist plot``: a distilled set or a comparison in, a figure out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from stemdist.cli.answer import Result
from stemdist.cli.console import Console, print_fields
from stemdist.cli.outputs import default_output, output_file
from stemdist.errors import InputError
from stemdist.types import ErrorName


def plot(
    file: str,
    *,
    output: str | None = None,
    metric: ErrorName = "relative_rmse",
    console: Console,
) -> Result:
    """Draw a distilled set (its clusters, some windows, its size) or the errors of a comparison.

    Parameters
    ----------
    file : str
        A distilled set (.nc, .zarr), or the folder or table.csv that stemdist evaluate wrote.
    output : str, optional
        Figure to write, .png, .svg or .pdf; by default a PNG named after FILE. A file of that
        name is replaced.
    metric : str
        Error of a comparison to draw; a distilled set has none.

    Examples
    --------
      stemdist plot uk.distilled.nc -o uk.png
      stemdist plot uk.evaluation --metric mae -o errors.svg

    Needs matplotlib: pip install "stemdist[report]".
    """
    from stemdist.distill import DistilledSet
    from stemdist.evaluate.comparison.figures import (
        FORMATS,
        plot_distilled,
        plot_evaluation,
        save_figure,
    )
    from stemdist.evaluate.comparison.tables import check_error

    check_error(metric)
    table = _table_file(Path(file))
    ending = ".distilled.png" if table is None else ".evaluation.png"
    named = file if table is None else str(table.resolve().parent)
    target = output_file(
        output or default_output(named, ending),
        tuple(FORMATS),
        file if table is None else str(table),
        command="plot",
        force=console.force,
    )
    if table is None:
        figure = plot_distilled(DistilledSet.load(file))
    else:
        figure = plot_evaluation(_read_table(table), metric)
    save_figure(figure, target)
    print_fields(f"plotted {file}", [("written", str(target))])
    kind = "distilled set" if table is None else "comparison"
    return Result(values={"kind": kind}, written=[target])


def _table_file(path: Path) -> Path | None:
    """Return the table of a comparison, or None for what must be a distilled set."""
    if path.suffix == ".csv":
        return path
    return path / "table.csv" if path.is_dir() and path.suffix != ".zarr" else None


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(
            f"there is no table {str(path)!r}: `stemdist evaluate` writes it at its end; run it "
            "again to finish"
        )
    try:
        return pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise InputError(f"the table {str(path)!r} cannot be read: {error}") from error

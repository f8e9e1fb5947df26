"""``stemdist plot``: a figure of a distilled set or of a comparison."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from stemdist.cli.console import Console, print_fields
from stemdist.cli.outputs import default_output, output_file
from stemdist.cli.sources import is_distilled
from stemdist.distill import DistilledSet
from stemdist.errors import InputError
from stemdist.evaluate.figures import plot_distilled, plot_evaluation
from stemdist.files import atomic_path

FORMATS = (".png", ".svg", ".pdf")


def plot(
    file: str, *, output: str | None = None, metric: str = "relative_rmse", console: Console
) -> None:
    """Draw a distilled set (clusters, windows, size) or a comparison (errors by method).

    Parameters
    ----------
    file : str
        A distilled set, or the folder or table.csv that stemdist evaluate wrote.
    output : str, optional
        Figure to write, .png, .svg or .pdf; by default named after FILE.
    metric : str
        Error to draw of a comparison, e.g. relative_rmse or mae.

    Examples
    --------
      stemdist plot uk.distilled.nc -o uk.png
      stemdist plot uk.evaluation --metric mae -o errors.svg

    Errors are in the unit of the target, relative ones without a unit.
    """
    target = output_file(output or default_output(file, ".png"), FORMATS, file)
    table = Path(file) / "table.csv" if Path(file).is_dir() else Path(file)
    if is_distilled(file):
        figure = plot_distilled(DistilledSet.load(file))
    elif table.suffix == ".csv" and table.is_file():
        figure = plot_evaluation(pd.read_csv(table), metric)
    else:
        raise InputError(
            f"{file!r} is neither a distilled set nor a result of `stemdist evaluate` (a folder "
            "with table.csv, or that file)"
        )
    with atomic_path(target) as part:
        figure.savefig(part, dpi=110)
    print_fields(f"plotted {file}", [("written", str(target))])

"""``stemdist plot``: a distilled set or a comparison in, a figure out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from stemdist.cli.answer import Result
from stemdist.cli.arguments import usual_options
from stemdist.cli.console import Console, print_fields, print_next, quoted
from stemdist.cli.option_types import Given
from stemdist.cli.outputs import default_output, output_file
from stemdist.cli.sources import matching_task, refuse
from stemdist.data import OpenOptions
from stemdist.errors import InputError
from stemdist.types import ErrorName


@usual_options("data output metric select null_value start step_minutes")
def plot(
    file: str,
    *,
    data: str | None = None,
    output: str | None = None,
    metric: ErrorName = "relative_rmse",
    opening: OpenOptions,
    console: Console,
    given: Given,
) -> Result:
    """Draw a distilled set (its clusters, some windows, its size) or the errors of a comparison.

    Parameters
    ----------
    file : str
        A distilled set (.nc, .zarr), or the folder or table.csv that stemdist evaluate wrote.
    data : str, optional
        The real data of a distilled set, a file or a data set of the catalogue: real windows are
        drawn beside its own.
    output : str, optional
        Figure to write, .png, .svg or .pdf; by default a PNG named after FILE. A file of that
        name is replaced.
    metric : str
        Error of a comparison to draw; a distilled set has none.

    Examples
    --------
      stemdist plot uk.distilled.nc -o uk.png
      stemdist plot traffic-sim.distilled.nc --data traffic-sim
      stemdist plot uk.evaluation --metric mae -o errors.svg

    Needs matplotlib: pip install "stemdist[report]".
    """
    from stemdist.distill import DistilledSet
    from stemdist.distill.figures import plot_distilled
    from stemdist.evaluate.comparison.figures import plot_evaluation
    from stemdist.evaluate.comparison.tables import check_error
    from stemdist.figures import FORMATS, new_figure, save_figure

    check_error(metric)
    table = _table_file(Path(file))
    if table is not None:
        if data is not None:
            raise InputError(f"--data is for a distilled set, and {file!r} is a comparison")
        refuse(given, OpenOptions, "the data of a comparison are not read again")
    refuse(given & {"variables", "static"}, OpenOptions, "the distilled set names its variables")
    new_figure(1, 1)  # says what is missing before anything is read
    ending = ".distilled.png" if table is None else ".evaluation.png"
    named = file if table is None else str(table.resolve().parent)
    target = output_file(
        output or default_output(named, ending),
        tuple(FORMATS),
        file if table is None else str(table),
        *([] if data is None else [data]),
        command="plot",
        force=console.force,
    )
    if table is None:
        distilled = DistilledSet.load(file)
        real = None if data is None else matching_task(data, opening, distilled)
        figure = plot_distilled(distilled, real)
    else:
        figure = plot_evaluation(_read_table(table), metric)
    save_figure(figure, target)
    print_fields(f"plotted {file}", [("written", str(target))])
    if table is None and data is None and distilled.record.get("source_name"):
        source = quoted(distilled.record["source_name"])
        print_next([f"stemdist plot {quoted(file)} --data {source}  # real windows beside"])
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

"""Where results go: checked before any long work begins."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stemdist.data.fetch import cache_folder
from stemdist.errors import InputError, MissingDependencyError, OutputError

if TYPE_CHECKING:
    from stemdist.evaluate import Evaluation


def output_file(output: str, suffixes: tuple[str, ...], *sources: str) -> Path:
    """Return the file to write, or raise while it costs nothing.

    Parameters
    ----------
    output : str
        What the user gave.
    suffixes : tuple of str
        Endings of the formats that can be written.
    *sources : str
        Inputs, which must not be replaced.
    """
    path = Path(output)
    if path.suffix not in suffixes:
        raise InputError(
            f"the output {output!r} must end in {' or '.join(suffixes)}, e.g. "
            f"{path.with_suffix(suffixes[0]).name}"
        )
    if path.is_dir() and path.suffix != ".zarr":
        raise InputError(f"the output {output!r} is a folder: name a file in it")
    _check_sources(path, sources)
    _check_writable(path)
    return path


def output_folder(output: str, *sources: str) -> Path:
    """Return the folder of a forecaster to write, or raise while it costs nothing."""
    from stemdist.forecast.fitted import check_replaceable

    path = Path(output)
    check_replaceable(path)
    _check_sources(path, sources)
    _check_writable(path)
    return path


def output_results(output: str) -> Path:
    """Return the folder that tables go to, or raise while it costs nothing."""
    path = Path(output)
    if path.exists() and not path.is_dir():
        raise InputError(f"the output {output!r} is a file: name a folder with -o")
    _check_writable(path / "table.csv")
    return path


def default_output(source: str, ending: str) -> str:
    """Return an output name in the working directory for a data source.

    Examples
    --------
    >>> default_output("/data/uk era5.nc", ".distilled.nc"), default_output("x", "-mlp")
    ('uk-era5.distilled.nc', 'x-mlp')
    """
    name = Path(source).name
    stem = name.removesuffix(Path(name).suffix).removesuffix(".distilled")
    return re.sub(r"[^\w.+-]+", "-", stem) + ending


def work_folder(output: Path) -> Path:
    """Return the folder beside ``output`` that keeps the state of an unfinished run."""
    return output.with_name(output.name + ".work")


def remove_work(output: Path) -> None:
    """Remove the state of a finished run."""
    shutil.rmtree(work_folder(output), ignore_errors=True)


def _check_sources(path: Path, sources: tuple[str, ...]) -> None:
    for source in sources:
        if Path(source).exists() and path.exists() and path.samefile(source):
            raise InputError(f"the output {str(path)!r} is also an input: choose another name")


def _check_writable(path: Path) -> None:
    """Check the nearest folder that exists, in which the others would be made."""
    folder = path.resolve().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"cannot write {str(path)!r}: {str(folder)!r} is a file, not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            f"cannot write {str(path)!r}: no permission to write in {str(folder)!r}. Choose "
            "another place with -o"
        )


def expert_folder() -> Path:
    """Return the folder in the user's cache where trained experts are kept between commands."""
    return cache_folder() / "experts"


def write_tables(evaluation: Evaluation, folder: Path) -> list[tuple[str, str]]:
    """Write the tables of a comparison to a folder and return (format, file) of each."""
    files = [
        evaluation.write_csv(folder / "table.csv"),
        evaluation.write_json(folder / "all.json"),
    ]
    return [(file.suffix[1:], str(file)) for file in files]


def write_report(write: Callable[[Path], Path], folder: Path) -> list[tuple[str, str]]:
    """Write ``report.html`` to a folder, or say what it needs; return what to print of it.

    Parameters
    ----------
    write : callable
        Writes the report to the path it is given.
    folder : Path
        The folder of results.
    """
    try:
        return [("html", str(write(folder / "report.html")))]
    except MissingDependencyError as error:
        return [("no html", str(error))]

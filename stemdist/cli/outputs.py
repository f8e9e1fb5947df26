"""Where results go: checked before any long work begins.

One rule holds for every command. An output may replace only what the same command made, which a
marker in it says; ``--force`` replaces anything else, but never an input, nothing inside an input,
and no folder that holds one.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stemdist.data.fetch import cache_folder
from stemdist.errors import InputError, MissingDependencyError, OutputError
from stemdist.files import locked, recovered, write_json
from stemdist.markers import MADE_BY, MARKER, made_by

if TYPE_CHECKING:
    from stemdist.cli.console import Console
    from stemdist.evaluate import Evaluation

_STATE = ".stemdist-state"


def output_file(
    output: str, suffixes: tuple[str, ...], *sources: str, command: str, force: bool
) -> Path:
    """Return the file to write, or raise while it costs nothing.

    Parameters
    ----------
    output : str
        What the user gave.
    suffixes : tuple of str
        Endings of the formats that can be written.
    *sources : str
        Inputs, which must not be replaced.
    command : str
        Which command writes it, e.g. ``"distill"``.
    force : bool
        Replace what others made.
    """
    path = Path(output)
    _check_place(path)
    if path.suffix not in suffixes:
        raise InputError(
            f"the output {output!r} must end in {' or '.join(suffixes)}, e.g. "
            f"{path.with_suffix(suffixes[0]).name if path.name else 'result' + suffixes[0]}"
        )
    if path.is_dir() and path.suffix != ".zarr":
        raise InputError(f"the output {output!r} is a folder: name a file in it")
    return _checked(path, sources, command, force)


def output_folder(output: str, *sources: str, command: str, force: bool) -> Path:
    """Return the folder to write as a whole, or raise while it costs nothing."""
    path = Path(output)
    _check_place(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"the output {output!r} is a file: name a folder with -o")
    return _checked(path, sources, command, force)


def _checked(path: Path, sources: tuple[str, ...], command: str, force: bool) -> Path:
    recovered(path)
    for source in sources:
        # A pattern, absolute or not, stands for several files.
        for origin in glob.glob(source) or [source]:  # noqa: PTH207
            _check_source(path, origin)
    _check_writable(path)
    if not force:
        _check_foreign(path, command)
    return path


def _check_place(path: Path) -> None:
    """Refuse the working directory and whatever holds it, and names that no file can have."""
    try:
        absolute, here = path.resolve(), Path.cwd().resolve()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"the output {str(path)[:60]!r} cannot be used: {reason}") from error
    if absolute == here or absolute in here.parents:
        raise InputError(f"the output {str(path)!r} is the working directory or holds it: name one")
    if len(absolute.name.encode()) > 200:
        raise InputError(
            f"the output's name {absolute.name[:40]!r}... has {len(absolute.name)} characters: "
            "choose a shorter one, of at most 200 bytes"
        )


def _check_source(path: Path, source: str) -> None:
    origin = Path(source)
    if not origin.exists():
        return
    absolute, target = origin.resolve(), path.resolve()
    if absolute == target:
        raise InputError(f"the output {str(path)!r} is also an input: choose another name")
    if absolute in target.parents:
        raise InputError(
            f"the output {str(path)!r} lies inside the input {source!r}: choose another place"
        )
    if target in absolute.parents:
        raise InputError(
            f"the output {str(path)!r} holds the input {source!r}, and would replace it: choose "
            "another place"
        )


def _check_foreign(path: Path, command: str) -> None:
    """Raise unless the output is free or was made by the same command."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    maker = made_by(path)
    if maker != f"stemdist {command}":
        origin = f"was made by `{maker}`" if maker else f"was not made by `stemdist {command}`"
        raise InputError(
            f"the output {str(path)!r} exists and {origin}: choose another name, or replace it "
            "with --force"
        )


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


def state_folder(output: Path) -> Path:
    """Return the folder beside ``output`` that keeps the state of an unfinished run."""
    return output.with_name(f".{output.name}{_STATE}")


@contextmanager
def claimed(output: Path, console: Console) -> Iterator[Path]:
    """Hold an output, and yield the folder for the state of an unfinished run.

    A second run that makes the same output waits until the first one has ended. The state is
    kept if the block fails, so that the same command goes on where it was, and removed at its
    end.
    """
    with held(output, console):
        state = state_folder(output)
        if state.exists():
            if made_by(state) is None:
                raise InputError(
                    f"{str(state)!r} was not made by stemdist, which keeps the state of unfinished "
                    "runs there: move it away, or name another output"
                )
            console.note(f"continuing with the state in {str(state)!r}")
        with _marked(state, "stemdist"):
            yield state
        shutil.rmtree(state, ignore_errors=True)


@contextmanager
def results_in(folder: Path, command: str, console: Console) -> Iterator[None]:
    """Hold a folder of results, marked as a command's, which then writes single files in it."""
    with held(folder, console), _marked(folder, f"stemdist {command}"):
        yield


def shared_results_in(folder: Path, command: str) -> AbstractContextManager[None]:
    """Mark a folder of results as a command's, in which several processes work together."""
    return _marked(folder, f"stemdist {command}")


@contextmanager
def _marked(folder: Path, maker: str) -> Iterator[None]:
    """Mark a folder; where the block fails before anything else is in it, it is removed."""
    try:
        write_json(folder / MARKER, {MADE_BY: maker})
        yield
    except BaseException:
        kept = (path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
        if not any(kept):
            shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def held(output: Path, console: Console) -> Iterator[None]:
    """Hold an output; a run that finds it held says so and waits."""

    def say() -> None:
        console.note(f"another run is making {str(output)!r}: waiting for its end")

    with locked(output, say):
        yield


def expert_folder() -> Path:
    """Return the folder in the user's cache where trained experts are kept between commands.

    Raises
    ------
    OutputError
        If the cache cannot be written to.
    """
    folder = cache_folder() / "experts"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "Permission denied")
    except OSError as error:
        raise OutputError(
            f"the cache {str(folder.parent)!r} cannot be written to ({error.strerror}): set "
            "STEMDIST_CACHE to a folder you may write to"
        ) from error
    return folder


def write_tables(evaluation: Evaluation, folder: Path) -> list[tuple[str, str]]:
    """Write the tables of a comparison to a folder and return (format, file) of each."""
    files = [
        evaluation.write_csv(folder / "table.csv"),
        evaluation.write_json(folder / "all.json"),
    ]
    return [(file.suffix[1:], str(file)) for file in files]


def files_of(written: Sequence[tuple[str, str]]) -> list[str]:
    """Return the files among what is printed as written, which may say why one is missing."""
    return [file for kind, file in written if not kind.startswith("no ")]


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

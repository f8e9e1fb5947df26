"""What a command prints: results on standard output, everything else on standard error."""

from __future__ import annotations

import logging
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stemdist.cli.failures import printable
from stemdist.errors import InputError, check_count


@dataclass(frozen=True, kw_only=True)
class Console:
    """Messages.

    Parameters
    ----------
    quiet : bool
        Print errors and results only: no progress, notes or warnings.
    verbose : bool
        Also print what is done on the way.
    debug : bool
        Show the traceback of an error.
    force : bool
        Replace an output that another command or another program made; never an input.
    threads : int
        Processors one computation uses. Small models gain little from more, and with the same
        number the same seed gives the same result everywhere.
    """

    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    force: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        check_count("threads", self.threads)
        if self.quiet and self.verbose:
            raise InputError("--quiet and --verbose contradict each other: give one of them")

    @property
    def progress(self) -> bool | None:
        """Whether to show progress bars; None shows them on a terminal only."""
        return False if self.quiet else None

    def note(self, text: str) -> None:
        """Print a remark on standard error, unless quiet."""
        if not self.quiet:
            print(f"stemdist: {printable(text)}", file=sys.stderr)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Print log records and warnings as one line each, and limit threads, for a command."""
        import torch

        level = logging.INFO if self.verbose else logging.WARNING
        logger = logging.getLogger("stemdist")
        stream = logging.StreamHandler(sys.stderr)
        stream.setLevel(logging.ERROR if self.quiet else logging.NOTSET)
        stream.setFormatter(_PrintableFormatter("stemdist: %(message)s"))
        before, threads = logger.level, torch.get_num_threads()
        torch.set_num_threads(self.threads)
        logger.addHandler(stream)
        logger.setLevel(level)
        stages = logging.getLogger("stemdist.progress")
        stages.setLevel(logging.NOTSET if self.quiet else logging.INFO)
        try:
            with warnings.catch_warnings():
                warnings.showwarning = self._show_warning  # type: ignore[assignment]
                yield
        finally:
            logger.removeHandler(stream)
            logger.setLevel(before)
            stages.setLevel(logging.NOTSET)
            torch.set_num_threads(threads)

    def _show_warning(
        self, message: Warning | str, category: type[Warning], filename: str, *_: Any
    ) -> None:
        origin = f" ({category.__name__}, {filename})" if self.verbose else ""
        first_line = str(message).strip().partition("\n")[0]
        logging.getLogger("stemdist").warning("warning: %s%s", first_line, origin)


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def print_fields(title: str, fields: Sequence[tuple[str, str]]) -> None:
    """Print a heading and aligned ``name  value`` lines."""
    width = max((len(name) for name, _ in fields), default=0)
    print(title)
    for name, value in fields:
        print(f"  {name:{width}}  {value}")


def quoted(path: object) -> str:
    """Return a name as a shell takes it.

    Examples
    --------
    >>> quoted("a b.nc"), quoted("a.nc"), quoted("era5-*.nc")
    ("'a b.nc'", 'a.nc', "'era5-*.nc'")
    """
    return shlex.quote(str(path))


def print_next(commands: Sequence[str]) -> None:
    """Print the commands a user may want to run next."""
    print("next")
    for command in commands:
        print(f"  {command}")


def bytes_text(count: float) -> str:
    """Return a size in the unit that fits.

    Examples
    --------
    >>> bytes_text(3 * 2**20), bytes_text(12)
    ('3.0 MiB', '12 B')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration_text(seconds: float) -> str:
    """Return a time span in the unit that fits.

    Examples
    --------
    >>> duration_text(300), duration_text(3600), duration_text(7 * 86400), duration_text(2.5)
    ('5 min', '1 h', '7 d', '2.5 s')
    """
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds:.3g} s"


def about_text(seconds: float) -> str:
    """Return an estimated time span, with no more digits than it deserves.

    Examples
    --------
    >>> about_text(41.7), about_text(245)
    ('42 s', '4 min')
    """
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"

"""Progress of long stages: a bar on a terminal or in a notebook, and otherwise lines of a log.

Where there is neither, the logger ``stemdist.progress`` gets a record (INFO) when a stage begins,
at most twice a minute while it goes on, and with its seconds when it ends. Commands print them.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

SECONDS_BETWEEN = 30.0
"""At most so often a stage that goes on says how far it is."""
_STAGE: ContextVar[str] = ContextVar("stage", default="")
log = logging.getLogger(__name__)


@contextmanager
def stage(title: str) -> Iterator[None]:
    """Name what runs in the block; bars of trainings in it have this title.

    Examples
    --------
    >>> with stage("expert mlp"):
    ...     stage_or("train")
    'expert mlp'
    >>> stage_or("train")
    'train'
    """
    token = _STAGE.set(title)
    try:
        yield
    finally:
        _STAGE.reset(token)


def stage_or(title: str) -> str:
    """Return the title of the stage that runs, or another one where none is named."""
    return _STAGE.get() or title


class Bar(Protocol):
    """What shows progress: it passes items on, or is told how many are done."""

    def __iter__(self) -> Iterator[Any]:
        """Yield the items."""

    def __enter__(self) -> Any:
        """Begin."""

    def __exit__(self, *error: object) -> Any:
        """End."""

    def update(self, n: int = 1) -> Any:
        """Add to the number that is done."""

    def set_postfix(self, **values: str) -> Any:
        """Show values beside the number."""

    def close(self) -> Any:
        """End."""


def bar(
    items: Iterable[Any] | None = None,
    title: str = "",
    total: int | None = None,
    *,
    unit: str,
    progress: bool | None,
    initial: int = 0,
) -> Bar:
    """Return what shows the progress of a stage.

    Parameters
    ----------
    items : iterable, optional
        What it passes on; without them it is told by ``update``.
    title : str
        The stage.
    total : int, optional
        How many there are; their length by default.
    unit : str
        What is counted, e.g. ``"update"``.
    progress : bool, optional
        Show a bar, or nothing; None shows it on a terminal or in a notebook, and else logs lines.
    initial : int
        How many were done before.

    Returns
    -------
    Bar
        Of tqdm, which works in notebooks, or one that logs.

    Examples
    --------
    >>> list(bar([1, 2], "count", unit="number", progress=False))
    [1, 2]
    """
    if progress is None and not (on_terminal() or in_notebook()):
        return Lines(items, title, total, unit=unit, initial=initial)
    shown: Bar = bars()(
        items, title, total, unit=unit, initial=initial, disable=progress is False, leave=False,
        unit_scale=unit == "B",
    )  # fmt: skip
    return shown


def bars() -> Any:
    """Return the bars of tqdm: widgets in a notebook that has them, else text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # text is as good where ipywidgets are not installed
        from tqdm.auto import tqdm

    return tqdm


def on_terminal() -> bool:
    """Say whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def in_notebook() -> bool:
    """Say whether this process is the kernel of a notebook."""
    loaded: Any = sys.modules.get("IPython")
    shell = None if loaded is None else loaded.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


class Lines:
    """Logs a stage when it begins, while it goes on, and when it ends.

    Parameters
    ----------
    items, title, total, unit, initial
        As of :func:`bar`.

    Examples
    --------
    >>> with Lines(title="distill", total=4, unit="iteration", initial=1) as lines:
    ...     lines.update(3)
    ...     lines.how_far
    '4 iterations'
    """

    def __init__(
        self,
        items: Iterable[Any] | None = None,
        title: str = "",
        total: int | None = None,
        *,
        unit: str,
        initial: int = 0,
    ) -> None:
        self.items, self.title, self.unit = items, title, unit
        self.total = len(items) if total is None and isinstance(items, Sized) else total
        self.done, self.values = initial, ""
        self.began = self.said = time.monotonic()
        self.over = self.total is not None and initial >= self.total
        if not self.over:
            left = "" if self.total is None else f" ({self._counted(self.total)})"
            log.info("%s: starting%s", title, f"{left}, {initial} are done" if initial else left)

    @property
    def how_far(self) -> str:
        """What is done, and of how many where it is not all."""
        if self.total is None or self.done >= self.total:
            return self._counted(self.done)
        return f"{self._counted(self.done).partition(' ')[0]} of {self._counted(self.total)}"

    def __iter__(self) -> Iterator[Any]:
        try:
            for item in self.items or ():
                yield item
                self.update()
        finally:
            self.close()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, n: int = 1) -> None:
        """Add to the number that is done."""
        self.done += n
        now = time.monotonic()
        unfinished = self.total is None or self.done < self.total
        if unfinished and now - self.said >= SECONDS_BETWEEN:
            self.said = now
            log.info("%s: %s after %s%s", self.title, self.how_far, self._seconds, self.values)

    def set_postfix(self, **values: str) -> None:
        """Say these values beside the number."""
        self.values = "".join(f", {name} {value}" for name, value in values.items())

    def close(self) -> None:
        """Say that the stage ended, once."""
        if not self.over:
            self.over = True
            log.info("%s: ended, %s in %s%s", self.title, self.how_far, self._seconds, self.values)

    @property
    def _seconds(self) -> str:
        spent = time.monotonic() - self.began
        return f"{spent:.1f} s" if spent < 60 else f"{spent / 60:.1f} min"

    def _counted(self, number: int) -> str:
        if self.unit == "B":
            return f"{number / 1e6:.1f} MB"
        return f"{number:,} {self.unit}{'s' if number != 1 else ''}"

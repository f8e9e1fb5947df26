"""What progress bars are called: the stage that runs, where one is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_STAGE: ContextVar[str] = ContextVar("stage", default="")


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

"""What a command returns, and how ``--json`` says it: one JSON object of one form.

The form is that of ``docs/schemas/answer-1.json``, described in ``docs/pipelines.md``.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stemdist.errors import StemdistError

SCHEMA = 1
JSON = "--json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What a command found and wrote; every command returns one.

    Parameters
    ----------
    values : mapping
        Numbers, texts, tables and arrays by name.
    written : sequence of str or Path
        Files and folders that were written, the main one first.
    failure : StemdistError, optional
        What went wrong although there are results; the command ends with it as an error.
    """

    values: Mapping[str, Any]
    written: Sequence[str | Path] = ()
    failure: StemdistError | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run ended: its command, exit status, result, and error if there was one."""

    command: str
    status: int
    result: Result | None = None
    error: str = ""
    message: str = ""

    def answer(self, text: str, warnings: Sequence[str], seconds: float) -> dict[str, Any]:
        """Return the JSON object; ``text`` is what the command prints without ``--json``."""
        values, written = (self.result.values, self.result.written) if self.result else ({}, ())
        error = {"type": self.error, "message": self.message} if self.error else None
        return {
            "schema": SCHEMA,
            "command": self.command,
            "version": version("stemdist"),
            "status": "error" if self.status else "ok",
            "exit_code": self.status,
            "error": error,
            "result": plain(values),
            "written": [str(path) for path in written],
            "warnings": list(warnings),
            "seconds": round(seconds, 3),
            "text": text,
        }


def without_json(arguments: Sequence[str]) -> tuple[bool, list[str]]:
    """Say whether ``--json`` is among the arguments, and return the others.

    Examples
    --------
    >>> without_json(["info", "a.nc", "--json"])
    (True, ['info', 'a.nc'])
    >>> without_json(["info", "--", "--json"])
    (False, ['info', '--', '--json'])
    """
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    options, rest = list(arguments[:end]), list(arguments[end:])
    return JSON in options, [word for word in options if word != JSON] + rest


@contextmanager
def warnings_heard() -> Iterator[list[str]]:
    """Yield a list to which the warnings and errors of the logger ``stemdist`` are added."""
    heard = _Heard()
    logger = logging.getLogger("stemdist")
    logger.addHandler(heard)
    try:
        yield heard.messages
    finally:
        logger.removeHandler(heard)


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def written_as_json(answer: Mapping[str, Any]) -> str:
    """Return an answer as one line of JSON in ASCII."""
    return json.dumps(answer, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """Return a value in the types of JSON: tables as lists of rows, undefined numbers as null.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> plain({"error": np.float32(0.5), "none": float("nan"), "shape": (2, 3)})
    {'error': 0.5, 'none': None, 'shape': [2, 3]}
    >>> plain(pd.DataFrame({"a": [1, 2]}))
    [{'a': 1}, {'a': 2}]
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if hasattr(value, "to_dict"):  # a table or a column of pandas, its index among the columns
        named = any(name is not None for name in value.index.names)
        return plain((value.reset_index() if named else value).to_dict("records"))
    if hasattr(value, "tolist"):  # an array or a number of numpy
        return plain(value.tolist())
    if isinstance(value, Sequence | set | frozenset):
        return [plain(item) for item in value]
    return str(value)

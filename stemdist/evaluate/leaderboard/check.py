"""Checking files of results: each fault with its file and line."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from stemdist.data import list_datasets
from stemdist.errors import InputError
from stemdist.evaluate.leaderboard.form import ENTRY, Form, Many, Optional
from stemdist.evaluate.leaderboard.lines import Located, Path_

TOLERANCE = 1e-4
"""By which an excess may differ from that of the errors, for rounding."""

Found = Iterator[tuple[Path_, str]]


@dataclass(frozen=True)
class Fault:
    """What is wrong, and where."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def check_files(paths: Sequence[str | Path]) -> tuple[list[dict[str, Any]], list[Fault]]:
    """Read files of results, and check each of them and all together.

    Parameters
    ----------
    paths : sequence of str or Path
        JSON files.

    Returns
    -------
    entries : list of dict
        Contents of the files without a fault.
    faults : list of Fault
        All that is wrong, in the order of files and lines.

    Raises
    ------
    InputError
        If a file cannot be opened.
    """
    entries, faults = [], []
    known: dict[tuple[str, ...], tuple[str, str]] = {}
    for path in paths:
        located, own = _read(path)
        if located is not None and not own:
            both = [*_inside(located.value), *_between(located.value, str(path), known)]
            own = [Fault(str(path), located.line(place), text) for place, text in both]
        if located is not None and not own:
            entries.append(located.value)
        faults += sorted(own, key=lambda fault: fault.line)
    return entries, faults


def _read(path: str | Path) -> tuple[Located | None, list[Fault]]:
    """Read one file, and check every field of it by itself."""
    try:
        located = Located.read(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        return None, [Fault(str(path), error.lineno, f"this is not JSON: {error.msg}")]
    except UnicodeDecodeError as error:
        return None, [Fault(str(path), 1, f"this is not UTF-8: {error.reason}")]
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    except RecursionError:
        return None, [Fault(str(path), 1, "this is nested too deeply")]
    twice = [
        Fault(str(path), line, f"{_name(place)} is given twice") for place, line in located.repeated
    ]
    single = (
        Fault(str(path), located.line(place), text) for place, text in _of(ENTRY, located.value, ())
    )
    return located, [*twice, *single]


def _name(place: Path_) -> str:
    """Return a path as in ``results[2].excess``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".") or "the file"


def _of(form: Form, value: Any, place: Path_) -> Found:
    """Yield where a value is not of a form."""
    if isinstance(form, Optional):
        if value is not None:
            yield from _of(form.form, value, place)
    elif isinstance(form, Many):
        yield from _of_list(form, value, place)
    elif isinstance(form, Mapping):
        yield from _of_fields(form, value, place)
    elif wanted := form(value):
        yield place, f"{_name(place)} is {_shown(value)}: it must be {wanted}"


def _of_list(form: Many, value: Any, place: Path_) -> Found:
    if not isinstance(value, list) or not value:
        yield place, f"{_name(place)} is {_shown(value)}: it must be a list of at least one value"
        return
    for number, item in enumerate(value):
        yield from _of(form.each, item, (*place, number))
        if form.distinct and item in value[:number]:
            yield (*place, number), f"{_name(place)} has {_shown(item)} twice"


def _of_fields(form: Mapping[str, Form], value: Any, place: Path_) -> Found:
    if not isinstance(value, dict):
        yield place, f"{_name(place)} is {_shown(value)}: it must be an object in braces"
        return
    for name in value:
        if name not in form:
            close = difflib.get_close_matches(name, form, n=1)
            question = (
                f": did you mean {close[0]!r}?" if close else f": known are {', '.join(form)}"
            )
            yield (*place, name), f"{_name((*place, name))} is no field of this form{question}"
    for name, own in form.items():
        if name in value:
            yield from _of(own, value[name], (*place, name))
        elif not isinstance(own, Optional):
            yield place, f"{_name((*place, name))} is missing"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _inside(entry: Mapping[str, Any]) -> Found:
    """Yield the faults of a file whose fields are fine by themselves."""
    forecasters = entry["protocol"]["forecasters"]
    names = set(list_datasets())
    seen: dict[tuple[str, str, str], int] = {}
    for number, result in enumerate(entry["results"]):
        place: Path_ = ("results", number)
        if result["data"] not in names:
            yield (*place, "data"), _unknown("data set", result["data"], names)
        if result["forecaster"] not in forecasters:
            yield (
                (*place, "forecaster"),
                f"the forecaster {result['forecaster']!r} is not among protocol.forecasters",
            )
        yield from _errors(result, place)
        key = (result["data"], result["ratio"], result["forecaster"])
        if key in seen:
            yield place, f"{', '.join(key)} has a result already: results[{seen[key]}]"
        seen.setdefault(key, number)
    for data, ratio in dict.fromkeys((one, two) for one, two, _ in seen):
        absent = [name for name in forecasters if (data, ratio, name) not in seen]
        if absent:
            yield ("results",), f"{data}, {ratio} has no result for {', '.join(absent)}"


def _errors(result: Mapping[str, Any], place: Path_) -> Found:
    """Yield where seeds, errors and excess do not belong together."""
    errors, seeds = result["relative_rmse"], result["seeds"]
    if len(errors["distilled"]) != len(seeds):
        yield (
            (*place, "relative_rmse", "distilled"),
            f"there are {len(errors['distilled'])} errors for {len(seeds)} seeds",
        )
    excess = excess_of(errors)
    if not math.isclose(excess, result["excess"], abs_tol=TOLERANCE):
        yield (
            (*place, "excess"),
            f"the excess is {result['excess']:g}, but that of the errors is {excess:.4f}: the mean "
            "of distilled over that of full, minus 1",
        )


def excess_of(errors: Mapping[str, Any]) -> float:
    """Return the excess over full data of the errors of a result.

    Examples
    --------
    >>> round(excess_of({"distilled": [0.55, 0.55], "full": [0.5]}), 6)
    0.1
    """
    return fmean(errors["distilled"]) / fmean(errors["full"]) - 1


def _unknown(kind: str, name: str, choices: set[str]) -> str:
    close = difflib.get_close_matches(name, choices, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "`stemdist catalogue list` lists all"
    return f"unknown {kind} {name!r}: {hint}"


def _between(
    entry: Mapping[str, Any], file: str, known: dict[tuple[str, ...], tuple[str, str]]
) -> Found:
    """Yield where a file contradicts those before it, which ``known`` remembers."""
    protocol = json.dumps(entry["protocol"], sort_keys=True)
    facts: list[tuple[tuple[str, ...], Path_, str]] = [
        (("method", protocol, entry["method"]), ("method",), "")
    ]
    for number, result in enumerate(entry["results"]):
        where = ("results", number, "task")
        facts.append((("task", protocol, result["data"]), where, result["task"]))
    for key, place, content in facts:
        other, before = known.setdefault(key, (file, content))
        if key[0] == "method" and other != file:
            yield place, f"{entry['method']!r} has results with this protocol already, in {other}"
        elif content != before:
            yield place, f"the task of {key[2]} is another one than in {other}: options differ"

"""The results of one method of a benchmark, in the form of the leaderboard."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from stemdist.data import list_datasets
from stemdist.errors import InputError
from stemdist.evaluate.comparison.budgets import CONVERGED, at_budget
from stemdist.evaluate.comparison.training_data import REFERENCES
from stemdist.evaluate.grid.result import Benchmark
from stemdist.evaluate.grid.settings import BenchmarkSettings
from stemdist.evaluate.leaderboard.check import excess_of
from stemdist.evaluate.leaderboard.form import SCHEMA, ratio_text

_COLUMN = "relative_rmse"
_DIGITS = 6


def check_submittable(
    names: Sequence[str], settings: BenchmarkSettings, shares: Sequence[float]
) -> str:
    """Return the method whose results a benchmark will submit.

    Parameters
    ----------
    names : sequence of str
        Its data sets.
    settings : BenchmarkSettings
        Its grid.
    shares : sequence of float
        Shares of the time axis that are used.

    Raises
    ------
    InputError
        If there are several methods, or something the leaderboard has no place for.
    """
    if len(settings.methods) != 1 or len(settings.surrogates) > 1:
        raise InputError(
            "a submission is of one method: name it with --methods, and at most one surrogate, not "
            f"{', '.join((*settings.methods, *settings.surrogates))}"
        )
    unknown = sorted(set(names) - set(list_datasets()))
    if unknown:
        raise InputError(
            f"the leaderboard takes data sets of the catalogue, not {', '.join(unknown)}: "
            "`stemdist catalogue list` lists them"
        )
    if tuple(shares) != (1.0,):
        raise InputError("a submission is of whole series: leave out --shares")
    if "full" not in settings.references:
        raise InputError("a submission needs the errors on full data: add full to --references")
    return settings.methods[0]


def submission(found: Benchmark, method: str) -> dict[str, Any]:
    """Return the results of a method as the content of one file.

    Parameters
    ----------
    found : Benchmark
        Its results, with the full data as a reference.
    method : str
        The method.

    Raises
    ------
    InputError
        If the benchmark has no result of the method.
    """
    table = at_budget(found.table, found.headline)
    own = table[table["method"] == method]
    if own.empty:
        raise InputError(f"there is nothing to submit: the benchmark has no result of {method!r}")
    full = table[table["method"] == REFERENCES.get("full").title]
    full_errors = full.groupby(["data", "forecaster"])[_COLUMN].apply(_rounded).to_dict()
    untrained = found.untrained(_COLUMN).groupby(level="data").min().to_dict()
    tasks = {task["data"]: task["content_hash"] for task in found.facts["tasks"]}
    results = []
    for (data, ratio, forecaster), rows in own.groupby(["data", "ratio", "forecaster"], sort=False):
        by_seed = rows.groupby("seed")[_COLUMN].mean()
        errors = {
            "distilled": _rounded(by_seed),
            "full": full_errors[data, forecaster],
            "untrained": round(float(untrained[data]), _DIGITS),
        }
        results.append(
            {
                "data": data,
                "task": tasks[data],
                "ratio": ratio_text(str(ratio)),
                "forecaster": forecaster,
                "seeds": [int(seed) for seed in by_seed.index],
                "relative_rmse": errors,
                "excess": round(excess_of(errors), _DIGITS),
            }
        )
    return {
        "schema": SCHEMA,
        "method": method,
        "description": _description(method, found.facts["settings"]),
        "how": f"made by stemdist benchmark, version {version('stemdist')}",
        "authors": None,
        "link": None,
        "protocol": _protocol(found),
        "results": results,
    }


def _description(method: str, settings: Mapping[str, Any]) -> str:
    """Say what a method is, from the settings of the benchmark."""
    own = dict(settings["variants"].get(method, {}))
    base = own.pop("method", "default" if method in settings["variants"] else method)
    changes, named = {**settings["distill"], **own}, f"--method {base} of stemdist"
    surrogates = settings["surrogates"]
    named += f", surrogate {surrogates[0]}" if surrogates else ""
    return f"{named}, with {json.dumps(changes, sort_keys=True)}" if changes else named


def _rounded(errors: Any) -> list[float]:
    return [round(float(error), _DIGITS) for error in errors]


def _protocol(found: Benchmark) -> dict[str, Any]:
    settings = found.facts["settings"]
    converged = found.headline == CONVERGED
    return {
        "budget": found.headline,
        "updates": list(settings["converged_updates"]) if converged else [settings["updates"]],
        "batch_windows": settings["batch_windows"],
        "learning_rates": list(settings["learning_rates"]),
        "forecasters": list(settings["forecasters"]),
        "held_out": settings["hold_out"],
    }

"""The search space of each forecaster: declared beside its class, changed by a YAML file."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from stemdist.errors import InputError, unknown_name
from stemdist.forecast import FORECASTERS, TrainingSettings
from stemdist.forecast.search_space import OF_TRAINING, Choice, Parameter, Range, Space

TRAINING = "training"
"""Name, in a file, of the parameters that all forecasters have."""
_SHAPE = {"self", "lookback", "horizon", "n_features", "n_outputs", "n_targets"}
_FIXED = {"updates", "batch_windows", "locations_per_update", "validation_windows"}
_FIXED |= {"validate_every", "seed", "quantiles"}
Spaces = Mapping[str, Space]


def spaces_of(
    families: Sequence[str], changes: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Parameter]]:
    """Return the search space of each forecaster, with changes.

    Parameters
    ----------
    families : sequence of str
        Registered names.
    changes : mapping, optional
        By forecaster, or ``training`` for all, the values to try by hyper-parameter: a list of
        values, a mapping with ``low``, ``high`` and maybe ``log``, or one value to keep.

    Raises
    ------
    InputError
        If a name is unknown, or values cannot be understood.

    Examples
    --------
    >>> spaces = spaces_of(["mlp"], {"mlp": {"hidden": [8, 16]}, "training": {"weight_decay": 0.0}})
    >>> spaces["mlp"]["hidden"].values, spaces["mlp"]["weight_decay"].values
    ((8, 16), (0.0,))
    """
    changes = changes or {}
    for name in changes:
        if name not in (*families, TRAINING):
            raise unknown_name("forecaster in the search space", name, (*families, TRAINING))
    shared = {**OF_TRAINING, **_parsed(TRAINING, changes.get(TRAINING, {}), _of_training())}
    found = {}
    for family in families:
        kind = FORECASTERS.get(family)
        known = set(inspect.signature(kind.__init__).parameters) - _SHAPE | _of_training()
        own = _parsed(family, changes.get(family, {}), known)
        found[family] = {**kind.search_space, **shared, **own}
    return found


def read_space(path: str | Path) -> dict[str, Any]:
    """Return the changes of a search space that a YAML file holds.

    Raises
    ------
    InputError
        If it cannot be read, or is no mapping.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"the search space {str(path)!r} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise InputError(
            f"the search space {str(path)!r} is no mapping: give forecasters with their "
            "hyper-parameters, as `stemdist tune --print-space` prints them"
        )
    return content


def space_text(spaces: Spaces) -> str:
    """Return search spaces as the YAML that :func:`read_space` reads.

    Examples
    --------
    >>> print(space_text({"mlp": {"depth": Range(1, 4), "hidden": Choice((16, 32))}}), end="")
    mlp:
      depth: {low: 1, high: 4}
      hidden: [16, 32]
    """
    lines = []
    for family, space in spaces.items():
        lines.append(f"{family}:")
        for name, parameter in space.items():
            plain: Any = (
                list(parameter.values)
                if isinstance(parameter, Choice)
                else {
                    "low": parameter.low,
                    "high": parameter.high,
                    **({"log": True} if parameter.log else {}),
                }
            )
            text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10**6)
            lines.append(f"  {name}: {text.strip()}")
    return "\n".join(lines) + "\n"


def split_configuration(found: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the hyper-parameters of a forecaster, and those of its training."""
    training = {name: value for name, value in found.items() if name in _of_training()}
    return {name: value for name, value in found.items() if name not in training}, training


def default_values(family: str, space: Space) -> dict[str, Any]:
    """Return the default of each hyper-parameter that a search space contains.

    Examples
    --------
    >>> default_values("mlp", {"hidden": Choice((16, 64)), "depth": Range(5, 9)})
    {'hidden': 64}
    """
    signature = inspect.signature(FORECASTERS.get(family).__init__).parameters
    defaults = {name: each.default for name, each in signature.items()}
    defaults |= {field.name: field.default for field in dataclasses.fields(TrainingSettings)}
    return {
        name: defaults[name]
        for name, parameter in space.items()
        if name in defaults and parameter.contains(defaults[name])
    }


def _of_training() -> set[str]:
    return {field.name for field in dataclasses.fields(TrainingSettings)} - _FIXED


def _parsed(owner: str, content: object, known: set[str]) -> dict[str, Parameter]:
    if not isinstance(content, Mapping):
        raise InputError(
            f"the search space of {owner!r} is {content!r}: give hyper-parameters with their values"
        )
    for name in content:
        if name not in known:
            raise unknown_name(f"hyper-parameter of {owner!r} in the search space", name, known)
    return {name: _parameter(f"{owner}.{name}", value) for name, value in content.items()}


def _parameter(name: str, value: Any) -> Parameter:
    if isinstance(value, Range | Choice):
        return value
    if isinstance(value, list | tuple):
        return Choice(tuple(value))
    if not isinstance(value, Mapping):
        return Choice((value,))
    try:
        return Range(**value)
    except TypeError as error:
        raise InputError(
            f"{name} in the search space is {dict(value)!r}: give a list of values, or low, high "
            "and maybe log: true"
        ) from error

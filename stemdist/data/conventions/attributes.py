"""Attributes of foreign files, made such that every format can hold them."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

ATTRIBUTION = (
    "institution", "license", "licence", "attribution", "references", "citation", "comment",
)  # fmt: skip
"""Attributes of a source that what is made from it must carry on."""

_SCALARS = (str, int, float, np.number)


def clean_attributes(attrs: Mapping[Hashable, Any]) -> dict[str, Any]:
    """Return attributes that NetCDF and Zarr can both hold.

    None is left out, a truth value becomes 0 or 1, and what is neither text, a number nor a list
    of them becomes JSON text.

    Examples
    --------
    >>> clean_attributes({"a": None, "b": True, "c": {"d": 1}, "e": [1, 2], "units": "K"})
    {'b': 1, 'c': '{"d": 1}', 'e': [1, 2], 'units': 'K'}
    """
    cleaned = {str(name): _cleaned(value) for name, value in attrs.items()}
    return {name: value for name, value in cleaned.items() if value is not None}


def attribution_of(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the clean attributes that say who made a source and on which terms.

    Examples
    --------
    >>> attribution_of({"License": "CC-BY-4.0", "grid_dims": "lat lon"})
    {'License': 'CC-BY-4.0'}
    """
    return {k: v for k, v in clean_attributes(attrs).items() if k.lower() in ATTRIBUTION}


def with_clean_attributes(dataset: xr.Dataset) -> xr.Dataset:
    """Return ``dataset`` with clean attributes everywhere; nothing is copied or loaded."""
    cleaned = dataset.copy()
    cleaned.attrs = clean_attributes(dataset.attrs)
    for name in cleaned.variables:
        cleaned[name].attrs = clean_attributes(dataset[name].attrs)
    return cleaned


def _cleaned(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.ndim <= 1:
        return value
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple) and value:
        if all(isinstance(item, int | float | np.number) for item in value):
            return [int(item) if isinstance(item, bool) else item for item in value]
        if all(isinstance(item, str) for item in value):
            return ", ".join(value)
    return json.dumps(value, default=str)

"""Licences as the Hugging Face hub names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OF_DATA = (
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc", "cc0-1.0",
    "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0",
    "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "odbl", "odc-by", "pddl",
    "etalab-2.0", "gpl-3.0", "unlicense", "wtfpl",
)  # fmt: skip
"""Identifiers of the hub for licences that data come with."""

_ALSO = {"odbl-1.0": "odbl", "odc-by-1.0": "odc-by", "pddl-1.0": "pddl"}


def licence_of(record: Mapping[str, Any]) -> str:
    """Return the licence of the source that a set records, or nothing.

    Examples
    --------
    >>> licence_of({"License": "CC0-1.0"}), licence_of({})
    ('CC0-1.0', '')
    """
    named = {name.lower(): str(value) for name, value in record.items()}
    return named.get("license") or named.get("licence") or ""


def licence_keys(text: str) -> dict[str, Any]:
    """Return the keys ``license``, and where it has no identifier ``license_name``, of a card.

    Examples
    --------
    >>> licence_keys("CC-BY-4.0"), licence_keys("")
    ({'license': 'cc-by-4.0'}, {'license': 'unknown'})
    >>> licence_keys("see source")
    {'license': 'other', 'license_name': 'see source'}
    """
    name = "-".join(text.lower().split())
    name = _ALSO.get(name, name)
    if name in OF_DATA:
        return {"license": name}
    return {"license": "other", "license_name": " ".join(text.split())} if name else _UNKNOWN


_UNKNOWN = {"license": "unknown"}


def forbids_adaptations(text: str) -> bool:
    """Say whether a licence of Creative Commons allows only unchanged copies (ND).

    Examples
    --------
    >>> forbids_adaptations("CC-BY-ND-4.0"), forbids_adaptations("CC-BY-4.0")
    (True, False)
    """
    words = text.lower().replace("-", " ").split()
    return "cc" in words and "nd" in words

"""Who made a file or folder: a marker that every output of a command carries."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

MARKER = ".stemdist.json"
"""File in a folder of results that says which command made it."""

MADE_BY = "made_by"
"""Attribute of files, and key of JSON, that says so."""

_IN_BYTES = re.compile(rb"made by (stemdist [a-z]+)")
_ENDS = 2**20


def made_by(path: str | Path) -> str | None:
    """Return which command made a file or folder, e.g. ``"stemdist distill"``; None if unknown.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / MARKER).write_text('{"made_by": "stemdist compare"}')
    >>> made_by(folder)
    'stemdist compare'
    """
    path = Path(path)
    found: object = None
    with suppress(OSError, ValueError, AttributeError, RuntimeError):
        if path.is_dir():
            found = _of_folder(path)
        elif path.suffix == ".nc":
            import netCDF4

            with netCDF4.Dataset(path) as stored:
                found = getattr(stored, MADE_BY, None)
        else:
            found = _in_bytes(path)
    return str(found) if found else None


def _of_folder(path: Path) -> object:
    for name in (MARKER, "config.json", ".zattrs", "zarr.json"):
        if (path / name).is_file():
            content = json.loads((path / name).read_text(encoding="utf-8"))
            return {**content, **content.get("attributes", {})}.get(MADE_BY)
    return None


def _in_bytes(path: Path) -> str | None:
    """Find the marker in the metadata of a figure or a deployed forecaster."""
    with path.open("rb") as stream:
        first = stream.read(_ENDS)
        stream.seek(max(0, path.stat().st_size - _ENDS))
        match = _IN_BYTES.search(first) or _IN_BYTES.search(stream.read())
    return match[1].decode() if match else None

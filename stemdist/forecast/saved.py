"""The files of a saved forecaster: their names, digests, and whether a folder is one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file

from stemdist.errors import InputError
from stemdist.files import sha256_of_file
from stemdist.forecast.base import Forecaster

FILES = {"config.json", "weights.safetensors", "locations.nc"}
HASHED = ("weights.safetensors", "locations.nc")

DAMAGE = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    SafetensorError,
)
"""Exceptions that unreadable, truncated or foreign files raise."""


def check_digests(folder: Path, stored: Mapping[str, str]) -> None:
    """Raise :class:`ValueError` unless files have the digests that were stored with them."""
    changed = [name for name, digest in stored.items() if sha256_of_file(folder / name) != digest]
    if changed:
        raise ValueError(f"{', '.join(changed)} is not the file that was written (SHA-256)")


def save_weights(forecaster: Forecaster, path: Path) -> None:
    """Write the weights of a forecaster as safetensors."""
    save_file({k: v.contiguous() for k, v in forecaster.state_dict().items()}, path)


def check_replaceable(folder: str | Path) -> None:
    """Raise unless ``folder`` is free, empty, or holds a saved forecaster and nothing else."""
    folder = Path(folder)
    if not folder.exists():
        return
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    if present and not (folder.is_dir() and "config.json" in present and present <= FILES):
        raise InputError(
            f"{str(folder)!r} exists and is not a saved forecaster alone (it would be replaced): "
            "choose another folder"
        )

"""Fixtures every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Return a function that finds a real data file by name, or skips the test."""

    def find(name: str) -> Path:
        folder = os.environ.get("STEMDIST_DATA")
        if not folder:
            pytest.skip(f"needs the real data file {name}: set STEMDIST_DATA to its folder")
        path = Path(folder) / name
        if not path.exists():
            pytest.skip(f"needs the real data file {name}, which STEMDIST_DATA={folder} lacks")
        return path

    return find

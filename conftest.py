"""Settings of every test, and of every example in a docstring."""

import os
from pathlib import Path

import pytest

# They run in several processes, whose threads would wait for one another. Read when numpy and
# torch are loaded, so before any of them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent

# What `pytest -m "not slow and not integration"` leaves out (CONTRIBUTING.md): folders and files
# whose tests are all marked. A single slow test beside quick ones is marked where it stands.
INTEGRATION = ("tests/cli", "tests/integration", "tests/test_api.py")
SLOW = ()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of slow folders and files, and their examples."""
    for item in items:
        place = item.path.relative_to(ROOT)
        for mark, marked in (("integration", INTEGRATION), ("slow", SLOW)):
            if any(place.is_relative_to(folder) for folder in marked):
                item.add_marker(mark)

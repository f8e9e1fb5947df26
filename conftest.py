"""Settings of every test, and of every example in a docstring."""

import os
from pathlib import Path

import pytest

# They run in several processes, whose threads would wait for one another. Read when numpy and
# torch are loaded, so before any of them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent

# What `pytest -m "not slow and not integration"` leaves out (CONTRIBUTING.md): folders and files
# whose tests and examples are all marked. A slow test beside quick ones is marked where it stands.
MARKED = {
    "integration": (
        "stemdist/__init__.py",
        "stemdist/accessor.py",
        "stemdist/api.py",
        "tests/cli",
        "tests/integration",
        "tests/sharing",
        "tests/test_api.py",
        "tests/test_docs.py",
        "tests/test_front_desk.py",
        "tests/test_lazy_packages.py",
    ),
    "slow": (
        "stemdist/data/catalogue.py",
        "stemdist/data/source.py",
        "stemdist/distill/distilled.py",
        "stemdist/distill/figures.py",
        "stemdist/distill/pipeline.py",
        "stemdist/distill/settings.py",
        "stemdist/distill/synthesizers",
        "stemdist/evaluate/comparison",
        "stemdist/evaluate/grid",
        "stemdist/evaluate/report",
        "stemdist/forecast/deploy.py",
        "stemdist/forecast/fit.py",
        "stemdist/forecast/folding.py",
        "stemdist/forecast/task.py",
        "stemdist/forecast/task_options.py",
        "stemdist/students",
        "tests/data/simulate",
        "tests/data/test_source.py",
        "tests/data/test_wild.py",
        "tests/distill/synthesizers",
        "tests/distill/test_device.py",
        "tests/distill/test_distilled.py",
        "tests/distill/test_experts.py",
        "tests/distill/test_integrity.py",
        "tests/distill/test_parametrisations.py",
        "tests/distill/test_pipeline.py",
        "tests/distill/test_problem.py",
        "tests/distill/test_source_range.py",
        "tests/distill/test_synthesizer.py",
        "tests/evaluate/comparison",
        "tests/evaluate/grid",
        "tests/evaluate/leaderboard",
        "tests/evaluate/report",
        "tests/forecast/forecasters",
        "tests/forecast/test_callbacks.py",
        "tests/forecast/test_calendar_choice.py",
        "tests/forecast/test_deploy.py",
        "tests/forecast/test_fitted.py",
        "tests/forecast/test_folding.py",
        "tests/forecast/test_layouts.py",
        "tests/forecast/test_outputs.py",
        "tests/forecast/test_train.py",
        "tests/graph/test_clustering.py",
        "tests/graph/test_scikit_learn.py",
        "tests/students/teachers",
        "tests/students/test_teach.py",
        "tests/students/test_teacher_outputs.py",
        "tests/test_reference.py",
    ),
}


def marks_of(path: Path) -> set[str]:
    """Return the marks of all tests in a file or folder."""
    place = path.relative_to(ROOT)
    return {
        mark
        for mark, marked in MARKED.items()
        if any(place.is_relative_to(folder) for folder in marked)
    }


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import what the marks leave out: it would take as long as the quick tests."""
    left_out = any(f"not {mark}" in config.option.markexpr for mark in marks_of(collection_path))
    return True if left_out else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of whole files and folders."""
    for item in items:
        for mark in marks_of(item.path):
            item.add_marker(mark)

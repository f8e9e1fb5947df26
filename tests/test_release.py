"""What a release needs: one version everywhere, workflows that name files that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_version_is_the_same_everywhere():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == VERSION
    changes = (ROOT / "CHANGELOG.md").read_text()
    latest = re.search(r"^## \[(?!Unreleased)(.+?)\] - \d{4}-\d\d-\d\d$", changes, re.MULTILINE)
    unreleased = f"The contents of {VERSION}, the first release." in changes
    assert unreleased if latest is None else latest.group(1) == VERSION


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_workflows_and_templates_can_be_read(path):
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict)
    for job in content.get("jobs", {}).values():
        assert job.get("timeout-minutes") or job["needs"]


def test_what_the_release_guide_names_exists():
    for name in ("CHANGELOG.md", "CITATION.cff", "benchmarks/golden_results.py"):
        assert name in (ROOT / "RELEASING.md").read_text()
        assert (ROOT / name).exists()
    assert "## What is public" in (ROOT / "CONTRIBUTING.md").read_text()

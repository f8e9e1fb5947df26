"""What a release needs: one version and one date everywhere, checks that agree, whole archives."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
VERSION = PROJECT["version"]
CONDA_NAMES = {
    "dask": "dask-core",
    "netCDF4": "netcdf4",
    "torch": "pytorch",
    "torch-geometric": "pytorch_geometric",
}
CONDA_ONLY = {"python", "docstring_parser", "typeshed-client"}


@pytest.fixture
def ci(monkeypatch):
    """The scripts of continuous integration, to be imported."""
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def requirement(text: str) -> tuple[str, str]:
    """Return the name, without extras, and the lowest release of a dependency."""
    name, _, lowest = re.sub(r"\[.*?\]", "", text).partition(">=")
    return name.strip(), lowest.strip()


def workflow(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())


def steps(job: dict) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_version_and_date_are_the_same_everywhere():
    changes = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[(\d.+?)\] - (\d{4}-\d\d-\d\d)$", changes, re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert released[0] == (VERSION, str(citation["date-released"]))
    assert citation["version"] == VERSION
    recipe = yaml.safe_load((ROOT / ".github" / "conda" / "recipe.yaml").read_text())
    assert recipe["context"]["version"] == VERSION


def test_the_citation_has_what_its_format_asks_for():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license", "type"} <= citation.keys()
    assert all("name" in author or "family-names" in author for author in citation["authors"])
    assert citation["license"] == PROJECT["license"]
    assert citation["repository-code"] == PROJECT["urls"]["Source"]


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_workflows_and_templates_can_be_read(path):
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict)
    for job in content.get("jobs", {}).values():
        assert job.get("timeout-minutes") or job["needs"]


def test_what_the_release_guide_names_exists():
    for name in ("CHANGELOG.md", "CITATION.cff", "benchmarks/golden_results.py", ".ci/wheel"):
        assert name in (ROOT / "RELEASING.md").read_text()
        assert (ROOT / name).exists()
    assert "## What is public" in (ROOT / "CONTRIBUTING.md").read_text()


def test_every_python_that_is_promised_is_tested():
    promised = {
        each.rpartition(" ")[2] for each in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", each)
    }
    jobs = workflow("ci.yml")["jobs"]
    assert set(jobs["test"]["strategy"]["matrix"]["python"]) == promised
    assert PROJECT["requires-python"] == f">={min(promised)}"
    assert jobs["lowest"]["steps"][1]["with"]["python-version"] == min(promised)
    systems = jobs["other-systems"]["strategy"]["matrix"]["system"]
    assert {each.partition("-")[0] for each in systems} == {"macos", "windows"}


def test_workflows_run_the_scripts_that_developers_run():
    jobs = workflow("ci.yml")["jobs"]
    assert steps(jobs["lowest"]) == [".ci/lowest"]
    assert steps(jobs["wheel"]) == steps(workflow("release.yml")["jobs"]["build"])
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    for script in ("run", "lowest", "wheel"):
        assert f".ci/{script}" in contributing
        assert os.access(ROOT / ".ci" / script, os.X_OK)
        subprocess.run(["bash", "-n", ROOT / ".ci" / script], check=True)
    assert steps(jobs["coverage"])[-1].split(" --cov-report")[0] in contributing


def test_hooks_are_the_checks_of_continuous_integration():
    (hooks,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = {hook["entry"].removesuffix(" --fix") for hook in hooks["hooks"]}
    script = (ROOT / ".ci" / "run").read_text()
    after_tests = script.partition('-e ".[lint]"\n')[2].split("\n")
    assert {line.removesuffix(" --check") for line in after_tests if line} == entries


def test_floors_are_numbers_that_pip_can_be_given(ci):
    from floors import floors

    found = floors()
    dependencies = dict(map(requirement, PROJECT["dependencies"]))
    pinned = {"torch"}  # by constraints.txt, which no floor may contradict
    assert {name: found.get(name) for name in dependencies.keys() - pinned} == {
        name: lowest for name, lowest in dependencies.items() if name not in pinned
    }
    assert pinned.isdisjoint(found)
    assert {"pyarrow", "optuna", "pytest"} <= found.keys()
    assert {"ruff", "mypy", "mutmut", "pre-commit"}.isdisjoint(found)


def test_the_conda_recipe_asks_for_the_same():
    recipe = yaml.safe_load((ROOT / ".github" / "conda" / "recipe.yaml").read_text())
    ours = {
        CONDA_NAMES.get(name, name): lowest
        for name, lowest in map(requirement, PROJECT["dependencies"])
    }
    theirs = dict(map(requirement, recipe["requirements"]["run"]))
    assert {name: theirs[name] for name in theirs.keys() - CONDA_ONLY} == ours
    assert f">={theirs['python']}" == PROJECT["requires-python"]
    assert (
        requirement(PYPROJECT["build-system"]["requires"][0])[1]
        == dict(map(requirement, recipe["requirements"]["host"]))["hatchling"]
    )
    (script,) = recipe["build"]["python"]["entry_points"]
    assert script == f"stemdist = {PROJECT['scripts']['stemdist']}"


def test_archives_lack_nothing_and_hold_nothing_else(ci, tmp_path):
    from archives import expected, faults_of_source, faults_of_wheel

    for name in (
        *("stemdist/py.typed", "stemdist/cli/info.py", "stemdist/cli/__pycache__/info.pyc"),
        *("datasets/traffic/my-city.yaml", "graphs/generic/knn-8.yaml", "tests/conftest.py"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    whole = expected(tmp_path)
    assert whole == {
        *("stemdist/py.typed", "stemdist/cli/info.py"),
        "stemdist/catalogue/datasets/traffic/my-city.yaml",
        "stemdist/catalogue/graphs/generic/knn-8.yaml",
    }
    metadata = {"stemdist-0.1.0.dist-info/METADATA"}
    assert faults_of_wheel(whole | metadata, tmp_path) == []
    spoiled = (whole | {"tests/test_api.py"}) - {"stemdist/py.typed"}
    assert faults_of_wheel(spoiled, tmp_path) == [
        "the wheel lacks stemdist/py.typed",
        "the wheel should not hold tests/test_api.py",
    ]
    faults = faults_of_source({"stemdist-0.1.0/stemdist/__pycache__/a.pyc"}, tmp_path)
    assert "the source archive lacks tests/conftest.py" in faults
    assert faults[-1] == "the source archive should not hold stemdist/__pycache__/a.pyc"


def test_the_wheel_is_tried_with_the_commands_of_the_readme(ci):
    from readme_lines import lines

    found = lines()
    assert found[0].endswith("-o FILE.nc --settings days=20,n_lat=8,n_lon=10")
    assert {line.split()[1] for line in found} >= {"distill", "info", "train", "predict"}
    assert not any("#" in line or line.startswith("stemdist plot") for line in found)

"""What a user installs: the wheel, put somewhere else and used from there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LIST_CATALOGUE = """
from pathlib import Path
import stemdist.data.catalogue as catalogue
print(Path(catalogue.__file__).resolve())
for name in catalogue.list_datasets():
    print(name, catalogue.dataset_recipe(name).graph)
for name in catalogue.list_graphs():
    print(name, catalogue.graph_recipe(name).method)
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command without the checkout on its path; return what it printed."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env={**inherited, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    run(*build, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_only_stemdist_is_at_top_level(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    (metadata,) = (name for name in top if name.endswith(".dist-info"))
    assert top == {"stemdist", metadata}
    assert "stemdist/py.typed" in names
    assert f"{metadata}/licenses/LICENSE" in names
    assert not [name for name in names if "/catalogue/" in name and not name.endswith(".yaml")]


def test_installed_elsewhere_it_lists_its_catalogue(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    run(*install, "--target", target, wheel, cwd=tmp_path)
    printed = run(
        sys.executable, "-c", LIST_CATALOGUE, cwd=tmp_path, PYTHONPATH=str(target)
    ).splitlines()
    assert Path(printed[0]).is_relative_to(target.resolve())
    listed = {line.split()[0] for line in printed[1:]}
    ours = {path.stem for kind in ("datasets", "graphs") for path in (ROOT / kind).rglob("*.yaml")}
    assert len(ours) > 0
    assert listed == ours

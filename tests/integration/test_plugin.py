"""A plug-in package, built from the example in the documentation and installed with pip."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

from stemdist.data.simulate import make_simulation
from stemdist.errors import InputError
from stemdist.forecast import make_forecaster

ROOT = Path(__file__).resolve().parents[2]
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "my-package"
version = "1.0"

[project.entry-points."stemdist.forecasters"]
last-value = "my_package.forecaster:LastValue"
"""
USE = """
from stemdist.cli import main
from stemdist.forecast import FORECASTERS, make_forecaster
made = make_forecaster("last-value", lookback=4, horizon=2, n_features=1, start=0.5)
print("last-value" in FORECASTERS.names(), type(made).__module__, made.fade.tolist())
for line in (
    "train weather.nc -o model --quiet --lookback 4 --horizon 2 --updates 3"
    " --forecaster last-value --hyperparameters start=0.8",
    "predict model weather.nc -o forecast.nc --quiet",
):
    assert main(line.split()) == 0
"""


def documented_forecaster() -> str:
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (block,) = (block for block in blocks if "class LastValue(Forecaster)" in block)
    return block


def run(*arguments: str | Path, cwd: Path, site: Path | None = None) -> str:
    """Run Python, with the package if a folder is given; return what it printed."""
    path = os.pathsep.join(map(str, [ROOT] if site is None else [ROOT, site]))
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_installed_forecaster_is_found_trains_and_predicts(tmp_path: Path) -> None:
    project, site = tmp_path / "project", tmp_path / "site"
    (project / "my_package").mkdir(parents=True)
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "my_package" / "__init__.py").write_text("")
    (project / "my_package" / "forecaster.py").write_text(documented_forecaster())
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    run("-m", "pip", *install, "--target", site, project, cwd=project)

    make_simulation("weather-sim", days=8, n_lat=3, n_lon=4).write(tmp_path / "weather.nc")
    printed = run("-c", USE, cwd=tmp_path, site=site).splitlines()
    assert printed[0] == "True my_package.forecaster [0.5, 0.25]"
    with xr.open_dataset(tmp_path / "forecast.nc") as forecast:
        assert forecast.sizes["horizon"] == 2
        assert all(values.notnull().all() for values in forecast.data_vars.values())


def test_it_is_unknown_where_it_is_not_installed() -> None:
    with pytest.raises(InputError, match="unknown forecaster 'last-value'"):
        make_forecaster("last-value", lookback=4, horizon=2, n_features=1)

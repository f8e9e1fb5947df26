"""Packages export on first use; no exported name is hidden by the module of the same name."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PACKAGES = ("data", "data.readers", "data.simulate", "distill", "evaluate", "forecast", "graph")
HEAVY = "torch sklearn scipy.stats dask netCDF4 pooch"


def exports(package):
    stub = Path(import_module(package).__file__).with_suffix(".pyi")
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module, name.name) for name in node.names)


@pytest.mark.parametrize("package", [*PACKAGES, "students"])
def test_every_name_is_that_of_its_module(package):
    found = import_module(f"stemdist.{package}")
    for module, name in exports(f"stemdist.{package}"):
        own = import_module(f"stemdist.{package}.{module}")
        assert getattr(found, name) is getattr(own, name), f"{package}.{name}"


@pytest.mark.parametrize("command", ["distill", "train", "teach", "evaluate", "benchmark", "info"])
def test_help_loads_no_large_library(command):
    script = (
        "import sys; from stemdist.cli import main; main([sys.argv[1], '--help']); "
        f"print([name for name in '{HEAVY}'.split() if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, command], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"

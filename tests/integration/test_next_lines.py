"""Every line printed under "next" can be pasted, and opens the data as the line before did."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stemdist.cli import main
from stemdist.distill.methods import EFFORTS

FAST = " --updates 20 --seeds 1 --learning-rates 0.01"


def stations(path: Path) -> None:
    """Two variables on two levels, a name with a space, zeros that mean missing."""
    rng = np.random.default_rng(0)
    time = pd.date_range("2020-01-06", periods=150, freq="h")
    values = 20 + 5 * np.sin(2 * np.pi * np.arange(150) / 24)[:, None, None]
    values = values + rng.normal(0, 1, (150, 2, 5))
    values[rng.random(values.shape) < 0.1] = 0.0
    dims = ("time", "level", "station")
    coords = {"time": time, "level": [850, 500], "station": [f"s{i}" for i in range(5)]}
    data = {"speed": (dims, values, {"units": "m s-1"}), "other": (dims, values + 1)}
    xr.Dataset(data, coords).to_netcdf(path)


def next_lines(text: str) -> list[str]:
    lines = text.partition("\nnext\n")[2].splitlines()
    return [line.strip() for line in lines if line.startswith("  stemdist ")]


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEMDIST_CACHE", str(tmp_path / "cache"))
    quick = {**EFFORTS["quick"]["default"], "judging": {"updates": 20}}
    quick["expert_training"] = {"updates": 20}
    monkeypatch.setitem(EFFORTS, "default", {"default": quick})

    def run(line: str) -> str:
        status = main(shlex.split(line)[1:])
        out, err = capsys.readouterr()
        assert status == 0, f"{line}: {err}"
        return out

    return run


def test_all_next_lines_run(said):
    stations(Path("my data.nc"))
    opening = "--variable speed --select level=850 --null-value 0"
    todo = next_lines(said(f"stemdist info 'my data.nc' {opening}"))
    done: list[str] = []
    while todo:
        line = todo.pop(0)
        done.append(line)
        fast = FAST if line.startswith("stemdist evaluate") else ""
        todo += [new for new in next_lines(said(line + fast)) if new not in done]
        assert len(done) < 12
    assert {line.split()[1] for line in done} >= {"distill", "train", "evaluate", "predict"}
    assert any("--null-value 0" in line and "--select" in line for line in done)
    (forecast,) = Path().glob("*forecast*.nc")
    with xr.open_dataset(forecast) as made:
        assert float(made["speed"].min()) > 5.0  # zeros were missing values, here too

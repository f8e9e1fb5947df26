"""The commands of docs/data.md run as they stand, on small files of the kinds it speaks of."""

from __future__ import annotations

import re
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stemdist.cli import main
from stemdist.distill.methods import EFFORTS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# An address of a bucket, and downloads, need a network; 200 flows take minutes.
ELSEWHERE = ("s3://", "catalogue fetch", "distill los-loop", "simulate navier-stokes")


def commands() -> list[str]:
    blocks = [text for language, text in FENCE.findall(PAGE.read_text()) if not language]
    lines = [line for block in blocks for line in block.splitlines()]
    runnable = [line for line in lines if line.startswith(("stemdist ", "python -m zipfile"))]
    return [line for line in runnable if not any(part in line for part in ELSEWHERE)]


def hours(n: int, start: str = "2019-01-01") -> pd.DatetimeIndex:
    return pd.date_range(start, periods=n, freq="h")


def grid(n_steps: int, name: str, start: str = "2019-01-01", time_name: str = "time") -> xr.Dataset:
    rng = np.random.default_rng(0)
    clock = np.arange(n_steps)[:, None, None]
    wave = 280 + 5 * np.sin(2 * np.pi * clock / 24) + np.arange(4)[:, None] + rng.random((1, 4, 5))
    values = wave + rng.normal(0, 0.3, (n_steps, 4, 5))
    coords = {
        time_name: hours(n_steps, start),
        "latitude": ("latitude", np.linspace(53, 50, 4), {"units": "degrees_north"}),
        "longitude": ("longitude", np.linspace(-2, 2, 5), {"units": "degrees_east"}),
    }
    dims = (time_name, "latitude", "longitude")
    return xr.Dataset({name: (dims, values.astype("float32"), {"units": "K"})}, coords)


def rotated(n_steps: int) -> xr.Dataset:
    """Return a regional climate file: a rotated pole with two-dimensional positions."""
    made = grid(n_steps, "tas").rename(latitude="rlat", longitude="rlon")
    lat, lon = np.meshgrid(np.linspace(45, 48, 4), np.linspace(5, 9, 5), indexing="ij")
    made["tas"].attrs |= {"grid_mapping": "rotated_pole", "coordinates": "lat lon"}
    made["rotated_pole"] = ((), 0, {"grid_mapping_name": "rotated_latitude_longitude"})
    for name, unit in (("rlat", "degrees"), ("rlon", "degrees")):
        made[name].attrs = {"units": unit, "standard_name": f"grid_{name[1:]}itude"}
    made["lat"] = (("rlat", "rlon"), lat, {"units": "degrees_north"})
    made["lon"] = (("rlat", "rlon"), lon, {"units": "degrees_east"})
    return made


def table(n_steps: int, names: list[str]) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    wave = 50 + 10 * np.sin(2 * np.pi * np.arange(n_steps) / 288)[:, None]
    return pd.DataFrame(wave + rng.normal(0, 2, (n_steps, len(names))), columns=names).round(2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("page")
    era5 = place / "data_stream-oper_stepType-instant.nc"
    grid(240, "t2m", time_name="valid_time").to_netcdf(era5)
    with zipfile.ZipFile(place / "download.nc", "w") as archive:
        archive.write(era5, era5.name)
    era5.unlink()
    rotated(240).to_netcdf(place / "cordex.nc")
    (place / "monthly").mkdir()
    for number, start in enumerate(("2019-01-01", "2019-01-06"), 1):
        grid(120, "t2m", start).to_netcdf(place / "monthly" / f"era5-2019-0{number}.nc")
    grid(240, "t2m").to_netcdf(place / "my-era5.nc")
    names = [f"d{i}" for i in range(6)]
    table(900, names).to_csv(place / "speeds.csv", index=False)
    table(900, names).to_csv(place / "my-city.csv", index=False)
    recipes = place / "my-recipes" / "datasets"
    recipes.mkdir(parents=True)
    (yaml,) = [text for language, text in FENCE.findall(PAGE.read_text()) if language == "yaml"]
    (recipes / "my-city.yaml").write_text(yaml)
    return place


def test_there_are_commands() -> None:
    assert len(commands()) > 12


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_page(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("STEMDIST_CATALOGUE", "my-recipes")
    quick = {**EFFORTS["quick"]["default"], "judging": {"updates": 20}}
    quick["expert_training"] = {"updates": 20}
    monkeypatch.setitem(EFFORTS, "default", {"default": quick})
    words = shlex.split(line)
    if words[0] == "python":
        zipfile.main(words[3:])
        assert (folder / "era5").is_dir()
        return
    status = main(words[1:])
    said = capsys.readouterr()
    assert status == 0, said.err
    assert "stemdist: error" not in said.err

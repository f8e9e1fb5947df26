"""Files that look odd and must work: calendars, byte orders, packing, gaps, one location."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from cli_cases import N_STEPS, QUICK_DISTILL, Run, weather

from stemdist.distill import DistilledSet


def cftime(data: xr.Dataset) -> xr.Dataset:
    dates = xr.date_range(
        "2000-02-25", periods=N_STEPS, freq="D", calendar="360_day", use_cftime=True
    )
    return data.assign_coords(time=dates)


def write_packed(data: xr.Dataset) -> None:
    packing = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32768}
    data.where(data["t2m"] > 272).to_netcdf("w.nc", encoding={"t2m": packing})


def write_big_endian(data: xr.Dataset) -> None:
    data.to_netcdf("w.nc")
    with netCDF4.Dataset("w.nc", "a") as file:
        made = file.createVariable("big", ">f8", ("time", "lat", "lon"), endian="big")
        made[:] = data["t2m"].values
    with xr.open_dataset("w.nc") as both:
        loaded = both.load().drop_vars("t2m").rename(big="t2m")
    loaded.to_netcdf("w.nc")


def write(change: Callable[[xr.Dataset], xr.Dataset]) -> Callable[[xr.Dataset], None]:
    return lambda data: change(data).to_netcdf("w.nc")


CASES = {
    "360_day calendar": (write(cftime), "--calendar day_of_year"),
    "packed integers": (write_packed, ""),
    "big-endian": (write_big_endian, ""),
    "one location": (write(lambda d: d.isel(lat=[0], lon=[0])), ""),
    "no locations": (write(lambda d: d.isel(lat=0, lon=0)), ""),
    "descending latitude": (write(lambda d: d.isel(lat=slice(None, None, -1))), ""),
    "a gap in time": (write(lambda d: d.isel(time=[*range(40), *range(50, N_STEPS)])), ""),
    "unsorted times": (
        write(lambda d: d.isel(time=[*range(20, 40), *range(20), *range(40, N_STEPS)])),
        "--repair",
    ),
    "repeated times": (write(lambda d: d.isel(time=[0, 0, *range(1, N_STEPS)])), "--repair"),
    "a chosen level": (
        write(lambda d: d.expand_dims(level=[500, 850]).transpose("time", ...)),
        "--select level=850",
    ),
    "two variables": (write(lambda d: d.assign(v=d["t2m"] ** 2)), "--variable t2m --variable v"),
    "a list of variables": (write(lambda d: d.assign(v=d["t2m"] ** 2)), "--variable t2m,v"),
    "everything kept": (write(lambda d: d), "--time-ratio 1 --space-ratio 1"),
    "no neighbours": (write(lambda d: d), "--no-neighbour-context"),
    "a location never seen": (write(lambda d: d.where(d["lat"] > 50)), ""),
    "a static feature": (write(lambda d: d.assign(height=d["lat"] * d["lon"])), "--static height"),
}
NOTES = {
    "repeated times": "stemdist: 1 rows of repeated times are dropped\n",
    "a location never seen": (
        "stemdist: 4 of 12 locations have no target in the training part and are left out\n"
    ),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_unusual_input_works_end_to_end(case: str, run: Run) -> None:
    write_file, options = CASES[case]
    write_file(weather())
    distilled = run(f"distill w.nc {QUICK_DISTILL} {options}")
    note = NOTES.get(case, "")
    assert (distilled.status, distilled.notes) == (0, note)
    stored = DistilledSet.load("w.distilled.nc")
    assert stored.windows.x.isfinite().all()
    trained = run("train w.distilled.nc --updates 3 -o model")
    assert (trained.status, trained.notes) == (0, "")
    predicted = run("predict model w.nc -o f.nc --quiet")  # how to open it is remembered
    assert (predicted.status, predicted.err) == (0, "")
    with xr.open_dataset("f.nc") as forecast:
        assert forecast["t2m"].sizes["horizon"] == 3
        assert np.isfinite(forecast["t2m"]).any()
    assert not Path(".w.distilled.nc.stemdist-state").exists()
    assert not Path(".model.stemdist-state").exists()

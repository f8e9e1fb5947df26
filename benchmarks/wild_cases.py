"""Files as people have them: opens each case of a folder and says whether it behaves as it must.

Run ``python benchmarks/wild_cases.py CASES``, where CASES holds one folder per case. It prints a
line per case and ends with exit status 1 if one is wrong. Small versions of every kind are in
``tests/data/test_wild.py``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

import stemdist
from stemdist.data import open_raw
from stemdist.data.checks import ValueSummary
from stemdist.data.opening import OpenOptions
from stemdist.data.time_axis import calendar_months, gap_positions, step_seconds
from stemdist.errors import InputError
from stemdist.graph import GraphSettings, build_graph
from stemdist.graph.positions import location_positions

QUICK = {"updates": 4, "validate_every": 4}


def refused(source: Path | xr.Dataset, *words: str, **options: object) -> str:
    """Open a source that must be refused, and check what the message names."""
    text = ""
    try:
        series = stemdist.open_series(source, **options)
        stemdist.train(series, "linear", **QUICK)
    except InputError as error:
        text = str(error)
    absent = [word for word in words if word not in text]
    assert text, "it was accepted"
    assert not absent, f"the message does not name {absent}: {text}"
    return f"refused: {text[:90]}..."


def regular(series: xr.Dataset, seconds: float, steps: int) -> None:
    """Check that a series has one step and no gap."""
    assert series.sizes["time"] == steps, series.sizes
    assert np.isclose(step_seconds(series), seconds), step_seconds(series)
    assert not len(gap_positions(series))


def findings(series: xr.Dataset) -> dict[str, str]:
    """Return what the check of values finds in the target."""
    values = series[series.attrs["target"]].values
    summary = ValueSummary(n_steps=values.shape[0], n_locations=values.shape[1])
    summary.add(values, 0)
    return {f.kind: str(f) for f in summary.findings(None, series["location"].values)}


def neighbours_are_near(series: xr.Dataset) -> None:
    """Check that every edge of the default graph joins points beside each other."""
    graph = build_graph(series, GraphSettings())
    points = location_positions(series).points_km()
    source, target = graph.edge_index.numpy()
    seen = np.isfinite(points).all(axis=1)
    both = seen[source] & seen[target]
    length = np.linalg.norm(points[source[both]] - points[target[both]], axis=1)
    assert length.max() < 4 * np.median(length) + 1, (length.max(), np.median(length))


def forecast_of(source: Path, **options: object) -> xr.Dataset:
    """Train for a moment and return the forecast as it is written and read again."""
    series = stemdist.open_series(source, **options)
    fitted = stemdist.train(series, "linear", **QUICK)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "forecast.nc"
        from stemdist.forecast.forecast_array import as_dataset

        as_dataset(fitted.predict(series)).to_netcdf(path)
        return xr.open_dataset(path, decode_timedelta=True).load()


def zip_of_the_store(case: Path) -> str:
    """01: a ZIP is named; the file in it opens over valid_time."""
    text = refused(case / "era5.nc", "ZIP", "instant")
    regular(stemdist.open_series(case / "instant.nc"), 3600.0, 240)
    return text


def mixed_versions(case: Path) -> str:
    """02: ERA5 and ERA5T are joined."""
    series = stemdist.open_series(case / "era5t.nc")
    assert not series["t2m"].isnull().any()
    return "expver 1 and 5 joined, nothing missing"


def months_since(case: Path) -> str:
    """03: months are months."""
    series = stemdist.open_series(case / "standard.nc")
    assert calendar_months(series) == 1
    assert not len(gap_positions(series))
    valid = forecast_of(case / "standard.nc")["valid_time"].values.ravel()
    assert (np.diff(valid.astype("M8[M]").astype(int)) == 1).all()
    return f"monthly from {series['time'].values[0]}"


def icon(case: Path) -> str:
    """04: radians become degrees, digits become dates."""
    series = stemdist.open_series(case / "icon_rel.nc")
    assert np.abs(series["lat"].values).max() > 60
    regular(series, 3600.0, 240)
    neighbours_are_near(series)
    return "degrees on the sphere, hourly"


def mpas(case: Path) -> str:
    """05: xtime and radians without a unit."""
    series = stemdist.open_series(case / "mpas.nc", variables=["t2m"])
    regular(series, 3600.0, 240)
    assert np.abs(series["lat"].values).max() > 60
    return "xtime read, degrees"


def sentinels(case: Path) -> str:
    """06: valid_min is honoured, -9999 is pointed out and stops."""
    bad = np.load(case / "bad.npy")
    valid = stemdist.open_series(case / "valid.nc")["tas"].values
    assert np.isnan(valid).sum() == bad.sum(), (np.isnan(valid).sum(), bad.sum())
    text = refused(case / "m9999.nc", "-9999", "--null-value")
    told = stemdist.open_series(case / "m9999.nc", null_value=-9999.0)["tas"].values
    assert np.isnan(told).sum() == bad.sum()
    return text


def zeros_of_rain(case: Path) -> str:
    """07: a fill value of 0 is no missing value."""
    series = stemdist.open_series(case / "rain_v2.zarr")
    rain = np.load(case / "rain.npy")
    assert np.allclose(series["rain"].values, rain.reshape(len(rain), -1))
    return f"{(rain == 0).mean():.0%} zeros kept"


def forecast_runs(case: Path) -> str:
    """08: runs are unfolded over valid_time."""
    series = stemdist.open_series(case / "fc.nc")
    regular(series, 3600.0, 240)
    return "20 runs of 12 leads are 240 hours"


def longitude_seams(case: Path) -> str:
    """09: neighbours over Greenwich, the file's order comes back."""
    wide = {}
    for name in ("uk07", "uk180", "uk360"):
        series = stemdist.open_series(case / f"{name}.nc")
        neighbours_are_near(series)
        wide[name] = int(build_graph(series, GraphSettings()).cell[:, 1].max()) + 1
        with xr.open_dataset(case / f"{name}.nc") as raw:
            assert np.array_equal(forecast_of(case / f"{name}.nc")["lon"], raw["lon"])
    assert wide == {"uk07": 12, "uk180": 16, "uk360": 16}, wide
    return f"columns {wide}"


def summer_time(case: Path) -> str:
    """10: the doubled hour is named; offsets give one regular axis."""
    text = refused(case / "autumn_local.csv", "summer time", "--repair")
    regular(stemdist.open_series(case / "autumn_offset.csv"), 3600.0, 480)
    assert len(gap_positions(stemdist.open_series(case / "spring_local.csv"))) == 1
    return text


def tables(case: Path) -> str:
    """11: long, headerless, decimal commas; a damaged Parquet file is refused."""
    assert stemdist.open_series(case / "long.csv").sizes == {"time": 240, "location": 5}
    assert stemdist.open_series(case / "ld.txt")["value"].max() <= 1.0
    start = {"start": "2024-01-01", "step_minutes": 60.0}
    for name in ("traffic.txt.gz", "traffic_headerless.csv"):
        assert stemdist.open_series(case / name, **start).sizes["location"] == 8
    refused(case / "wide.parquet", "damaged")
    return "long, decimal commas, no header, .gz opened; damaged Parquet refused"


def traffic_zeros(case: Path) -> str:
    """12: zeros and dead sensors are named."""
    found = findings(stemdist.open_series(case / "speed.csv"))
    assert "--null-value 0" in found["zeros"]
    assert "773872" in found["constant"]
    assert stemdist.open_series(case / "fixed.h5").sizes["location"] == 20
    return found["zeros"]


def station_files(case: Path) -> str:
    """13: names are ids; ragged files unfold."""
    for name in ("ortho.nc", "ragged.nc"):
        series = stemdist.open_series(case / name)
        assert series.sizes == {"time": 240, "location": 12}, series.sizes
        assert str(series["location"].values[0]) == "STN000"
    assert str(forecast_of(case / "ragged.nc")["location"].values[0]) == "STN000"
    return "12 named stations, 240 times, from both layouts"


def rounded_times(case: Path) -> str:
    """14: half hours rounded to single precision."""
    regular(stemdist.open_series(case / "half.nc"), 1800.0, 480)
    return "every 30 minutes, no gap"


def bounds_and_clocks(case: Path) -> str:
    """15: the one field is the target."""
    series = stemdist.open_series(case / "cesm.nc")
    assert series.attrs["target"] == "TREFHT"
    return "target TREFHT, calendar noleap"


def groups(case: Path) -> str:
    """16: the group is named, and longitude by latitude comes back so."""
    text = refused(case / "grouped.nc", "--group Grid")
    series = stemdist.open_series(case / "grouped.nc", group="Grid")
    assert series.attrs["target"] == "precipitation"
    dims = forecast_of(case / "flat.nc")["precipitation"].dims[-2:]
    assert dims == ("lon", "lat"), dims
    return text


def curvilinear(case: Path) -> str:
    """17: land is left out, the seam is closed."""
    series = stemdist.open_series(case / "pop.nc")
    land = np.load(case / "land.npy")
    sea = series.isel(location=~land.ravel())
    graph = build_graph(sea, GraphSettings())
    columns = graph.cell[:, 1][graph.edge_index]
    seam = int((columns[0] - columns[1]).abs().max())
    assert seam == series["SST"].sizes["location"] // land.shape[0] - 1, seam
    forecast = forecast_of(case / "pop.nc")
    assert {"TLAT", "TLONG"} <= set(forecast.coords)
    return f"{int((~land).sum())} sea points, seam closed, TLAT and TLONG written"


def kilometres(case: Path) -> str:
    """18: km are km."""
    series = stemdist.open_series(case / "km.nc")
    with xr.open_dataset(case / "km.nc") as raw:
        assert np.allclose(series["x"].values, raw["x"].values * 1000.0)
    return f"{series['x'].values.max() / 1000:g} km wide"


def layouts(case: Path) -> str:
    """20: one forecaster, the same forecast at the same place."""
    series = stemdist.open_series(case / "orig.nc")
    fitted = stemdist.train(series, "linear", **QUICK)
    first = fitted.predict(series)
    for name in ("asc.nc", "llt.nc"):
        other = fitted.predict(stemdist.open_series(case / name))
        other = other.sel(latitude=first["latitude"], longitude=first["longitude"])
        np.testing.assert_allclose(other.transpose(*first.dims), first, rtol=1e-5)
    return "ascending latitude and (lat, lon, time) forecast the same"


def several_files(case: Path) -> str:
    """21: a folder and a pattern are one series."""
    for source in (case / "folder", f"{case}/folder/*.nc"):
        regular(stemdist.open_series(source), 3600.0, 240)
    return "folder and pattern: 240 hours"


def attributes(case: Path) -> str:
    """22: None, truth values and mappings do not stop what is written."""
    for name in ("c_bool.zarr", "c_none.zarr"):
        forecast_of(case / name)
    raw = open_raw(case / "c_none.zarr", OpenOptions()).load()
    raw["t2m"].attrs.update(a=None, b=True, c={"d": 1}, e=["x", "y"], f=np.bool_(True))
    tiny = stemdist.distill_series(raw, method="k-center", judging={"updates": 2})
    with tempfile.TemporaryDirectory() as folder:
        tiny.save(Path(folder) / "a.nc")
    return "forecast and distilled set written"


def rotated_pole(case: Path) -> str:
    """25: rlat, rlon and the grid mapping come back."""
    forecast = forecast_of(case / "cordex.nc")
    assert forecast["tas"].dims[-2:] == ("rlat", "rlon")
    assert {"lat", "lon", "rotated_pole"} <= set(forecast.variables)
    return "on rlat, rlon with its grid mapping"


def unusual_times(case: Path) -> str:
    """26: steps of 40 ms; dates with a zone; descending times; a missing leap day."""
    regular(stemdist.open_series(case / "subsec.nc"), 0.04, 240)
    zoned = pd.date_range("2024-01-01", periods=40, freq="h", tz="Europe/Berlin")
    values = (("time", "station"), np.random.default_rng(0).normal(size=(40, 2)))
    raw = xr.Dataset({"v": values}, {"time": zoned})
    assert stemdist.open_series(raw)["time"].values[0] == np.datetime64("2023-12-31T23:00")
    naive = xr.Dataset({"v": values}, {"time": zoned.tz_localize(None)})
    refused(naive.isel(time=slice(None, None, -1)), "--repair")
    days = pd.date_range("2023-12-01", periods=120)
    days = days[~((days.month == 2) & (days.day == 29))]
    leap = xr.Dataset({"v": ("time", np.arange(119.0))}, {"time": days})
    assert len(gap_positions(stemdist.open_series(leap))) == 1
    return "40 ms steps, UTC, sorting offered, the leap day is a gap"


def remembered_null_value(case: Path) -> str:
    """27: what means 'missing' is remembered, and its absence refused."""
    from stemdist.cli import main

    path = str(case / "speed.csv")
    with tempfile.TemporaryDirectory() as folder:
        made = f"{folder}/a.nc"
        words = ["--null-value", "0", "--method", "k-center", "--judging.updates", "2", "-q"]
        assert main(["distill", path, "-o", made, *words]) == 0
        again = ["train", made, "--data", path, "--forecaster", "linear", "--updates", "4"]
        assert main([*again, "--validate-every", "4", "-o", f"{folder}/m", "-q"]) == 0
        assert main(["predict", f"{folder}/m", path, "-o", f"{folder}/f.nc", "-q"]) == 0
        fitted = stemdist.FittedForecaster.load(f"{folder}/m")
    text = ""
    try:
        fitted.predict(stemdist.open_series(path))
    except InputError as error:
        text = str(error)
    assert "null_value" in text, text or "zeros were taken for values"
    return "remembered by the commands; refused where Python opens without it"


def space_by_units(case: Path) -> str:
    """28: latitude by units; a global grid is closed."""
    rio = stemdist.open_series(case / "rio.nc")
    graph = build_graph(rio, GraphSettings())
    columns = graph.cell[:, 1][graph.edge_index]
    assert int((columns[0] - columns[1]).abs().max()) == 23
    roms = stemdist.open_series(case / "roms.nc")
    assert location_positions(roms).kind == "lat lon"
    neighbours_are_near(roms)
    return "rioxarray closed round the earth, ROMS on the sphere"


CASES: dict[str, Callable[[Path], str]] = {
    "01": zip_of_the_store,
    "02": mixed_versions,
    "03": months_since,
    "04": icon,
    "05": mpas,
    "06": sentinels,
    "07": zeros_of_rain,
    "08": forecast_runs,
    "09": longitude_seams,
    "10": summer_time,
    "11": tables,
    "12": traffic_zeros,
    "13": station_files,
    "14": rounded_times,
    "15": bounds_and_clocks,
    "16": groups,
    "17": curvilinear,
    "18": kilometres,
    "20": layouts,
    "21": several_files,
    "22": attributes,
    "25": rotated_pole,
    "26": unusual_times,
    "27": remembered_null_value,
    "28": space_by_units,
}


def main(folder: str) -> int:
    """Print a line per case and return the number that are wrong."""
    torch.set_num_threads(1)
    wrong = 0
    for case in sorted(path for path in Path(folder).iterdir() if path.is_dir()):
        check = CASES.get(case.name[:2])
        if check is None:
            continue
        try:
            text, mark = check(case), "right"
        except Exception as error:  # a case that fails must not hide the others
            text, mark = f"{type(error).__name__}: {error}", "WRONG"
            wrong += 1
        print(f"{mark}  {case.name:24} {text}", flush=True)
    print(f"{wrong} wrong")
    return wrong


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1]), 1))

"""A store larger than memory: what distilling and predicting cost beside reading it.

    python benchmarks/out_of_core.py --folder /tmp/out-of-core --steps 80000 --side 200x250
    python benchmarks/out_of_core.py --folder /tmp/out-of-core --scaling

A store of simulated fields is written once (16 GB by default). Then, each in a process of its own
whose memory is limited (``ulimit -v``): the store is read and summed by dask; it is distilled by
``stemdist distill``; a forecaster is trained on the result; and one forecast is made from the last
steps of the store. Printed are seconds, the peak of resident memory, and the ratio to reading.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from stemdist.memory import parse_bytes

MODES = 40
GIB = 2**30


def write_store(path: Path, n_steps: int, sides: tuple[int, int], chunk: tuple[int, int]) -> None:
    """Write smooth random fields with a daily and a yearly cycle, block by block."""
    import pandas as pd
    import xarray as xr
    import zarr

    if path.with_suffix(".done").exists():
        return
    chance = np.random.default_rng(0)
    rows, columns = sides
    y, x = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    waves = chance.uniform(0.5, 9.0, (MODES, 2))
    phase = chance.uniform(0, 2 * np.pi, (MODES, 1, 1))
    patterns = np.cos(2 * np.pi * (waves[:, :1, None] * y + waves[:, 1:, None] * x) + phase)
    patterns = patterns.reshape(MODES, -1).astype(np.float32)
    memory = np.exp(-1 / chance.uniform(6, 200, MODES))
    time_axis = pd.date_range("2000-01-01", periods=n_steps, freq="h")
    cycle = np.cos(2 * np.pi * np.arange(n_steps) / 24) + np.cos(
        2 * np.pi * np.arange(n_steps) / 8766
    )
    empty = xr.Dataset(
        coords={
            "time": time_axis,
            "latitude": ("latitude", np.linspace(60, 20, rows), {"units": "degrees_north"}),
            "longitude": ("longitude", np.linspace(-20, 40, columns), {"units": "degrees_east"}),
        }
    )
    empty.to_zarr(path, mode="w", consolidated=False)
    store = zarr.open_group(path)
    array = store.create_array(
        "t2m",
        shape=(n_steps, rows, columns),
        chunks=(chunk[0], min(rows, chunk[1]), columns),
        dtype="float32",
        compressors=None,
        dimension_names=("time", "latitude", "longitude"),
        attributes={"units": "K", "standard_name": "air_temperature"},
    )
    state, block = np.zeros(MODES), max(chunk[0], 64)
    for begin in range(0, n_steps, block):
        length = min(block, n_steps - begin)
        amplitudes = np.empty((length, MODES), dtype=np.float32)
        for step in range(length):
            state = memory * state + np.sqrt(1 - memory**2) * chance.standard_normal(MODES)
            amplitudes[step] = state
        fields = amplitudes @ patterns
        fields += 0.3 * chance.standard_normal(fields.shape, dtype=np.float32)
        fields += (280 + 4 * cycle[begin : begin + length, None]).astype(np.float32)
        array[begin : begin + length] = fields.reshape(length, rows, columns)
    path.with_suffix(".done").touch()


def limited(command: list[str], limit: int | None) -> tuple[float, float, str]:
    """Run a command with limited address space: seconds, peak GiB, and its output."""
    script = (
        "import resource, subprocess, sys, json\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "print(json.dumps([peak, done.returncode, done.stdout, done.stderr]))"
    )

    def bound() -> None:
        if limit:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script, *command], preexec_fn=bound, capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    peak, status, out, err = json.loads(done.stdout)
    if status:
        print(err[-3000:], file=sys.stderr)
        raise SystemExit(f"{' '.join(command)}: status {status}")
    return seconds, peak * 1024 / GIB, out + err


READ = """
import sys, xarray as xr
print(float(xr.open_zarr(sys.argv[1], consolidated=False)["t2m"].sum()))
"""


SCALES = (2_000, 20_000, 200_000, 1_000_000)
FIXED = 2_000


def stemdist(*words: str) -> list[str]:
    """Return a command line."""
    return [sys.executable, "-m", "stemdist", *words]


def store_in(folder: Path, n_steps: int, side: str, chunk: str) -> Path:
    """Return a store of so many steps and rows x columns, written if it is not there."""
    store = folder / f"fields-{n_steps}-{side}-{chunk}.zarr"
    shapes = (tuple(map(int, text.split("x"))) for text in (side, chunk))
    write_store(store, n_steps, *shapes)
    return store


def one_store(chosen: argparse.Namespace) -> None:
    """Read, describe, distil, train and predict one store."""
    store = store_in(chosen.folder, chosen.steps, chosen.side, chosen.chunk)
    rows, columns = map(int, chosen.side.split("x"))
    size, limit = 4 * chosen.steps * rows * columns, int(chosen.limit * GIB)
    print(f"{store.name}: {size / 1e9:.2f} GB, {os.cpu_count()} cores, limit {chosen.limit} GiB")
    tiny, model, forecast = (chosen.folder / name for name in ("tiny.nc", "model", "forecast.nc"))
    reading, peak, _ = limited([sys.executable, "-c", READ, str(store)], limit)
    print(f"read once        {reading:8.1f} s  {peak:5.2f} GiB", flush=True)
    budget = ["--memory", chosen.memory]
    seconds, peak, said = limited(stemdist("info", str(store), *budget), limit)
    print(f"info             {seconds:8.1f} s  {peak:5.2f} GiB")
    print(said[said.index("to distil") :], flush=True)
    words = ["distill", str(store), *budget, *chosen.extra.split(), "-o", str(tiny), "--force"]
    seconds, peak, said = limited(stemdist(*words), limit)
    print(f"distill          {seconds:8.1f} s  {peak:5.2f} GiB  {seconds / reading:.1f} readings")
    print(said, flush=True)
    words = ["train", str(tiny), "--forecaster", "mlp", "--updates", "500", "-o", str(model)]
    seconds, peak, _ = limited(stemdist(*words, "--force"), limit)
    print(f"train            {seconds:8.1f} s  {peak:5.2f} GiB", flush=True)
    libraries = "import stemdist.forecast.fitted, stemdist.evaluate, torch_geometric, netCDF4, zarr"
    nothing, _, _ = limited([sys.executable, "-c", libraries], limit)
    words = ["predict", str(model), str(store), "-o", str(forecast), "--force"]
    seconds, peak, _ = limited(stemdist(*words), limit)
    print(f"predict once     {seconds:8.1f} s  {peak:5.2f} GiB, of which imports {nothing:.1f} s")


def scaling(chosen: argparse.Namespace) -> None:
    """Distil stores of ever more locations, then of ever more steps; draw and extrapolate."""
    import pandas as pd

    rows = []
    for along in ("locations", "steps"):
        for size in (each for each in SCALES if each <= chosen.largest):
            n_locations, n_steps = (size, FIXED) if along == "locations" else (FIXED, size)
            side = f"{n_locations // 50}x50"
            chunk = f"{max(1, min(n_steps, 8_000_000 // n_locations))}x{n_locations // 50}"
            store = store_in(chosen.folder, n_steps, side, chunk)
            limit = int(chosen.limit * GIB)
            reading, _, _ = limited([sys.executable, "-c", READ, str(store)], limit)
            tiny = chosen.folder / "tiny.nc"
            # As if no more memory were there than the smallest store needs: all are sampled.
            words = ["distill", str(store), "--memory", chosen.memory, "--effort", "quick"]
            seconds, peak, _ = limited(stemdist(*words, "-o", str(tiny), "--force"), limit)
            read = json.loads(record_of(tiny)).get("read")
            row = {"along": along, "locations": n_locations, "steps": n_steps}
            row |= {"gigabytes": 4 * n_locations * n_steps / 1e9, "read_seconds": reading}
            row |= {"distill_seconds": seconds, "peak_gib": peak, "sampled": read != "everything"}
            rows.append(row)
            print(row, flush=True)
            shutil.rmtree(store)
            store.with_suffix(".done").unlink()
    table = pd.DataFrame(rows)
    table.to_csv(chosen.folder / "scaling.csv", index=False)
    draw(table, chosen.folder / "out-of-core.png", parse_bytes(chosen.memory) / GIB)


def record_of(tiny: Path) -> str:
    """Return the record of a distilled set as JSON text."""
    import xarray as xr

    with xr.open_dataset(tiny) as stored:
        return str(stored.attrs["record"])


def draw(table: Any, path: Path, budget: float) -> None:
    """Draw seconds and peak memory against locations and steps."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9, 6), sharex="col", layout="constrained")
    for column, (along, part) in enumerate(table.groupby("along", sort=False)):
        time_axis, memory_axis = axes[:, column]
        time_axis.loglog(part[along], part["distill_seconds"], "o-", label="distill --effort quick")
        time_axis.loglog(part[along], part["read_seconds"], "s--", label="reading once")
        memory_axis.semilogx(part[along], part["peak_gib"], "o-")
        memory_axis.axhline(budget, color="grey", linestyle=":", label="budget")
        memory_axis.set(xlabel=f"{along} (the other: {FIXED:,})", ylim=(0, 1.2 * budget))
    axes[0, 0].set(ylabel="seconds")
    axes[1, 0].set(ylabel="peak memory, GiB")
    axes[0, 0].legend()
    axes[1, 0].legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure one store, or many of different sizes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("/tmp/out-of-core"))
    parser.add_argument("--steps", type=int, default=80_000)
    parser.add_argument("--side", default="200x250", help="rows x columns of the grid")
    parser.add_argument("--chunk", default="160x200", help="steps x rows of a chunk")
    parser.add_argument("--limit", type=float, default=4.0, help="GiB of address space")
    parser.add_argument("--memory", default="3GiB", help="the budget given to distill")
    parser.add_argument("--extra", default="", help="further options of distill")
    parser.add_argument("--scaling", action="store_true", help="stores of many sizes instead")
    parser.add_argument("--largest", type=int, default=SCALES[-1])
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    (scaling if chosen.scaling else one_store)(chosen)


if __name__ == "__main__":
    main()

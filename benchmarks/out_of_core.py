"""A store larger than memory: what distilling and predicting cost beside reading it.

    python benchmarks/out_of_core.py --folder /tmp/out-of-core --steps 80000 --side 200x250

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
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

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


def main() -> None:
    """Write the store, then print a line for each thing that is done with it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("/tmp/out-of-core"))
    parser.add_argument("--steps", type=int, default=80_000)
    parser.add_argument("--side", default="200x250", help="rows x columns of the grid")
    parser.add_argument("--chunk", default="160x200", help="steps x rows of a chunk")
    parser.add_argument("--limit", type=float, default=4.0, help="GiB of address space")
    parser.add_argument("--memory", default="3GiB", help="the budget given to distill")
    parser.add_argument("--extra", default="", help="further options of distill")
    chosen = parser.parse_args()
    sides = tuple(map(int, chosen.side.split("x")))
    chunk = tuple(map(int, chosen.chunk.split("x")))
    chosen.folder.mkdir(parents=True, exist_ok=True)
    store = chosen.folder / f"fields-{chosen.steps}-{chosen.side}-{chosen.chunk}.zarr"
    write_store(store, chosen.steps, sides, chunk)
    size = 4 * chosen.steps * sides[0] * sides[1]
    print(f"{store.name}: {size / 1e9:.2f} GB, {os.cpu_count()} cores, limit {chosen.limit} GiB")
    limit, python = int(chosen.limit * GIB), sys.executable
    tiny, model = chosen.folder / "tiny.nc", chosen.folder / "model"
    reading, peak, _ = limited([python, "-c", READ, str(store)], limit)
    print(f"read once        {reading:8.1f} s  {peak:5.2f} GiB", flush=True)
    seconds, peak, said = limited(
        [python, "-m", "stemdist", "info", str(store), "--no-scan"], limit
    )
    print(f"info             {seconds:8.1f} s  {peak:5.2f} GiB")
    print("\n".join(line for line in said.split("\n") if "distil" in line), flush=True)
    common = ["--memory", chosen.memory, *chosen.extra.split()]
    seconds, peak, said = limited(
        [python, "-m", "stemdist", "distill", str(store), *common, "-o", str(tiny), "--force"],
        limit,
    )
    print(f"distill          {seconds:8.1f} s  {peak:5.2f} GiB  {seconds / reading:.1f} readings")
    print(said, flush=True)
    train = [python, "-m", "stemdist", "train", str(tiny), "--forecaster", "mlp", "--force"]
    seconds, peak, _ = limited([*train, "--updates", "500", "-o", str(model)], limit)
    print(f"train            {seconds:8.1f} s  {peak:5.2f} GiB", flush=True)
    seconds, peak, _ = limited(
        [python, "-m", "stemdist", "predict", str(model), str(store), "--force"]
        + ["-o", str(chosen.folder / "forecast.nc")],
        limit,
    )
    print(f"predict once     {seconds:8.1f} s  {peak:5.2f} GiB", flush=True)


if __name__ == "__main__":
    main()

"""Memory that a task needs for each value of the source, complete and with gaps.

    python benchmarks/memory_per_value.py --values 4e8

A float32 grid is written to a NetCDF file block by block, and a task with neighbour means, the
default, is built from it in a process of its own. Printed is the highest resident memory that this
added, in bytes per value of the source; what stays is 9 (two features and a mask).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import netCDF4
import numpy as np

SIDE = 200


def write(path: Path, n_steps: int, share_missing: float) -> None:
    """Write hourly values on a grid of SIDE x SIDE points."""
    rng = np.random.default_rng(0)
    with netCDF4.Dataset(path, "w") as file:
        for name, size in (("time", n_steps), ("lat", SIDE), ("lon", SIDE)):
            file.createDimension(name, size)
            axis = file.createVariable(name, "f8", (name,))
            axis[:] = np.arange(size) * (1.0 if name == "time" else 0.1)
        file["time"].units = "hours since 2000-01-01"
        file["lat"].units, file["lon"].units = "degrees_north", "degrees_east"
        made = file.createVariable(
            "v", "f4", ("time", "lat", "lon"), chunksizes=(50, SIDE, SIDE), fill_value=np.nan
        )
        made.units = "K"
        for begin in range(0, n_steps, 50):
            clock = np.arange(begin, min(begin + 50, n_steps))[:, None, None]
            block = np.sin(clock * 2 * np.pi / 24) + rng.normal(size=(len(clock), SIDE, SIDE))
            block[rng.random(block.shape) < share_missing] = np.nan
            made[begin : begin + 50] = block


def measured(path: Path) -> str:
    """Build a task in this process and return what it took."""
    from stemdist.data import open_series
    from stemdist.forecast import ForecastTask
    from stemdist.profiling import measure

    series = open_series(path)
    with measure() as cost:
        task = ForecastTask.from_series(series)
        task.content_hash  # noqa: B018
    count = series["v"].size
    return (
        f"{cost.added_memory_bytes / count:.2f} bytes per value at the peak, "
        f"{cost.wall_seconds:.0f} s"
    )


def main() -> None:
    """Print a line for complete data and one for data with gaps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--values", type=float, default=4e8)
    parser.add_argument("--file", type=Path, help="measure this file, in this process")
    chosen = parser.parse_args()
    if chosen.file is not None:
        print(measured(chosen.file))
        return
    n_steps = int(chosen.values / SIDE**2)
    with tempfile.TemporaryDirectory() as folder:
        for what, share in (("complete", 0.0), ("10 % missing", 0.1)):
            path = Path(folder) / "data.nc"
            write(path, n_steps, share)
            command = [sys.executable, __file__, "--file", str(path)]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            print(f"{n_steps * SIDE**2:.3g} values, {what:13} {said.strip()}", flush=True)


if __name__ == "__main__":
    main()

"""Hashes of results that must not change when the code is restructured.

Runs fixed commands and compares hashes of the numbers they write with those stored in
``golden_results.json``, bit for bit::

    python benchmarks/golden_results.py            # all, about ten minutes on one core
    python benchmarks/golden_results.py --quick    # small data only, two minutes
    python benchmarks/golden_results.py --write    # store what is found, after a change of numbers

Floating-point results differ between processors and versions of torch, so the stored hashes are
those of one machine, named in the file. On another one, check out the commit to compare with,
run it with ``--write`` there, and compare then.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch
import xarray as xr
from safetensors.numpy import load_file

STORED = Path(__file__).with_suffix(".json")
LATER = ("calendar_feature", "static_feature", "lead_time")  # labels that came after the hashes
COSTS = ("seconds", "memory", "bytes")
LATER_COLUMNS = ("standardised",)  # of tables
BRIEF = "--judging.updates 10 --expert-training.updates 40"
ITERATIONS = {
    "default": "iterations=1,steps=20,final_iterations=1",
    "frepo": "iterations=1,steps=20,final_iterations=1",
    "dm": "iterations=1",
}
METHODS = (
    "default stemdist random kmeans k-center herding condtsf mtt tesla datm timedc moments frepo "
    "rat-bptt dm"
)


def main() -> int:
    """Run the commands, then compare or store, and print differences."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="leave out the full traffic-sim")
    parser.add_argument("--write", action="store_true", help="store the hashes")
    options = parser.parse_args()
    machine = f"{_processor()}, torch {torch.__version__}, numpy {np.__version__}"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ["STEMDIST_CACHE"] = str(Path(folder, "cache"))
        found = {}
        for name, digest in _results(quick=options.quick):
            found[name] = digest
            print(f"{name:24} {digest}", flush=True)
    if options.write:
        content = {"machine": machine, "hashes": found}
        STORED.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return 0
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    different = [name for name, digest in found.items() if stored["hashes"].get(name) != digest]
    for name in different:
        print(f"different: {name}: {found[name]}, stored {stored['hashes'].get(name)}")
    print(f"{len(found) - len(different)} of {len(found)} equal")
    if different and stored["machine"] != machine:
        print(f"this machine: {machine}\nstored by:    {stored['machine']}")
    return int(bool(different))


def _results(*, quick: bool) -> Iterator[tuple[str, str]]:
    """Yield the name and the hash of each result."""
    _run("simulate weather-sim -o weather.nc --settings days=8,n_lat=5,n_lon=6")
    for method in METHODS.split():
        options = ITERATIONS.get(method, "")
        if not options and method in (
            "stemdist",
            "condtsf",
            "mtt",
            "tesla",
            "datm",
            "timedc",
            "rat-bptt",
        ):
            options = "iterations=1"
        chosen = f"--synthesizer-options {options}" if options else ""
        _run(f"distill weather.nc --method {method} {chosen} {BRIEF} -o {method}.distilled.nc")
        yield f"distill {method}", _hash_of_netcdf(f"{method}.distilled.nc")
    _run(
        "distill weather.nc --time-ratio 0.02 --calendar time_of_day "
        f"--synthesizer-options {ITERATIONS['default']} {BRIEF} -o few.distilled.nc"
    )
    yield "distill few windows", _hash_of_netcdf("few.distilled.nc")
    _run("train default.distilled.nc --data weather.nc --forecaster mlp --updates 50 -o mlp")
    yield "train", _hash_of_weights("mlp")
    _run("predict mlp weather.nc --init-times test --stride 4 -o forecast.nc")
    yield "predict", _hash_of_netcdf("forecast.nc")
    _run(
        "evaluate default.distilled.nc --data weather.nc --forecasters linear,mlp --updates 20 "
        "--seeds 2 -o evaluation"
    )
    yield "evaluate", _hash_of_table("evaluation/table.csv")
    _run(
        "benchmark weather.nc --methods kmeans,moments,random --forecasters linear,mlp "
        "--updates 20 --ratios 0.1x0.2 -o benchmark"
    )
    yield "benchmark", _hash_of_table("benchmark/table.csv")
    for method in ("soft-labels", "timedistill", "distilts", "hints"):
        _run(
            f"teach --data weather.nc --teacher gru --student mlp --method {method} --updates 30 "
            f"--teacher-training.updates 30 -o {method}-student"
        )
        yield f"teach {method}", _hash_of_weights(f"{method}-student")
    if quick:
        return
    _run("distill traffic-sim -o traffic.distilled.nc")
    yield "distill traffic-sim", _hash_of_netcdf("traffic.distilled.nc")
    _run(
        "evaluate traffic.distilled.nc --data traffic-sim --forecasters linear,mlp --updates 100 "
        "--seeds 1 -o traffic-evaluation"
    )
    yield "evaluate traffic-sim", _hash_of_table("traffic-evaluation/table.csv")
    _run(
        "teach --data traffic.distilled.nc --validation traffic-sim --teacher stgcn --student mlp "
        "--updates 100 --teacher-training.updates 60 -o traffic-student"
    )
    yield "teach traffic-sim", _hash_of_weights("traffic-student")


def _run(command: str) -> None:
    """Run a command of the command line without its output."""
    from stemdist.cli import main as stemdist

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = stemdist(command.split())
    if status:
        sys.exit(f"stemdist {command}: exit status {status}\n{said.getvalue()}")


def _hash_of_netcdf(path: str) -> str:
    with xr.open_dataset(path) as stored:
        names = [str(name) for name in stored.variables if name not in LATER]
        return _digest({name: stored[name].values for name in names})


def _hash_of_weights(folder: str) -> str:
    return _digest(load_file(next(Path(folder).glob("*.safetensors"))))


def _hash_of_table(path: str) -> str:
    """Hash a table without what depends on the machine's speed and memory."""
    table = pd.read_csv(path, dtype=str)
    left_out = (*COSTS, *LATER_COLUMNS)
    kept = [name for name in sorted(table) if not any(part in name for part in left_out)]
    return hashlib.sha256(table[kept].to_csv(index=False).encode()).hexdigest()[:16]


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        values = np.asarray(arrays[name])
        text = values.dtype.kind in "OUS"
        digest.update(f"{name} {values.shape}".encode())
        digest.update(str(values.tolist()).encode() if text else values.tobytes())
    return digest.hexdigest()[:16]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


if __name__ == "__main__":
    sys.exit(main())

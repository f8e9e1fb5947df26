"""Kills, twins and full disks: what commands leave behind when the machine fails them.

    python benchmarks/failing_machine.py --kills 50 --twins 10

Every command is killed (SIGKILL) at random moments and run again: its result must be bit-equal to
that of a run left alone, and nothing else may lie beside it. Two identical commands are started at
once and must both end well with equal results. Then every size of the largest file that may be
written is tried, as a full disk would cut it: one line of error, and the old output intact.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "cli"))

from hostile import BRIEF, TASK, Workshop, catalogue_at

from stemdist.cli import main as stemdist

LONGER = "--updates 400 --validate-every 40"
LEARNING = (
    "--experts linear --extra-experts 0 --expert-training.updates 60 --judge-seeds 1 "
    "--judging.updates 20 --time-ratio 0.2 --space-ratio 0.3 --synthesizer-options "
    "iterations=6,steps=6,networks=2,updates=2,surrogates=linear,final_surrogates=mlp"
)
COMMANDS = {
    "distill": (f"distill w.nc {TASK} {LEARNING} -o out.nc", "out.nc"),
    "train": (f"train w.nc {TASK} {LONGER} --forecaster mlp -o out", "out"),
    "teach": (
        f"teach --data w.nc --teacher model --student mlp {TASK} {LONGER} -o out",
        "out",
    ),
    "evaluate": (
        f"evaluate tiny.nc --data w.nc --forecasters linear,mlp --seeds 2 {BRIEF} -o out",
        "out",
    ),
    "benchmark": (
        f"benchmark w.nc --methods kmeans --forecasters linear --seeds 2 {TASK} {BRIEF} "
        "--ratios 0.2x0.3 -o out",
        "out",
    ),
    "predict": ("predict model w.nc --init-times all -o out.nc", "out.nc"),
    "predict-zarr": ("predict model w.nc --init-times all -o out.zarr", "out.zarr"),
    "simulate": (
        "simulate weather-sim -o out.zarr --settings days=20,n_lat=6,n_lon=6 --block-steps 24",
        "out.zarr",
    ),
    "replace": (f"train w.nc {TASK} {BRIEF} --forecaster linear -o model", "model"),
}


def start(line: str, place: Path, *, largest_file: int | None = None) -> int:
    """Run a command in a process of its own and return its number."""
    child = os.fork()
    if child:
        return child
    os.chdir(place)
    os.environ["STEMDIST_CACHE"] = str(place.with_name(place.name + "-cache"))
    if largest_file is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        status = stemdist([*line.split(), "--quiet"])
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    with contextlib.suppress(OSError):
        os.write(2, (err.getvalue() if status not in (0, 2) else "").encode())
    os._exit(status if err.getvalue().count("\n") <= 1 else 99)


def ended(child: int) -> int:
    """Wait for a process; negative is the signal that killed it."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def numbers_of(place: Path, output: str) -> dict[str, bytes]:
    """Return what must be equal: numbers, without times and costs."""
    import pandas as pd
    import xarray as xr

    path = place / output
    if path.suffix in (".nc", ".zarr"):
        with xr.open_dataset(path, engine="zarr" if path.is_dir() else "netcdf4") as stored:
            return {str(name): array.values.tobytes() for name, array in stored.variables.items()}
    if (path / "weights.safetensors").exists():
        return {"weights": (path / "weights.safetensors").read_bytes()}
    table = pd.read_csv(path / "table.csv")
    kept = [name for name in table if not name.endswith(("seconds", "bytes"))]
    return {"table": table[kept].sort_values(kept).to_csv().encode()}


def leftovers(place: Path, output: str, before: set[str]) -> list[str]:
    """Return what lies in a folder that was not there and is not the output."""
    names = {path.name for path in place.iterdir()} - before - {output}
    return sorted([*names, *(str(p) for p in place.rglob("*.stemdist-part"))])


def fresh(workshop: Workshop, scratch: Path, name: str) -> tuple[Path, set[str]]:
    """Return a copy of the inputs, and the names in it."""
    place = scratch / name
    shutil.copytree(workshop.folder, place)
    return place, {path.name for path in place.iterdir()}


def killed(workshop: Workshop, scratch: Path, command: str, times: int) -> str:
    """Kill one command at random moments and return what happened."""
    line, output = COMMANDS[command]
    place, before = fresh(workshop, scratch, f"{command}-whole")
    began = time.perf_counter()
    if ended(start(line, place)):
        return "FAILED even when left alone"
    seconds, wanted = time.perf_counter() - began, numbers_of(place, output)
    chance, faults, hit = random.Random(0), [], 0
    for number in range(times):
        place, before = fresh(workshop, scratch, f"{command}-{number}")
        child = start(line, place)
        time.sleep(chance.uniform(0.02, 1.0) * seconds)
        os.kill(child, signal.SIGKILL)
        hit += ended(child) == -9
        if ended(start(line, place)):
            faults.append("not resumed")
        elif numbers_of(place, output) != wanted:
            faults.append("other numbers")
        elif left := leftovers(place, output, before):
            faults.append(f"left {left}")
        shutil.rmtree(place)
    return f"{hit} of {times} killed in {seconds:.1f} s, {len(faults)} faults {faults[:3]}"


def twins(workshop: Workshop, scratch: Path, command: str, times: int) -> str:
    """Start two identical commands at once and return what happened."""
    line, output = COMMANDS[command]
    faults, wanted = [], None
    for number in range(times):
        place, before = fresh(workshop, scratch, f"{command}-twins-{number}")
        both = [start(line, place), start(line, place)]
        statuses = [ended(child) for child in both]
        if any(statuses):
            faults.append(f"statuses {statuses}")
            continue
        found = numbers_of(place, output)
        wanted = wanted or found
        if found != wanted:
            faults.append("other numbers")
        elif left := leftovers(place, output, before):
            faults.append(f"left {left}")
        shutil.rmtree(place)
    return f"{times} pairs, {len(faults)} faults {faults[:3]}"


def full_disk(workshop: Workshop, scratch: Path, command: str) -> str:
    """Let no file grow beyond ever larger sizes and return what happened."""
    line, output = COMMANDS[command]
    faults, tried, size = [], 0, 100
    while True:
        place, _ = fresh(workshop, scratch, f"{command}-full-{size}")
        status = ended(start(line, place, largest_file=size))
        tried += 1
        if status == 0:
            break
        if status != 2:
            faults.append(f"status {status} at {size} bytes")
        if command != "replace" and (place / output).exists() and output.endswith(".nc"):
            faults.append(f"half written at {size} bytes")
        shutil.rmtree(place)
        size = int(size * 1.7)
    return f"{tried} sizes up to {size} bytes, {len(faults)} faults {faults[:3]}"


def main() -> None:
    """Run all three and print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--twins", type=int, default=10)
    parser.add_argument("--commands", default=",".join(COMMANDS))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, catalogue_at(Path(folder) / "cache"):
        scratch = Path(folder)
        workshop = Workshop.for_forks(scratch / "good")
        checks: dict[str, Callable[[str], str]] = {
            "killed": lambda name: killed(workshop, scratch, name, chosen.kills),
            "twins": lambda name: twins(workshop, scratch, name, chosen.twins),
            "full disk": lambda name: full_disk(workshop, scratch, name),
        }
        for name in chosen.commands.split(","):
            for what, check in checks.items():
                print(f"{name:10} {what:10} {check(name)}", flush=True)


if __name__ == "__main__":
    main()

"""Bad inputs for every command: damaged files, senseless options, outputs that must not be.

``Workshop`` makes a folder of good inputs once; ``attack`` damages a copy of them at random, runs
one command and returns what is wrong with its answer. The test suite and a benchmark share it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import random
import shutil
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from cli_cases import weather

from stemdist.cli import main

HEAVY = ("torch", "torch_geometric", "xarray", "netCDF4", "zarr", "sklearn.cluster", "stemdist.api")
TASK = "--lookback 3 --horizon 2"
BRIEF = "--updates 2 --validate-every 2"
SETS = (
    "--synthesizer selection --experts linear --extra-experts 0 --expert-training.updates 2 "
    "--judge-seeds 1 --judging.updates 2 --time-ratio 0.2 --space-ratio 0.3"
)
DATA = ["w.nc", "w.zarr", "wide.csv", "long.csv", "wide.parquet", "windows", "years.nc"]
# Braces are doubled, because data are filled in.
BRIEF_SETS = (
    '--distill {{"experts":["linear"],"extra_experts":0,"expert_training":{{"updates":2}},'
    '"judge_seeds":1,"judging":{{"updates":2}}}}'
)

COMMANDS: list[str] = [
    "info {data}",
    "info {data} --no-scan",
    f"distill {{data}} {TASK} {SETS} -o out.nc",
    f"train {{data}} {TASK} {BRIEF} --forecaster linear -o out",
    f"export {{data}} {TASK} -o out",
    f"compare {{data}} {TASK} {BRIEF} --forecasters linear --seeds 1 -o out",
    f"train tiny.nc {BRIEF} --forecaster mlp -o out",
    f"train tiny.nc --data w.nc {BRIEF} --forecaster linear -o out",
    f"evaluate tiny.nc --data w.nc --forecasters linear --seeds 1 {BRIEF} -o out",
    "evaluate model --data w.nc -o out",
    "predict model w.nc -o out.nc",
    "predict model {data} -o out.nc --init-times all",
    "deploy model -o out.pt2",
    "plot tiny.nc -o out.png",
    "info tiny.nc",
    f"teach --data w.nc --teacher model --student linear {TASK} {BRIEF} -o out",
    f"benchmark w.nc --methods kmeans --forecasters linear --seeds 1 {TASK} {BRIEF} "
    f"--ratios 0.2x0.3 {BRIEF_SETS} -o out",
    "info w.nc --recipe mine",
    "catalogue show mine",
    f"distill w.nc --config options.yaml {TASK} {SETS} -o out.nc",
    "simulate weather-sim -o out.nc --settings days=2,n_lat=3,n_lon=3",
]

VALUES = [
    "-1", "0", "1e400", "nan", "inf", "''", "99999999999999999999", "1,2", "a", "x=1", "[1", "{",
    "é", "0.5", "--", "true", "1e-300", "../..", "2020-13-45", "\\x00", "w.nc", "None",
]  # fmt: skip
OPTIONS = [
    "--seed", "--lookback", "--horizon", "--split", "--calendar", "--graph", "--null-value",
    "--select", "--variable", "--start", "--step-minutes", "--updates", "--learning-rate",
    "--batch-windows", "--time-ratio", "--space-ratio", "--forecaster", "--reader", "--columns",
    "--settings", "--config", "--device", "--threads", "--accept", "--graph-file", "--targets",
    "--quantiles", "--init-times", "--stride", "--recipe", "--jobs", "--seeds", "--static",
]  # fmt: skip
OUTPUTS = [
    ".", "/", "..", "w.nc", "model", "model/locations.nc", "tiny.nc", "foreign", "foreign.zarr",
    "foreign/notes.txt", "o" * 300 + ".nc", "deep/er/out.nc", "/proc/out.nc", "/dev/full",
    "w.nc/out.nc", "~/..", "mine.nc", "\\x01.nc", "windows", "w.zarr",
]  # fmt: skip


@dataclass(frozen=True)
class Workshop:
    """Good inputs of every kind, and foreign files beside them."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Workshop:
        """Write the inputs; it takes some seconds."""
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.chdir(folder):
            recipes = Path("recipes/datasets")
            recipes.mkdir(parents=True)
            recipe = {"name": "mine", "title": "Mine", "summary": "x", "kind": "file"}
            recipe |= {"instructions": "ask", "licence": "none", "citation": "nobody"}
            recipe["graph"] = "auto"
            (recipes / "mine.yaml").write_text(json.dumps(recipe))
            data = weather()
            data.to_netcdf("w.nc")
            data.to_zarr("w.zarr", zarr_format=2)
            data.to_netcdf("years.nc", format="NETCDF3_64BIT")
            rng = np.random.default_rng(0)
            time = pd.date_range("2020-01-01", periods=90, freq="h", name="time")
            wide = pd.DataFrame(rng.normal(9, 1, (90, 5)), index=time, columns=list("abcde"))
            wide.to_csv("wide.csv")
            wide.reset_index().melt("time", var_name="sensor").to_csv("long.csv", index=False)
            wide.to_parquet("wide.parquet")
            lines = [
                f"export w.nc {TASK} -o windows",
                f"distill w.nc {TASK} {SETS} -o tiny.nc",
                f"train w.nc {TASK} {BRIEF} --forecaster linear -o model",
            ]
            for line in lines:
                with contextlib.redirect_stdout(io.StringIO()):
                    status = main([*line.split(), "--quiet"])
                if status:
                    raise RuntimeError(line)
            Path("foreign").mkdir()
            Path("foreign/notes.txt").write_text("years of work")
            Path("foreign.zarr").mkdir()
            Path("foreign.zarr/notes.txt").write_text("years of work")
            Path("mine.nc").write_text("not yours")
            Path("options.yaml").write_text("time_ratio: 0.3\nsynthesizer: selection\n")
        return cls(folder)

    @classmethod
    def for_forks(cls, folder: Path) -> Workshop:
        """Write the inputs, and import what takes long, so that this process can be forked.

        What it computes must not leave threads in this process, so another one makes the inputs.
        """
        maker = os.fork()
        if not maker:
            cls.make(folder)
            os._exit(0)
        os.waitpid(maker, 0)
        for module in HEAVY:
            importlib.import_module(module)
        return cls(folder)


def attack(workshop: Workshop, place: Path, chance: random.Random) -> tuple[str, list[str]]:
    """Damage a copy of the inputs, run a command, and return its line and what is wrong."""
    shutil.copytree(workshop.folder, place)
    line = chance.choice(COMMANDS).format(data=chance.choice(DATA))
    output = None
    kind = chance.choice(["damage", "damage", "option", "option", "output"])
    with contextlib.chdir(place):
        if kind == "damage":
            named = [word for word in line.split() if Path(word).exists()]
            target = Path(chance.choice([*named, "recipes", "options.yaml"]))
            _damage(target, chance)
        elif kind == "option":
            for _ in range(chance.randint(1, 2)):
                line += f" {chance.choice(OPTIONS)} {chance.choice(VALUES)}"
        else:
            output = chance.choice(OUTPUTS).encode().decode("unicode_escape")
            line = " ".join(line.split(" -o ")[:1]) + " -o OUT"
        before = snapshot(place)
        words = [output if word == "OUT" and output else word for word in line.split()]
        words = [word.encode("latin-1", "ignore").decode("unicode_escape") for word in words]
        faults = _faults(words)
        made = None if _status else _output_of(words)
        faults += _changes(before, snapshot(place), made)
    shutil.rmtree(place, ignore_errors=True)
    return f"{line} [{kind}{f' {output!r}' if output else ''}]", faults


_status = 0


def _faults(words: list[str]) -> list[str]:
    """Run a command and say what is wrong with how it ended and what it printed."""
    global _status
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            _status = main([*words])
    except BaseException as error:
        _status = 1
        where = "".join(traceback.format_tb(error.__traceback__)[-2:])
        return [f"raised {type(error).__name__}: {where}"]
    said = [line for line in err.getvalue().splitlines() if line.strip()]
    faults = []
    if _status not in (0, 2):
        faults.append(f"status {_status}: {' '.join(said)[-300:]}")
    if any("bug in stemdist" in line for line in said):
        faults.append("speaks of a bug")
    errors = [line for line in said if line.startswith("stemdist: error")]
    if _status == 2 and len(errors) != 1:
        faults.append(f"{len(errors)} error lines: {said[-2:]}")
    strange = [line for line in said if not line.startswith("stemdist: ")]
    if strange:
        faults.append(f"prints {strange[0][:200]!r}")
    return faults


def _output_of(words: list[str]) -> str | None:
    place = next((i for i, word in enumerate(words) if word in ("-o", "--output")), None)
    return None if place is None else words[place + 1]


def _changes(before: dict[str, str], after: dict[str, str], made: str | None) -> list[str]:
    """Say what is not as it was, apart from the output of a command that ended well."""

    def is_output(name: str) -> bool:
        return made is not None and Path(made) in (Path(name), *Path(name).parents)

    faults = [
        f"{name} was {'changed' if name in after else 'lost'}"
        for name, digest in before.items()
        if after.get(name) != digest and not is_output(name)
    ]
    new = [name for name in sorted(set(after) - set(before)) if not is_output(name)]
    own = {str(parent) for parent in Path(made).parents} if made else set()
    new = [name for name in new if name not in own]
    if new:
        faults.append(f"left behind {new[:3]}")
    return faults


def snapshot(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file, and the names of all folders."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return found


def _damage(target: Path, chance: random.Random) -> None:
    if target.is_dir():
        files = [path for path in sorted(target.rglob("*")) if path.is_file()]
        target = chance.choice(files)
    content = bytearray(target.read_bytes())
    way = chance.choice(list(WAYS))
    if way == "gone":
        target.unlink()
    elif way == "folder":
        target.unlink()
        target.mkdir()
    else:
        target.write_bytes(WAYS[way](content, chance))


def _truncated(content: bytearray, chance: random.Random) -> bytes:
    return bytes(content[: chance.randrange(len(content) + 1)])


def _flipped(content: bytearray, chance: random.Random) -> bytes:
    for _ in range(chance.choice([1, 5, 50])):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def _header(content: bytearray, chance: random.Random) -> bytes:
    for _ in range(3):
        content[chance.randrange(min(400, len(content)))] = chance.randrange(256)
    return bytes(content)


def _holes(content: bytearray, chance: random.Random) -> bytes:
    begin = chance.randrange(len(content))
    content[begin : begin + 200] = bytes(len(content[begin : begin + 200]))
    return bytes(content)


WAYS: dict[str, Callable[[bytearray, random.Random], bytes]] = {
    "truncated": _truncated,
    "flipped": _flipped,
    "header": _header,
    "holes": _holes,
    "empty": lambda content, chance: b"",
    "noise": lambda content, chance: chance.randbytes(300),
    "text": lambda content, chance: "né: [ä\n".encode("latin-1"),
    "appended": lambda content, chance: bytes(content) + b"\x00\xff,;\n",
    "gone": lambda content, chance: b"",
    "folder": lambda content, chance: b"",
}


@contextlib.contextmanager
def catalogue_at(folder: Path) -> Iterator[None]:
    """Let the recipes of the workshop and a cache of its own be found."""
    old = {name: os.environ.get(name) for name in ("STEMDIST_CATALOGUE", "STEMDIST_CACHE")}
    os.environ["STEMDIST_CATALOGUE"] = "recipes"
    os.environ["STEMDIST_CACHE"] = str(folder)
    try:
        yield
    finally:
        for name, value in old.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

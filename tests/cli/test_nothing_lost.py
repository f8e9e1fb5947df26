"""Inputs, foreign files and other commands' results are never lost, whatever is typed."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from cli_cases import QUICK_DISTILL, Run, weather
from hostile import BRIEF, SETS, TASK, Workshop, attack, catalogue_at, snapshot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stemdist import files, registry
from stemdist.cli import main
from stemdist.cli.failures import printable
from stemdist.cli.outputs import state_folder
from stemdist.files import PART, atomic_path, locked, recovered, sweep
from stemdist.markers import made_by

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("workshop")
    with catalogue_at(folder / "cache"):
        return Workshop.make(folder / "good")


@pytest.fixture
def place(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the inputs, in which the command runs."""
    import shutil

    shutil.copytree(workshop.folder, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


# --- the fuzz suite ------------------------------------------------


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 10**6))
def test_bad_input_of_any_kind(workshop: Workshop, tmp_path: Path, seed: int) -> None:
    with catalogue_at(tmp_path / "cache"):
        line, faults = attack(workshop, tmp_path / f"case-{seed}", random.Random(seed))
    assert not faults, line


# --- outputs -------------------------------------------------------

PROTECTED = [
    (f"teach --data w.nc --teacher model {TASK} {BRIEF} -o model", "also an input"),
    ("predict model w.nc -o model/locations.nc", "lies inside the input"),
    ("predict model w.nc -o w.nc", "also an input"),
    (f"distill w.nc {TASK} {SETS} -o foreign.zarr", "was not made by `stemdist distill`"),
    (f"distill w.nc {TASK} {SETS} -o mine.nc", "replace it with --force"),
    ("predict model w.nc -o tiny.nc", "was made by `stemdist distill`"),
    (f"compare w.nc {TASK} {BRIEF} --forecasters linear -o foreign", "was not made by"),
    (f"train w.nc {TASK} {BRIEF} -o foreign", "was not made by"),
    (f"train w.nc {TASK} {BRIEF} -o .", "is the working directory or holds it"),
    (f"train w.nc {TASK} {BRIEF} -o /", "is the working directory or holds it"),
    (f"distill w.nc {TASK} -o {'o' * 300}.nc", "choose a shorter one"),
    (f"distill w.zarr {TASK} -o w.zarr/out.nc", "lies inside the input"),
    (f"distill w*.nc {TASK} -o w.nc", "also an input"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "said"), PROTECTED)
@pytest.mark.parametrize("force", [False, True])
def test_inputs_and_foreign_files_are_protected(
    line: str, said: str, force: bool, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if (force and "made by" in said) or (force and "--force" in said):
        pytest.skip("--force is for that")
    before = snapshot(place)
    assert main([*line.split(), *(["--force"] if force else [])]) == 2
    assert said in capsys.readouterr().err
    assert snapshot(place) == before


def test_force_replaces_what_others_made(place: Path) -> None:
    assert main(["predict", "model", "w.nc", "-o", "mine.nc", "--force", "--quiet"]) == 0
    assert made_by("mine.nc") == "stemdist predict"
    assert main(["predict", "model", "w.nc", "-o", "mine.nc", "--quiet"]) == 0  # its own now
    line = f"train w.nc {TASK} {BRIEF} --forecaster linear -o foreign --force --quiet"
    assert main(line.split()) == 0
    assert made_by("foreign") == "stemdist train"


def test_every_output_says_who_made_it(place: Path) -> None:
    for line in (
        "predict model w.nc -o out.nc",
        "plot tiny.nc -o out.png",
        "plot tiny.nc -o out.svg",
        "plot tiny.nc -o out.pdf",
        f"export w.nc {TASK} -o out",
        "simulate weather-sim -o sim.nc --settings days=1,n_lat=2,n_lon=2",
        "simulate weather-sim -o sim.zarr --settings days=1,n_lat=2,n_lon=2",
        f"train w.nc {TASK} {BRIEF} --forecaster linear -o forecaster",
        "evaluate model --data w.nc -o errors",
    ):
        words = line.split()
        again = 1 if words[0] == "plot" else 2  # over what was made
        for _ in range(again):
            assert main([*words, "--quiet"]) == 0, line
        assert made_by(words[words.index("-o") + 1]) == f"stemdist {words[0]}"


def test_a_folder_of_the_name_of_the_state_is_not_touched(
    run: Run, tmp_path: Path, made: Path
) -> None:
    for name in (state_folder(Path("out.nc")).name, "out.nc.work"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "diary.txt").write_text("mine")
    line = f"distill {made}/w.nc {QUICK_DISTILL} -o out.nc"
    outcome = run(line)
    assert outcome.status == 2
    assert "was not made by stemdist" in outcome.err
    (tmp_path / state_folder(Path("out.nc")).name / "diary.txt").unlink()
    (tmp_path / state_folder(Path("out.nc")).name).rmdir()
    assert run(line).status == 0
    assert (tmp_path / "out.nc.work" / "diary.txt").read_text() == "mine"


# --- processes that end --------------------------------------------


def test_what_dead_processes_left_is_swept(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = files._HOST
    left = tmp_path / f".a.nc.{host}-{dead.pid}-abc{PART}"
    alive = tmp_path / f".a.nc.{host}-{os.getpid()}-abc{PART}"
    elsewhere = tmp_path / f".a.nc.00000000-{dead.pid}-abc{PART}"
    for folder in (left, alive, elsewhere):
        folder.mkdir()
    with atomic_path(tmp_path / "b.txt") as path:
        path.write_text("b")
    assert not left.exists()
    assert alive.exists()
    assert elsewhere.exists()


@pytest.mark.parametrize("new_is_there", [True, False])
def test_a_replacement_that_was_cut_off_is_finished(tmp_path: Path, new_is_there: bool) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    scratch = tmp_path / f".model.{files._HOST}-{dead.pid}-abc{PART}"
    (scratch / "model.replaced").mkdir(parents=True)
    (scratch / "model.replaced" / "x").write_text("old")
    if new_is_there:
        (scratch / "model").mkdir()
        (scratch / "model" / "x").write_text("new")
    recovered(tmp_path / "model")
    assert (tmp_path / "model" / "x").read_text() == ("new" if new_is_there else "old")
    assert not scratch.exists()


def test_a_second_run_waits_and_says_so(tmp_path: Path) -> None:
    code = (
        "import sys, time; from stemdist.files import locked\n"
        "with locked(sys.argv[1]):\n    print('held', flush=True); time.sleep(0.3)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    said: list[str] = []
    with locked(tmp_path / "out", lambda: said.append("waiting")):
        assert other.wait() == 0
    assert said == ["waiting"]
    assert not list(tmp_path.iterdir())
    other.stdout.close()


# --- what the machine and other packages do ------------------------


def test_files_get_the_mode_of_the_umask(place: Path) -> None:
    assert main(["predict", "model", "w.nc", "-o", "out.nc", "--quiet"]) == 0
    wanted = 0o666 & ~files._UMASK
    for path in (Path("out.nc"), *Path("model").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_a_damaged_cached_expert_is_trained_again(
    run: Run, made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STEMDIST_CACHE", str(tmp_path / "cache"))
    line = f"distill {made}/w.nc {QUICK_DISTILL} -o out.nc"
    assert run(line).status == 0
    with xr.open_dataset("out.nc") as first:
        wanted = first["y"].values
    weights = next((tmp_path / "cache" / "experts").glob("*/weights.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    again = run(line)
    assert again.status == 0
    assert "a cached forecaster is damaged, and is trained again" in again.err
    with xr.open_dataset("out.nc") as second:
        np.testing.assert_array_equal(second["y"].values, wanted)


def test_broken_plug_ins_stop_nothing_else(
    run: Run, made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "raising_module.py").write_text("raise RuntimeError('on purpose')")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = {
        "away": "no_such_package:Thing",
        "raising": "raising_module:Thing",
        "wrong": "collections:OrderedDict",
        "csv": "collections:OrderedDict",
        "mlp": "collections:OrderedDict",
    }
    real = registry.entry_points

    def entry_points(*, group: str) -> list[EntryPoint]:
        ours = group.startswith("stemdist.")
        return [EntryPoint(n, v, group) for n, v in points.items()] if ours else real(group=group)

    monkeypatch.setattr(registry, "entry_points", entry_points)
    registry._said.clear()
    for line in (f"info {made}/w.nc", f"predict {made}/model {made}/w.nc -o out.nc"):
        outcome = run(line)
        assert outcome.status == 0, outcome.err
    outcome = run(f"train {made}/w.nc --forecaster raising -o out")
    assert outcome.status == 2
    assert "plug-in 'raising_module:Thing'" in outcome.err
    assert "on purpose" in outcome.err


def test_foreign_names_cannot_write_to_the_terminal(run: Run, tmp_path: Path) -> None:
    data = weather()
    data["t2m"].attrs["units"] = "K\x07\x1b]0;owned\x07"
    data.to_netcdf(tmp_path / "w.nc")
    for line in ("info w.nc", "info w.nc --recipe \x1b[2J"):
        outcome = run(line)
        assert "\x1b" not in outcome.out + outcome.err
        assert "\x07" not in outcome.out + outcome.err
    assert printable("é\t\n") == "é\t\n"


def test_a_file_that_declares_more_than_memory_allocates_nothing(run: Run, tmp_path: Path) -> None:
    with netCDF4.Dataset(tmp_path / "huge.nc", "w") as file:
        file.createDimension("time", 50)
        file.createDimension("location", 3_000_000_000)
        time_axis = file.createVariable("time", "f8", ("time",))
        time_axis.units = "hours since 2020-01-01"
        time_axis[:] = range(50)
        file.createVariable("v", "f4", ("time", "location"), chunksizes=(1, 10**6), zlib=True)
    outcome = run("info huge.nc --no-scan")
    assert "declares 3000000000 locations" in outcome.out
    assert run("distill huge.nc").status == 2


def in_shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of the shell with this package."""
    return subprocess.run(
        line,
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


@pytest.mark.parametrize("stream", ["full", "closed"])
def test_standard_output_that_takes_nothing(stream: str, made: Path) -> None:
    # Where standard output is closed, the data file may be opened under its number.
    line = "--help > /dev/full" if stream == "full" else f"info {made}/w.nc --quiet >&-"
    done = in_shell(f"{sys.executable} -m stemdist {line}")
    if stream == "full":
        assert done.returncode == 2
        assert done.stderr == "stemdist: error: the disk is full\n"
    else:
        assert done.returncode == 0
        assert not done.stderr


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"{sys.executable} -m stemdist distill traffic-sim"
    done = in_shell(f"cd {gone} && rmdir {gone} && {command}")
    assert done.returncode == 2
    assert "the working directory does not exist any more" in done.stderr
    sweep(tmp_path)

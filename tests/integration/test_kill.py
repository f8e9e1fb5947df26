"""Work that is stopped goes on exactly where it was when the same command is run again.

Kills of every command at random moments: ``benchmarks/failing_machine.py``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr
from safetensors.torch import load_file

from stemdist.cli import main
from stemdist.data.simulate import make_simulation
from stemdist.files import PART

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 60
DISTILL = (
    "distill weather.nc -o tiny.nc --quiet --lookback 4 --horizon 3 --expert-training.updates 10 "
    "--expert-seeds 1 --extra-experts 0 --judge-seeds 1 --judging.updates 10 "
    "--synthesizer-options iterations=3,final_iterations=2,final_surrogates=gru,steps=2,updates=2,"
    "networks=2,learning_rate=0.01"
)
TRAIN = (
    "train weather.nc -o model --quiet --forecaster mlp --lookback 4 --horizon 3 --updates 600 "
    "--validate-every 50"
)


@pytest.fixture(scope="module")
def weather(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("weather") / "weather.nc"
    return make_simulation("weather-sim", days=10, n_lat=4, n_lon=5).write(path).read_bytes()


def run(line: str, folder: Path, weather: bytes, patch: pytest.MonkeyPatch) -> None:
    """Run a command to its end in a folder that holds the data."""
    prepare(folder, weather)
    patch.chdir(folder)
    patch.setenv("STEMDIST_CACHE", f"{folder}-cache")
    assert main(line.split()) == 0


def start(line: str, folder: Path, weather: bytes) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    prepare(folder, weather)
    own = {"PYTHONPATH": str(ROOT), "STEMDIST_CACHE": f"{folder}-cache", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "stemdist", *line.split()],
        cwd=folder,
        env={**os.environ, **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def prepare(folder: Path, weather: bytes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "weather.nc").write_bytes(weather)


def stop_once_there_is(
    pattern: str, process: subprocess.Popen[str], folder: Path, number: signal.Signals
) -> str:
    """Send a signal when there is a file, and return what the process said."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"no {pattern} after {DEADLINE_SECONDS} s"
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate(timeout=DEADLINE_SECONDS)
    status = -number if number == signal.SIGKILL else 128 + number
    assert process.returncode == status, "it was done before it could be stopped: more to do"
    return err


def run_both(
    line: str,
    state: str,
    number: signal.Signals,
    tmp_path: Path,
    weather: bytes,
    patch: pytest.MonkeyPatch,
) -> tuple[Path, Path, str]:
    """Return the folders of a run left alone and of one stopped and run again, and its words."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run(line, whole, weather, patch)  # its cache is another, so it trains experts of its own
    said = stop_once_there_is(state, start(line, stopped, weather), stopped, number)
    assert list(stopped.glob(state))
    assert number == signal.SIGKILL or not [p for p in stopped.rglob("*") if p.name.endswith(PART)]
    run(line, stopped, weather, patch)
    return whole, stopped, said


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_killed_distillation_gives_the_same_set(
    tmp_path: Path, weather: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = ".tiny.nc.stemdist-state/*.state"
    whole, killed, _ = run_both(DISTILL, state, signal.SIGKILL, tmp_path, weather, monkeypatch)
    with xr.open_dataset(whole / "tiny.nc") as one, xr.open_dataset(killed / "tiny.nc") as other:
        xr.testing.assert_identical(one.drop_attrs(), other.drop_attrs())
    assert names(whole) == names(killed) == {"weather.nc", "tiny.nc"}


def test_a_training_that_is_told_to_stop_ends_cleanly_and_gives_the_same_weights(
    tmp_path: Path, weather: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = ".model.stemdist-state/training.pt"
    whole, stopped, said = run_both(TRAIN, state, signal.SIGTERM, tmp_path, weather, monkeypatch)
    assert "run the same command again to continue" in said
    one, other = (
        load_file(folder / "model" / "weights.safetensors") for folder in (whole, stopped)
    )
    assert all(one[name].equal(other[name]) for name in one)
    assert names(whole) == names(stopped) == {"weather.nc", "model"}

"""A dask cluster of two processes in different folders, one of which is killed."""

import os
import pickle
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch

from stemdist.cli import main
from stemdist.data import open_series, simulate
from stemdist.distill import DistilledSet
from stemdist.errors import InputError
from stemdist.forecast import ForecastTask, reopening
from stemdist.scheduling import away, here, results_of, scheduler

distributed = pytest.importorskip("distributed")

QUICK = "--effort quick --judging.updates 5 --expert-training.updates 20"
COMPARE = "--forecasters linear --seeds 1 --updates 10 --references random,distilled"


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "w.nc"
    simulate("weather-sim", days=12, n_lat=5, n_lon=6).to_netcdf(path)
    return path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two workers, each a process in a folder of its own.

    The last test that uses it kills one of them.
    """
    root = tmp_path_factory.mktemp("cluster")
    with distributed.LocalCluster(n_workers=0, dashboard_address=":0") as made:
        workers = []
        for name in ("one", "two"):
            (root / name).mkdir()
            command = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1"]
            command += ["--no-dashboard", "--no-nanny", "--local-directory", str(root / name)]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            started = subprocess.Popen([*command, made.scheduler_address], cwd=root / name, **quiet)
            workers.append(started)
        with distributed.Client(made) as client:
            client.wait_for_workers(2, timeout=60)
            yield made.scheduler_address, workers, root
        for worker in workers:
            worker.kill()
            worker.wait()


def without_costs(table: pd.DataFrame) -> pd.DataFrame:
    return table[[name for name in table if not name.endswith(("seconds", "bytes"))]]


def test_commands_on_a_cluster_give_the_results_of_one_process(
    stored, cluster, tmp_path, monkeypatch
):
    address, _, root = cluster
    monkeypatch.chdir(tmp_path)
    for name, where in (("here", ""), ("there", f" --scheduler {address}")):
        line = f"distill {stored} {QUICK} -o {name}.nc{where}"
        assert main([*line.split(), "--quiet"]) == 0
        line = f"evaluate here.nc --data {stored} {COMPARE} -o {name}{where}"
        assert main([*line.split(), "--quiet"]) == 0
    one, two = (DistilledSet.load(f"{name}.nc") for name in ("here", "there"))
    assert torch.equal(one.windows.x, two.windows.x)
    torch.testing.assert_close(one.windows.y, two.windows.y)
    tables = [without_costs(pd.read_csv(f"{name}/table.csv")) for name in ("here", "there")]
    pd.testing.assert_frame_equal(*tables)
    weights = [len(list(Path(name, "runs").glob("*.safetensors"))) for name in ("here", "there")]
    assert weights[0] == weights[1] > 0  # results came back: no folder is shared
    assert not list(root.rglob("*.safetensors"))


def test_a_killed_worker_costs_its_own_jobs_only(cluster, tmp_path):
    address, workers, _ = cluster
    with scheduler(address):
        jobs = [joblib.delayed(_slow)(str(tmp_path), number) for number in range(12)]
        killer = subprocess.Popen(
            [sys.executable, "-c", f"import os,time; time.sleep(1); os.kill({workers[0].pid}, 9)"]
        )
        found = list(results_of(jobs, 1, "jobs", unit="job", progress=False))
    killer.wait()
    assert workers[0].wait() == -signal.SIGKILL
    assert found == [number**2 for number in range(12)]
    runs = [len(list(tmp_path.glob(f"run-{number}-*"))) for number in range(12)]
    assert min(runs) == 1
    assert sum(runs) <= 12 + 2  # what the killed worker had, and no more


def _slow(folder: str, number: int) -> int:
    Path(folder, f"run-{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(0.25)
    return number**2


def test_jobs_hold_no_series(stored):
    task = ForecastTask.from_series(open_series(stored))
    light = task.by_reference(partial(open_series, str(stored)))
    whole = len(pickle.dumps(task.train))
    for thing in (light, light.train, light.validation):
        assert len(pickle.dumps(thing)) < 0.1 * whole
    reopening._kept.clear()
    again = pickle.loads(pickle.dumps((light, light.validation)))
    assert torch.equal(again[1].values, task.train.values)
    assert again[0].content_hash == task.content_hash
    index = torch.tensor([3, 5])
    for mine, theirs in zip(again[1].batch(index), task.validation.batch(index), strict=True):
        assert torch.equal(mine, theirs)
    assert again[0].train.values is again[1].values  # read once


def test_other_data_are_noticed(stored, tmp_path):
    task = ForecastTask.from_series(open_series(stored))
    copy = tmp_path / "w.nc"
    copy.write_bytes(stored.read_bytes())
    light = task.by_reference(partial(open_series, str(copy)))
    simulate("weather-sim", days=12, n_lat=5, n_lon=6, seed=1).to_netcdf(copy)
    reopening._kept.clear()
    sent = pickle.loads(pickle.dumps(light))
    with pytest.raises(InputError, match="other data than the process that sent it"):
        _ = sent.train


def test_an_address_without_a_scheduler():
    with pytest.raises(InputError, match=r"give 'processes', or the address"), scheduler("host"):
        pass


def test_this_process_is_the_default():
    with scheduler(None):
        assert not away()
    with here():
        assert not away()
    assert list(
        results_of([joblib.delayed(np.sqrt)(4.0)], None, "t", unit="u", progress=False)
    ) == [2.0]


def test_a_scheduler_without_workers_is_said(monkeypatch):
    monkeypatch.setattr("stemdist.scheduling.PATIENCE_SECONDS", 1)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as made,
        pytest.raises(InputError, match="has no workers: start one with `dask worker"),
        scheduler(made.scheduler_address),
    ):
        pass

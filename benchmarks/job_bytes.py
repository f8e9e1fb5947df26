"""How many bytes the jobs of a cluster hold, with the series and by reference.

    python benchmarks/job_bytes.py --locations 2000 --steps 20000

Printed are the bytes of a job that trains on the whole series, of one that tests, and of one that
trains an expert: as they would be sent with their series, and as they are sent.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import cloudpickle
import numpy as np
import pandas as pd
import xarray as xr
from joblib import delayed

from stemdist.data import open_series
from stemdist.distill.experts import _train_one
from stemdist.evaluate import EvaluationSettings
from stemdist.evaluate.comparison import trainings
from stemdist.evaluate.comparison.training_data import TrainingData
from stemdist.forecast import ForecastTask, TaskSettings, TrainingSettings


def written(path: Path, n_steps: int, n_locations: int) -> Path:
    """Write a series of noisy daily cycles."""
    cycle = np.sin(2 * np.pi * np.arange(n_steps) / 24)[:, None]
    noise = np.random.default_rng(0).standard_normal((n_steps, n_locations), dtype=np.float32)
    number = np.arange(n_locations)
    coords = {"time": pd.date_range("2020", periods=n_steps, freq="h")}
    coords |= {"lat": ("location", number // 50 / 10), "lon": ("location", number % 50 / 10)}
    xr.Dataset({"t": (("time", "location"), cycle + noise)}, coords).to_netcdf(path)
    return path


def sizes(task: ForecastTask) -> list[int]:
    """Return the bytes of three jobs."""
    folder = trainings.RunFolder(
        task=task, settings=EvaluationSettings(), folder=Path("results"), device="cpu"
    )
    data = TrainingData(source=task.train, graph=task.graph)
    jobs = (
        delayed(trainings._train)(folder, None, data, 0.0, away=True),
        delayed(trainings._test)(folder, None, {}, folder.test_verification(), {}),
        partial(_train_one, task, TrainingSettings(), None, "cpu", False),
    )
    return [len(cloudpickle.dumps(job)) for job in jobs]


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--locations", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=20_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "series.nc", chosen.steps, chosen.locations)
        task = ForecastTask.from_series(open_series(path), TaskSettings())
        light = task.by_reference(partial(open_series, str(path)))
        print(f"{chosen.steps} steps x {chosen.locations} locations; MB of a job")
        print(f"{'':14}{'train':>10}{'test':>10}{'expert':>10}")
        for name, each in (("with series", task), ("by reference", light)):
            print(f"{name:14}" + "".join(f"{size / 1e6:10.3f}" for size in sizes(each)))


if __name__ == "__main__":
    main()

"""The time of a distillation, and the number of trainings after which it breaks even.

Run ``STEMDIST_DATA=... python benchmarks/break_even.py`` (ten minutes): ERA5 temperatures at 1,617
points, 10 % of the windows x 10 % of the locations, default settings of the command line. All of
the distillation is timed: clustering, experts, synthesizer and judges. A training is 800 updates of
32 windows of all locations with 8 validations; an eighth of it, one validation included, is timed
and multiplied by eight. Trainings on the distilled set are validated on the real locations, as in
``stemdist evaluate``.

``breaks even after`` is the number of trainings from which distilling and training on the distilled
set take less time than training on the full data. Seconds are processor seconds of one core.
"""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import replace
from pathlib import Path

from isolated_process import Alone, hardware

import stemdist
from stemdist.distill import DistillSettings, distill
from stemdist.evaluate.grid.settings import ratio_pair
from stemdist.forecast import ForecastTask, TrainingSet, TrainingSettings, fit_windows, held_out
from stemdist.profiling import measure

FILE = "era5-2mt-2019-03-uk.nc"


def prepare(path: Path, time_ratio: float, space_ratio: float) -> float:
    """Distil, keep task and set in this process, and return the seconds of distilling."""
    global TASK, SET
    TASK = ForecastTask.from_series(stemdist.open_series(path, variables=["t2m"]))
    with measure() as cost:
        made = distill(TASK, DistillSettings(time_ratio=time_ratio, space_ratio=space_ratio))
    SET = made.training_set()
    return cost.cpu_seconds


def training(forecaster: str, full: bool) -> float:
    """Return the seconds of a training with default settings, of which an eighth is run."""
    data = TrainingSet.of_task(TASK) if full else SET
    settings = TrainingSettings()
    part = replace(settings, updates=settings.validate_every)
    fit_windows(forecaster, data.source, data.graph, replace(settings, updates=1))  # warms up
    validation = held_out(TASK)
    with measure() as cost:
        fit_windows(forecaster, data.source, data.graph, part, validation=validation)
    return cost.cpu_seconds * settings.updates / part.updates


def main() -> None:
    """Distil once, train every forecaster on both, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--forecasters", default="linear,mlp,patchtst")
    parser.add_argument("--ratio", type=ratio_pair, default="0.1x0.1", help="time x space")
    arguments = parser.parse_args()
    path = Path(os.environ["STEMDIST_DATA"]) / FILE
    print(hardware(1))
    with Alone(1, keep_memory=True) as process:
        distilling = process(prepare, path, *arguments.ratio)
        print(f"distilling: {distilling:.0f} s")
        print("forecaster            full s  distilled s  distilling / full  breaks even after")
        for name in arguments.forecasters.split(","):
            full, small = (process(training, name, side) for side in (True, False))
            saved = full - small
            trainings = f"{math.ceil(distilling / saved)}" if saved > 0 else "never"
            print(
                f"{name:18s} {full:9.1f} {small:12.1f} {distilling / full:18.2f} {trainings:>18s}",
                flush=True,
            )


if __name__ == "__main__":
    main()

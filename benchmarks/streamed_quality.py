"""What sampling costs in quality: the same sets distilled in memory and from a streamed sample.

    python benchmarks/streamed_quality.py --share 0.1 --seeds 3

Data that fit into memory are distilled twice with the same numbers of windows and clusters: from
the whole series, and from a sample that holds a tenth of its values, as if no more memory were
there. Fresh forecasters are trained on both sets and tested on the whole test part. Printed are
the mean errors over seeds and forecasters, and their ratio. Needs STEMDIST_DATA.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stemdist.data import open_series
from stemdist.distill import DistillSettings, distill, train_on_distilled
from stemdist.distill.budget import FEWEST_LOCATIONS, Plan
from stemdist.distill.material import sample_material
from stemdist.evaluate.metrics.verification import Verification
from stemdist.forecast import ForecastTask, TrainingSettings, predict_windows, settings_for

DATA = {
    "ERA5-UK": ("era5-2mt-2019-03-uk.nc", {}),
    "NCEP pressure": ("ncep_slp_2001_2010.nc", {}),
    "NYC taxi pairs": ("nyc_taxi_od_pairs_2018.nc", {}),
}


def tested(made: Any, task: ForecastTask, seed: int) -> float:
    """Return the mean relative RMSE of forecasters trained on a set."""
    errors = []
    verification = Verification.of(task, task.test, at_most=500)
    for family in ("linear", "mlp"):
        fitted = train_on_distilled(
            made, family, TrainingSettings(updates=1000, seed=seed), validation=task
        )
        sums = verification.errors(
            lambda windows, index, fitted=fitted: predict_windows(
                fitted.forecaster, windows, task.graph, task.train.profile, index=index
            )
        )
        errors.append(sums[0].metrics()["relative_rmse"])
    return float(np.mean(errors))


def main() -> None:
    """Print a line for every data set."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--share", type=float, default=0.1, help="of the values, in the sample")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", default=",".join(DATA))
    chosen = parser.parse_args()
    folder = Path(os.environ["STEMDIST_DATA"])
    print(f"{'data':16} {'whole':>18} {'sampled':>18} {'ratio':>7}  (mean and seeds)")
    for name in chosen.data.split(","):
        file, options = DATA[name]
        series = open_series(folder / file, **options)
        forecast = settings_for(series)
        task = ForecastTask.from_series(series, forecast)
        rows = {"whole": [], "sampled": []}
        for seed in range(chosen.seeds):
            settings = DistillSettings.for_series(series, seed=seed)
            n_windows, n_clusters = settings.sizes(len(task.train), task.n_locations)
            settings = replace(settings, windows=n_windows, clusters=n_clusters)
            values = int(chosen.share * series.sizes["time"] * series.sizes["location"])
            others = min(task.n_locations - n_clusters, FEWEST_LOCATIONS, 2 * n_clusters)
            plan = Plan(
                settings=settings,
                in_memory=False,
                needed=0,
                free=0,
                sample_locations=others,
                sample_values=values,
            )
            sampled = sample_material(series, forecast, plan, progress=False)
            for kind, source in (("whole", task), ("sampled", sampled)):
                made = distill(source, settings)
                own = ForecastTask.from_series(series, made.settings)  # with its calendar
                rows[kind].append(tested(made, own, seed))
        means = {kind: float(np.mean(errors)) for kind, errors in rows.items()}
        seeds = {kind: " ".join(f"{error:.4f}" for error in own) for kind, own in rows.items()}
        print(
            f"{name:16} {means['whole']:.4f} ({seeds['whole']})  {means['sampled']:.4f} "
            f"({seeds['sampled']}) {means['sampled'] / means['whole']:7.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

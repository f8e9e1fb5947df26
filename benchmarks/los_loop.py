"""Los-loop at 10 % x 10 %: the distilled set beside references.

Run with ``STEMDIST_DATA`` naming the folder that holds ``los_speed.csv``::

    python benchmarks/los_loop.py                                  # 10 minutes on one core
    python benchmarks/los_loop.py --forecasters mtgnn --updates 300 --references full,distilled

The inputs are speeds only (no calendar), as in the reference figures: relative RMSE on the test
part 0.515 for a small MLP with neighbour means trained on the full data, 0.5155 for medoid windows
with soft labels selected by k-means in time, 0.560-0.571 for random windows with observed targets.
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

import torch

import stemdist
from stemdist.evaluate import text_table

REFERENCE = {"full": 0.515, "random": 0.565, "coreset": 0.5155, "distilled": 0.516}


def main() -> None:
    """Distil, evaluate and print the table with the reference figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--forecasters", default="linear,mlp")
    parser.add_argument("--references", default="full,random,random-expert,coreset,distilled")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=800)
    parser.add_argument("--time-ratio", type=float, default=0.1)
    parser.add_argument("--space-ratio", type=float, default=0.1)
    parser.add_argument("--calendar", default="", help="e.g. time_of_day")
    parser.add_argument("--synthesizer", default="gradient-matching")
    parser.add_argument("--plain-mlp", action="store_true", help="MLP without location encoder")
    parser.add_argument("--results", help="folder in which finished training runs are kept")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, 1 thread")

    path = Path(os.environ["STEMDIST_DATA"]) / "los_speed.csv"
    series = stemdist.open_series(path, recipe="los-loop")
    distilled = stemdist.distill_series(
        series,
        graph=stemdist.GraphSettings(method="correlation", neighbours=8),
        calendar=tuple(arguments.calendar.split(",")) if arguments.calendar else (),
        time_ratio=arguments.time_ratio,
        space_ratio=arguments.space_ratio,
        synthesizer=arguments.synthesizer,
        work=None if arguments.results is None else Path(arguments.results) / "work",
    )
    for row in distilled.record["history"]:
        print(f"iteration {row['iteration']}: validation {row['validation']:.4f}")
    evaluation = stemdist.evaluate_distilled(
        distilled,
        series,
        forecasters=tuple(arguments.forecasters.split(",")),
        references=tuple(arguments.references.split(",")),
        seeds=arguments.seeds,
        updates=arguments.updates,
        options={"mlp": {"location_encoder": "none"}} if arguments.plain_mlp else {},
        results=arguments.results,
    )
    print(text_table(evaluation))
    print("\nMLP, test relative RMSE: this run and the figure at the top of this file")
    ours = evaluation.summary()["mean"]
    for method, figure in REFERENCE.items():
        if (method, "mlp") in ours.index:
            print(f"  {method:10s} {ours[method, 'mlp']:.4f}   {figure:.4f}")


if __name__ == "__main__":
    main()

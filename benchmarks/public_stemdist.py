"""Run some matching steps of the public STemDist code on given clustered windows.

Started by ``stemdist_iteration.py --public CHECKOUT`` in a process of its own, because the public
code is a module named ``stemdist`` too:

    python benchmarks/public_stemdist.py CHECKOUT CASE.npz STEPS SEED THREADS

CHECKOUT is a clone of https://github.com/kbrother/STemDist, of which nothing is changed: its
training loop runs as it is and is stopped after STEPS steps. Only its check of the result
(``test_syn``) is left out, and its k-means, for the clusters are given. Prints one JSON line: the
matching distances of all subsets in their order, and the processor seconds at which they were made.

Shapes: M real windows, L_in lookback, L_out horizon, K clusters, F features.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
import time
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
import torch

SUBSETS = 4  # fixed in the public code


class EnoughError(Exception):
    """The steps asked for have been made."""


def loaded(checkout: str) -> tuple[ModuleType, ModuleType]:
    """Return the modules ``stemdist`` and ``util`` of a checkout."""
    if not Path(checkout, "stemdist.py").is_file():
        sys.exit(f"{checkout!r} has no stemdist.py: name a clone of the public code")
    sys.path.insert(0, checkout)
    unused = ModuleType("fast_pytorch_kmeans")  # imported there, not needed for given clusters
    unused.KMeans = None  # type: ignore[attr-defined]
    sys.modules.setdefault("fast_pytorch_kmeans", unused)
    return importlib.import_module("stemdist"), importlib.import_module("util")


def clustered(util: ModuleType, case: Any, batch_windows: int) -> dict[str, Any]:
    """Return what the public reader makes of clustered data.

    ``case`` has ``x`` (M, L_in, K, F) scaled, ``y`` (M, L_out, K) in physical units, ``mean`` and
    ``scale`` of the target, and ``sizes`` (K,), the locations of each cluster.
    """
    loader = util.DataLoader(case["x"], case["y"], batch_windows)
    loader.label_cnt = case["sizes"].tolist()
    scaler = util.StandardScaler(mean=float(case["mean"]), std=float(case["scale"]))
    return {"train_loader": loader, "scaler": scaler}


def steps_of(checkout: str, case_file: str, steps: int, seed: int) -> list[tuple[float, float]]:
    """Return (processor seconds, distance) of every subset of the first steps."""
    code, util = loaded(checkout)
    case = np.load(case_file)
    measure, seen = util.match_loss, []

    def recorded(*gradients: Any) -> torch.Tensor:
        if len(seen) == steps * SUBSETS:
            raise EnoughError
        began, distance = time.process_time(), measure(*gradients)
        seen.append((began, float(distance.detach())))
        return distance

    util.match_loss = recorded
    code.GradMatchCluster.test_syn = lambda self: (0, 0.0, 0.0)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 -- the public code draws from it
    torch.manual_seed(seed)
    data = clustered(util, case, int(case["batch_windows"]))
    code.dataloader, code.device = data, torch.device("cpu")  # read as globals there
    with TemporaryDirectory() as folder:
        options = Namespace(
            series_reduce_rate=float(case["time_ratio"]),
            save_path=str(Path(folder, "result")),
            lr_feat=float(case["learning_rate"]),
            lr_syn=float(case["surrogate_learning_rate"]),
            ne_dim=32,
            epochs=1,
            check_freq=2,  # never within one epoch
        )
        with suppress(EnoughError):
            code.GradMatchCluster(data, options, code.device).train()
    return seen


def main() -> None:
    """Read the command line and print the record."""
    checkout, case_file, steps, seed, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    stdout, sys.stdout = sys.stdout, sys.stderr  # the public code prints, too
    record = steps_of(checkout, case_file, int(steps), int(seed))
    print(json.dumps(record), file=stdout)


if __name__ == "__main__":
    main()

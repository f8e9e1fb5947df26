"""An ablation of the default method: one part changed at a time, all others as by default.

Run with ``STEMDIST_DATA`` naming the folder with ``los_speed.csv`` and
``era5-2mt-2019-03-uk.nc``::

    python benchmarks/ablation.py --output headline --jobs 2               # a day on two cores
    python benchmarks/ablation.py --output headline --methods means,regions --ratios 0.01x0.1

The parts of the start are compared without a synthesizer, on real windows with soft labels, and
again (``default-means`` and so on) with the default synthesizer. The synthesizers all start from
the same windows. All parametrisations have the same number of windows, which some store in fewer
bytes (``equal_bytes.py`` compares them at equal bytes). Forecasters are trained and tested as in
``headline_table.py``, whose results in the same folder are reused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import headline_table
import torch

from stemdist.profiling import keep_freed_memory

Parts = dict[str, tuple[str, dict[str, Any]]]

PARTS: Parts = {
    "means": ("means of the clusters", {"representative": "mean"}),
    "regions": ("contiguous clusters (Ward)", {"clustering": "ward"}),
    "random-clusters": ("random clusters", {"clustering": "random"}),
    "random-windows": ("random windows", {"selection": "random"}),
    "k-center-windows": ("k-center windows", {"selection": "k-center"}),
    "herded-windows": ("windows by herding", {"selection": "herding"}),
    "shared-times": ("the same times at all clusters", {"window_times": "shared"}),
    "one-expert": ("one MLP as expert", {"experts": ("mlp",), "extra_experts": 0}),
    "mixed": ("targets half observed", {"labels": "mixed"}),
    "observed": ("observed targets", {"labels": "observed"}),
}
SYNTHESIZERS: Parts = {
    "trajectories": ("trajectories", {"synthesizer": "trajectory-matching"}),
    "trajectories-of-parts": (
        "trajectories, four subsets of the clusters",
        {"synthesizer": "trajectory-matching", "synthesizer_options": {"subsets": 4}},
    ),
    "gradients": (
        "gradients",
        {"synthesizer": "gradient-matching", "synthesizer_options": {"subsets": 1}},
    ),
    "gradients-of-parts": (
        "gradients, four subsets of the clusters",
        {"synthesizer": "gradient-matching"},
    ),
    "pool": ("the error after updates (network pool)", {"synthesizer": "network-pool"}),
    "distributions": ("distributions", {"synthesizer": "distribution-matching"}),
    "second-moments": ("second moments, closed form", {"synthesizer": "closed-form"}),
    "kernel-ridge-alone": (
        "kernel ridge, not from the closed form",
        {"synthesizer_options": {"closed_form": False}},
    ),
}
PARAMETRISATIONS: Parts = {
    "series": (
        "default, windows cut from series",
        {"parametrisation": "series", "selection": "contiguous"},
    ),
    "spectra": ("default, half the frequencies and modes", {"parametrisation": "spectral"}),
}


def rows() -> Parts:
    """Return what is compared: the start, its parts, synthesizers, and parts of the default."""
    start = headline_table.VARIANTS["start"]
    before = {name: (title, {**start, **part}) for name, (title, part) in PARTS.items()}
    behind = {
        f"default-{name}": (f"default, {title}", part) for name, (title, part) in PARTS.items()
    }
    plain: Parts = {"start": ("the start: medoids, k-means windows, all experts", start)}
    default: Parts = {"default": ("default", {}), **PARAMETRISATIONS}
    return {**plain, **before, **SYNTHESIZERS, **default, **behind}


def main() -> None:
    """Run the rows on all data sets and print the excess over full data, in per cent."""
    compared = rows()
    options = headline_table.parser(__doc__)
    options.set_defaults(
        methods=",".join(compared),
        references="full",
        ratios="0.1x0.1,0.025x0.1,0.01x0.1,0.0025x0.1",
    )
    arguments = options.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    variants = {name: changes for name, (_, changes) in compared.items() if name != "default"}
    found = headline_table.run(arguments, variants)
    found.write(Path(arguments.output))
    excess = found.excess(by=("data",))
    half_width = (100 * excess["half_width"]).unstack("data").round(1).add_suffix(" +-")
    table = headline_table.by_data(excess["mean"]).join(half_width)
    print(table.rename(index={name: title for name, (title, _) in compared.items()}).to_string())


if __name__ == "__main__":
    main()

"""What each part of the recipe brings: one part changed at a time, all else as by default.

Run with ``STEMDIST_DATA`` naming the folder with ``los_speed.csv`` and
``era5-2mt-2019-03-uk.nc``::

    python benchmarks/ablation.py --output flagship --jobs 2               # hours on two cores
    python benchmarks/ablation.py --output flagship --methods means,regions --ratios 0.01x0.1

The parts come before the synthesizer, and are compared where it starts: real windows with the
experts' answers. Forecasters are trained and tested as in ``flagship.py``, whose results in the
same folder are reused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flagship
import torch

from stemdist.cost import keep_freed_memory

PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "start": ("medoids of k-means, k-means windows, all experts", {}),
    "means": ("means of the clusters", {"representative": "mean"}),
    "regions": ("contiguous regions (Ward)", {"clustering": "ward"}),
    "random-clusters": ("random clusters", {"clustering": "random"}),
    "random-windows": ("random windows", {"selection": "random"}),
    "k-center-windows": ("k-center windows", {"selection": "k-center"}),
    "herded-windows": ("herded windows", {"selection": "herding"}),
    "one-expert": ("one MLP as expert", {"experts": ("mlp",), "extra_experts": 0}),
    "mixed": ("targets half observed", {"labels": "mixed"}),
    "observed": ("observed targets", {"labels": "observed"}),
}


def main() -> None:
    """Run the parts on all data sets and print the excess over full data, in per cent."""
    options = flagship.parser(__doc__)
    options.set_defaults(methods=",".join(PARTS), references="full", ratios="0.1x0.1,0.01x0.1")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    start = flagship.VARIANTS["start"]
    variants = {name: {**start, **changes} for name, (_, changes) in PARTS.items()}
    found = flagship.run(arguments, variants)
    found.write(Path(arguments.output))
    excess = found.excess(by=("data",))
    half_width = (100 * excess["half_width"]).unstack("data").round(1).add_suffix(" +-")
    table = flagship.by_data(excess["mean"]).join(half_width)
    print(table.rename(index={name: title for name, (title, _) in PARTS.items()}).to_string())


if __name__ == "__main__":
    main()

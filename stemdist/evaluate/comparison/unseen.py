"""Held-out locations, to test whether forecasters generalise to new locations.

Shapes: N locations, H held-out ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.sparse.csgraph import shortest_path
from torch import Tensor

from stemdist.errors import InputError, check_seed, unknown_name
from stemdist.forecast import ForecastTask
from stemdist.graph import connectivity, random_locations

if TYPE_CHECKING:
    from torch_geometric.data import Data

PATTERNS = ("scattered", "region")


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """Held-out locations on which forecasters are tested.

    Parameters
    ----------
    task : ForecastTask
        All N locations with their graph, in the scaled units of the task without the held-out
        ones.
    index : Tensor
        (H,) which of them were held out, ascending.
    """

    task: ForecastTask
    index: Tensor

    @property
    def identity(self) -> tuple[str, list[int]]:
        """All that errors depend on besides the forecaster, as JSON types."""
        return self.task.content_hash, self.index.tolist()


def hold_out(
    task: ForecastTask, share: float, *, pattern: str = "scattered", seed: int = 0
) -> tuple[ForecastTask, Unseen]:
    """Split the locations of a task into training and held-out locations.

    The task to learn from contains nothing of the others: its graph, scaler and neighbour means are
    made from its own locations. For the test a forecaster is given all of them, as when new
    sensors have joined: their past windows and their places in the graph, and no training.

    Parameters
    ----------
    task : ForecastTask
        All N locations.
    share : float
        Share of the locations to hold out, above 0 and below 1.
    pattern : {"scattered", "region"}
        Random locations, or a random one and those next to it in the graph, which is harder.
    seed : int
        Random seed.

    Returns
    -------
    ForecastTask, Unseen
        The training task, and the held-out locations with all data for the test.

    Raises
    ------
    InputError
        If no location would be held out, or none left, or the pattern is unknown.

    Examples
    --------
    >>> from stemdist.data import canonical_series, simulate
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=4, n_lon=6))
    >>> task = ForecastTask.from_series(series)
    >>> seen, unseen = hold_out(task, 0.25)
    >>> task.n_locations, seen.n_locations, len(unseen.index), unseen.task.n_locations
    (24, 18, 6, 24)
    """
    check_hold_out(share, pattern)
    check_seed("seed", seed)
    total = task.n_locations
    size = round(share * total)
    if not 0 < size < total:
        raise InputError(
            f"hold_out is {share!r}, which is {size} of {total} locations: some must be left to "
            "learn from and some to test on"
        )
    drawn = random_locations(task.graph, total, torch.Generator().manual_seed(seed))
    if pattern == "region":
        drawn = _outwards(task.graph, drawn)
    held = torch.zeros(total, dtype=torch.bool)
    held[drawn[:size]] = True
    seen = ForecastTask.from_series(task.series.isel(location=(~held).numpy()), task.settings)
    scaler = seen.scaler.with_locations_of(task.scaler)  # each location by its own past
    everywhere = ForecastTask.from_series(task.series, task.settings, scaler=scaler)
    return seen, Unseen(task=everywhere, index=held.nonzero().squeeze(1))


def check_hold_out(share: float, pattern: str) -> None:
    """Raise unless the share is above 0 and below 1 and the pattern is known."""
    if not 0 < share < 1:
        raise InputError(
            f"hold_out is {share!r}: it must be a share of the locations, above 0 and below 1, "
            "e.g. 0.2"
        )
    if pattern not in PATTERNS:
        raise unknown_name("pattern of held-out locations", pattern, PATTERNS)


def _outwards(graph: Data, order: Tensor) -> Tensor:
    """Sort locations by their number of edges from the first, stably."""
    links = connectivity(graph)
    hops = shortest_path(links, directed=False, unweighted=True, indices=int(order[0]))
    return order[torch.from_numpy(np.argsort(hops[order.numpy()], kind="stable"))]

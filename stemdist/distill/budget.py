"""How much memory a distillation may use, and what it does with it.

Shapes: T steps, N locations, K clusters, M_S synthetic windows, L_in lookback, F features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import xarray as xr

from stemdist.data.survey import SKETCH_WIDTH
from stemdist.distill.settings import DistillSettings
from stemdist.errors import InputError
from stemdist.forecast import TaskSettings
from stemdist.forecast.features import bytes_of_value, room_for
from stemdist.memory import available_bytes, parse_bytes
from stemdist.profiling import resident_bytes

SHARE = 0.9
"""Of the memory that is left, which a budget takes by default."""

WORK_BYTES = 400 * 2**20
"""Of blocks that are read, of a training, and of the libraries, beside what is counted here."""
SKETCH_COPIES = 12
"""Arrays of the size of the projection while it is added up and clustered."""
SYNTHETIC_COPIES = 8
"""Arrays of the size of the synthetic inputs while they are learned."""
IN_MEMORY = 1.25
"""Memory while a series in memory is distilled, beside its features."""
FEWEST_LOCATIONS = 512
"""Locations of a sample beside the representatives, at least, where there are as many."""


@dataclass(frozen=True)
class Budget:
    """Bytes that can still be taken."""

    free: int

    @classmethod
    def of(cls, memory: int | str | None = None) -> Budget:
        """Return the budget of a process that may use ``memory`` in all.

        Parameters
        ----------
        memory : int or str, optional
            Bytes, or a text such as ``"4GiB"``; without it, and at most, nine tenths of what
            can still be taken.

        Raises
        ------
        InputError
            If the process holds as much already.

        Examples
        --------
        >>> Budget.of("1000GiB").free < 1000 * 2**30
        True
        """
        if memory is None:
            return cls(int(SHARE * available_bytes()))
        asked = parse_bytes(memory)
        free = asked - resident_bytes()
        if free < WORK_BYTES:
            raise InputError(
                f"memory is {memory!r}, of which {resident_bytes() / 2**20:.0f} MiB are in use and "
                f"{WORK_BYTES / 2**20:.0f} MiB are needed for blocks and trainings: give more, "
                f"e.g. {math.ceil((resident_bytes() + 1.5 * WORK_BYTES) / 2**20)}MiB"
            )
        return cls(min(free, int(SHARE * available_bytes())))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What fits into a budget.

    Attributes
    ----------
    settings : DistillSettings
        With as many windows and clusters as fit, if the series is sampled.
    in_memory : bool
        Whether the whole series is held.
    needed, free : int
        Bytes that holding it would need, and those of the budget.
    sketch_width : int
        Columns of the projection of each location.
    sample_locations : int
        Locations of the sample beside the representatives.
    sample_values : int
        Steps times locations of the sample.
    """

    settings: DistillSettings
    in_memory: bool
    needed: int
    free: int
    sketch_width: int = SKETCH_WIDTH
    sample_locations: int = 0
    sample_values: int = 0

    @classmethod
    def of(
        cls, series: xr.Dataset, forecast: TaskSettings, settings: DistillSettings, budget: Budget
    ) -> Plan:
        """Compare what a distillation needs with a budget, from metadata alone."""
        n_steps, n_locations = series.sizes["time"], series.sizes["location"]
        sizes = _Sizes.of(series, forecast)
        n_windows, n_clusters = settings.sizes(sizes.train_windows, n_locations)
        held = n_steps * n_locations * sizes.value_bytes
        needed = int(IN_MEMORY * held) + n_windows * n_clusters * sizes.synthetic_bytes
        if needed + WORK_BYTES <= budget.free:
            return cls(
                settings=settings, in_memory=True, needed=needed + WORK_BYTES, free=budget.free
            )
        free = budget.free - WORK_BYTES - n_locations * sizes.location_bytes
        if free < WORK_BYTES // 4:
            raise InputError(
                f"the budget of {budget.free / 2**30:.2f} GiB cannot hold a sample of "
                f"{n_locations} locations: give more with --memory, or take fewer locations"
            )
        settings = _fitting(settings, (n_windows, n_clusters), sizes, free // 3)
        kept = settings.clusters or 1  # a number by now
        others = max(FEWEST_LOCATIONS, n_clusters)
        return cls(
            settings=settings,
            in_memory=False,
            needed=needed + WORK_BYTES,
            free=budget.free,
            sketch_width=max(8, min(SKETCH_WIDTH, free // (SKETCH_COPIES * 4 * n_locations))),
            sample_locations=min(n_locations - kept, others, 4 * kept + FEWEST_LOCATIONS),
            sample_values=int(free / 2.5) // sizes.value_bytes,
        )

    @property
    def process_bytes(self) -> int:
        """Peak of the memory of the process while it distils, about."""
        return resident_bytes() + (self.needed if self.in_memory else self.free)

    def sample_steps(self, n_locations: int) -> int:
        """Return the steps of a sample of so many locations."""
        return max(1, self.sample_values // n_locations)

    def __str__(self) -> str:
        return (
            f"the series needs about {self.needed / 2**30:.1f} GiB of memory and "
            f"{self.free / 2**30:.1f} GiB may be taken: it is read in blocks, and a sample of it "
            f"is distilled, to {self.settings.windows} windows and {self.settings.clusters} "
            "clusters"
        )


@dataclass(frozen=True)
class _Sizes:
    """Bytes of the parts of a distillation."""

    train_windows: int
    value_bytes: int
    """Of all features of a step at a location, and the mask of its targets."""
    synthetic_bytes: int
    """Of a synthetic window at a cluster, while it is learned."""
    location_bytes: int
    """Of what is known of a location: its profile, names, edges, statistics."""

    @classmethod
    def of(cls, series: xr.Dataset, forecast: TaskSettings) -> _Sizes:
        variables = tuple(map(str, series.data_vars))
        n_series = room_for(variables, forecast).n_features
        n_features = n_series + 4 + len(forecast.static)  # the calendar is chosen later
        begin, end = forecast.split.boundaries(series.sizes["time"])["train"]
        window = forecast.lookback * n_features + 2 * forecast.horizon * forecast.n_targets
        return cls(
            train_windows=max(1, end - begin - forecast.lookback - forecast.horizon + 1),
            value_bytes=bytes_of_value(variables, forecast),
            synthetic_bytes=SYNTHETIC_COPIES * 4 * window,
            location_bytes=2 * 4 * forecast.lookback * n_features + 1000,
        )


def _fitting(
    settings: DistillSettings, wanted: tuple[int, int], sizes: _Sizes, free: int
) -> DistillSettings:
    """Return settings with as many windows and clusters as fit; numbers that were given must."""
    most = free // sizes.synthetic_bytes
    share = min(1.0, math.sqrt(most / (wanted[0] * wanted[1])))
    n_clusters = max(1, round(share * wanted[1]))
    n_windows = max(1, min(wanted[0], most // n_clusters))
    if settings.windows is not None:
        n_windows, n_clusters = settings.windows, max(1, min(wanted[1], most // settings.windows))
    if settings.clusters is not None:
        n_clusters = settings.clusters
        n_windows = settings.windows or max(1, min(wanted[0], most // settings.clusters))
    if n_windows * n_clusters > max(1, most):
        raise InputError(
            f"{n_windows} windows x {n_clusters} clusters need "
            f"{n_windows * n_clusters * sizes.synthetic_bytes / 2**30:.1f} GiB while they are "
            f"learned, and {free / 2**30:.1f} GiB of the budget are for them: ask for at most "
            f"{most} in their product, or give more with --memory"
        )
    return replace(settings, windows=n_windows, clusters=n_clusters)

"""What the tests of the command line share: tiny data, quick settings, the shape of a result."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import xarray as xr

N_STEPS = 120
QUICK_DISTILL = (
    "--expert-training.updates 4 --expert-seeds 1 --extra-experts 0 --judging.updates 4 "
    "--judge-seeds 1 --synthesizer selection --lookback 4 --horizon 3"
)


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def notes(self) -> str:
        """Standard error without the lines that tell which stage runs."""
        lines = self.err.splitlines(keepends=True)
        return "".join(line for line in lines if not self._stage.search(line))

    @property
    def stages(self) -> list[str]:
        """The stages that ended."""
        return re.findall(r"^stemdist: (.*): ended, ", self.err, re.MULTILINE)

    _stage: ClassVar[re.Pattern[str]] = re.compile(r"^stemdist: .*: (starting|ended, | after \d)")


Run = Callable[[str], Outcome]


def weather(n_steps: int = N_STEPS, **coords: object) -> xr.Dataset:
    """A grid of 3 x 4 points, hourly; ``coords`` replace its coordinates."""
    rng = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * np.arange(n_steps) / 24)[:, None, None]
    values = (280 + 5 * wave + rng.standard_normal((n_steps, 3, 4))).astype("f4")
    given = {
        "time": pd.date_range("2020-01-01", periods=n_steps, freq="h"),
        "lat": [50.0, 51.0, 52.0],
        "lon": [0.0, 1.0, 2.0, 3.0],
        **coords,
    }
    return xr.Dataset({"t2m": (("time", "lat", "lon"), values, {"units": "K"})}, given)

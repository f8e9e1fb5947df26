"""Measuring any forecast on one part of a task, block by block.

Shapes: M windows, B windows of a block, L_out horizon, N locations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stemdist.data.scaling import Scaler
from stemdist.data.windows import SeriesWindows
from stemdist.errors import InputError
from stemdist.evaluate.metrics import ErrorSums
from stemdist.evaluate.targets import TargetSummary, area_weights, persistence_scale
from stemdist.forecast import ForecastTask
from stemdist.forecast.baselines import Baseline
from stemdist.forecast.predict import BLOCK_SERIES
from stemdist.forecast.train import evenly_spaced


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """One part of a task and what errors on it are relative to; make it with :meth:`of`.

    Parameters
    ----------
    windows : SeriesWindows
        Of the part.
    index : Tensor
        (M,) windows that are evaluated.
    scaler : Scaler
        Brings the target back to physical units.
    summary : TargetSummary
        Of the evaluated targets.
    scale : Tensor
        (N,) in-sample persistence errors of the training part.
    weight : Tensor, optional
        (N,) location weights.
    """

    windows: SeriesWindows
    index: Tensor
    scaler: Scaler
    summary: TargetSummary
    scale: Tensor
    weight: Tensor | None = None

    @classmethod
    def of(
        cls,
        task: ForecastTask,
        windows: SeriesWindows,
        *,
        at_most: int | None = None,
        season_steps: int = 1,
        area_weighted: bool = False,
    ) -> Yardstick:
        """Read the targets of a part once.

        Parameters
        ----------
        task : ForecastTask
            Gives the units, the positions, and the training part for MASE.
        windows : SeriesWindows
            ``task.validation`` or ``task.test``.
        at_most : int, optional
            Use so many evenly spaced windows at most.
        season_steps : int
            Season of the in-sample persistence of MASE, in steps.
        area_weighted : bool
            Weight locations by cos(latitude).

        Raises
        ------
        InputError
            If no target is observed, or area weights are wanted where there is no latitude.
        """
        index = evenly_spaced(len(windows), len(windows) if at_most is None else at_most)
        weight = _area_weights(task) if area_weighted else None
        blocks = (_targets(task.scaler, windows, part) for part in _parts(windows, index))
        _, end = task.settings.split.boundaries(len(windows.values))["train"]
        return cls(
            windows=windows,
            index=index,
            scaler=task.scaler,
            summary=TargetSummary.of(blocks, weight=weight),
            scale=persistence_scale(
                task.train.values[:end, :, 0] * task.scaler.scale[0],
                task.train.observed[:end],
                season_steps,
            ),
            weight=weight,
        )

    def errors(self, forecast: Baseline) -> ErrorSums:
        """Return the errors, in physical units, of a forecast made one block at a time.

        Parameters
        ----------
        forecast : callable
            Maps windows and an index (B,) to forecasts (B, L_out, N) in scaled units.
        """
        sums = ErrorSums(
            self.summary,
            horizon=self.windows.horizon,
            n_locations=self.windows.n_locations,
            weight=self.weight,
            scale=self.scale,
        )
        for part in _parts(self.windows, self.index):
            y, mask = _targets(self.scaler, self.windows, part)
            sums.add(self.scaler.inverse(forecast(self.windows, part)), y, mask)
        return sums


def _parts(windows: SeriesWindows, index: Tensor) -> tuple[Tensor, ...]:
    return torch.split(index, max(1, BLOCK_SERIES // windows.n_locations))


def _targets(scaler: Scaler, windows: SeriesWindows, index: Tensor) -> tuple[Tensor, Tensor]:
    _, y, mask = windows.batch(index)
    return scaler.inverse(y.double()), mask


def _area_weights(task: ForecastTask) -> Tensor:
    if "lat" not in task.series.coords:
        raise InputError(
            "area_weighted needs the latitude of every location, and the data have none: leave "
            "it out"
        )
    return area_weights(task.series["lat"].values)

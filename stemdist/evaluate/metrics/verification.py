"""Errors of any forecast on one part of a task, block by block.

Shapes: M windows, B windows of a block, L_out horizon, C targets, Q quantiles, N locations, H of
them that are measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stemdist.data.scaling import Scaler
from stemdist.data.windows import SeriesWindows, evenly_spaced
from stemdist.errors import InputError
from stemdist.evaluate.metrics.errors import ErrorSums
from stemdist.evaluate.metrics.targets import (
    TargetSummary,
    area_weights,
    known_edges,
    persistence_scale,
)
from stemdist.forecast import ForecastTask
from stemdist.forecast.baselines import Baseline
from stemdist.forecast.predict import physical_quantiles, windows_per_block


@dataclass(frozen=True, kw_only=True)
class Verification:
    """One part of a task with the scales of its errors; made by :meth:`of`.

    Parameters
    ----------
    task : ForecastTask
        Its scaler brings the targets back to physical units.
    windows : SeriesWindows
        Of the part.
    index : Tensor
        (M,) windows that are evaluated.
    summaries : tuple of TargetSummary
        Of the evaluated values of each target.
    scales : tuple of Tensor
        (H,) in-sample persistence errors of the training part, for each target.
    weight : Tensor, optional
        (H,) location weights.
    locations : Tensor, optional
        (H,) locations that are evaluated; all of them by default.
    """

    task: ForecastTask
    windows: SeriesWindows
    index: Tensor
    summaries: tuple[TargetSummary, ...]
    scales: tuple[Tensor, ...]
    weight: Tensor | None = None
    locations: Tensor | None = None

    @classmethod
    def of(
        cls,
        task: ForecastTask,
        windows: SeriesWindows,
        *,
        at_most: int | None = None,
        locations: Tensor | None = None,
        season_steps: int = 1,
        area_weighted: bool = False,
    ) -> Verification:
        """Read the targets of a part once.

        Parameters
        ----------
        task : ForecastTask
            Gives the units, the positions, and the training part for MASE.
        windows : SeriesWindows
            ``task.validation`` or ``task.test``.
        at_most : int, optional
            Use so many evenly spaced windows at most.
        locations : Tensor, optional
            (H,) locations to evaluate; all of them by default.
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
        places = slice(None) if locations is None else locations
        scaler = _scaler_of(task, locations)
        weight = _area_weights(task)[places] if area_weighted else None
        _, end = task.split_boundaries["train"]
        summaries, scales = [], []
        for target in range(windows.n_targets):
            blocks = (
                _of_target(target, _targets(task, windows, part, locations), windows.horizon)
                for part in _parts(windows, index)
            )
            edges = known_edges(task.series[task.target_names[target]])
            summaries.append(TargetSummary.of(blocks, weight=weight, edges=edges))
            values = task.train.values[:end, places, target]
            seen = task.train.observed[:end, places, target]
            persistence = persistence_scale(values, seen, season_steps)
            _, spread = scaler.of_targets(windows.n_targets, persistence)
            scales.append(spread[target] * persistence)
        return cls(
            task=task,
            windows=windows,
            index=index,
            locations=locations,
            summaries=tuple(summaries),
            scales=tuple(scales),
            weight=weight,
        )

    def errors(self, forecast: Baseline, quantiles: tuple[float, ...] = ()) -> list[ErrorSums]:
        """Return the errors, in physical units, of a forecast made one block at a time.

        Parameters
        ----------
        forecast : callable
            Maps windows and an index (B,) to forecasts (B, C * L_out, N) in scaled units, or
            (B, Q * C * L_out, N) of quantiles.
        quantiles : tuple of float
            The Q levels; the one nearest to the median counts as the point forecast.

        Returns
        -------
        list of ErrorSums
            For each target.
        """
        horizon, n_targets = self.windows.horizon, self.windows.n_targets
        _, deviations = self._scaler.of_targets(n_targets, self.scales[0])  # (C, 1) or (C, H)
        sums = [
            ErrorSums(
                summary,
                horizon=horizon,
                n_locations=len(scale),
                weight=self.weight,
                scale=scale,
                quantiles=quantiles,
                deviation=deviation.expand(len(scale)),
            )
            for summary, scale, deviation in zip(
                self.summaries, self.scales, deviations, strict=True
            )
        ]
        for part in _parts(self.windows, self.index):
            truth = _targets(self.task, self.windows, part, self.locations)
            rows = self.measured(forecast(self.windows, part))
            physical = physical_quantiles(rows, self._scaler, n_targets, len(quantiles))
            for target, own in enumerate(sums):
                guess = physical[:, :, target * horizon : (target + 1) * horizon]
                y, mask = _of_target(target, truth, horizon)
                own.add(guess if quantiles else guess[:, 0], y, mask)
        return sums

    @property
    def _scaler(self) -> Scaler:
        """The scaler of the evaluated locations."""
        return _scaler_of(self.task, self.locations)

    def measured(self, values: Tensor) -> Tensor:
        """Return the values (..., H) at the evaluated locations, of values (..., N)."""
        return values if self.locations is None else values[..., self.locations]


def _parts(windows: SeriesWindows, index: Tensor) -> tuple[Tensor, ...]:
    return torch.split(index, windows_per_block(windows))


def _targets(
    task: ForecastTask, windows: SeriesWindows, index: Tensor, locations: Tensor | None
) -> tuple[Tensor, Tensor]:
    _, y, mask = windows.batch(index, locations)
    scaler = _scaler_of(task, locations)
    return scaler.inverse_targets(y.double(), windows.n_targets), mask


def _of_target(target: int, truth: tuple[Tensor, Tensor], horizon: int) -> tuple[Tensor, Tensor]:
    """Return the rows of one target, (B, L_out, H) values and mask."""
    rows = slice(target * horizon, (target + 1) * horizon)
    return truth[0][:, rows], truth[1][:, rows]


def _area_weights(task: ForecastTask) -> Tensor:
    if "lat" not in task.series.coords:
        raise InputError(
            "area_weighted needs the latitude of every location, and the data have none: leave "
            "it out"
        )
    return area_weights(task.series["lat"].values)


def _scaler_of(task: ForecastTask, locations: Tensor | None) -> Scaler:
    return task.scaler if locations is None else task.scaler.at(locations)

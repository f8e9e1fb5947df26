"""What a synthesizer is given: real clustered windows, a start, and a score.

Shapes: M training windows, M_S synthetic windows, K clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch_geometric.data import Data

from stemdist.data.windows import TensorWindows, WindowSource
from stemdist.forecast import (
    ForecastTask,
    TrainingSettings,
    fit_windows,
    mean_error,
)
from stemdist.forecast.train import evenly_spaced


@dataclass(frozen=True, kw_only=True)
class DistillationProblem:
    """Everything a synthesizer may use; the test part is not among it.

    Parameters
    ----------
    task : ForecastTask
        The real data.
    real : WindowSource
        All M training windows over the K clusters, with the labels in use.
    graph : torch_geometric.data.Data
        Graph between the clusters.
    start : TensorWindows
        M_S selected real windows over the K clusters, with the labels in use.
    judges : sequence of str
        Forecasters trained on a candidate to judge it.
    judging : TrainingSettings
        How they are trained.
    judge_seeds : int
        Forecasters per judge.
    n_learned : int
        Leading features that are learned; calendar and static features stay as they are.
    answer : callable, optional
        The experts' answer (M_S, L_out, K) to candidate inputs, so that labels follow the inputs
        while they move; without it ``y`` is learned freely.
    """

    task: ForecastTask
    real: WindowSource
    graph: Data
    start: TensorWindows
    judges: Sequence[str]
    judging: TrainingSettings
    judge_seeds: int
    n_learned: int
    answer: Callable[[TensorWindows], Tensor] | None = None

    def learned(self, windows: TensorWindows) -> tuple[Tensor, Tensor]:
        """Return copies of the tensors to learn: ``x`` (M_S, L_in, K, F_learned) and ``y``."""
        x = windows.x[..., : self.n_learned]
        return x.clone().requires_grad_(), windows.y.clone().requires_grad_()

    def inputs(self, x: Tensor) -> Tensor:
        """Return learned inputs with the fixed features behind them, (M_S, L_in, K, F)."""
        fixed = self.start.x[..., self.n_learned :]
        return torch.cat([x, fixed], dim=-1) if fixed.shape[-1] else x

    def candidate(self, x: Tensor, y: Tensor) -> TensorWindows:
        """Return windows of copies of ``x`` and ``y``, labelled anew where experts label."""
        windows = replace(self.start, x=self.inputs(x).clone(), y=y.clone())
        return windows if self.answer is None else replace(windows, y=self.answer(windows))

    def score(self, candidate: TensorWindows) -> float:
        """Return the validation error of forecasters trained on ``candidate``; lower is better.

        Every candidate is judged by forecasters with the same initial weights, order of
        windows and number of updates, at all N real locations.

        Returns
        -------
        float
            Mean over the judges of the masked mean squared error divided by the variance of
            the validation targets.
        """
        errors = [
            self._judge(candidate, family, self.judging.seed + seed)
            for family in self.judges
            for seed in range(self.judge_seeds)
        ]
        return sum(errors) / len(errors) / self._variance

    def _judge(self, candidate: TensorWindows, family: str, seed: int) -> float:
        training = replace(self.judging, seed=seed)
        forecaster, _ = fit_windows(family, candidate, self.graph, training)
        return mean_error(
            forecaster,
            self.task.validation,
            self.task.graph,
            self.task.train.profile,
            index=self._validation_index,
        )

    @property
    def _validation_index(self) -> Tensor:
        return evenly_spaced(len(self.task.validation), self.judging.validation_windows)

    @cached_property
    def _variance(self) -> float:
        _, y, mask = self.task.validation.batch(self._validation_index)
        count = mask.sum().clamp_min(1)
        mean = y.sum() / count
        return max(float((((y - mean) ** 2) * mask).sum() / count), 1e-12)

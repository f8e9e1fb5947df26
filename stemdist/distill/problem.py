"""Input of a synthesizer: real clustered windows, a start, and a score.

Shapes: M training windows, M_S synthetic windows, K clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stemdist.data.windows import TensorWindows, WindowSource, evenly_spaced, materialise
from stemdist.data.wrapped_windows import MovedWindows
from stemdist.distill.labels import KEPT_ANSWERS, RelabelledWindows
from stemdist.forecast import (
    ForecastTask,
    TrainingSettings,
    fit_windows,
    mean_error,
)
from stemdist.graph import subgraph

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from stemdist.distill.source_range import SourceRange

LONGER, WIDER = 16, 2
"""Multipliers of the updates, and of the windows in each, in the final check, so that judges have
about converged. Learned windows may be better for short trainings alone."""

JUDGED_SERIES = 2**15
FEWEST_JUDGED_WINDOWS = 8
"""Window-locations on which judges are validated at most; more change their errors little."""


@dataclass(frozen=True, kw_only=True)
class DistillationProblem:
    """Everything that a synthesizer may use; the test part is excluded.

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
        Forecasters trained on a candidate to measure its validation error.
    judging : TrainingSettings
        How they are trained.
    judge_seeds : int
        Number of seeds per judge.
    n_series : int
        Number of leading features that vary in time and space; calendar and static ones follow.
    n_learned : int
        Number of leading features that may be learned: the series, or the calendar too.
    answer : callable, optional
        The experts' forecast (B, R, K) of the inputs of any windows, so that labels follow the
        inputs while they move; without it ``y`` is learned freely.
    parametrisation : str
        How the windows are stored while they are learned; see ``PARAMETRISATIONS``.
    parametrisation_options : mapping
        Its options.
    within : SourceRange, optional
        The range that learned inputs and targets must not leave.
    """

    task: ForecastTask
    real: WindowSource
    graph: Data
    start: TensorWindows
    judges: Sequence[str]
    judging: TrainingSettings
    judge_seeds: int
    n_series: int
    n_learned: int
    answer: Callable[[WindowSource], Tensor] | None = None
    parametrisation: str = "tensor"
    parametrisation_options: Mapping[str, Any] = field(default_factory=dict)
    within: SourceRange | None = None

    @property
    def device(self) -> torch.device:
        """Device of the start, on which the synthetic windows are learned."""
        return self.start.x.device

    def to(self, device: str | torch.device) -> DistillationProblem:
        """Return the problem with its start and graph on a device, and real batches moved there.

        The series stays where it is, so that it need not fit on the device.
        """
        return replace(
            self,
            real=MovedWindows(source=self.real, device=device),
            graph=self.graph.clone().to(str(device)),
            start=self.start.to(device),
        )

    def real_batch(
        self,
        n_windows: int,
        n_locations: int,
        generator: torch.Generator,
        *,
        pointwise: bool = False,
    ) -> tuple[TensorWindows, Data]:
        """Return random training windows at random real locations.

        Where experts give soft labels, these are the targets; else windows are labelled as the
        start is. Experts that need all locations at once cannot forecast a few of them: there
        the clusters' representatives, whose labels are known, are the real locations.

        Parameters
        ----------
        n_windows, n_locations : int
            Largest numbers to draw.
        generator : torch.Generator
            Source of the random draws.
        pointwise : bool
            Whether they are for pointwise forecasters. These do not use the graph, and the one
            between the clusters is returned: making another takes a tenth of a step.

        Returns
        -------
        TensorWindows, torch_geometric.data.Data
            The windows in their order, and the graph between the locations, on the device.
        """
        source, graph = self.real, self.graph
        if self.answer is not None:
            source = self.task.train if self._answered is None else self._answered
            graph = self.task.graph
        index = torch.randint(len(source), (n_windows,), generator=generator)
        locations = torch.randperm(source.n_locations, generator=generator)[:n_locations]
        locations = locations.sort().values
        windows = materialise(source, index, locations)
        if self.answer is not None and self._answered is None:
            windows = replace(windows, y=self.answer(windows), mask=torch.ones_like(windows.mask))
        graph = self.graph if pointwise else subgraph(graph, locations).to(str(self.device))
        return windows.to(self.device), graph

    @cached_property
    def _answered(self) -> WindowSource | None:
        """The training windows with soft labels, where there are few enough to keep."""
        train = self.task.train
        if self.answer is None or len(train) * train.rows * train.n_locations > KEPT_ANSWERS:
            return None
        return RelabelledWindows(source=train, answers=self.answer(train), share=1.0)

    def inputs(self, x: Tensor, start: TensorWindows | None = None) -> Tensor:
        """Return learned inputs followed by the fixed features, (M_S, L_in, K, F).

        Those of some windows and locations only, where these are given cut from the start.
        """
        fixed = (self.start if start is None else start).x[..., x.shape[-1] :]
        return torch.cat([x, fixed], dim=-1) if fixed.shape[-1] else x

    def candidate(self, x: Tensor, y: Tensor) -> TensorWindows:
        """Return windows of copies of ``x`` and ``y``."""
        x, y = self.bounded(x, y)
        return replace(self.start, x=self.inputs(x).clone(), y=y.clone())

    def bounded(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return learned inputs (M_S, L_in, K, F_l) and targets (M_S, R, K) within the range."""
        if self.within is None:
            return x, y
        return self.within.inputs(x), self.within.targets(y)

    def score(self, candidate: TensorWindows) -> float:
        """Return the validation error of forecasters trained on ``candidate``; lower is better.

        Judges of all candidates have the same initial weights, order of windows and number of
        updates, and are validated at all N real locations.

        Returns
        -------
        float
            Mean over the judges of the masked mean squared error divided by the variance of
            the validation targets.
        """
        return self._mean_error(candidate, self.judging, self.judge_seeds)

    def better_of_finalists(
        self, start: TensorWindows, result: TensorWindows
    ) -> tuple[TensorWindows, dict[str, float] | None]:
        """Compare the start and a result by fresh judges with longer training (the final check).

        Iterates are many and their judges train briefly: the best of them may be best by chance,
        or for short trainings only.

        Parameters
        ----------
        start : TensorWindows
            The start as represented by the parametrisation.
        result : TensorWindows
            The best iterate.

        Returns
        -------
        TensorWindows, dict of str to float
            The better one, and the errors, as of :meth:`score`, of the ``start`` and of the
            ``result``; None if they are identical.
        """
        if torch.equal(start.x, result.x) and torch.equal(start.y, result.y):
            return result, None
        seed, n_seeds = self.judging.seed + self.judge_seeds, max(1, self.judge_seeds // 4)
        longer = replace(
            self.judging,
            updates=LONGER * self.judging.updates,
            batch_windows=WIDER * self.judging.batch_windows,
            seed=seed,
        )
        errors = {
            "start": self._mean_error(start, longer, n_seeds),
            "result": self._mean_error(result, longer, n_seeds),
        }
        return (result if errors["result"] <= errors["start"] else start), errors

    def _mean_error(
        self, candidate: TensorWindows, judging: TrainingSettings, n_seeds: int
    ) -> float:
        errors = [
            self._judge(candidate, family, replace(judging, seed=judging.seed + seed))
            for family in self.judges
            for seed in range(n_seeds)
        ]
        return sum(errors) / len(errors) / self._variance

    def _judge(self, candidate: TensorWindows, family: str, training: TrainingSettings) -> float:
        forecaster, _ = fit_windows(family, candidate, self.graph, training, device=self.device)
        return mean_error(
            forecaster,
            self.task.validation,
            self.task.graph,
            self.task.train.profile,
            index=self._validation_index,
            device=self.device,
        )

    @property
    def _validation_index(self) -> Tensor:
        judging = validating_within_reason(self.judging, self.task)
        return evenly_spaced(len(self.task.validation), judging.validation_windows)

    @cached_property
    def _variance(self) -> float:
        total = square = count = 0.0
        for part in torch.split(self._validation_index, 16):  # not all windows x N at once
            _, y, mask = self.task.validation.batch(part)
            total += float((y * mask).sum(dtype=torch.float64))
            square += float((y * y * mask).sum(dtype=torch.float64))
            count += float(mask.sum(dtype=torch.float64))
        count = max(count, 1.0)
        return max(square / count - (total / count) ** 2, 1e-12)


def validating_within_reason(training: TrainingSettings, task: ForecastTask) -> TrainingSettings:
    """Return the settings with fewer validation windows if there are many locations."""
    enough = max(FEWEST_JUDGED_WINDOWS, JUDGED_SERIES // task.n_locations)
    return replace(training, validation_windows=min(training.validation_windows, enough))

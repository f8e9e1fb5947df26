"""Trajectory matching with subset-based granular refinement and memory constant in the steps.

Cazenavette et al., CVPR 2022 (MTT); the gradient in constant memory is the aim of TESLA (Cui et
al., ICML 2023), the widening range of starts is that of DATM (Guo et al., ICLR 2024).
Shapes: M_S synthetic windows, B windows of an update, K clusters, k clusters of a subset, S rows of
state (weights and what the inner optimizer keeps of each), P weights, F features.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stemdist.data.windows import Batch
from stemdist.distill.problem import DistillationProblem
from stemdist.distill.synthesizer import Synthesizer, SyntheticState
from stemdist.distill.synthesizers.inner_loop import FlatForecaster
from stemdist.distill.synthesizers.inner_training import InnerTraining, shuffled_orders
from stemdist.distill.synthesizers.spectra import (
    mean_amplitudes,
    source_amplitudes,
    spectrum_distance,
)
from stemdist.distill.synthesizers.subsets import mean_profile
from stemdist.distill.synthesizers.trajectories import (
    Trajectory,
    TrajectorySettings,
    check_positive,
    inner_optimizer,
    subsets_in_turn,
    train_trajectories,
)
from stemdist.errors import InputError, check_count, unknown_name
from stemdist.forecast import fresh_forecaster

NORMALISATIONS = ("whole", "group")


class TrajectoryMatching(Synthesizer):
    """Synthetic windows on which a surrogate's weights move as an expert's on the real windows.

    Experts are trained on the real clustered windows, with snapshots of their weights. In each
    matching step a surrogate starts from a snapshot (with the expert's optimizer state) and makes
    ``inner_steps`` updates on the synthetic windows, each on one subset of the clusters. The
    learned tensors then step down ``|w - w_target|^2 / |w_start - w_target|^2``, where the target
    is the expert ``ahead`` snapshots later. The gradient is exact; its memory is that of one
    update, and one state per update. The step size of the surrogate is learned too.

    Parameters
    ----------
    iterations : int
        Outer iterations; after each the set is relabelled and its validation error measured.
    steps : int
        Matching steps per outer iteration.
    subsets : int
        Number of subsets that the clusters are split into (at most K), for experts and surrogates.
    surrogate : str
        Forecaster whose trajectory is matched.
    surrogate_options : mapping, optional
        Its hyper-parameters.
    learning_rate : float
        Of Adam on the learned tensors.
    relabel : float
        Share of the soft labels that enters ``y`` after each iteration, in [0, 1].
    learn_labels : bool
        Whether ``y`` is learned by matching too.
    trajectories : int
        Number of experts.
    batch_windows : int
        Windows of an update, of experts and surrogates alike; all where there are fewer.
    inner_optimizer : {"sgd", "momentum", "adam"}
        Of experts and surrogates alike.
    inner_learning_rate : float
        Step size of the experts, and initial step size of the surrogates.
    rate_learning_rate : float
        Of Adam on the logarithm of the surrogates' step size; 0 keeps it constant.
    inner_steps : int
        Updates of a surrogate in a matching step.
    interval : int
        Updates of an expert between two snapshots.
    ahead : int
        Snapshots from start to target.
    first_start, last_start : int
        Range from which the start snapshot is drawn; early ones suit small sets.
    widening : float
        Share of all matching steps, in [0, 1], during which the range widens from ``first_start``
        alone to the whole range; with 0 it is the whole range from the beginning.
    flatness : float
        Radius of sharpness-aware minimisation of the experts; 0 for none.
    normalise : {"whole", "group"}
        Whether the distance is normalised over all weights, or within each weight tensor.
    synthetic_profile : bool
        Whether location encoders of surrogates read the mean synthetic windows, as in STemDist,
        or the mean real ones.
    frequency_weight : float
        Weight of the distance between amplitude spectra (TimeDC) in the loss; 0 for none.
    clusters_per_update : int
        Most clusters of an update, so that its memory does not depend on K.

    Attributes
    ----------
    trajectories_ : list of Trajectory
        One for each expert.
    log_rate_ : Tensor
        Logarithm of the surrogates' step size.
    steps_made_ : int
        Matching steps so far.
    """

    trajectories_: list[Trajectory]
    log_rate_: Tensor
    steps_made_: int

    def __init__(
        self,
        *,
        iterations: int = 10,
        steps: int = 30,
        subsets: int = 1,
        surrogate: str = "mlp",
        surrogate_options: Mapping[str, Any] | None = None,
        learning_rate: float = 5e-3,
        relabel: float = 1.0,
        learn_labels: bool = True,
        trajectories: int = 4,
        batch_windows: int = 24,
        inner_optimizer: str = "sgd",
        inner_learning_rate: float = 0.1,
        rate_learning_rate: float = 5e-3,
        inner_steps: int = 15,
        interval: int = 15,
        ahead: int = 2,
        first_start: int = 0,
        last_start: int = 15,
        widening: float = 0.0,
        flatness: float = 0.0,
        normalise: str = "whole",
        synthetic_profile: bool = True,
        frequency_weight: float = 0.0,
        clusters_per_update: int = 256,
    ) -> None:
        self.iterations = iterations
        self.steps = steps
        self.subsets = subsets
        self.surrogate = surrogate
        self.surrogate_options = surrogate_options
        self.learning_rate = learning_rate
        self.relabel = relabel
        self.learn_labels = learn_labels
        self.trajectories = trajectories
        self.batch_windows = batch_windows
        self.inner_optimizer = inner_optimizer
        self.inner_learning_rate = inner_learning_rate
        self.rate_learning_rate = rate_learning_rate
        self.inner_steps = inner_steps
        self.interval = interval
        self.ahead = ahead
        self.first_start = first_start
        self.last_start = last_start
        self.widening = widening
        self.flatness = flatness
        self.normalise = normalise
        self.synthetic_profile = synthetic_profile
        self.frequency_weight = frequency_weight
        self.clusters_per_update = clusters_per_update

    def trajectory_settings(self) -> TrajectorySettings:
        """Return how the experts are trained."""
        return TrajectorySettings(
            surrogate=self.surrogate,
            surrogate_options=self.surrogate_options or {},
            optimizer=self.inner_optimizer,
            learning_rate=self.inner_learning_rate,
            batch_windows=self.batch_windows,
            interval=self.interval,
            intervals=self.last_start + self.ahead,
            subsets=self.subsets,
            clusters_per_update=self.clusters_per_update,
            flatness=self.flatness,
        )

    def optimizer(self, tensors: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Return Adam over the learned tensors, after checking the parameters."""
        for name in ("steps", "trajectories", "inner_steps", "ahead"):
            check_count(name, getattr(self, name))
        for name in ("iterations", "first_start", "last_start"):
            check_count(name, getattr(self, name), minimum=0)
        if self.last_start < self.first_start:
            raise InputError(
                f"last_start is {self.last_start}, before first_start {self.first_start}: "
                "surrogates start from snapshots first_start to last_start"
            )
        for name in ("relabel", "widening"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)!r}: it must be a share in [0, 1]")
        for name in ("rate_learning_rate", "frequency_weight"):
            check_positive(name, getattr(self, name), zero=True)
        if self.normalise not in NORMALISATIONS:
            raise unknown_name("normalise", self.normalise, NORMALISATIONS)
        check_positive("learning_rate", self.learning_rate)
        self.trajectory_settings()
        self.steps_made_ = 0
        self.log_rate_ = torch.tensor(math.log(self.inner_learning_rate))
        self._rate_optimizer = torch.optim.Adam([self.log_rate_], lr=self.rate_learning_rate)
        return torch.optim.Adam(tensors, lr=self.learning_rate)

    def prepare(self, problem: DistillationProblem, *, seed: int, cache: str | Path | None) -> None:
        """Train the experts, or load their trajectories from ``cache``."""
        settings = self.trajectory_settings()
        self.trajectories_ = train_trajectories(
            problem.real, problem.graph, settings, self.trajectories, seed=seed, cache=cache
        )
        self.cached_seconds_ = sum(path.seconds for path in self.trajectories_ if path.cached)
        surrogate = fresh_forecaster(
            self.surrogate, problem.start, seed, settings.surrogate_options
        ).eval()
        self._flat = FlatForecaster(surrogate)
        self._group = torch.zeros(
            self.trajectories_[0].states.shape[-1], dtype=torch.int64, device=problem.device
        )
        if self.normalise == "group":
            for number, group in enumerate(self._flat.groups):
                self._group[group] = number
        self._spectrum = source_amplitudes(problem.real) if self.frequency_weight > 0 else None

    def memory(self) -> dict[str, Any]:
        """Return the surrogates' step size with its optimizer, and the matching steps so far."""
        return {
            "log_rate": self.log_rate_,
            "rate_optimizer": self._rate_optimizer.state_dict(),
            "steps_made": self.steps_made_,
        }

    def remember(self, memory: dict[str, Any]) -> None:
        """Restore what :meth:`memory` returned."""
        self.log_rate_.copy_(memory["log_rate"])
        self._rate_optimizer.load_state_dict(memory["rate_optimizer"])
        self.steps_made_ = memory["steps_made"]

    @property
    def inner_learning_rate_(self) -> float:
        """Step size of the surrogates as learned so far."""
        return math.exp(self.log_rate_.item())

    @property
    def latest_start(self) -> int:
        """Latest snapshot from which a surrogate may start now."""
        until = self.widening * self.iterations * self.steps
        share = min(1.0, self.steps_made_ / until) if until > 0 else 1.0
        return self.first_start + round(share * (self.last_start - self.first_start))

    def improve(
        self, problem: DistillationProblem, synthetic: SyntheticState, generator: torch.Generator
    ) -> float:
        """Make the matching steps of one outer iteration."""
        losses = [self._match(problem, synthetic, generator) for _ in range(self.steps)]
        finite = [loss for loss in losses if math.isfinite(loss)]
        return sum(finite) / len(finite) if finite else math.inf

    def _match(
        self, problem: DistillationProblem, synthetic: SyntheticState, generator: torch.Generator
    ) -> float:
        """Take one matching step and return the loss before it."""
        path = self.trajectories_[_draw(len(self.trajectories_), generator)].states
        begin = self.first_start + _draw(self.latest_start - self.first_start + 1, generator)
        x, y = synthetic.windows()
        x = problem.inputs(x)
        profile = problem.start.profile
        if self.synthetic_profile:
            profile = mean_profile(x)  # (K, L_in * F)
        leaves = [tensor.detach().requires_grad_() for tensor in (x, y, profile, self.log_rate_)]
        training = self._inner_training(problem, leaves, begin * self.interval, generator)
        value, gradients = training.matching(path[begin], path[begin + self.ahead], self._group)
        self.steps_made_ += 1
        if gradients is None:  # the inner training diverged: its steps are too long
            self.log_rate_ -= math.log(2)
            return value
        value += self._match_spectrum(leaves[:2], gradients[:2], problem.start.n_targets)
        moved = [x, y, profile] if self.learn_labels else [x, profile]
        pulls = gradients[:3] if self.learn_labels else gradients[::2]
        made = synthetic.step(_through(moved, pulls, synthetic.tensors))
        self._step_rate(gradients[3], made)
        return value

    def _inner_training(
        self,
        problem: DistillationProblem,
        leaves: Sequence[Tensor],
        earlier_updates: int,
        generator: torch.Generator,
    ) -> InnerTraining:
        x, y, profile, log_rate = leaves
        subsets = subsets_in_turn(
            problem.graph, problem.start.weight, self.trajectory_settings(), generator
        )
        return InnerTraining(
            flat=self._flat,
            optimizer=inner_optimizer(self.inner_optimizer),
            windows=Batch(x, y, problem.start.mask),
            profile=profile,
            log_rate=log_rate,
            orders=shuffled_orders(
                len(x), self.batch_windows, self.inner_steps, generator, device=x.device
            ),
            subsets=list(itertools.islice(subsets, self.inner_steps)),
            earlier_updates=earlier_updates,
        )

    def _match_spectrum(
        self, leaves: Sequence[Tensor], gradients: Sequence[Tensor], n_targets: int
    ) -> float:
        """Return the weighted distance of the spectra; add its gradients for ``x`` and ``y``."""
        if self._spectrum is None:
            return 0.0
        x, y = leaves
        found = mean_amplitudes(x, y, n_targets)
        distance = self.frequency_weight * spectrum_distance(self._spectrum, found)
        for total, own in zip(gradients, torch.autograd.grad(distance, leaves), strict=True):
            total += own
        return float(distance.detach())

    def _step_rate(self, gradient: Tensor, made: bool) -> None:
        """Update the surrogates' step size, or halve its learning rate after a rejected step."""
        if made and bool(torch.isfinite(gradient)):
            self.log_rate_.grad = gradient
            self._rate_optimizer.step()
        else:
            for group in self._rate_optimizer.param_groups:
                group["lr"] /= 2


def _draw(n: int, generator: torch.Generator) -> int:
    return int(torch.randint(n, (), generator=generator))


def _through(
    values: Sequence[Tensor], gradients: Sequence[Tensor], tensors: Sequence[Tensor]
) -> Sequence[Tensor]:
    """Propagate gradients for ``values`` back to the learned tensors they are computed from."""
    pairs = [(v, g) for v, g in zip(values, gradients, strict=True) if v.requires_grad]
    outputs, pulls = zip(*pairs, strict=True)
    return torch.autograd.grad(outputs, tensors, pulls, materialize_grads=True)

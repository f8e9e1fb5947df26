"""The procedure every synthesizer shares: improve, judge on validation, keep the best.

Shapes: M_S synthetic windows, L_in lookback, L_out horizon, K clusters, F features.
"""

from __future__ import annotations

import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from stemdist.data.windows import TensorWindows
from stemdist.distill.parametrisation import Parametrisation, encode
from stemdist.distill.problem import DistillationProblem
from stemdist.durations import TimeLimit
from stemdist.errors import InputError, unknown_name
from stemdist.files import atomic_path
from stemdist.progress import bar, stage, stage_or
from stemdist.registry import Registry

_HOME = "stemdist.distill.synthesizers"
SYNTHESIZERS: Registry[type[Synthesizer]] = Registry(
    "synthesizer",
    {
        "closed-form": f"{_HOME}.moments:ClosedForm",
        "distribution-matching": f"{_HOME}.distribution_matching:DistributionMatching",
        "gradient-matching": f"{_HOME}.gradient_matching:GradientMatching",
        "improved-distribution-matching": (
            f"{_HOME}.improved_distribution_matching:ImprovedDistributionMatching"
        ),
        "kernel-ridge": f"{_HOME}.kernel_ridge:KernelRidge",
        "network-pool": f"{_HOME}.network_pool:NetworkPool",
        "selection": "stemdist.distill.synthesizer:Selection",
        "trajectory-matching": f"{_HOME}.trajectory_matching:TrajectoryMatching",
    },
    group="stemdist.synthesizers",
)


@dataclass
class SyntheticState:
    """What is learned, with its optimizer's state.

    Parameters
    ----------
    parametrisation : Parametrisation
        The learned tensors and the windows they encode.
    optimizer : torch.optim.Optimizer
        Over the learned tensors.
    average : float
        Share of what it was that a running mean of the tensors keeps in each step, in [0, 1);
        0 for no mean.

    Attributes
    ----------
    averaged : Parametrisation
        With the running mean of the tensors (Polyak and Juditsky, 1992); the parametrisation
        itself where there is none.
    """

    parametrisation: Parametrisation
    optimizer: torch.optim.Optimizer
    average: float = 0.0
    averaged: Parametrisation = field(init=False)

    def __post_init__(self) -> None:
        self.averaged = deepcopy(self.parametrisation) if self.average else self.parametrisation

    @property
    def tensors(self) -> list[Tensor]:
        """The learned tensors."""
        return self.parametrisation.tensors

    def windows(self) -> tuple[Tensor, Tensor]:
        """Return ``x`` (M_S, L_in, K, F_l) and ``y`` (M_S, R, K), differentiable."""
        return self.parametrisation.windows()

    def step(self, gradients: Sequence[Tensor | None]) -> bool:
        """Make one step of the optimizer, unless a gradient is not finite.

        A step that would spoil the set is left out, and the learning rate halved.

        Returns
        -------
        bool
            Whether the step was made.
        """
        # A sum tells what is not finite in one pass over the numbers.
        if not all(g is None or bool(torch.isfinite(g.sum())) for g in gradients):
            for group in self.optimizer.param_groups:
                group["lr"] /= 2
            return False
        for tensor, gradient in zip(self.tensors, gradients, strict=True):
            tensor.grad = gradient
        self.optimizer.step()
        self.parametrisation.project()
        if self.averaged is not self.parametrisation:
            with torch.no_grad():
                for mean, tensor in zip(self.averaged.tensors, self.tensors, strict=True):
                    mean.lerp_(tensor, 1 - self.average)
        return True


class Synthesizer(BaseEstimator, ABC):  # type: ignore[misc]
    """Learns synthetic windows, in the manner of a scikit-learn estimator.

    A subclass stores its parameters in ``__init__``, gives the optimizer of the synthetic tensors
    and improves them in :meth:`improve`; the loop, labels that follow the inputs, the choice of the
    iterate by validation error and resuming are the same for all. One that needs more than that
    overrides :meth:`prepare`, :meth:`memory` and :meth:`remember`, and :meth:`earlier_stage` and
    :meth:`later_stage` where other synthesizers work before or after it.

    Attributes
    ----------
    relabel : float
        Share of the soft labels of the moved inputs that enters ``y`` after each iteration:
        0 leaves ``y`` as learned, 1 replaces it (CondTSF's value term is what lies between).
    average : float
        Iterates are running means of the learned tensors, which keep this share in every step;
        0 takes the tensors as they are.
    patience : int or None
        Iterations after which it stops, if no error is lower than the lowest one before them by
        the share ``tolerance``; None goes through all.
    tolerance : float
        See ``patience``.
    windows_ : TensorWindows
        The best iterate, never worse on validation than the start as its parametrisation can
        write it.
    n_numbers_ : int or None
        How many numbers encode ``x`` and ``y`` of ``windows_``; None for as many as they have.
    history_ : list of dict
        Per iteration: ``iteration``, ``loss`` and ``validation`` (relative squared error).
    earlier_seconds_ : float
        Time that runs stopped before this one have spent on it.
    cached_seconds_ : float
        Time that other runs have spent on what this one found in the cache.
    out_of_time_ : bool
        Whether it stopped because its time was over.
    """

    within_range: ClassVar[bool] = True
    """Whether windows are kept within the range of the source; False where they are statistics
    whose values are set exactly."""

    iterations: int
    relabel: float = 1.0
    average: float = 0.0
    patience: int | None = None
    tolerance: float = 0.0
    windows_: TensorWindows
    n_numbers_: int | None
    best_: float
    history_: list[dict[str, float]]
    earlier_seconds_: float
    cached_seconds_: float = 0.0
    out_of_time_: bool = False

    @abstractmethod
    def optimizer(self, tensors: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Return the optimizer of the synthetic tensors ``x`` and ``y``."""

    @abstractmethod
    def improve(
        self, problem: DistillationProblem, synthetic: SyntheticState, generator: torch.Generator
    ) -> float:
        """Make one outer iteration in place and return its mean loss."""

    def prepare(self, problem: DistillationProblem, *, seed: int, cache: str | Path | None) -> None:
        """Make what all iterations share; it must follow from the problem and the seed alone.

        Parameters
        ----------
        problem : DistillationProblem
            As in :meth:`fit`.
        seed : int
            As in :meth:`fit`.
        cache : str or Path, optional
            Folder for what takes long to make.
        """

    def earlier_stage(self, problem: DistillationProblem) -> Synthesizer | None:
        """Return a synthesizer whose result is the start of this one; none by default."""
        return None

    def later_stage(
        self, problem: DistillationProblem
    ) -> tuple[Synthesizer, DistillationProblem] | None:
        """Return a synthesizer that continues from the result, and its problem; none by default.

        Parameters
        ----------
        problem : DistillationProblem
            As in :meth:`fit`; ``windows_`` is the result so far.
        """
        return None

    def memory(self) -> dict[str, Any]:
        """Return what is carried from one iteration to the next, as tensors and plain types."""
        return {}

    def remember(self, memory: dict[str, Any]) -> None:
        """Take back what :meth:`memory` returned in the run that is continued."""

    def fit(
        self,
        problem: DistillationProblem,
        *,
        seed: int = 0,
        state: str | Path | None = None,
        cache: str | Path | None = None,
        progress: bool | None = False,
        limit: TimeLimit | None = None,
    ) -> Synthesizer:
        """Learn synthetic windows.

        Parameters
        ----------
        problem : DistillationProblem
            Real windows, start and score.
        seed : int
            Random seed; equal seeds give equal results.
        state : str or Path, optional
            File in which every iteration is kept; a run started again continues there exactly.
        cache : str or Path, optional
            Folder in which expert trajectories and the like are kept for other runs.
        progress : bool, optional
            Show a bar; None shows it on a terminal only.
        limit : TimeLimit, optional
            No further iteration begins when it is over.
        """
        self._limit = limit or TimeLimit()
        how: dict[str, Any] = {"seed": seed, "cache": cache, "progress": progress}
        if not self.within_range:
            problem = replace(problem, within=None)
        before = self.earlier_stage(problem)
        if before is None:
            self._learn(problem, state=state, **how)
        else:
            before.fit(problem, seed=seed, limit=self._limit)
            self._learn(replace(problem, start=before.windows_), state=state, **how)
        done = len(self.history_) - 1  # after more iterations, another later stage follows
        if before is not None:
            self.history_ = continued(before.history_, self.history_[1:])
        after = None if self.out_of_time_ else self.later_stage(problem)
        if after is not None:
            last, continued_problem = after
            beside = None if state is None else Path(state).with_suffix(f".after-{done}.state")
            with stage("final round"):
                last.fit(continued_problem, state=beside, limit=self._limit, **how)
            self._add(last)
        return self

    def _add(self, last: Synthesizer) -> None:
        """Take over the result of a later stage, if it is better than its start."""
        if last.best_ < last.history_[0]["validation"]:
            self.windows_ = last.windows_
        self.best_, self.out_of_time_ = last.best_, last.out_of_time_
        self.earlier_seconds_ += last.earlier_seconds_
        first = [{**row, "round": 1} for row in self.history_]
        self.history_ = continued(first, [{**row, "round": 2} for row in last.history_])

    def _learn(
        self,
        problem: DistillationProblem,
        *,
        seed: int,
        state: str | Path | None,
        cache: str | Path | None,
        progress: bool | None,
    ) -> None:
        """Improve, judge and keep, iteration by iteration."""
        began, self.earlier_seconds_ = time.perf_counter(), 0.0
        self.out_of_time_ = False
        parametrisation = encode(problem)
        self.n_numbers_ = parametrisation.n_numbers
        optimizer = self.optimizer(parametrisation.tensors)
        synthetic = SyntheticState(parametrisation, optimizer, self.average)
        self.prepare(problem, seed=seed, cache=cache)
        done = self._resume(state, synthetic, problem)
        if done:
            self.cached_seconds_ = 0.0  # they are among the earlier seconds
        shown = bar(
            range(done, self.iterations),
            stage_or("distill"),
            self.iterations,
            initial=done,
            unit="iteration",
            progress=progress,
        )
        for iteration in shown:
            self.out_of_time_ = self._limit.over
            if self.out_of_time_ or self._out_of_patience():
                break
            generator = torch.Generator().manual_seed(seed * 1_000_003 + iteration)
            loss = self.improve(problem, synthetic, generator)
            candidate = self._candidate(problem, synthetic)
            self._judge(problem, candidate, iteration + 1, loss)
            shown.set_postfix(loss=f"{loss:.3g}", validation=f"{self.best_:.4f}")
            self._save(state, synthetic, time.perf_counter() - began)

    @torch.no_grad()
    def _candidate(self, problem: DistillationProblem, synthetic: SyntheticState) -> TensorWindows:
        """Return the windows as they are now, with labels that follow the inputs."""
        if problem.answer is not None and self.relabel > 0:
            for each in {synthetic.parametrisation, synthetic.averaged}:  # often one and the same
                windows = problem.candidate(*each.windows())
                answers = problem.answer(windows).to(problem.device)
                each.relabel(torch.lerp(windows.y, answers, self.relabel))
        return problem.candidate(*synthetic.averaged.windows())

    def _judge(
        self, problem: DistillationProblem, candidate: TensorWindows, iteration: int, loss: float
    ) -> None:
        score = problem.score(candidate)
        if score < self.best_:
            self.best_, self.windows_ = score, candidate
        self.history_.append({"iteration": iteration, "loss": loss, "validation": score})

    def _out_of_patience(self) -> bool:
        best, stale = float("inf"), 0
        for row in self.history_:
            better = row["validation"] < best * (1 - self.tolerance)
            best, stale = (row["validation"], 0) if better else (best, stale + 1)
        return self.patience is not None and stale >= self.patience

    def _begin(self, synthetic: SyntheticState, problem: DistillationProblem) -> None:
        with torch.no_grad():
            self.windows_ = problem.candidate(*synthetic.windows())
        self.best_ = problem.score(self.windows_)
        self.history_ = [{"iteration": 0, "loss": float("nan"), "validation": self.best_}]

    def _save(self, state: str | Path | None, synthetic: SyntheticState, seconds: float) -> None:
        if state is None:
            return
        content = {
            "tensors": [tensor.detach() for tensor in synthetic.tensors],
            "averages": [tensor.detach() for tensor in synthetic.averaged.tensors],
            "memory": self.memory(),
            "optimizer": synthetic.optimizer.state_dict(),
            "best": (self.best_, self.windows_.x, self.windows_.y),
            "history": self.history_,
            "seconds": self.earlier_seconds_ + self.cached_seconds_ + seconds,
        }
        with atomic_path(state) as path:
            torch.save(content, path)

    def _resume(
        self, state: str | Path | None, synthetic: SyntheticState, problem: DistillationProblem
    ) -> int:
        """Continue from ``state`` if it is there, else score the start; return what is done."""
        if state is None or not Path(state).exists():
            self._begin(synthetic, problem)
            return 0
        content = torch.load(state, map_location=problem.device, weights_only=True)
        with torch.no_grad():
            tensors = [*synthetic.tensors, *synthetic.averaged.tensors]
            kept = [*content["tensors"], *content["averages"]]
            for tensor, earlier in zip(tensors, kept, strict=True):
                tensor.copy_(earlier)
        self.remember(content["memory"])
        synthetic.optimizer.load_state_dict(content["optimizer"])
        self.best_, x, y = content["best"]
        self.windows_ = replace(problem.start, x=x, y=y)
        self.history_, self.earlier_seconds_ = content["history"], content["seconds"]
        return len(self.history_) - 1


def continued(rows: list[dict[str, float]], then: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return the rows of a history followed by those of another, with iterations counted on."""
    done = rows[-1]["iteration"]
    return [*rows, *({**row, "iteration": done + row["iteration"]} for row in then)]


class Selection(Synthesizer):
    """Keep the selected real windows as they are: the start that the others must beat."""

    iterations = 0

    def optimizer(self, tensors: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Return an optimizer that moves nothing."""
        return torch.optim.SGD(tensors, lr=0.0)

    def improve(
        self, problem: DistillationProblem, synthetic: SyntheticState, generator: torch.Generator
    ) -> float:
        """Do nothing; there are no iterations."""
        return 0.0


def make_synthesizer(name: str, **options: Any) -> Synthesizer:
    """Build a synthesizer by name.

    Raises
    ------
    InputError
        If the name or an option is unknown; the message lists the valid ones.
    """
    kind = SYNTHESIZERS.get(name)
    known = set(inspect.signature(kind).parameters)
    for key in options:
        if key not in known:
            raise unknown_name(f"option of synthesizer {name!r}", key, known)
    synthesizer = kind(**options)
    if not isinstance(synthesizer, Synthesizer):
        raise InputError(
            f"synthesizer {name!r} is a {type(synthesizer).__name__}: a plug-in must subclass "
            "stemdist.Synthesizer"
        )
    return synthesizer

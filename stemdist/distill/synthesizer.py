"""The procedure every synthesizer shares: improve, judge on validation, keep the best.

Shapes: M_S synthetic windows, L_in lookback, L_out horizon, K clusters, F features.
"""

from __future__ import annotations

import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from sklearn.base import BaseEstimator
from torch import Tensor
from tqdm.auto import tqdm

from stemdist.data.windows import TensorWindows
from stemdist.distill.problem import DistillationProblem
from stemdist.errors import InputError, unknown_name
from stemdist.files import atomic_path
from stemdist.registry import Registry

SYNTHESIZERS: Registry[type[Synthesizer]] = Registry(
    "synthesizer",
    {
        "gradient-matching": "stemdist.distill.gradient_matching:GradientMatching",
        "selection": "stemdist.distill.synthesizer:Selection",
    },
    group="stemdist.synthesizers",
)


@dataclass
class Variables:
    """The synthetic tensors while they are learned, with their optimizer's state.

    Parameters
    ----------
    x : Tensor
        (M_S, L_in, K, F_learned), requires grad.
    y : Tensor
        (M_S, L_out, K), requires grad.
    optimizer : torch.optim.Optimizer
        Over ``x`` and ``y``.
    """

    x: Tensor
    y: Tensor
    optimizer: torch.optim.Optimizer


class Synthesizer(BaseEstimator, ABC):  # type: ignore[misc]
    """Learns synthetic windows, in the manner of a scikit-learn estimator.

    A subclass stores its parameters in ``__init__``, gives the optimizer of the synthetic tensors
    and improves them in :meth:`improve`; the loop, labels that follow the inputs, the choice of the
    iterate by validation error and resuming are the same for all.

    Attributes
    ----------
    windows_ : TensorWindows
        The best iterate, never worse on validation than the start.
    history_ : list of dict
        Per iteration: ``iteration``, ``loss`` and ``validation`` (relative squared error).
    earlier_seconds_ : float
        Time that runs stopped before this one have spent on it.
    """

    iterations: int
    windows_: TensorWindows
    best_: float
    history_: list[dict[str, float]]
    earlier_seconds_: float

    @abstractmethod
    def optimizer(self, tensors: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Return the optimizer of the synthetic tensors ``x`` and ``y``."""

    @abstractmethod
    def improve(
        self, problem: DistillationProblem, variables: Variables, generator: torch.Generator
    ) -> float:
        """Make one outer iteration in place and return its mean loss."""

    def fit(
        self,
        problem: DistillationProblem,
        *,
        seed: int = 0,
        state: str | Path | None = None,
        progress: bool | None = False,
    ) -> Synthesizer:
        """Learn synthetic windows.

        Parameters
        ----------
        problem : DistillationProblem
            Real windows, start and score.
        seed : int
            Of everything random; equal seeds give equal results.
        state : str or Path, optional
            File in which every iteration is kept; a run started again continues there exactly.
        progress : bool, optional
            Show a bar; None shows it on a terminal only.
        """
        began, self.earlier_seconds_ = time.perf_counter(), 0.0
        x, y = problem.learned(problem.start)
        variables = Variables(x, y, self.optimizer([x, y]))
        done = self._resume(state, variables, problem)
        bar = tqdm(
            range(done, self.iterations),
            desc="distill",
            initial=done,
            total=self.iterations,
            unit="iteration",
            disable=None if progress is None else not progress,
            leave=False,
        )
        for iteration in bar:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + iteration)
            loss = self.improve(problem, variables, generator)
            candidate = problem.candidate(variables.x.detach(), variables.y.detach())
            with torch.no_grad():
                variables.y.copy_(candidate.y)
            self._judge(problem, candidate, iteration + 1, loss)
            bar.set_postfix(loss=f"{loss:.3g}", validation=f"{self.best_:.4f}")
            self._save(state, variables, time.perf_counter() - began)
        return self

    def _judge(
        self, problem: DistillationProblem, candidate: TensorWindows, iteration: int, loss: float
    ) -> None:
        score = problem.score(candidate)
        if score < self.best_:
            self.best_, self.windows_ = score, candidate
        self.history_.append({"iteration": iteration, "loss": loss, "validation": score})

    def _begin(self, problem: DistillationProblem) -> None:
        self.windows_ = problem.start
        self.best_ = problem.score(problem.start)
        self.history_ = [{"iteration": 0, "loss": float("nan"), "validation": self.best_}]

    def _save(self, state: str | Path | None, variables: Variables, seconds: float) -> None:
        if state is None:
            return
        content = {
            "x": variables.x.detach(),
            "y": variables.y.detach(),
            "optimizer": variables.optimizer.state_dict(),
            "best": (self.best_, self.windows_.x, self.windows_.y),
            "history": self.history_,
            "seconds": self.earlier_seconds_ + seconds,
        }
        with atomic_path(state) as path:
            torch.save(content, path)

    def _resume(
        self, state: str | Path | None, variables: Variables, problem: DistillationProblem
    ) -> int:
        """Continue from ``state`` if it is there, else score the start; return what is done."""
        if state is None or not Path(state).exists():
            self._begin(problem)
            return 0
        content = torch.load(state, weights_only=True)
        with torch.no_grad():
            variables.x.copy_(content["x"])
            variables.y.copy_(content["y"])
        variables.optimizer.load_state_dict(content["optimizer"])
        self.best_, x, y = content["best"]
        self.windows_ = replace(problem.start, x=x, y=y)
        self.history_, self.earlier_seconds_ = content["history"], content["seconds"]
        return len(self.history_) - 1


class Selection(Synthesizer):
    """Keep the selected real windows as they are: the start that the others must beat."""

    def __init__(self) -> None:
        self.iterations = 0

    def optimizer(self, tensors: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Return an optimizer that moves nothing."""
        return torch.optim.SGD(tensors, lr=0.0)

    def improve(
        self, problem: DistillationProblem, variables: Variables, generator: torch.Generator
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
    known = set(inspect.signature(kind.__init__).parameters) - {"self"}
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

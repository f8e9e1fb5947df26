"""Synthesizers whose steps read the features of a pool of forecasters in training.

Zhou et al., Dataset Distillation using Neural Feature Regression, NeurIPS 2022 (FRePo), section
3.2: the pool. Shapes: B windows, N locations, K clusters, R targets.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from stemdist.data.windows import TensorWindows, materialise
from stemdist.distill.clusters import check_on_clusters
from stemdist.distill.problem import DistillationProblem
from stemdist.distill.synthesizer import Synthesizer, SyntheticState
from stemdist.distill.synthesizers.samples import check_rates, names_of, random_part
from stemdist.errors import InputError, check_count
from stemdist.forecast import Forecaster, fresh_forecaster, weighted_mean
from stemdist.forecast.hidden_states import penultimate_features
from stemdist.graph import subgraph

if TYPE_CHECKING:
    from torch_geometric.data import Data


@dataclass(eq=False)
class PoolNetwork:
    """A network of the pool.

    Parameters
    ----------
    forecaster : Forecaster
        Trained a little after each use.
    optimizer : torch.optim.Optimizer, optional
        Its own; None for one that training does not change as far as the steps see it.
    lifetime : int
        Updates after which a fresh one takes its place.
    age : int
        Updates it has had.
    """

    forecaster: Forecaster
    optimizer: torch.optim.Optimizer | None
    lifetime: int
    age: int = 0


class PoolSynthesizer(Synthesizer):
    """Synthesizer whose steps use a network from a pool, which then trains a little.

    A step takes a random network of the pool and moves ``x`` and ``y`` down the gradient of
    :meth:`_error`. Then the network trains ``updates`` updates on :meth:`_lessons`; once it has
    had its share of them, which is drawn between 1 and ``longest``, or where the error is not
    finite, a fresh one takes its place.

    Attributes
    ----------
    iterations, steps : int
        Outer iterations, and steps of each.
    surrogates : sequence of str
        Forecasters of the pool, in turns over its places; a text may list them with commas.
    networks : int
        Networks in the pool.
    updates : int
        Updates of a network after each use.
    longest : int
        Most updates a network lives.
    learning_rate : float
        Of Adam on the learned tensors.
    surrogate_learning_rate : float
        Of Adam on the networks.
    batch_windows, batch_locations : int
        Windows and locations of a real batch, at most.
    synthetic_samples : int
        Synthetic samples of a step or an update, at most; a random part where there are more.
    pool_ : list of PoolNetwork
        The pool.
    """

    reads_forecasts: ClassVar[bool] = False
    """Whether steps use forecasts, too, so that networks whose features have no weights train."""

    steps: int
    surrogates: Sequence[str] | str
    networks: int
    updates: int
    longest: int
    learning_rate: float
    surrogate_learning_rate: float
    batch_windows: int
    batch_locations: int
    synthetic_samples: int
    pool_: list[PoolNetwork]

    @abstractmethod
    def _error(
        self,
        problem: DistillationProblem,
        synthetic: SyntheticState,
        forecaster: Forecaster,
        generator: torch.Generator,
    ) -> Tensor:
        """Return what a step lowers, differentiable, with a forecaster in evaluation mode."""

    def _lessons(
        self,
        problem: DistillationProblem,
        synthetic: SyntheticState,
        network: PoolNetwork,
        generator: torch.Generator,
    ) -> Iterable[tuple[TensorWindows, Data]]:
        """Return the windows of each update of a network, and their graph; synthetic ones."""
        return [self._part(problem, synthetic, generator)] * self.updates

    def optimizer(self, tensors: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Return Adam over the learned tensors, after checking the parameters."""
        sizes = ("batch_windows", "batch_locations", "synthetic_samples")
        for name in ("steps", "networks", "updates", "longest", *sizes):
            check_count(name, getattr(self, name))
        check_count("iterations", self.iterations, minimum=0)
        rates = ("learning_rate", "surrogate_learning_rate")
        check_rates({name: getattr(self, name) for name in rates}, self.relabel)
        if not self._families:
            raise InputError("surrogates is empty: name at least one forecaster")
        check_on_clusters("surrogate", self._all_families)
        return torch.optim.Adam(tensors, lr=self.learning_rate)

    def prepare(self, problem: DistillationProblem, *, seed: int, cache: str | Path | None) -> None:
        """Fill the pool with fresh networks.

        Raises
        ------
        InputError
            If the surrogate does not end in a linear layer.
        """
        generator = torch.Generator().manual_seed(seed)
        weighted = {family for family in self._all_families if _has_weights(problem, family)}
        self.learning_ = set(self._all_families) if self.reads_forecasts else weighted
        self.pool_ = [self._fresh(problem, place, generator) for place in range(self.networks)]

    def memory(self) -> dict[str, Any]:
        """Return the networks with the states of their optimizers."""
        pool = [
            {
                "weights": network.forecaster.state_dict(),
                "optimizer": network.optimizer and network.optimizer.state_dict(),
                "lifetime": network.lifetime,
                "age": network.age,
            }
            for network in self.pool_
        ]
        return {"pool": pool}

    def remember(self, memory: dict[str, Any]) -> None:
        """Take the networks back."""
        for network, kept in zip(self.pool_, memory["pool"], strict=True):
            network.forecaster.load_state_dict(kept["weights"])
            if network.optimizer is not None:
                network.optimizer.load_state_dict(kept["optimizer"])
            network.lifetime, network.age = kept["lifetime"], kept["age"]

    def improve(
        self, problem: DistillationProblem, synthetic: SyntheticState, generator: torch.Generator
    ) -> float:
        """Make ``steps`` steps and return the mean error."""
        losses = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            for _ in range(self.steps):
                place = int(torch.randint(len(self.pool_), (), generator=generator))
                network = self.pool_[place]
                losses.append(self._match(problem, synthetic, network.forecaster, generator))
                self._train(problem, synthetic, network, generator)
                if network.age >= network.lifetime or not math.isfinite(losses[-1]):
                    self.pool_[place] = self._fresh(problem, place, generator)
        return sum(losses) / len(losses)

    @property
    def _families(self) -> tuple[str, ...]:
        return names_of(self.surrogates)

    @property
    def _all_families(self) -> tuple[str, ...]:
        """Also those that join later."""
        return self._families

    def _fresh(
        self, problem: DistillationProblem, place: int, generator: torch.Generator
    ) -> PoolNetwork:
        """Return an untrained network for a place of the pool, which keeps its family."""
        seed = int(torch.randint(2**31, (), generator=generator))
        family = self._families[place % len(self._families)]
        forecaster = fresh_forecaster(family, problem.start, seed)
        optimizer = None
        if family in self.learning_:
            optimizer = torch.optim.Adam(
                forecaster.parameters(), lr=self.surrogate_learning_rate, fused=True
            )
        lifetime = int(torch.randint(1, self.longest + 1, (), generator=generator))
        return PoolNetwork(forecaster, optimizer, lifetime)

    def _match(
        self,
        problem: DistillationProblem,
        synthetic: SyntheticState,
        forecaster: Forecaster,
        generator: torch.Generator,
    ) -> float:
        """Take one step on the learned tensors."""
        error = self._error(problem, synthetic, forecaster.eval(), generator)
        gradients = torch.autograd.grad(error, synthetic.tensors, materialize_grads=True)
        value = float(error.detach())
        made = synthetic.step(gradients)
        return value if made or math.isfinite(value) else math.inf

    def _part(
        self, problem: DistillationProblem, synthetic: SyntheticState, generator: torch.Generator
    ) -> tuple[TensorWindows, Data]:
        """Return the synthetic windows, or a random part of them, and their graph."""
        x, y = synthetic.windows()
        start, graph = problem.start, problem.graph
        if len(start) * start.n_locations <= self.synthetic_samples:
            return replace(start, x=problem.inputs(x), y=y, given_profile=start.profile), graph
        index, part = random_part(len(start), start.n_locations, self.synthetic_samples, generator)
        # What is learned is cut before the fixed features join it: all of it would be copied.
        if len(part) == start.n_locations:  # all of them, in their order
            known, x, y = materialise(start, index), x[index], y[index]
        else:
            known = materialise(start, index, part)
            x, y, graph = x[index][:, :, part], y[index][:, :, part], subgraph(graph, part)
        return replace(known, x=problem.inputs(x, known), y=y), graph

    def _train(
        self,
        problem: DistillationProblem,
        synthetic: SyntheticState,
        network: PoolNetwork,
        generator: torch.Generator,
    ) -> None:
        """Train a network for ``updates`` updates."""
        lessons = self._lessons(problem, synthetic, network, generator)
        network.age += self.updates
        if network.optimizer is None:
            return
        network.forecaster.train()
        for windows, graph in lessons:
            forecast = network.forecaster(windows.x.detach(), graph, windows.profile)
            errors = (forecast - windows.y.detach()) ** 2
            loss = weighted_mean(errors, windows.mask, windows.weight)
            network.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            network.optimizer.step()


def _has_weights(problem: DistillationProblem, family: str) -> bool:
    """Say whether features of a family have weights, or raise where it has no features."""
    start = problem.start
    one = fresh_forecaster(family, start, 0).eval()
    return penultimate_features(one, start.x[:1], problem.graph, start.profile).requires_grad

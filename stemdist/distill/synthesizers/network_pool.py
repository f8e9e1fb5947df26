"""Truncated back-propagation through the training of a pool of networks.

Wang et al., Dataset Distillation, 2018 (the objective); Deng & Russakovsky, Remember the Past,
NeurIPS 2022 (back-propagation through training with momentum); Feng et al., Embarrassingly Simple
Dataset Distillation, ICLR 2024, section 3 (RaT-BPTT: truncation at a random stage of the training);
the pool of networks of different ages is that of Zhou et al., FRePo, NeurIPS 2022, section 3.2.
Shapes: M_S synthetic windows, K clusters, B windows and N' locations of a real batch, P weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stemdist.distill.clusters import check_on_clusters
from stemdist.distill.problem import DistillationProblem
from stemdist.distill.synthesizer import Synthesizer, SyntheticState
from stemdist.distill.synthesizers.inner_loop import (
    Adam,
    FlatForecaster,
    descend,
    pull_back,
    train_inner,
)
from stemdist.distill.synthesizers.samples import check_rates, names_of
from stemdist.distill.synthesizers.subsets import ClusterSubset, mean_profile
from stemdist.errors import check_count, check_ratio
from stemdist.forecast import fresh_forecaster, weighted_mean
from stemdist.graph import random_partition


@dataclass(eq=False)
class Network:
    """One partly trained network of the pool.

    Parameters
    ----------
    family : str
        Registered name of the forecaster.
    state : Tensor
        (3, P) weights, and Adam's means of gradients and squared gradients.
    age : int
        Number of updates so far.
    """

    family: str
    state: Tensor
    age: int


class NetworkPool(Synthesizer):
    """Synthetic windows that minimise the error on real windows after a few updates on them.

    A step takes a partly trained network from the pool, makes ``inner_steps`` differentiable
    updates of Adam on the synthetic windows, and moves ``x`` and ``y`` down the gradient of its
    error on a real batch, whose targets are labelled as those of the start. The gradient is exact
    for these updates and takes the memory of one. A single network that is replaced by a fresh one
    after every step (``networks=1, renewal=1``) is RaT-BPTT.

    Parameters
    ----------
    iterations : int
        Outer iterations; after each the validation error is measured.
    steps : int
        Steps per iteration.
    inner_steps : int
        Updates through which the gradient is propagated.
    subsets : int
        Number of random subsets of the clusters; each update is made on one of them, in turn.
    networks : int
        Networks in the pool.
    renewal : float
        Probability that a network is replaced by a fresh one after its step.
    longest : int
        Most updates of a fresh network before it joins the pool; the number is random.
    surrogates : sequence of str
        Forecasters that are trained, in turns; a text may list them with commas.
    learning_rate : float
        Of Adam on the learned tensors, at the first iteration; it decays to 0 along a cosine.
    inner_learning_rate : float
        Of Adam on the networks.
    synthetic_windows : int
        Synthetic windows of an update, at most.
    batch_windows, batch_locations : int
        Windows and locations of a real batch, at most.
    relabel : float
        Share of the soft labels that enters ``y`` after each iteration.
    """

    def __init__(
        self,
        *,
        iterations: int = 10,
        steps: int = 40,
        inner_steps: int = 10,
        subsets: int = 1,
        networks: int = 6,
        renewal: float = 0.03,
        longest: int = 60,
        surrogates: Sequence[str] | str = ("mlp",),
        learning_rate: float = 5e-3,
        inner_learning_rate: float = 5e-3,
        synthetic_windows: int = 32,
        batch_windows: int = 64,
        batch_locations: int = 64,
        relabel: float = 0.0,
    ) -> None:
        self.iterations = iterations
        self.steps = steps
        self.inner_steps = inner_steps
        self.subsets = subsets
        self.networks = networks
        self.renewal = renewal
        self.longest = longest
        self.surrogates = surrogates
        self.learning_rate = learning_rate
        self.inner_learning_rate = inner_learning_rate
        self.synthetic_windows = synthetic_windows
        self.batch_windows = batch_windows
        self.batch_locations = batch_locations
        self.relabel = relabel

    def optimizer(self, tensors: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Return Adam over the learned tensors, after checking the parameters."""
        counts = ("steps", "inner_steps", "subsets", "networks", "synthetic_windows")
        for name in (*counts, "batch_windows", "batch_locations"):
            check_count(name, getattr(self, name))
        for name in ("iterations", "longest"):
            check_count(name, getattr(self, name), minimum=0)
        check_ratio("renewal", self.renewal)
        rates = ("learning_rate", "inner_learning_rate")
        check_rates({name: getattr(self, name) for name in rates}, self.relabel)
        check_on_clusters("surrogate", self._families)
        self.pool_: list[Network] = []
        return torch.optim.Adam(tensors, lr=self.learning_rate)

    def prepare(self, problem: DistillationProblem, *, seed: int, cache: str | Path | None) -> None:
        """Build one module for each family, shared by all its networks."""
        self.flat_ = {
            family: FlatForecaster(fresh_forecaster(family, problem.start, 0).eval())
            for family in self._families
        }

    @property
    def _families(self) -> tuple[str, ...]:
        return names_of(self.surrogates)

    def improve(
        self, problem: DistillationProblem, synthetic: SyntheticState, generator: torch.Generator
    ) -> float:
        """Make ``steps`` steps and return the mean error on the real batches."""
        done = len(self.history_) - 1
        fall = (1 + math.cos(math.pi * done / self.iterations)) / 2
        for group in synthetic.optimizer.param_groups:
            group["lr"] = self.learning_rate * fall
        losses = []
        for _ in range(self.steps):
            network = self._draw(problem, synthetic, generator)
            losses.append(self._step(problem, synthetic, network, generator))
            self._keep(network, generator)
        return sum(losses) / len(losses)

    def _step(
        self,
        problem: DistillationProblem,
        synthetic: SyntheticState,
        network: Network,
        generator: torch.Generator,
    ) -> float:
        """Make ``inner_steps`` updates of ``network`` and differentiate through them."""
        x, y = synthetic.windows()
        training = _Training(self, problem, network, x, y, self.inner_steps, generator)
        states = train_inner(training.update, network.state, self.inner_steps)
        batch, graph = problem.real_batch(
            self.batch_windows,
            self.batch_locations,
            generator,
            pointwise=training.flat.forecaster.pointwise,
        )
        last = states[-1].detach().requires_grad_()
        forecast = training.flat(last[0], batch.x, graph, batch.profile)
        error = weighted_mean((forecast - batch.y) ** 2, batch.mask, batch.weight)
        (towards,) = torch.autograd.grad(error, last)
        _, on_windows = pull_back(training.update, states, towards, training.leaves)
        gradients = torch.autograd.grad(
            [x, y], synthetic.tensors, on_windows, materialize_grads=True
        )
        synthetic.step(gradients)
        value = float(error.detach())
        network.state, network.age = states[-1], network.age + self.inner_steps
        return value if math.isfinite(value) else float("inf")

    def _draw(
        self, problem: DistillationProblem, synthetic: SyntheticState, generator: torch.Generator
    ) -> Network:
        """Fill the pool if necessary, and return a random network of it."""
        while len(self.pool_) < self.networks:
            self.pool_.append(self._fresh(problem, synthetic, generator))
        return self.pool_[int(torch.randint(len(self.pool_), (), generator=generator))]

    def _keep(self, network: Network, generator: torch.Generator) -> None:
        """Drop the network with the probability of renewal, or if it diverged."""
        lost = not bool(torch.isfinite(network.state).all())
        if lost or float(torch.rand((), generator=generator)) < self.renewal:
            self.pool_.remove(network)

    def _fresh(
        self, problem: DistillationProblem, synthetic: SyntheticState, generator: torch.Generator
    ) -> Network:
        """Return a network of a random family after a random number of updates."""
        seed = int(torch.randint(2**31, (), generator=generator))
        family = self._families[seed % len(self._families)]
        weights = FlatForecaster(fresh_forecaster(family, problem.start, seed)).vector()
        network = Network(family=family, state=Adam().start(weights), age=0)
        age = int(torch.randint(self.longest + 1, (), generator=generator))
        x, y = (tensor.detach() for tensor in synthetic.windows())
        training = _Training(self, problem, network, x, y, age, generator)
        network.state = train_inner(training.update, network.state, age)[-1]
        network.age = age
        return network

    def memory(self) -> dict[str, Any]:
        """Return the pool."""
        return {"pool": [[n.family, n.state, n.age] for n in self.pool_]}

    def remember(self, memory: dict[str, Any]) -> None:
        """Restore the pool."""
        self.pool_ = [Network(family=f, state=s, age=a) for f, s, a in memory["pool"]]


class _Training:
    """Updates of one network on given windows, as a function of its state and of the windows."""

    def __init__(
        self,
        settings: NetworkPool,
        problem: DistillationProblem,
        network: Network,
        x: Tensor,
        y: Tensor,
        n_updates: int,
        generator: torch.Generator,
    ) -> None:
        start = problem.start
        self.problem, self.age = problem, network.age
        self.rate = settings.inner_learning_rate
        self.flat = settings.flat_[network.family]
        self.leaves = [tensor.detach().requires_grad_() for tensor in (x, y)]
        n_windows, size = len(start), min(settings.synthetic_windows, len(start))
        self.batches = [
            torch.randperm(n_windows, generator=generator)[:size] for _ in range(n_updates)
        ]
        n_subsets = min(settings.subsets, start.n_locations)
        shuffled: list[Tensor] = []
        while len(shuffled) < n_updates:
            shuffled += random_partition(start.n_locations, n_subsets, generator)
        self.subsets = [
            ClusterSubset.cut(problem.graph, start.weight, index) for index in shuffled[:n_updates]
        ]

    def update(self, state: Tensor, number: int) -> Tensor:
        subset, index = self.subsets[number], self.batches[number]
        x, y = self.leaves
        inputs = subset.of(self.problem.inputs(x))
        profile, mask = mean_profile(inputs), subset.of(self.problem.start.mask[index])

        def loss(weights: Tensor) -> Tensor:
            forecast = self.flat(weights, inputs[index], subset.graph, profile)
            return weighted_mean((forecast - subset.of(y[index])) ** 2, mask, subset.weight)

        return descend(loss, state, Adam(), self.rate, self.age + number)

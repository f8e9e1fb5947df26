"""Gradient matching with subset-based granular distillation (STemDist).

Kwon et al., ICDE 2026 (arXiv 2603.10410); the matching distance is that of Zhao et al.,
Dataset Condensation with Gradient Matching, ICLR 2021.
Shapes: B windows, M_S synthetic windows, K clusters, k clusters of a subset, F features.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stemdist.distill.clusters import check_on_clusters
from stemdist.distill.problem import DistillationProblem
from stemdist.distill.synthesizer import Synthesizer, SyntheticState
from stemdist.distill.synthesizers.samples import check_rates
from stemdist.distill.synthesizers.subsets import ClusterSubset, mean_profile
from stemdist.errors import check_count
from stemdist.forecast import Forecaster, make_forecaster, shape_of, weighted_mean
from stemdist.graph import random_partition


def gradient_distance(real: Iterable[Tensor], synthetic: Iterable[Tensor]) -> Tensor:
    """Return the sum over weight matrices of the row-wise ``1 - cosine``.

    A product of norms that is small beside ``1e-8`` counts as no gradient, which is a distance
    of 1. The published code has ``1e-6`` and squared errors of real windows in physical units:
    for speeds with a standard deviation of 12 that is ``7e-9`` in scaled units.

    Parameters
    ----------
    real, synthetic : iterable of Tensor
        Gradients of the same parameters. One-dimensional ones (biases, norms) are left out; all
        dimensions of a convolution after the first are flattened into its rows.

    Examples
    --------
    >>> weight, bias = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.ones(2)
    >>> other = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    >>> round(gradient_distance([weight, bias], [other, bias]).item(), 4)
    1.0
    """
    total = torch.zeros(())
    for one, other in zip(real, synthetic, strict=True):
        if one.dim() < 2:
            continue
        rows, columns = one.flatten(1), other.flatten(1)
        norms = rows.norm(dim=1) * columns.norm(dim=1)
        total = total + (1 - (rows * columns).sum(1) / (norms + 1e-8)).sum()
    return total


class GradientMatching(Synthesizer):
    """Synthetic windows whose training gradients have the direction of those of real windows.

    Every outer iteration starts with a fresh surrogate. In each of its ``steps`` steps the
    clusters are shuffled and split into ``subsets`` subsets, which share one real batch; for each
    subset ``x`` and ``y`` take an Adam step down the distance between the weighted gradient on
    the real batch and that on the synthetic windows of the subset. Then the surrogate is trained
    for ``epochs`` epochs, each of which splits the clusters anew and makes one update on all
    synthetic windows of every subset.

    Parameters
    ----------
    iterations : int
        Outer iterations (100 in the paper).
    steps : int
        Matching steps per outer iteration.
    subsets : int
        Number of subsets that the clusters are split into (at most K).
    surrogate : str
        Forecaster whose gradients are matched.
    surrogate_options : mapping, optional
        Its hyper-parameters, e.g. ``{"location_encoder": "attention"}`` for the paper's MTGNN.
    learning_rate : float
        Of Adam on ``x`` and ``y``.
    batch_windows : int
        Windows of a real batch; each real window is used once before any is used again.
    epochs : int
        Of the surrogate between two matching steps.
    surrogate_learning_rate : float
        Of Adam on the surrogate.
    """

    def __init__(
        self,
        *,
        iterations: int = 5,
        steps: int = 20,
        subsets: int = 4,
        surrogate: str = "mlp",
        surrogate_options: Mapping[str, Any] | None = None,
        learning_rate: float = 1e-3,
        batch_windows: int = 256,
        epochs: int = 10,
        surrogate_learning_rate: float = 1e-3,
    ) -> None:
        self.iterations = iterations
        self.steps = steps
        self.subsets = subsets
        self.surrogate = surrogate
        self.surrogate_options = surrogate_options
        self.learning_rate = learning_rate
        self.batch_windows = batch_windows
        self.epochs = epochs
        self.surrogate_learning_rate = surrogate_learning_rate

    def optimizer(self, tensors: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Return Adam over ``x`` and ``y``, after checking the parameters."""
        for name in ("steps", "subsets", "batch_windows", "epochs"):
            check_count(name, getattr(self, name))
        check_count("iterations", self.iterations, minimum=0)
        check_on_clusters("surrogate", [self.surrogate])
        rates = ("learning_rate", "surrogate_learning_rate")
        check_rates({name: getattr(self, name) for name in rates}, self.relabel)
        return torch.optim.Adam(tensors, lr=self.learning_rate)

    def improve(
        self, problem: DistillationProblem, synthetic: SyntheticState, generator: torch.Generator
    ) -> float:
        """Match the gradients of one fresh surrogate along its training."""
        seed = int(torch.randint(2**31, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            surrogate = make_forecaster(
                self.surrogate, **shape_of(problem.start), **(self.surrogate_options or {})
            )
            surrogate.to(problem.device).train()
            optimizer = torch.optim.Adam(
                surrogate.parameters(), lr=self.surrogate_learning_rate, fused=True
            )
            batches = _endless_batches(len(problem.real), self.batch_windows, generator)
            losses: list[float] = []
            for step in range(self.steps):
                if step:  # training after the last step would have no effect
                    self._train(problem, synthetic, surrogate, optimizer, generator)
                windows = next(batches)
                losses += [
                    self._match(problem, synthetic, surrogate, subset, windows)
                    for subset in self._subsets(problem, generator)
                ]
        return sum(losses) / len(losses)

    def _subsets(
        self, problem: DistillationProblem, generator: torch.Generator
    ) -> list[ClusterSubset]:
        n_clusters = problem.start.n_locations
        shuffled = random_partition(n_clusters, min(self.subsets, n_clusters), generator)
        return [ClusterSubset.cut(problem.graph, problem.start.weight, index) for index in shuffled]

    def _match(
        self,
        problem: DistillationProblem,
        synthetic: SyntheticState,
        surrogate: Forecaster,
        subset: ClusterSubset,
        windows: Tensor,
    ) -> float:
        """Take one step on ``x`` and ``y`` at the clusters of ``subset``; ``windows`` (B,) real."""
        real = problem.real
        batch = real.batch(windows, subset.index)
        wanted = self._gradients(surrogate, subset, batch, subset.of(real.profile, 0))
        x, y = synthetic.windows()
        # (M_S, L_in, k, F), (M_S, L_out, k) and its mask
        own = (subset.of(problem.inputs(x)), subset.of(y), subset.of(problem.start.mask))
        profile = mean_profile(own[0])  # (k, L_in * F)
        found = self._gradients(surrogate, subset, own, profile, create_graph=True)
        distance = gradient_distance(wanted, found)
        gradients = torch.autograd.grad(distance, synthetic.tensors, materialize_grads=True)
        value = float(distance.detach())
        made = synthetic.step(gradients)
        return value if made or math.isfinite(value) else float("inf")

    def _gradients(
        self,
        surrogate: Forecaster,
        subset: ClusterSubset,
        batch: tuple[Tensor, Tensor, Tensor],
        profile: Tensor,
        *,
        create_graph: bool = False,
    ) -> tuple[Tensor, ...]:
        """Return the gradient of the weighted squared error for every weight matrix."""
        x, y, mask = batch
        loss = weighted_mean((surrogate(x, subset.graph, profile) - y) ** 2, mask, subset.weight)
        return torch.autograd.grad(
            loss,
            [parameter for parameter in surrogate.parameters() if parameter.dim() > 1],
            create_graph=create_graph,
            materialize_grads=True,
        )

    def _train(
        self,
        problem: DistillationProblem,
        synthetic: SyntheticState,
        surrogate: Forecaster,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
    ) -> None:
        """Train the surrogate on the synthetic windows, subset by subset."""
        x, y = (tensor.detach() for tensor in synthetic.windows())
        x, mask = problem.inputs(x), problem.start.mask
        for _ in range(self.epochs):
            for subset in self._subsets(problem, generator):
                inputs, targets, counted = (subset.of(whole) for whole in (x, y, mask))
                forecast = surrogate(inputs, subset.graph, mean_profile(inputs))
                loss = weighted_mean((forecast - targets) ** 2, counted, subset.weight)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()


def _endless_batches(
    n_windows: int, batch_windows: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Yield numbers (B,) of windows, all of them once in random order before any comes again."""
    while True:
        yield from torch.split(torch.randperm(n_windows, generator=generator), batch_windows)

"""Kernel ridge regression from synthetic windows to real ones, on features of a pool of networks.

Nguyen et al., Dataset Distillation with Infinitely Wide Convolutional Networks, NeurIPS 2021 (KIP:
the objective); Zhou et al., Dataset Distillation using Neural Feature Regression, NeurIPS 2022
(FRePo: features of networks in training, and the pool), sections 3.1 and 3.2.
Shapes: B windows, N locations, R targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from stemdist.distill.parametrisation import is_free
from stemdist.distill.problem import DistillationProblem
from stemdist.distill.synthesizer import Synthesizer, SyntheticState
from stemdist.distill.synthesizers.moments import ClosedForm
from stemdist.distill.synthesizers.pool import PoolSynthesizer
from stemdist.distill.synthesizers.ridge import ridge_answers
from stemdist.distill.synthesizers.samples import check_rates, names_of, sample_rows
from stemdist.errors import InputError, check_count
from stemdist.forecast import Forecaster, weighted_mean
from stemdist.forecast.hidden_states import penultimate_features


class KernelRidge(PoolSynthesizer):
    """Synthetic windows from which kernel ridge regression forecasts real windows.

    Every window of a location is a sample. A step takes a network from a pool, computes the
    inputs of its last linear layer for synthetic and for real samples, predicts the real targets by
    ridge regression on the synthetic ones, and moves ``x`` and ``y`` down the gradient of the
    weighted squared error. Then the network trains ``updates`` updates on the synthetic windows;
    once it has had its share of them, which is drawn between 1 and ``longest``, a fresh one
    takes its place.

    Where the windows are so few that they learn their calendar, they start from their closed form
    (:class:`~stemdist.distill.synthesizers.moments.ClosedForm`), if validation prefers it.

    Expensive families may take part, for small sets, in a final round that starts from the best
    windows with a fresh pool of all families. All families are judges of that round; its result
    is kept only if they find it better.

    Parameters
    ----------
    iterations : int
        Outer iterations; after each the windows are judged.
    steps : int
        Steps per iteration.
    surrogates : sequence of str
        Forecasters whose features are used, in turns over the places of the pool; a text may
        list them with commas. With one that is linear in its inputs, this is kernel ridge
        regression with the linear kernel.
    final_surrogates : sequence of str
        Forecasters that join in the final round; without any there is no final round.
    closed_form : bool
        Whether windows that learn their calendar may start from their closed form.
    final_iterations : int
        Iterations of the final round at most, with ``steps`` steps for each family.
    final_samples : int
        Sets of more samples have no final round: they serve all families about equally without.
    networks : int
        Networks in the pool.
    updates : int
        Updates of a network after each use.
    longest : int
        Most updates a network lives.
    ridge : float
        Penalty relative to the kernel's mean diagonal.
    learning_rate : float
        Of Adam on the learned tensors.
    surrogate_learning_rate : float
        Of Adam on the networks.
    batch_windows, batch_locations : int
        Windows and locations of a real batch, at most.
    synthetic_samples : int
        Synthetic samples of a step or an update, at most; a random part where there are more.
    relabel : float
        Share of the soft labels that enters ``y`` after each iteration.
    average : float
        Share that the running mean of the windows keeps in each step, in [0, 1); iterates are
        that mean, 0 takes the windows themselves.
    final_average : float
        The same in the final round, where each family has fewer of the steps.
    patience : int, optional
        Iterations without a better iterate after which it stops; None goes through all.
    tolerance : float
        Share by which the error of a better iterate is lower, to ``patience``.
    """

    def __init__(
        self,
        *,
        iterations: int = 32,
        steps: int = 200,
        surrogates: Sequence[str] | str = ("mlp", "linear"),
        final_surrogates: Sequence[str] | str = (),
        closed_form: bool = True,
        final_iterations: int = 6,
        final_samples: int = 256,
        networks: int = 8,
        updates: int = 5,
        longest: int = 400,
        ridge: float = 0.03,
        learning_rate: float = 1e-2,
        surrogate_learning_rate: float = 1e-2,
        batch_windows: int = 32,
        batch_locations: int = 32,
        synthetic_samples: int = 512,
        relabel: float = 0.0,
        average: float = 0.998,
        final_average: float = 0.9995,
        patience: int | None = 1,
        tolerance: float = 0.005,
    ) -> None:
        self.iterations = iterations
        self.steps = steps
        self.surrogates = surrogates
        self.final_surrogates = final_surrogates
        self.closed_form = closed_form
        self.final_iterations = final_iterations
        self.final_samples = final_samples
        self.networks = networks
        self.updates = updates
        self.longest = longest
        self.ridge = ridge
        self.learning_rate = learning_rate
        self.surrogate_learning_rate = surrogate_learning_rate
        self.batch_windows = batch_windows
        self.batch_locations = batch_locations
        self.synthetic_samples = synthetic_samples
        self.relabel = relabel
        self.average = average
        self.final_average = final_average
        self.patience = patience
        self.tolerance = tolerance

    def optimizer(self, tensors: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Return Adam over the learned tensors, after checking the parameters."""
        for name in ("final_iterations", "final_samples"):
            check_count(name, getattr(self, name))
        if self.patience is not None:
            check_count("patience", self.patience)
        for name in ("average", "final_average", "tolerance"):
            if not 0 <= getattr(self, name) < 1:
                value = getattr(self, name)
                raise InputError(f"{name} is {value!r}: it must be at least 0 and below 1")
        check_rates({"ridge": self.ridge}, self.relabel)
        return super().optimizer(tensors)

    def earlier_stage(self, problem: DistillationProblem) -> Synthesizer | None:
        """Return the closed form, from which windows that learn their calendar may start."""
        learn_calendar = problem.n_learned > problem.n_series
        if not (self.closed_form and self.iterations and learn_calendar and is_free(problem)):
            return None
        return ClosedForm()

    def later_stage(
        self, problem: DistillationProblem
    ) -> tuple[Synthesizer, DistillationProblem] | None:
        """Return the final round, in which all families take part, and how it is judged."""
        few = len(problem.start) * problem.start.n_locations <= self.final_samples
        if not (self._joining and self.iterations and few):
            return None
        families = self._all_families
        options = {
            "surrogates": families,
            "final_surrogates": (),
            "closed_form": False,  # it goes on from what was learned
            "iterations": self.final_iterations,
            "steps": self.steps * len(families),
            "average": self.final_average,
            "networks": max(self.networks, len(families)),  # at least one of each family
        }
        judges = tuple(dict.fromkeys([*problem.judges, *families]))
        n_judges = len(problem.judges) * problem.judge_seeds
        problem = replace(
            problem,
            start=self.windows_,
            judges=judges,
            judge_seeds=max(1, n_judges // len(judges)),
        )
        return type(self)(**{**self.get_params(), **options}), problem

    @property
    def _joining(self) -> tuple[str, ...]:
        return names_of(self.final_surrogates)

    @property
    def _all_families(self) -> tuple[str, ...]:
        return (*self._families, *self._joining)

    def _error(
        self,
        problem: DistillationProblem,
        synthetic: SyntheticState,
        forecaster: Forecaster,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the error of ridge regression from synthetic samples on a real batch."""
        known, part_graph = self._part(problem, synthetic, generator)
        features = penultimate_features(forecaster, known.x, part_graph, known.profile)
        batch, graph = problem.real_batch(
            self.batch_windows, self.batch_locations, generator, pointwise=forecaster.pointwise
        )
        with torch.no_grad():
            queries = penultimate_features(forecaster, batch.x, graph, batch.profile)
        answers = ridge_answers(
            features.flatten(0, 1),
            sample_rows(known.y),
            sample_rows(known.mask * known.weight),
            queries.flatten(0, 1),
            self.ridge,
        )
        forecast = answers.view(len(batch), batch.n_locations, -1).transpose(1, 2)  # (B, R, N)
        return weighted_mean((forecast - batch.y) ** 2, batch.mask, batch.weight)

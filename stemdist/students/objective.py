"""What a student minimises: its own error, and its distance from its teachers' outputs.

Shapes: B windows, N locations, C targets, L_out horizon, R = C * L_out rows, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stemdist.forecast import Forecaster, Objective, Update
from stemdist.forecast.hidden_states import hidden_states
from stemdist.forecast.objective import ForecastLoss
from stemdist.students.bins import Bins
from stemdist.students.divergences import Divergence, Truth, make_divergence
from stemdist.students.projections import PROJECTIONS, Projection, resized
from stemdist.students.teacher_outputs import TeacherOutputs
from stemdist.students.term import Term
from stemdist.students.view import View
from stemdist.students.views import make_view

Answers = dict[str, Tensor]
"""The forecast (B, N, C, L_out) and hidden states of a student or teacher, columns last."""


def answers_of(rows: Tensor, states: Mapping[str, Tensor], n_targets: int) -> Answers:
    """Return forecast rows (B, R, N) and hidden states with windows, locations, columns last."""
    forecast = steps_last(rows, n_targets)
    shown = {k: v.movedim(1, -1) if k == "latent" else v for k, v in states.items()}
    return {"forecast": forecast, **shown}


def steps_last(rows: Tensor, n_targets: int) -> Tensor:
    """Return rows (B, C * L_out, N) as (B, N, C, L_out)."""
    return rows.transpose(1, 2).unflatten(2, (n_targets, -1))  # type: ignore[no-any-return, no-untyped-call]


def horizon_weights(tau: float, horizon: int) -> Tensor:
    """Return weights (L_out,) of mean 1 that grow (tau > 0) along the horizon.

    DistilTS (ICASSP 2026): step t of T counts exp(tau t / (T - 1)) over its mean.

    Examples
    --------
    >>> weights = horizon_weights(1.0, 3)
    >>> round(weights.mean().item(), 6), round((weights[2] / weights[0]).item(), 4)
    (1.0, 2.7183)
    """
    growth = (torch.linspace(0, 1, horizon) * tau).exp()
    return growth / growth.mean()


class Aligner(nn.Module):
    """One term between one student and one teacher.

    Parameters
    ----------
    term : Term
        What is compared, and how.
    student, teacher : dict of str to Tensor
        Outputs of both for the same window or windows, whose shapes the layers are made for.
    spread : Tensor
        (C, L_out) standard deviation of the teacher's errors.
    bins : tuple of float
        Centres of the student's bins; empty where it has none.
    """

    weights: Tensor | None

    def __init__(
        self, term: Term, student: Answers, teacher: Answers, spread: Tensor, bins: Sequence[float]
    ) -> None:
        super().__init__()
        self.term = term
        options = dict(term.view_options)
        self.view: View = make_view(
            term.view, {**options, "centres": tuple(bins)} if term.view == "bins" else options
        )
        more = {"spread": spread} if term.loss == "gaussian-kl" else {}
        self.loss: Divergence = make_divergence(term.loss, {**term.loss_options, **more})
        self.project: Projection | None = None
        if term.teacher_state is not None:
            own, other = student[str(term.student_state)].shape[1:], teacher[term.of].shape[1:]
            if self.view.per_location:
                self.project = PROJECTIONS[term.projection](own, other)
            elif term.of != "latent":  # images are resized
                self.view.check_positions(own, other)
        weights = None
        if term.horizon_tau:
            horizon = spread.shape[1]
            weights = horizon_weights(term.horizon_tau, horizon)[self.view.steps(horizon)]
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, student: Answers, teacher: Answers, truth: Truth, weight: Tensor) -> Tensor:
        """Return the weighted term, a number.

        Parameters
        ----------
        student, teacher : dict of str to Tensor
            Outputs for B windows.
        truth : Truth
            What was observed.
        weight : Tensor
            (N,) location weights.
        """
        total = weight.new_zeros(())
        for own, other, share in self._pairs(student, teacher):
            errors = self.loss(own, other, truth)
            if self.weights is not None:
                errors = errors * self.weights
            total = total + share * self._mean(errors, weight)
        return self.term.weight * total

    def _pairs(self, student: Answers, teacher: Answers) -> list[tuple[Tensor, Tensor, float]]:
        own = student[self.term.student_state or "forecast"]
        if not self.term.needs_teacher:
            return [(own, own, 1.0)]
        if isinstance(self.view, Bins):
            other = self.view.of_values(teacher["forecast"].flatten(2))  # (B, N, R, bins)
            return [(self.view(own)[0], other, 1.0)]
        other = teacher[self.term.teacher_state or "forecast"]
        if self.project is not None:
            own, other = self.project(own, other)
        elif self.term.of == "latent":
            own = resized(own, other)
        return list(zip(self.view(own), self.view(other), self.view.weights, strict=True))

    def _mean(self, errors: Tensor, weight: Tensor) -> Tensor:
        """Return the mean of errors, those of locations by their weights."""
        if self.term.of == "latent" or not self.view.per_location:
            return errors.mean()
        each = errors.flatten(2).mean(2) if errors.dim() > 2 else errors  # (B, N)
        return (each * weight).sum() / (weight.sum() * len(each))


class TeachingObjective(Objective):
    """The student's own error and the terms of every teacher.

    Parameters
    ----------
    observed : ForecastLoss
        Loss of the forecast on observed targets.
    observed_weight : float
        Its weight; 0 learns from teachers alone.
    terms : sequence of Term
        What is learned from each teacher.
    outputs : sequence of TeacherOutputs
        One for each teacher.
    aligners : sequence of sequences of Aligner
        One for each teacher and term that needs a teacher.
    own : sequence of Aligner
        Of the terms that need no teacher.
    n_targets : int
        C.
    adaptive : bool
        Weight teachers in every update so that the gradient of their combined terms with respect
        to the student's outputs has the smallest norm; otherwise they have equal weights.
    """

    def __init__(
        self,
        observed: ForecastLoss,
        observed_weight: float,
        terms: Sequence[Term],
        outputs: Sequence[TeacherOutputs],
        aligners: Sequence[Sequence[Aligner]],
        own: Sequence[Aligner],
        *,
        n_targets: int = 1,
        adaptive: bool = False,
    ) -> None:
        super().__init__()
        self.observed, self.observed_weight = observed, observed_weight
        self.terms, self.outputs = tuple(terms), tuple(outputs)
        self.of_teachers = nn.ModuleList(nn.ModuleList(each) for each in aligners)
        self.own = nn.ModuleList(own)
        self.own_terms = [aligner.term for aligner in own]
        self.n_targets, self.adaptive = n_targets, adaptive
        states = (term.student_state for term in self.terms)
        self.kinds = sorted({state for state in states if state is not None})

    @property
    def needs_windows(self) -> bool:
        """True where there are teacher outputs."""
        return bool(self.outputs)

    def identity(self) -> Any:
        """Return the terms, and the identities of the teacher outputs."""
        what = [self.observed.identity(), self.observed_weight, self.adaptive]
        return [*what, [term.to_json() for term in self.terms], [x.identity for x in self.outputs]]

    def forward(self, forecaster: Forecaster, update: Update) -> dict[str, Tensor]:
        """Return the term ``observed`` and one for each :class:`Term`."""
        rows, states = hidden_states(forecaster, self.kinds, update.x, update.graph, update.profile)
        student = answers_of(rows, states, self.n_targets)
        truth = Truth(*(steps_last(part, self.n_targets) for part in (update.y, update.mask)))
        result = {}
        if self.observed_weight:
            result["observed"] = self.observed_weight * self.observed.of(rows, update)
        for term, aligner in zip(self.own_terms, self.own, strict=True):
            result[term.label] = aligner(student, student, truth, update.weight)
        each = [
            self._of_teacher(outputs, aligners, student, truth, update)
            for outputs, aligners in zip(self.outputs, self.of_teachers, strict=True)
        ]
        for share, taught in zip(self._shares(each, [rows, *states.values()]), each, strict=True):
            for label, value in taught.items():
                result[label] = result.get(label, 0.0) + share * value
        return result

    def _of_teacher(
        self, outputs: TeacherOutputs, aligners: Any, student: Answers, truth: Truth, update: Update
    ) -> dict[str, Tensor]:
        rows, states = outputs.at(update.windows, update.locations)
        there = {kind: state.to(update.x.device) for kind, state in states.items()}
        teacher = answers_of(rows.to(update.x.device), there, self.n_targets)
        return {a.term.label: a(student, teacher, truth, update.weight) for a in aligners}

    def _shares(self, each: list[dict[str, Tensor]], shown: list[Tensor]) -> list[Any]:
        if not self.adaptive or len(each) < 2:
            return [1 / len(each) for _ in each]
        gradients = []
        for taught in each:
            total = torch.stack(list(taught.values())).sum()
            parts = torch.autograd.grad(total, shown, retain_graph=True, allow_unused=True)
            gradients.append(torch.cat([p.flatten() for p in parts if p is not None]))
        return list(shortest_combination(torch.stack(gradients)).to(shown[0].dtype))


def shortest_combination(gradients: Tensor, steps: int = 100) -> Tensor:
    """Return the shares, at least 0 and of sum 1, with which vectors sum to the shortest one.

    Du et al., *Agree to Disagree: Adaptive Ensemble Knowledge Distillation in Gradient Space*
    (AEKD), NeurIPS 2020, equation 5, solved by moving share from the worst vector that has one to
    the best (pairwise Frank-Wolfe; Lacoste-Julien & Jaggi, NeurIPS 2015), with exact steps.

    Parameters
    ----------
    gradients : Tensor
        (teachers, entries).
    steps : int
        Of the method; two vectors need one.

    Returns
    -------
    Tensor
        (teachers,) float64.

    Examples
    --------
    >>> shortest_combination(torch.tensor([[1.0, 0.0], [0.0, 2.0]])).tolist()
    [0.8, 0.2]
    """
    gram = gradients.double() @ gradients.double().T  # (teachers, teachers)
    shares = torch.full((len(gram),), 1 / len(gram), dtype=torch.float64)
    shares = shares.to(gram.device)
    for _ in range(steps):
        slope = gram @ shares
        best = int(slope.argmin())
        worst = int(torch.where(shares > 0, slope, -torch.inf).argmax())
        gain = slope[worst] - slope[best]
        curve = gram[worst, worst] + gram[best, best] - 2 * gram[worst, best]
        if gain <= 1e-12 * gram.diagonal().max() or curve <= 0:
            break
        # the squared length is a parabola along the way from one vertex to the other
        step = torch.minimum(gain / curve, shares[worst])
        shares[worst] -= step
        shares[best] += step
    return shares

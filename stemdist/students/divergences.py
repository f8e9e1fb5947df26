"""Distances between outputs of a student and of its teacher.

Shapes: B windows, N locations, C targets, L_out horizon, L the last axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemdist.errors import unknown_name
from stemdist.forecast.losses import LOSSES
from stemdist.students.view import check_positive

HIDDEN = frozenset({"features", "tokens", "latent"})


class Truth(NamedTuple):
    """Observed targets."""

    y: Tensor
    """(B, N, C, L_out) targets."""
    mask: Tensor
    """(B, N, C, L_out) 1 where the target is observed."""


class Divergence(nn.Module, ABC):
    """A distance between two outputs, element by element."""

    of_distributions: ClassVar[bool] = False
    """True if it compares log probabilities along the last axis."""
    of: ClassVar[frozenset[str]] = frozenset({"forecast", *HIDDEN})
    """Outputs that it can compare."""
    of_values: ClassVar[bool] = False
    """True if it compares the values themselves only, no other view of them."""
    needs_teacher: ClassVar[bool] = True
    """False if it reads the student's hidden state only."""

    @abstractmethod
    def forward(self, student: Tensor, teacher: Tensor, truth: Truth) -> Tensor:
        """Return errors with the axes of the outputs; some have no last axis."""


class MeanSquares(Divergence):
    """Squared differences."""

    def forward(self, student: Tensor, teacher: Tensor, truth: Truth) -> Tensor:
        """Return errors with the axes of the outputs."""
        return LOSSES["mse"](student, teacher)


class Absolutes(Divergence):
    """Absolute differences."""

    def forward(self, student: Tensor, teacher: Tensor, truth: Truth) -> Tensor:
        """Return errors with the axes of the outputs."""
        return LOSSES["mae"](student, teacher)


class Huber(Divergence):
    """Squares of small differences, absolute values of large ones (beyond 1)."""

    def forward(self, student: Tensor, teacher: Tensor, truth: Truth) -> Tensor:
        """Return errors with the axes of the outputs."""
        return LOSSES["huber"](student, teacher)


class Cosine(Divergence):
    """1 less the cosine of the angle between the outputs, along the last axis."""

    def forward(self, student: Tensor, teacher: Tensor, truth: Truth) -> Tensor:
        """Return errors without the last axis."""
        return 1 - functional.cosine_similarity(student, teacher, dim=-1)


class KullbackLeibler(Divergence):
    """Kullback-Leibler divergence of the student's distribution from the teacher's, KL(t || s).

    Its summands are returned, so a term is their *mean*: the divergence over the number of
    frequencies or bins, as in the published code of TimeDistill (KDD 2026).

    Examples
    --------
    >>> even, sure = torch.tensor([[0.5, 0.5], [1.0, 0.0]]).clamp_min(1e-12).log()
    >>> truth = Truth(torch.empty(0), torch.empty(0))
    >>> round(KullbackLeibler()(even, sure, truth).sum().item(), 4)  # log 2
    0.6931
    """

    of_distributions = True
    of = frozenset({"forecast", "logits", *HIDDEN})

    def forward(self, student: Tensor, teacher: Tensor, truth: Truth) -> Tensor:
        """Return the summand of each entry of the distributions, some below 0."""
        return teacher.exp() * (teacher - student)


class CrossEntropy(Divergence):
    """Cross-entropy of the student's distribution under the teacher's."""

    of_distributions = True
    of = frozenset({"logits"})

    def forward(self, student: Tensor, teacher: Tensor, truth: Truth) -> Tensor:
        """Return errors without the last axis."""
        return -(teacher.exp() * student).sum(-1)


class GaussianKL(Divergence):
    """Divergence of Gaussians whose means are the forecasts.

    The teacher's standard deviation is that of its errors on the windows that are taught, for
    each target and step; the student's is learned. In closed form KL(teacher || student) =
    log(s/t) + (t^2 + (difference)^2) / (2 s^2) - 1/2.

    Parameters
    ----------
    spread : Tensor
        (C, L_out) standard deviation of the teacher's errors, scaled units.

    Examples
    --------
    >>> kl = GaussianKL(torch.ones(1, 1))
    >>> one = torch.ones(1, 1, 1, 1)
    >>> kl(one, one, Truth(one, one)).item(), kl(one, 2 * one, Truth(one, one)).item()
    (0.0, 0.5)
    """

    of = frozenset({"forecast"})
    of_values = True

    spread: Tensor

    def __init__(self, spread: Tensor) -> None:
        super().__init__()
        self.register_buffer("spread", spread.clamp_min(1e-3))
        self.log_spread = nn.Parameter(self.spread.log())

    def forward(self, student: Tensor, teacher: Tensor, truth: Truth) -> Tensor:
        """Return errors (B, N, C, L_out)."""
        own = self.log_spread.exp()
        ratio = (self.spread.square() + (teacher - student) ** 2) / (2 * own.square())
        return self.log_spread - self.spread.log() + ratio - 0.5


class TeacherBounded(Divergence):
    """The student's squared error where it exceeds the teacher's, element by element.

    Chen et al., *Learning Efficient Object Detection Models with Knowledge Distillation*,
    NeurIPS 2017, section 3.3, as EasyST (CIKM 2024) uses it: zero for a student at least as good
    as its teacher, up to a margin. Only observed targets count.

    Parameters
    ----------
    margin : float
        Squared error, in scaled units, by which the student may be worse.

    Examples
    --------
    >>> y = torch.zeros(1, 1, 1, 2)
    >>> student, teacher = torch.tensor([3.0, 1.0]), torch.tensor([1.0, 2.0])
    >>> bounded = TeacherBounded(margin=0.5)
    >>> bounded(student + y, teacher + y, Truth(y, torch.ones_like(y))).flatten().tolist()
    [7.5, 0.0]
    """

    of = frozenset({"forecast"})
    of_values = True

    def __init__(self, margin: float = 0.01) -> None:
        super().__init__()
        self.margin = check_positive("margin", margin)

    def forward(self, student: Tensor, teacher: Tensor, truth: Truth) -> Tensor:
        """Return errors (B, N, C, L_out)."""
        own, other = (student - truth.y) ** 2, (teacher - truth.y) ** 2
        return (own - other - self.margin).relu() * truth.mask


class ActivationBoundary(Divergence):
    """Squared hinge loss on the sign of each of the teacher's units.

    Heo et al., *Knowledge Transfer via Distillation of Activation Boundaries*, AAAI 2019,
    equation 5.

    Parameters
    ----------
    margin : float
        Distance from zero beyond which the loss of a unit with the right sign is zero.
    """

    of = HIDDEN
    of_values = True

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = check_positive("margin", margin)

    def forward(self, student: Tensor, teacher: Tensor, truth: Truth) -> Tensor:
        """Return errors with the axes of the states."""
        side = torch.where(teacher > 0, 1.0, -1.0)
        return (self.margin - side * student).relu() ** 2


class InformationBottleneck(Divergence):
    """Divergence of a stochastic code from the standard normal, which limits its information.

    Alemi et al., *Deep Variational Information Bottleneck*, ICLR 2017, equation 17, as EasyST
    (CIKM 2024) uses it. It needs no teacher.
    """

    of = frozenset({"bottleneck"})
    of_values = True
    needs_teacher = False

    def forward(self, student: Tensor, teacher: Tensor, truth: Truth) -> Tensor:
        """Return errors (B, N, Z) of codes (B, N, 2 Z): means, then log variances."""
        mean, log_variance = student.chunk(2, dim=-1)
        return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)


DIVERGENCES: dict[str, type[Divergence]] = {
    "activation-boundary": ActivationBoundary,
    "bounded": TeacherBounded,
    "cosine": Cosine,
    "cross-entropy": CrossEntropy,
    "gaussian-kl": GaussianKL,
    "huber": Huber,
    "information": InformationBottleneck,
    "kl": KullbackLeibler,
    "mae": Absolutes,
    "mse": MeanSquares,
}


def divergence_type(name: str) -> type[Divergence]:
    """Return a divergence by name, or raise with the choices."""
    if name not in DIVERGENCES:
        raise unknown_name("loss between student and teacher", name, DIVERGENCES)
    return DIVERGENCES[name]


def make_divergence(name: str, options: dict[str, Any]) -> Divergence:
    """Build a divergence by name with its options."""
    return divergence_type(name)(**options)

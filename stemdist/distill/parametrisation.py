"""How synthetic windows are stored while they are learned.

Shapes: M_S synthetic windows, L_in lookback, R target rows, K clusters, F_l learned features.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from stemdist.distill.problem import DistillationProblem
from stemdist.errors import unknown_name
from stemdist.registry import Registry

PARAMETRISATIONS: Registry[type[Parametrisation]] = Registry(
    "parametrisation",
    {
        "series": "stemdist.distill.parametrisations.series:SeriesCuts",
        "spectral": "stemdist.distill.parametrisations.spectral:SpectralWindows",
        "tensor": "stemdist.distill.parametrisation:FreeWindows",
    },
    group="stemdist.parametrisations",
)


class Parametrisation(ABC):
    """Learned tensors, and the windows they encode.

    A subclass encodes the windows of ``problem.start`` on construction. It learns leading
    features, at least the series; the problem appends the other features of the start.

    Attributes
    ----------
    tensors : list of Tensor
        The learned tensors; leaves that require gradients.
    selection : str or None
        Selection of windows that it needs; None for any.
    own_times : bool
        Whether each cluster may have windows of its own times.
    """

    tensors: list[Tensor]
    selection: ClassVar[str | None] = None
    own_times: ClassVar[bool] = False

    @classmethod  # noqa: B027
    def check_options(cls, **options: Any) -> None:
        """Raise InputError if an option has a value that cannot be used; by default none has."""

    @abstractmethod
    def windows(self) -> tuple[Tensor, Tensor]:
        """Return ``x`` (M_S, L_in, K, F_l) and ``y`` (M_S, R, K), differentiable in the tensors."""

    @abstractmethod
    def relabel(self, y: Tensor) -> None:
        """Change the tensors such that the targets are ``y``, or as near to it as possible."""

    def project(self) -> None:  # noqa: B027
        """Put the tensors back into the range of the source after a step; by default they stay.

        The windows of a candidate are kept in the range whatever the tensors are.
        """

    @property
    def n_numbers(self) -> int | None:
        """How many numbers encode ``x`` and ``y``; None for as many as they have."""
        return sum(tensor.numel() for tensor in self.tensors)


class FreeWindows(Parametrisation):
    """Every number of every window is learned independently.

    Parameters
    ----------
    problem : DistillationProblem
        Its start is copied.
    """

    own_times: ClassVar[bool] = True

    def __init__(self, problem: DistillationProblem) -> None:
        self._within = problem.within
        x, y = problem.bounded(problem.start.x[..., : problem.n_learned], problem.start.y)
        self.tensors = [x.clone().requires_grad_(), y.clone().requires_grad_()]

    def windows(self) -> tuple[Tensor, Tensor]:
        """Return the two tensors."""
        x, y = self.tensors
        return x, y

    @property
    def n_numbers(self) -> None:
        """None: the windows themselves are stored."""

    def relabel(self, y: Tensor) -> None:
        """Replace the targets."""
        with torch.no_grad():
            self.tensors[1].copy_(y)
        self.project()

    def project(self) -> None:
        """Put every number back into its range."""
        if self._within is None:
            return
        x, y = self.tensors
        with torch.no_grad():
            x.copy_(self._within.inputs(x))
            y.copy_(self._within.targets(y))


def parametrisation_type(name: str, options: Mapping[str, Any]) -> Callable[..., Parametrisation]:
    """Return a registered parametrisation after checking its options.

    Raises
    ------
    InputError
        If the name or an option is unknown, or a value cannot be used.
    """
    kind = PARAMETRISATIONS.get(name)
    known = set(inspect.signature(kind.__init__).parameters) - {"self", "problem"}
    for key in options:
        if key not in known:
            raise unknown_name(f"option of parametrisation {name!r}", key, known)
    kind.check_options(**options)
    return kind


def encode(problem: DistillationProblem) -> Parametrisation:
    """Return the start of a problem in its parametrisation."""
    return _type_of(problem)(problem, **problem.parametrisation_options)


def is_free(problem: DistillationProblem) -> bool:
    """Return whether a problem has free windows."""
    kind = _type_of(problem)
    return isinstance(kind, type) and issubclass(kind, FreeWindows)


def _type_of(problem: DistillationProblem) -> Callable[..., Parametrisation]:
    return parametrisation_type(problem.parametrisation, problem.parametrisation_options)

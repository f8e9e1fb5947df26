"""One term of the student's loss: which output is compared, in which view, by which loss."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from stemdist.errors import InputError, unknown_name
from stemdist.forecast.hidden_states import STATES
from stemdist.students.divergences import Divergence, divergence_type
from stemdist.students.projections import PROJECTIONS
from stemdist.students.view import View
from stemdist.students.views import VIEWS, make_view


@dataclass(frozen=True, kw_only=True)
class Term:
    """One term of the student's loss.

    Parameters
    ----------
    of : str
        What is compared: ``forecast``, or a hidden state: ``features``, ``tokens``, ``latent``,
        ``logits`` or ``bottleneck``.
    view : str
        View of it that is compared, see ``VIEWS``: ``values``, ``scales``, ``spectrum``,
        ``amplitudes``, ``differences``, ``trend``, ``attention``, ``distances``, ``angles``,
        ``bands``, ``bins``.
    loss : str
        How the two views are compared, see ``DIVERGENCES``: ``mse``, ``mae``, ``huber``,
        ``cosine``, ``kl``, ``gaussian-kl``, ``cross-entropy``, ``bounded``,
        ``activation-boundary``, ``information``.
    weight : float
        Of the term; 0 leaves it out.
    projection : str
        What makes hidden states of different sizes comparable, see ``PROJECTIONS``: ``none``,
        ``student`` (a linear map of the student's), ``teacher`` (a two-layer map of the
        teacher's), ``factorised`` (the student's features to the teacher's tokens).
    horizon_tau : float
        How much more later steps of the forecast count, step t of T in proportion to
        exp(tau t / (T - 1)) (DistilTS, ICASSP 2026).
    options : mapping
        Of the view and of the loss, e.g. ``{"temperature": 0.5}``.

    Raises
    ------
    InputError
        If a name is unknown or the combination is invalid; the message says what to choose.

    Examples
    --------
    >>> Term(view="spectrum", loss="kl").label
    'forecast-spectrum'
    >>> Term(view="values", loss="kl")
    Traceback (most recent call last):
    ...
    stemdist.errors.InputError: term forecast-values with loss 'kl': it compares distributions, ...
    """

    of: str = "forecast"
    view: str = "values"
    loss: str = "mse"
    weight: float = 1.0
    projection: str = "none"
    horizon_tau: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.of not in ("forecast", *STATES):
            raise unknown_name("subject of a term", self.of, ("forecast", *STATES))
        if self.view not in VIEWS:
            raise unknown_name("view", self.view, VIEWS)
        if self.projection not in PROJECTIONS:
            raise unknown_name("projection", self.projection, PROJECTIONS)
        if not (
            math.isfinite(self.weight) and self.weight >= 0 and math.isfinite(self.horizon_tau)
        ):
            raise InputError(
                f"term {self.label} has weight {self.weight} and horizon_tau {self.horizon_tau}: "
                "both must be finite, the weight at least 0"
            )
        self._check_meaning(VIEWS[self.view], divergence_type(self.loss))
        self._check_projection()
        own = {*_parameters(VIEWS[self.view]), *_parameters(divergence_type(self.loss))}
        for name in self.options:
            if name not in own:
                raise unknown_name(f"option of term {self.label}", name, own)
        make_view(self.view, self.view_options)

    def _check_meaning(self, view: type[View], loss: type[Divergence]) -> None:
        what = f"term {self.label} with loss {self.loss!r}"
        if self.of not in view.of | ({"logits"} & loss.of if view.distribution else set()):
            raise InputError(
                f"term {self.label}: the view {self.view!r} is of {_listing(view.of)}, not of "
                f"{self.of}: choose another view, e.g. 'values'"
            )
        if loss.of_distributions and not view.distribution:
            better = "view='bins' with a student that has bins, e.g. binned-rnn"
            if self.loss == "kl":
                better = (
                    "loss='gaussian-kl' or 'mse', or view='spectrum', whose shares of the "
                    "amplitude are a distribution"
                )
            raise InputError(
                f"{what}: it compares distributions, and the {self.view} of a {self.of} are "
                f"numbers, so it would be no divergence: choose {better}"
            )
        if view.distribution and not loss.of_distributions:
            raise InputError(
                f"{what}: the view {self.view!r} gives log probabilities: choose loss='kl' or, "
                "for bins, 'cross-entropy'"
            )
        if self.of not in loss.of:
            raise InputError(
                f"{what}: this loss is of {_listing(loss.of)}, not of {self.of}: choose another "
                "loss, e.g. 'mse'"
            )
        if loss.of_values and self.view != "values":
            raise InputError(f"{what}: this loss compares the values themselves: view='values'")
        if self.horizon_tau and not (self.of == "forecast" and view.keeps_steps):
            raise InputError(
                f"term {self.label}: horizon_tau weighs the steps of a forecast, which this term "
                "does not have: use it with of='forecast' and view='values' or 'trend'"
            )

    def _check_projection(self) -> None:
        if self.projection == "none":
            return
        if self.of in ("forecast", "logits", "bottleneck"):
            raise InputError(
                f"term {self.label}: a projection is for hidden states of different sizes "
                "(features, tokens, latent): leave it out here"
            )
        if not VIEWS[self.view].per_location:
            raise InputError(
                f"term {self.label}: the view {self.view!r} compares states of any size as they "
                "are: leave the projection out"
            )
        if (self.projection == "factorised") != (self.of == "tokens"):
            raise InputError(
                f"term {self.label} with projection {self.projection!r}: tokens are reached from "
                "the student's features by projection='factorised'; features and latent by "
                "'student' or 'teacher'"
            )

    @property
    def label(self) -> str:
        """Its name in histories and messages."""
        return f"{self.of}-{self.view}"

    @property
    def needs_teacher(self) -> bool:
        """Whether it needs a teacher."""
        return divergence_type(self.loss).needs_teacher

    @property
    def student_state(self) -> str | None:
        """Kind of hidden state that the student must have."""
        if self.projection == "factorised":
            return "features"
        return None if self.of == "forecast" else self.of

    @property
    def teacher_state(self) -> str | None:
        """Kind of hidden state that the teacher must have; None if its forecast is enough."""
        own = self.needs_teacher and self.of not in ("forecast", "logits")
        return self.of if own else None

    @property
    def view_options(self) -> dict[str, Any]:
        """The options that belong to the view."""
        own = _parameters(VIEWS[self.view])
        return {name: value for name, value in self.options.items() if name in own}

    @property
    def loss_options(self) -> dict[str, Any]:
        """The options that belong to the loss."""
        own = _parameters(divergence_type(self.loss))
        return {name: value for name, value in self.options.items() if name in own}

    def to_json(self) -> dict[str, Any]:
        """Return the term as plain JSON types."""
        return {**asdict(self), "options": dict(self.options)}


def _parameters(kind: type[View] | type[Divergence]) -> set[str]:
    """Return the options of a view or loss; those found from data or student are no options."""
    found = inspect.signature(kind.__init__).parameters
    return {name for name, given in found.items() if given.kind == given.POSITIONAL_OR_KEYWORD} - {
        "self",
        "spread",
        "centres",
    }


def _listing(names: frozenset[str]) -> str:
    return " or ".join(sorted(names))

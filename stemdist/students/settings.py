"""How a student is taught: one frozen description."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stemdist.errors import InputError, unknown_name
from stemdist.forecast import FORECASTERS, TrainingSettings
from stemdist.students.methods import method_fields
from stemdist.students.term import Term
from stemdist.students.view import check_positive
from stemdist.types import ForecasterName, TeacherCombination, TeachMethod

COMBINE = ("mean", "adaptive")


@dataclass(frozen=True, kw_only=True)
class StudentSettings:
    """How a student is taught.

    Parameters
    ----------
    student : str
        Registered name of the forecaster.
    student_options : mapping
        Its hyper-parameters.
    teachers : tuple of str
        Forecasters to train as teachers, folders of trained ones, or ``NAME:ARGUMENT``.
    teacher_options : mapping
        Hyper-parameters of the teachers that are trained.
    terms : tuple of Term
        What is learned from each teacher; at most one term of a label.
    observed_weight : float
        Weight of the student's own error on observed targets; 0 learns from teachers alone.
    teacher_weight : float or sequence of float
        Factor of the terms that ask a teacher. Of several, that whose student has the lowest
        validation error is taken, e.g. (0, 0.25, 0.5, 1); 0 is the student without a teacher.
    combine : str
        How the teachers are weighted: equally, or in every update such that the norm of the
        combined gradient is smallest (AEKD).
    online : bool
        Run teachers in every update instead of once before training; needs no disk space.
    initialise : tuple of str
        Parts of the student (first names of their weights, e.g. ``head``) whose weights start as
        the first teacher's.
    freeze : bool
        Leave those weights as they are.
    training : TrainingSettings or mapping
        How the student is trained; a mapping changes single fields, e.g. ``{"updates": 200}``.
    teacher_training : TrainingSettings or mapping
        How teachers are trained that are not trained yet.

    Examples
    --------
    >>> settings = StudentSettings.of("timedistill", weights={"features-scales": 0.0})
    >>> settings.student, [term.label for term in settings.active_terms]
    ('decomposition-mlp', ['forecast-scales', 'forecast-spectrum', 'features-spectrum'])
    """

    student: ForecasterName = "mlp"
    student_options: Mapping[str, Any] = field(default_factory=dict)
    teachers: tuple[str, ...] = ()
    teacher_options: Mapping[str, Any] = field(default_factory=dict)
    terms: tuple[Term, ...] = (Term(),)
    observed_weight: float = 1.0
    teacher_weight: float | Sequence[float] = 1.0
    combine: TeacherCombination = "mean"
    online: bool = False
    initialise: tuple[str, ...] = ()
    freeze: bool = False
    training: TrainingSettings = field(default_factory=TrainingSettings)
    teacher_training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        FORECASTERS.get(self.student)
        for name in ("teachers", "initialise"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))
        object.__setattr__(self, "terms", tuple(self.terms))
        labels = [term.label for term in self.terms]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise InputError(f"two terms are called {', '.join(twice)}: give each once")
        if self.observed_weight:
            check_positive("observed_weight", self.observed_weight)
        elif not any(term.needs_teacher and term.weight for term in self.terms):
            raise InputError(
                "observed_weight is 0 and no term asks a teacher: there is nothing to learn from"
            )
        self._check_teacher_weight()
        if self.combine not in COMBINE:
            raise unknown_name("way to combine teachers", self.combine, COMBINE)
        if self.freeze and not self.initialise:
            raise InputError("freeze needs parts to initialise from the teacher, e.g. head")
        for name in ("training", "teacher_training"):
            changed = TrainingSettings().changed(getattr(self, name), name)
            object.__setattr__(self, name, changed)
            if getattr(self, name).quantiles:
                raise InputError(
                    f"{name} has loss='quantile': teachers and students forecast one number per "
                    "target here. Choose mse, mae or huber"
                )

    def _check_teacher_weight(self) -> None:
        for weight in self.teacher_weights:
            if weight:
                check_positive("teacher_weight", weight)
        if not self.teacher_weights or len(set(self.teacher_weights)) < len(self.teacher_weights):
            raise InputError(
                f"teacher_weight is {self.teacher_weight!r}: give a number of at least 0, or "
                "several different ones to choose from, e.g. 0,0.25,0.5,1"
            )

    @property
    def teacher_weights(self) -> tuple[float, ...]:
        """The factors of the teacher's terms to choose from."""
        given = self.teacher_weight
        return (given,) if isinstance(given, int | float) else tuple(given)

    def weighed(self, teacher_weight: float) -> StudentSettings:
        """Return the settings with one factor of the teacher's terms, which is multiplied in.

        With 0 nothing of a teacher is left, its weights as a start included.

        Examples
        --------
        >>> [term.weight for term in StudentSettings.of("hints").weighed(0.5).terms]
        [0.5, 0.5]
        """
        terms = tuple(
            dataclasses.replace(term, weight=term.weight * teacher_weight)
            if term.needs_teacher
            else term
            for term in self.terms
        )
        start = {} if teacher_weight else {"initialise": (), "freeze": False}
        return dataclasses.replace(self, terms=terms, teacher_weight=1.0, **start)  # type: ignore[arg-type]

    @property
    def active_terms(self) -> tuple[Term, ...]:
        """The terms that count."""
        return tuple(term for term in self.terms if term.weight)

    @classmethod
    def of(
        cls,
        method: TeachMethod | str = "soft-labels",
        *,
        weights: Mapping[str, float] | None = None,
        **changes: Any,
    ) -> StudentSettings:
        """Return the settings of a method after changes.

        Parameters
        ----------
        method : str
            A name of ``METHODS``.
        weights : mapping of str to float, optional
            New weights of terms by label; 0 leaves a term out.
        **changes
            Fields that win over the method's.

        Raises
        ------
        InputError
            If the method, a label or a field is unknown.
        """
        fields = method_fields(method, changes)
        known = {each.name for each in dataclasses.fields(cls)}
        for name in fields:
            if name not in known:
                raise unknown_name("setting of a student", name, known)
        terms, new = fields.get("terms", (Term(),)), dict(weights or {})
        labels = [term.label for term in terms]
        for label in new:
            if label not in labels:
                raise unknown_name(f"term of method {method!r}", label, labels)
        weighed = (
            dataclasses.replace(term, weight=float(new.get(term.label, term.weight)))
            for term in terms
        )
        return cls(**{**fields, "terms": tuple(weighed)})

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        return {
            **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)},
            "terms": [term.to_json() for term in self.terms],
            "training": dataclasses.asdict(self.training),
            "teacher_training": dataclasses.asdict(self.teacher_training),
        }

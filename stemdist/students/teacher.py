"""Teachers: models whose outputs a student learns from.

Shapes: M windows, B windows asked at once, L_in lookback, L_out horizon, C targets, R = C * L_out
rows, N locations, F features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection

from torch import Tensor

from stemdist.errors import InputError, unknown_name
from stemdist.forecast import TrainingSet
from stemdist.registry import Registry


class Teacher(ABC):
    """Forecasts windows, and may return hidden states.

    A subclass is made by :meth:`load` from the part of ``NAME:ARGUMENT`` after the colon.
    """

    name: str
    """Its name in messages and files."""

    @classmethod
    @abstractmethod
    def load(cls, argument: str, device: str = "cpu") -> Teacher:
        """Return the teacher that ``argument`` names, a path for example.

        Raises
        ------
        InputError
            If there is no such teacher.
        """

    @property
    @abstractmethod
    def identity(self) -> str:
        """A hash that changes whenever the outputs may."""

    @property
    def states(self) -> tuple[str, ...]:
        """Kinds of hidden state it can return, see ``stemdist.forecast.hidden_states.STATES``."""
        return ()

    @abstractmethod
    def answer(
        self, data: TrainingSet, index: Tensor, kinds: Collection[str] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the outputs for some windows.

        Parameters
        ----------
        data : TrainingSet
            The training set of the windows.
        index : Tensor
            (B,) windows.
        kinds : collection of str
            Hidden states wanted, each one of :attr:`states`.

        Returns
        -------
        Tensor, dict of str to Tensor
            Forecasts (B, R, N) in scaled units, and the states, on the CPU without gradients.
        """

    def check(self, data: TrainingSet, kinds: Collection[str]) -> None:
        """Raise :class:`InputError` if it cannot forecast the windows or has no such states."""
        for kind in kinds:
            if kind not in self.states:
                known = ", ".join(self.states) or "none, only forecasts"
                raise InputError(
                    f"the teacher {self.name!r} cannot show its {kind}; hidden states it can "
                    f"show: {known}. Choose a method that reads forecasts alone, e.g. "
                    "soft-labels, or another teacher"
                )


TEACHERS: Registry[type[Teacher]] = Registry(
    "teacher",
    {
        "chronos": "stemdist.students.teachers.chronos:ChronosTeacher",
        "file": "stemdist.students.teachers.file:FileTeacher",
        "forecaster": "stemdist.students.teachers.forecaster:ForecasterTeacher",
        "timesfm": "stemdist.students.teachers.timesfm:TimesFMTeacher",
        "transformers": "stemdist.students.teachers.transformers:TransformersTeacher",
    },
    group="stemdist.teachers",
)


def load_teacher(text: str, device: str = "cpu") -> Teacher:
    """Return the teacher called ``NAME:ARGUMENT``, e.g. ``chronos:/models/chronos-bolt-tiny``.

    Raises
    ------
    InputError
        If the name is unknown or the argument is empty.
    """
    name, colon, argument = text.partition(":")
    if not colon or not argument:
        raise unknown_name(
            "teacher", text, TEACHERS.names(), "Write NAME:ARGUMENT, e.g. file:forecasts.nc"
        )
    return TEACHERS.get(name).load(argument, device)

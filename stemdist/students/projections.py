"""Maps that make hidden states of different sizes comparable; trained with the student.

Shapes: B windows, N locations, K tokens, H_s and H_t columns of student and teacher, D channels,
h x w cells.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemdist.errors import InputError


class Projection(nn.Module, ABC):
    """Makes a student's state and a teacher's comparable.

    A subclass takes the two shapes without the axis of windows.
    """

    @abstractmethod
    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two states in equal shapes."""


class NoProjection(Projection):
    """States of equal size as they are."""

    def __init__(self, student: torch.Size, teacher: torch.Size) -> None:
        super().__init__()
        if student != teacher:
            raise InputError(
                f"the student's state has the shape {tuple(student)} per window, the teacher's "
                f"{tuple(teacher)}: give the term projection='student' or 'teacher', or choose "
                "a view for states of any size: 'attention', 'distances' or 'angles'"
            )

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states."""
        return student, teacher


class StudentProjection(Projection):
    """A linear map of the student's columns to the teacher's (FitNets; Romero et al., ICLR 2015).

    Images (B, h, w, D) of another resolution are brought to the teacher's: where several cells of
    the student's make one of the teacher's, the columns of all are mapped together.
    """

    def __init__(self, student: torch.Size, teacher: torch.Size) -> None:
        super().__init__()
        self.cells = _cells_per_cell(student, teacher)
        self.map = nn.Linear(student[-1] * self.cells**2, teacher[-1])

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mapped state, and the teacher's."""
        if self.cells > 1:
            tiles = functional.pixel_unshuffle(student.movedim(-1, 1), self.cells)
            student = tiles.movedim(1, -1)  # (B, h, w, D cells**2)
        return resized(self.map(student), teacher), teacher


class TeacherProjection(Projection):
    """A two-layer map of the teacher's columns to the student's (TimeDistill, KDD 2026, section 4).

    It keeps as many columns between the layers as the student has.
    """

    def __init__(self, student: torch.Size, teacher: torch.Size) -> None:
        super().__init__()
        width = student[-1]
        self.map = nn.Sequential(nn.Linear(teacher[-1], width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Return the student's state, and the mapped one of the teacher."""
        return student, resized(self.map(teacher), student)


class FactorisedProjection(Projection):
    """One feature vector of the student to all the teacher's tokens.

    DistilTS (ICASSP 2026), factorised temporal alignment: ``W_out GELU((W_s h) * E_t)`` for
    token t, with a learned vector E_t for each, which starts with a length of about 1.

    Parameters
    ----------
    student, teacher : torch.Size
        (N, H_s) and (N, K, H_t).
    width : int
        Columns of the E_t; 256 in the paper.
    """

    def __init__(self, student: torch.Size, teacher: torch.Size, width: int = 256) -> None:
        super().__init__()
        self.inner = nn.Linear(student[-1], width, bias=False)
        self.tokens = nn.Parameter(torch.randn(teacher[-2], width) / math.sqrt(width))
        self.outer = nn.Linear(width, teacher[-1], bias=False)

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (B, N, K, H_t) made of features (B, N, H_s), and the teacher's."""
        made = self.inner(student).unsqueeze(-2) * self.tokens  # (B, N, K, width)
        return self.outer(functional.gelu(made)), teacher


def _cells_per_cell(student: torch.Size, teacher: torch.Size) -> int:
    """Return how many of a student's cells make a side of one of the teacher's; 1 if none fit."""
    if len(student) < 3:
        return 1
    rows, columns = teacher[:2]
    cells = student[0] // rows
    return cells if student[:2] == (cells * rows, cells * columns) else 1


def resized(images: Tensor, like: Tensor) -> Tensor:
    """Return images (B, h, w, D) with as many cells as ``like``; other states as they are."""
    if images.shape[1:-1] == like.shape[1:-1]:
        return images
    grown = functional.interpolate(
        images.movedim(-1, 1), size=like.shape[1:3], mode="bilinear", align_corners=False
    )
    return grown.movedim(1, -1)


PROJECTIONS: dict[str, type[Projection]] = {
    "factorised": FactorisedProjection,
    "none": NoProjection,
    "student": StudentProjection,
    "teacher": TeacherProjection,
}

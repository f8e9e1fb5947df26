"""Model distillation: small students that learn from large teachers."""

from __future__ import annotations

from stemdist.students.methods import METHODS
from stemdist.students.objective import TeachingObjective
from stemdist.students.settings import StudentSettings
from stemdist.students.teach import Places, find_teacher, teach
from stemdist.students.teacher import TEACHERS, Teacher, load_teacher
from stemdist.students.teacher_outputs import (
    OnlineOutputs,
    StoredOutputs,
    TeacherOutputs,
    teacher_outputs_of,
)
from stemdist.students.teachers.forecaster import ForecasterTeacher
from stemdist.students.term import Term

__all__ = [
    "METHODS",
    "TEACHERS",
    "ForecasterTeacher",
    "OnlineOutputs",
    "Places",
    "StoredOutputs",
    "StudentSettings",
    "Teacher",
    "TeacherOutputs",
    "TeachingObjective",
    "Term",
    "find_teacher",
    "load_teacher",
    "teach",
    "teacher_outputs_of",
]

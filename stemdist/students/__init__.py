"""Model distillation: small students that learn from large teachers."""

from __future__ import annotations

from stemdist.students.lessons import CachedLessons, Lessons, OnlineLessons, lessons_of
from stemdist.students.objective import TeachingObjective
from stemdist.students.recipes import RECIPES
from stemdist.students.settings import StudentSettings
from stemdist.students.teach import Places, find_teacher, teach
from stemdist.students.teacher import TEACHERS, Teacher, load_teacher
from stemdist.students.teachers.forecaster import ForecasterTeacher
from stemdist.students.term import Term

__all__ = [
    "RECIPES",
    "TEACHERS",
    "CachedLessons",
    "ForecasterTeacher",
    "Lessons",
    "OnlineLessons",
    "Places",
    "StudentSettings",
    "Teacher",
    "TeachingObjective",
    "Term",
    "find_teacher",
    "lessons_of",
    "load_teacher",
    "teach",
]

"""Model distillation: small students that learn from large teachers."""

from __future__ import annotations

from stemdist.students.teacher import TEACHERS, Teacher, TeachingData, load_teacher

__all__ = ["TEACHERS", "Teacher", "TeachingData", "load_teacher"]

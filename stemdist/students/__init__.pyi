from .methods import METHODS
from .objective import TeachingObjective
from .settings import StudentSettings
from .teacher import TEACHERS, Teacher, load_teacher
from .teacher_outputs import (
    OnlineOutputs,
    StoredOutputs,
    TeacherOutputs,
    teacher_outputs_of,
)
from .teachers.forecaster import ForecasterTeacher
from .teaching import Places, find_teacher, teach
from .term import Term

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

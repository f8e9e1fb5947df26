"""``stemdist teach``: large teachers and data in, a small student out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from stemdist.cli.answer import Result
from stemdist.cli.arguments import usual_options
from stemdist.cli.console import Console, duration_text, print_fields, print_next
from stemdist.cli.option_types import Given
from stemdist.cli.outputs import (
    claimed,
    default_output,
    expert_folder,
    output_file,
    output_folder,
)
from stemdist.cli.sources import is_distilled, matching_task, refuse, task_of
from stemdist.data import OpenOptions, list_datasets
from stemdist.errors import InputError
from stemdist.forecast import TaskOptions, TrainingSettings
from stemdist.types import ForecasterName, TeacherCombination, TeachMethod

if TYPE_CHECKING:
    from stemdist.forecast import FittedForecaster, ForecastTask, TrainingSet
    from stemdist.students import StudentSettings, Teacher


@dataclass(frozen=True, kw_only=True)
class TeachOptions:
    """The student, the teachers, and what is learned; without an option the method decides.

    Parameters
    ----------
    method : str
        How to teach: a published system, or soft-labels.
    student : str, optional
        Forecaster to train, e.g. mlp, dlinear or unet.
    student_options : mapping, optional
        Its hyper-parameters, e.g. hidden=32.
    teachers : tuple of str, optional
        Who teaches: a folder that stemdist train wrote, the name of a forecaster to train first,
        chronos:FOLDER, timesfm:FOLDER, transformers:FOLDER or file:FORECASTS.nc. May be given
        several times.
    teacher_options : mapping, optional
        Hyper-parameters of teachers that are trained.
    weights : mapping, optional
        Weights of the method's terms, e.g. features-scales=0.1; 0 leaves a term out.
    observed_weight : float, optional
        Weight of the error on observed targets (default 1).
    teacher_weight : tuple of float, optional
        Factor of the teacher's terms (default 1); of several, e.g. 0,0.5,1, validation chooses.
    combine : str, optional
        How several teachers are weighted.
    online : bool
        Run teachers in every update instead of once before training.
    initialise : tuple of str, optional
        Parts of the student that start with the first teacher's weights, e.g. head.
    freeze : bool
        Leave those weights as they are.
    answers : str, optional
        File in which the outputs of the one teacher are kept; by default the user's cache.
    teacher_training : TrainingSettings
        How teachers are trained.
    """

    without_effect: ClassVar[tuple[str, ...]] = (
        "quantiles",
        "loss=quantile",
        "teacher_training.quantiles",
        "teacher_training.loss=quantile",
    )
    """Options of the trainings that teaching refuses: it is for forecasts of one number."""

    method: TeachMethod = "soft-labels"
    student: ForecasterName | None = None
    student_options: Mapping[str, Any] | None = None
    teachers: tuple[str, ...] | None = None
    teacher_options: Mapping[str, Any] | None = None
    weights: Mapping[str, float] | None = None
    observed_weight: float | None = None
    teacher_weight: tuple[float, ...] | None = None
    combine: TeacherCombination | None = None
    online: bool = False
    initialise: tuple[str, ...] | None = None
    freeze: bool = False
    answers: str | None = None
    teacher_training: TrainingSettings = field(default_factory=TrainingSettings)

    def settings(self, training: TrainingSettings) -> StudentSettings:
        """Return the settings of the method after the options."""
        from stemdist.students import StudentSettings

        given = {
            each.name: getattr(self, each.name)
            for each in dataclasses.fields(self)
            if each.name not in ("method", "weights", "answers")
        }
        changes = {name: value for name, value in given.items() if value not in (None, False)}
        return StudentSettings.of(self.method, weights=self.weights, training=training, **changes)


@usual_options(
    "method data output validation device student teachers weights teacher_weight updates",
    "learning_rate",
    "seed patience recipe variables select null_value start step_minutes lookback horizon",
    "split calendar targets graph",
)
def teach(
    *,
    data: str | None = None,
    output: str | None = None,
    validation: str | None = None,
    device: str = "cpu",
    options: TeachOptions,
    training: TrainingSettings,
    opening: OpenOptions,
    task: TaskOptions,
    console: Console,
    given: Given,
) -> Result:
    """Train a small student on data and on the outputs of large teachers.

    The outputs of teachers are computed once for all training windows and kept, so that another
    student costs no more than its own training. The student is an ordinary forecaster
    for stemdist predict, evaluate and deploy. A run that was stopped goes on where it was when
    the same command is run again; its state is in a hidden folder beside OUTPUT until the end.

    Parameters
    ----------
    data : str, optional
        A data file or data set of the catalogue, or a distilled set: tiny data, tiny model.
    output : str, optional
        Folder to write; by default named after DATA and the student. A forecaster of that name
        is replaced.
    validation : str, optional
        With a distilled set, real data whose validation part chooses the weights and on which
        teachers are trained.
    device : str
        Where to compute: cpu, cuda, cuda:0.

    Examples
    --------
      stemdist teach --data ETTh1.csv --teacher patchtst --student mlp --method timedistill
      stemdist teach --data era5.nc --teacher runs/mtgnn-uk --student easyst -o student
      stemdist teach --data los.nc --teacher chronos:/models/chronos-bolt --student dlinear
      stemdist teach --data uk.distilled.nc --teacher runs/mtgnn-uk --student mlp -o tiny

    The weights of terms are those of their mean errors in scaled units; the history of the
    student lists every term.
    """
    from stemdist.students import Places, find_teacher
    from stemdist.students import teach as teach_student

    if data is None:
        raise InputError("stemdist teach needs the data to learn from: add --data FILE")
    options, opening = _without_old_recipe(_spelled_out(options), opening, console)
    settings = options.settings(training)
    asked = output or default_output(data, f"-{settings.student}-student")
    named = [data, *settings.teachers, *(path for path in (validation, options.answers) if path)]
    target = output_folder(asked, *named, command="teach", force=console.force)
    if options.answers is not None:
        if len(settings.teachers) != 1:
            many = len(settings.teachers)
            raise InputError(f"--answers is the file of one teacher, and {many} are given")
        output_file(options.answers, (".nc",), data, command="teach", force=console.force)
    training_set, real = _windows(data, validation, opening, task, given)
    cache = expert_folder().parent / "students"
    with claimed(target, console) as state:
        teachers = [
            find_teacher(
                text, settings, real, cache=cache, device=device, progress=console.progress
            )
            for text in settings.teachers
        ]
        student = teach_student(
            training_set,
            teachers,
            settings,
            validation=real,
            places=Places(
                cache=cache,
                answers=None if options.answers is None else Path(options.answers),
                checkpoint=state / "training.pt",
            ),
            device=device,
            progress=console.progress,
        )
        student.save(target, made_by="stemdist teach", replace=True)  # the output was checked
    print_fields(f"taught {student.name} on {data}", _summary(student, teachers, target))
    source = validation or (data if real is not None else None)
    source = source or student.record.get("source_name") or "DATA"
    print_next(
        [
            f"stemdist evaluate {target} --data {source}",
            f"stemdist predict {target} {source} -o forecast.nc",
            f"stemdist deploy {target} -o {target.name}.onnx",
        ]
    )
    values = {"student": student.name, "units": student.units, "record": student.record}
    return Result(values=values, written=[target])


def _spelled_out(options: TeachOptions) -> TeachOptions:
    """Let a method be named by its student: ``--student easyst``."""
    from stemdist.forecast import FORECASTERS
    from stemdist.students import METHODS

    name = options.student
    if name not in METHODS or name in FORECASTERS.names():
        return options
    method = name if options.method == TeachOptions.method else options.method
    student = METHODS[name].get("student")
    return dataclasses.replace(options, method=method, student=student)  # type: ignore[arg-type]


def _without_old_recipe(
    options: TeachOptions, opening: OpenOptions, console: Console
) -> tuple[TeachOptions, OpenOptions]:
    """Let ``--recipe`` name the way to teach, as it did until version 0.1."""
    from stemdist.students import METHODS

    name = opening.recipe
    if name not in METHODS or name in list_datasets():
        return options, opening
    console.note(f"--recipe {name} is called --method {name} now")
    options = dataclasses.replace(options, method=name)  # type: ignore[arg-type]
    return options, dataclasses.replace(opening, recipe=None)


def _windows(
    data: str,
    validation: str | None,
    opening: OpenOptions,
    task: TaskOptions,
    given: Given,
) -> tuple[TrainingSet, ForecastTask | None]:
    """Return what is learned from, and the real data if there are any."""
    from stemdist.distill import DistilledSet
    from stemdist.forecast import TrainingSet

    if not is_distilled(data):
        if validation is not None:
            raise InputError(
                "--validation is for learning from a distilled set: a data file in full has its "
                "own validation part (see --split)"
            )
        real = task_of(data, opening, task)
        return TrainingSet.of_task(real), real
    refuse(given, TaskOptions, "a distilled set fixes what is forecast from what")
    distilled = DistilledSet.load(data)
    if validation is None:
        refuse(given, OpenOptions, "a distilled set needs no opening")
        return distilled.training_set(), None
    real = matching_task(validation, opening, distilled)
    distilled.check_features(real)
    return distilled.training_set(), real


def _summary(
    student: FittedForecaster, teachers: list[Teacher], target: Path
) -> list[tuple[str, str]]:
    from stemdist.students.teachers.forecaster import ForecasterTeacher

    record = student.record
    rows = [("written", str(target)), ("learned from", ", ".join(record["teachers"]) or "none")]
    terms = [name for name in record["history"][-1] if name.startswith("loss_")]
    rows += [
        ("terms", ", ".join(name.removeprefix("loss_") for name in terms) or "observed"),
        *_chosen_teacher_weight(student),
        ("weights", _weights(student, teachers)),
        ("updates", str(record["updates"])),
    ]
    error = record["validation_error"]
    if error is not None:
        rows.append(("validation", f"RMSE {error**0.5:.4f} scaled"))
        rows += [
            ("", f"RMSE {other**0.5:.4f} of the teacher {teacher.name}")
            for teacher in teachers
            if isinstance(teacher, ForecasterTeacher)
            and (other := teacher.fitted.record.get("validation_error")) is not None
        ]
    rows.append(
        (
            "time",
            f"{duration_text(float(record['seconds']))}, teachers' outputs "
            f"{duration_text(float(record['teacher_seconds']))}",
        )
    )
    return rows


def _chosen_teacher_weight(student: FittedForecaster) -> list[tuple[str, str]]:
    """Say how much of the teacher was taken, where that was chosen on validation."""
    tried = student.record["teacher_weight_errors"]
    if not tried:
        return []
    errors = ", ".join(
        f"{each['validation_error'] ** 0.5:.4f} with {each['teacher_weight']:g}" for each in tried
    )
    rows = [
        ("teacher weight", f"{student.record['teacher_weight']:g}, by validation RMSE: {errors}")
    ]
    if not student.record["teacher_weight"]:
        several = len(student.record["teachers"]) > 1
        who = "these teachers cannot" if several else "this teacher cannot"
        rows.append(("", f"{who} teach this student here: it is returned untaught"))
    return rows


def _weights(student: FittedForecaster, teachers: list[Teacher]) -> str:
    from stemdist.students.teachers.forecaster import ForecasterTeacher

    own = sum(weight.numel() for weight in student.forecaster.parameters())
    sizes = [
        sum(weight.numel() for weight in teacher.fitted.forecaster.parameters())
        for teacher in teachers
        if isinstance(teacher, ForecasterTeacher)
    ]
    return f"{own}" + (f", 1/{max(sizes) / own:.3g} of the largest teacher's" if sizes else "")

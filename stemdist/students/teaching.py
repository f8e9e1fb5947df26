"""Teaching a student with the outputs of teachers; the result is an ordinary forecaster.

Shapes: B windows, N locations, C targets, L_out horizon, R = C * L_out rows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stemdist.data.windows import evenly_spaced
from stemdist.errors import InputError
from stemdist.forecast import (
    Callback,
    FittedForecaster,
    Forecaster,
    ForecastTask,
    TrainingResult,
    TrainingSet,
    fit_once,
    fresh_forecaster,
    held_out,
    train_forecaster,
)
from stemdist.forecast.base import FORECASTERS
from stemdist.forecast.hidden_states import hidden_states
from stemdist.forecast.objective import ForecastLoss
from stemdist.progress import stage
from stemdist.students.objective import Aligner, Answers, TeachingObjective, answers_of
from stemdist.students.settings import StudentSettings
from stemdist.students.teacher import TEACHERS, Teacher, load_teacher
from stemdist.students.teacher_outputs import OnlineOutputs, TeacherOutputs, teacher_outputs_of
from stemdist.students.teachers.forecaster import ForecasterTeacher
from stemdist.students.term import Term

SPREAD_WINDOWS = 256
"""Windows from which the spread of a teacher's errors is measured."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where teacher outputs and trained teachers are kept; without a path they are not.

    Parameters
    ----------
    cache : Path, optional
        Folder of trained teachers and their outputs, under hashes of what they depend on.
    answers : Path, optional
        File for the outputs of the one teacher.
    checkpoint : Path, optional
        File for the state of the student's training.
    """

    cache: Path | None = None
    answers: Path | None = None
    checkpoint: Path | None = None

    def checkpoint_of(self, weight: float, weights: Sequence[float]) -> Path | None:
        """Return the file for the training with one of several weights of the teacher."""
        if self.checkpoint is None or len(weights) == 1:
            return self.checkpoint
        return self.checkpoint.with_name(f"{self.checkpoint.name}-{weight:g}")


def find_teacher(
    text: str,
    settings: StudentSettings,
    task: ForecastTask | None,
    *,
    cache: Path | None = None,
    device: str = "cpu",
    progress: bool | None = False,
) -> Teacher:
    """Return the teacher that a text names, trained if it is a forecaster's name.

    Parameters
    ----------
    text : str
        A folder of a trained forecaster, ``NAME:ARGUMENT`` with a name of ``TEACHERS``, or the
        registered name of a forecaster to train on ``task``.
    settings : StudentSettings
        How teachers are trained.
    task : ForecastTask, optional
        Real data to train a teacher on.
    cache : Path, optional
        Folder in which trained teachers are kept.
    device, progress
        As in :func:`~stemdist.forecast.train_forecaster`.

    Raises
    ------
    InputError
        If the text names nothing, or a teacher is to be trained and there are no real data.
    """
    if FittedForecaster.is_saved(text):
        return ForecasterTeacher.load(text, device)
    if text.partition(":")[0] in TEACHERS.names() and ":" in text:
        return load_teacher(text, device)
    if text not in FORECASTERS.names():
        raise InputError(
            f"the teacher {text!r} is neither a folder that stemdist train wrote, nor "
            f"NAME:ARGUMENT with one of {', '.join(TEACHERS.names())}, nor a forecaster to train "
            f"({', '.join(FORECASTERS.names())})"
        )
    if task is None:
        raise InputError(
            f"the teacher {text!r} has to be trained on real data, and the student learns from a "
            "distilled set: train it first (stemdist train DATA) and give its folder, or give the "
            "real data too"
        )
    with stage(f"teacher {text}"):
        fitted, _ = fit_once(
            task,
            text,
            settings.teacher_training,
            cache=None if cache is None else cache / "teachers",
            options=settings.teacher_options,
            device=device,
            progress=progress,
        )
    return ForecasterTeacher(fitted, device)


def teach(
    data: TrainingSet,
    teachers: Sequence[Teacher],
    settings: StudentSettings | None = None,
    *,
    validation: ForecastTask | None = None,
    places: Places | None = None,
    callbacks: Sequence[Callback] = (),
    device: str = "cpu",
    progress: bool | None = False,
) -> FittedForecaster:
    """Train a student on windows and on its teachers' outputs for them.

    Parameters
    ----------
    data : TrainingSet
        The windows: ``TrainingSet.of_task(task)``, or ``distilled.training_set()``.
    teachers : sequence of Teacher
        At least one, unless no term needs a teacher.
    settings : StudentSettings, optional
        The method; forecasts of the teacher as further targets without it.
    validation : ForecastTask, optional
        Real data whose validation part chooses the weights; the last weights are kept without.
    places : Places, optional
        Where teacher outputs, trained teachers and unfinished training are kept.
    callbacks : sequence of Callback
        Told of each training of the student.
    device : str
        Where the student is trained.
    progress : bool, optional
        Show bars; None shows them on a terminal only.

    Returns
    -------
    FittedForecaster
        The student, like any other forecaster. Its record names method, teachers and costs.

    Raises
    ------
    InputError
        If a teacher cannot forecast these windows, or the student or a teacher has not the hidden
        states that a term compares.

    Examples
    --------
    >>> from stemdist.data import canonical_series, simulate
    >>> from stemdist.forecast import TrainingSettings, fit_forecaster
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=3, n_lon=4))
    >>> task = ForecastTask.from_series(series)
    >>> quick = TrainingSettings(updates=2)
    >>> teacher = ForecasterTeacher(fit_forecaster(task, "gru", quick))
    >>> settings = StudentSettings.of("gru-linear", training=quick)
    >>> student = teach(TrainingSet.of_task(task), [teacher], settings, validation=task)
    >>> student.name, student.record["teachers"]
    ('lowrank-linear', ['gru'])
    """
    settings, places = settings or StudentSettings(), places or Places()
    asked = [term for term in settings.active_terms if term.needs_teacher]
    if asked and not teachers:
        raise InputError(
            f"the terms {', '.join(term.label for term in asked)} ask a teacher, and none is "
            "given: name one, e.g. --teacher patchtst"
        )
    weights, held = settings.teacher_weights, held_out(validation)
    if len(weights) > 1 and held is None:
        raise InputError(
            f"the teacher_weight is chosen from {', '.join(f'{w:g}' for w in weights)} on "
            "validation data, and there are none: give them, or one weight"
        )
    # What cannot be taught fails before teachers run.
    _shown(_fresh_student(data, teachers, settings), data, settings.active_terms)
    began = time.perf_counter()
    kinds = sorted({term.teacher_state for term in asked if term.teacher_state is not None})
    outputs = [
        _outputs_of(teacher, data, kinds, settings, places, progress)
        for teacher in (teachers if asked else ())
    ]
    asking = time.perf_counter() - began
    runs: dict[float, tuple[Forecaster, TrainingResult]] = {}
    for weight in weights:
        own = settings.weighed(weight)
        student = _fresh_student(data, teachers, own)
        with stage(f"student {settings.student}"):
            result = train_forecaster(
                student,
                data.source,
                data.graph,
                settings.training,
                objective=_objective(student, data, own, outputs),
                validation=held,
                checkpoint=places.checkpoint_of(weight, weights),
                callbacks=callbacks,
                device=device,
                progress=progress,
            )
        runs[weight] = (student, result)
    chosen = min(runs, key=lambda weight: runs[weight][1].best_validation_error)
    student, result = runs[chosen]
    student.requires_grad_(True)
    return data.fitted(
        settings.student,
        student,
        result,
        teachers=[teacher.name for teacher in teachers],
        teacher_hashes=[teacher.identity for teacher in teachers],
        teacher_seconds=asking,
        teacher_weight=chosen,
        teacher_weight_errors=[
            {"teacher_weight": weight, "validation_error": run.best_validation_error}
            for weight, (_, run) in (runs.items() if len(runs) > 1 else ())
        ],
        student_settings=settings.to_json(),
    )


def _fresh_student(
    data: TrainingSet, teachers: Sequence[Teacher], settings: StudentSettings
) -> Forecaster:
    """Return the untrained student, with the weights that it takes from the first teacher."""
    student = fresh_forecaster(
        settings.student, data.source, settings.training.seed, settings.student_options
    )
    if settings.initialise:
        _initialise(student, teachers, settings)
    return student


def _outputs_of(
    teacher: Teacher,
    data: TrainingSet,
    kinds: list[str],
    settings: StudentSettings,
    places: Places,
    progress: bool | None,
) -> TeacherOutputs:
    if settings.online or (places.cache is None and places.answers is None):
        return OnlineOutputs(teacher, data, kinds)
    cache = None if places.cache is None else places.cache / "answers"
    return teacher_outputs_of(
        teacher, data, kinds, path=places.answers, cache=cache, progress=progress
    )


def _objective(
    student: Forecaster,
    data: TrainingSet,
    settings: StudentSettings,
    outputs: list[TeacherOutputs],
) -> TeachingObjective:
    """Build the aligners for the shapes of what student and teachers show."""
    terms = settings.active_terms
    own = _shown(student, data, terms)
    asked = [term for term in terms if term.needs_teacher]
    outputs = outputs if asked else []
    count, bins = data.source.n_targets, student.config.get("bins", ())
    some = evenly_spaced(len(data.source), 2)
    spreads = any(term.loss == "gaussian-kl" for term in asked)
    alike = torch.ones(count, data.source.horizon)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.training.seed)
        aligners = []
        for each in outputs:
            answers = answers_of(*each.at(some), count)
            spread = _spread(each, data) if spreads else alike
            aligners.append([Aligner(term, own, answers, spread, bins) for term in asked])
        alone = [Aligner(t, own, own, alike, bins) for t in terms if not t.needs_teacher]
    return TeachingObjective(
        ForecastLoss(settings.training.loss),
        settings.observed_weight,
        terms,
        outputs,
        aligners,
        alone,
        n_targets=count,
        adaptive=settings.combine == "adaptive",
    )


def _shown(student: Forecaster, data: TrainingSet, terms: Sequence[Term]) -> Answers:
    """Return what the student shows for a few windows, if its weights have a part in it."""
    kinds = sorted({term.student_state for term in terms if term.student_state is not None})
    x = data.source.inputs(evenly_spaced(len(data.source), 2))
    rows, states = hidden_states(student.eval(), kinds, x, data.graph, data.source.profile)
    for kind, state in states.items():
        if not state.requires_grad:
            raise InputError(
                f"the student {type(student).__name__} has no {kind} of its own (they would be "
                "its inputs), so it cannot learn a teacher's: choose a student with a hidden "
                "layer, e.g. lowrank-linear or mlp, or a recipe that compares forecasts, e.g. "
                "soft-labels"
            )
    shown = {kind: state.detach() for kind, state in states.items()}
    return answers_of(rows.detach(), shown, data.source.n_targets)


def _spread(outputs: TeacherOutputs, data: TrainingSet) -> Tensor:
    """Return the standard deviation (C, L_out) of the teacher's errors on some windows."""
    source = data.source
    squares = torch.zeros(source.rows)
    seen = torch.zeros(source.rows)
    for index in torch.split(evenly_spaced(len(source), SPREAD_WINDOWS), 8):
        _, y, mask = source.batch(index)
        rows, _ = outputs.at(index)
        squares += ((rows - y) ** 2 * mask).sum((0, 2))
        seen += mask.sum((0, 2))
    return (squares / seen.clamp_min(1)).sqrt().view(source.n_targets, -1)


def _initialise(
    student: Forecaster, teachers: Sequence[Teacher], settings: StudentSettings
) -> None:
    """Give the parts of the student that the settings name the first teacher's weights."""
    first = teachers[0] if teachers else None
    if not isinstance(first, ForecasterTeacher):
        raise InputError(
            f"initialise={','.join(settings.initialise)} takes weights of a forecaster of this "
            "package: give one as the first teacher, or leave it out"
        )
    theirs = first.fitted.forecaster.state_dict()
    own = student.state_dict()
    for part in settings.initialise:
        names = [n for n in own if n == part or n.startswith(f"{part}.")]
        unlike = [n for n in names if n not in theirs or own[n].shape != theirs[n].shape]
        if not names or unlike:
            cause = f"{unlike[0]} differs in shape or is absent there" if unlike else "no such part"
            parts = sorted({name.partition(".")[0] for name in own})
            raise InputError(
                f"the student {settings.student!r} cannot start with the {part!r} of the teacher "
                f"{first.name!r}: {cause}. Give both the same sizes, or name other parts of: "
                f"{', '.join(parts)}"
            )
        own.update({name: theirs[name] for name in names})
    student.load_state_dict(own)
    if settings.freeze:
        for name, weight in student.named_parameters():
            if name.partition(".")[0] in settings.initialise:
                weight.requires_grad_(False)

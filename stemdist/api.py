"""The main jobs as one call each, from a canonical or raw series."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from stemdist.data import open_series
from stemdist.distill import DistilledSet, DistillSettings, distill, train_on_distilled
from stemdist.errors import InputError, unknown_name
from stemdist.evaluate import Evaluation, EvaluationSettings, evaluate
from stemdist.forecast import (
    FittedForecaster,
    ForecastTask,
    TaskSettings,
    TrainingSet,
    TrainingSettings,
    fit_forecaster,
)
from stemdist.students import (
    ForecasterTeacher,
    Places,
    StudentSettings,
    Teacher,
    find_teacher,
)
from stemdist.students import teach as teach_student


def distill_series(
    series: xr.Dataset | xr.DataArray,
    *,
    method: str = "default",
    work: str | Path | None = None,
    device: str = "cpu",
    progress: bool | None = None,
    **options: Any,
) -> DistilledSet:
    """Distil a series along time and space.

    Parameters
    ----------
    series : xarray.Dataset or xarray.DataArray
        From :func:`~stemdist.data.open_series`, or raw with one suitable variable.
    method : str
        A named method, e.g. ``"default"`` or ``"stemdist"``; options win over its settings.
    work : str or Path, optional
        Folder in which state is kept, so that a run that was stopped continues exactly.
    device : str
        Where to compute: cpu, cuda, cuda:0.
    progress : bool, optional
        Show bars; None shows them on a terminal only.
    **options
        Fields of :class:`~stemdist.forecast.TaskSettings` and
        :class:`~stemdist.distill.DistillSettings`, e.g. ``horizon=6, time_ratio=0.05``.

    Returns
    -------
    DistilledSet
        Never worse on validation than relabelled real windows.

    Raises
    ------
    InputError
        If an option is unknown or the series cannot be used.

    Examples
    --------
    >>> from stemdist.data import simulate
    >>> raw = simulate("weather-sim", days=8, n_lat=5, n_lon=6)
    >>> tiny = distill_series(raw, labels="observed", synthesizer="selection", space_ratio=0.1)
    >>> tiny.windows.y.shape
    torch.Size([9, 12, 3])
    """
    task, own = _sorted(options, TaskSettings, DistillSettings)
    settings = DistillSettings.of(method, **own)
    prepared = _prepared(series, TaskSettings(**task))
    return distill(prepared, settings, work=work, device=device, progress=progress)


def train(
    data: DistilledSet | xr.Dataset | xr.DataArray,
    forecaster: str = "mlp",
    *,
    hyperparameters: Mapping[str, Any] | None = None,
    device: str = "cpu",
    progress: bool | None = None,
    **options: Any,
) -> FittedForecaster:
    """Train a forecaster on a distilled set, or on a series in full.

    Parameters
    ----------
    data : DistilledSet, xarray.Dataset or xarray.DataArray
        What to train on.
    forecaster : str
        Registered name, e.g. ``"mlp"``, ``"mtgnn"``, ``"linear"``.
    hyperparameters : mapping, optional
        Of the forecaster.
    device : str
        Where to compute.
    progress : bool, optional
        Show a bar; None shows it on a terminal only.
    **options
        Fields of :class:`~stemdist.forecast.TrainingSettings`, and for a series those of
        :class:`~stemdist.forecast.TaskSettings`.

    Returns
    -------
    FittedForecaster
        Ready to ``predict`` any series of the same variables.
    """
    how: dict[str, Any] = {"options": hyperparameters, "device": device, "progress": progress}
    if isinstance(data, DistilledSet):
        (training,) = _settings(options, TrainingSettings)
        return train_on_distilled(data, forecaster, training, **how)
    task, training = _settings(options, TaskSettings, TrainingSettings)
    return fit_forecaster(_prepared(data, task), forecaster, training, **how)


def teach(
    data: DistilledSet | xr.Dataset | xr.DataArray,
    teachers: FittedForecaster | Teacher | str | Sequence[FittedForecaster | Teacher | str] = (),
    *,
    recipe: str = "soft-labels",
    validation: xr.Dataset | xr.DataArray | None = None,
    cache: str | Path | None = None,
    device: str = "cpu",
    progress: bool | None = None,
    **options: Any,
) -> FittedForecaster:
    """Train a small student on data and on what large teachers answer to them.

    Parameters
    ----------
    data : DistilledSet, xarray.Dataset or xarray.DataArray
        What to learn from.
    teachers : FittedForecaster, Teacher, str, or several of them
        Trained forecasters, pretrained models (``stemdist.students.load_teacher``), or what
        ``--teacher`` names: folders, forecasters to train, ``"file:forecasts.nc"``. The recipe's
        own by default.
    recipe : str
        A named recipe, e.g. ``"timedistill"``; options win over its settings.
    validation : xarray.Dataset or xarray.DataArray, optional
        With a distilled set, real data whose validation part chooses the weights and on which
        teachers are trained.
    cache : str or Path, optional
        Folder for trained teachers and for answers, which are asked for once.
    device : str
        Where to compute.
    progress : bool, optional
        Show bars; None shows them on a terminal only.
    **options
        Fields of :class:`~stemdist.students.StudentSettings`, and of
        :class:`~stemdist.forecast.TrainingSettings` for the student; for a series also those of
        :class:`~stemdist.forecast.TaskSettings`.

    Returns
    -------
    FittedForecaster
        The student, an ordinary forecaster.

    Examples
    --------
    >>> from stemdist.data import simulate
    >>> raw = simulate("weather-sim", days=8, n_lat=3, n_lon=4)
    >>> teacher = train(raw, "gru", updates=3)
    >>> student = teach(raw, teacher, student="linear", updates=3)
    >>> student.name, student.record["teachers"]
    ('linear', ['gru'])
    """
    kinds = (TrainingSettings, StudentSettings)
    task, training, own = _sorted(options, TaskSettings, *kinds)
    if isinstance(data, DistilledSet):
        if task:
            raise InputError(
                f"{', '.join(sorted(task))}: no use here, because a distilled set fixes what is "
                "forecast from what: leave it out"
            )
        given = data.training_set()
        real = None
        if validation is not None:
            real = _prepared(validation, data.settings, data.variables)
            data.check_features(real)
    else:
        real = _prepared(data, TaskSettings(**task))
        given = TrainingSet.of_task(real)
    settings = StudentSettings.of(recipe, training=TrainingSettings(**training), **own)
    named = (teachers,) if isinstance(teachers, FittedForecaster | Teacher | str) else teachers
    places = Places(cache=None if cache is None else Path(cache))
    how: dict[str, Any] = {"device": device, "progress": progress}
    found = [
        ForecasterTeacher(each, device)
        if isinstance(each, FittedForecaster)
        else find_teacher(each, settings, real, cache=places.cache, **how)
        if isinstance(each, str)
        else each
        for each in named or settings.teachers
    ]
    return teach_student(given, found, settings, validation=real, places=places, **how)


def evaluate_distilled(
    distilled: DistilledSet,
    series: xr.Dataset | xr.DataArray,
    *,
    results: str | Path | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Evaluation:
    """Judge a distilled set by training fresh forecasters on it, beside what it must beat.

    Parameters
    ----------
    distilled : DistilledSet
        What is judged.
    series : xarray.Dataset or xarray.DataArray
        The series it was made from; its test part is read once.
    results : str or Path, optional
        Folder in which finished cells are kept.
    progress : bool, optional
        Show bars; None shows them on a terminal only.
    **options
        Fields of :class:`~stemdist.evaluate.EvaluationSettings`, e.g. ``seeds=3``.
    """
    (settings,) = _settings(options, EvaluationSettings)
    task = _prepared(series, distilled.settings, distilled.variables)
    return evaluate(distilled, task, settings, results=results, progress=progress)


def _prepared(
    series: xr.Dataset | xr.DataArray,
    settings: TaskSettings,
    variables: tuple[str, ...] | None = None,
) -> ForecastTask:
    if not isinstance(series, xr.Dataset | xr.DataArray):
        raise InputError(
            f"the series is {type(series).__name__}: give an xarray.Dataset or xarray.DataArray; "
            "stemdist.open_series opens files and data sets of the catalogue"
        )
    canonical = "target" in series.attrs and "location" in series.dims
    if not canonical or isinstance(series, xr.DataArray):
        if variables is None:
            variables = settings.variables
        series = open_series(series, variables=variables, static=settings.static)
    return ForecastTask.from_series(series, settings)


def _settings(options: Mapping[str, Any], *kinds: type[Any]) -> list[Any]:
    """Build each kind of settings from the options it has; the first kind wins."""
    return [kind(**own) for kind, own in zip(kinds, _sorted(options, *kinds), strict=True)]


def _sorted(options: Mapping[str, Any], *kinds: type[Any]) -> list[dict[str, Any]]:
    """Return the options of each kind of settings; the first kind wins."""
    found: list[dict[str, Any]] = [{} for _ in kinds]
    names = [{field.name for field in dataclasses.fields(kind)} for kind in kinds]
    for key, value in options.items():
        owner = next((i for i, own in enumerate(names) if key in own), None)
        if owner is None:
            raise unknown_name("option", key, set().union(*names))
        found[owner][key] = value
    return found

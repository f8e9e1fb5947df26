"""The main jobs as one call each, from a canonical or raw series."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import xarray as xr
from torch import nn

from stemdist.arguments import (
    canonical_of,
    matching_task,
    named_forecaster,
    refuse_task_options,
    refuse_validation,
    sorted_options,
    task_of,
)
from stemdist.distill import (
    DistilledSet,
    DistillSettings,
    distill,
    prepare,
    train_on_distilled,
)
from stemdist.errors import InputError
from stemdist.evaluate import (
    Benchmark,
    BenchmarkSettings,
    Evaluation,
    EvaluationSettings,
    evaluate,
)
from stemdist.evaluate import benchmark as run_benchmark
from stemdist.forecast import (
    Callback,
    FittedForecaster,
    ForecastTask,
    TaskOptions,
    TrainingSet,
    TrainingSettings,
    fit_forecaster,
    settings_for,
)
from stemdist.options import (
    BenchmarkOptions,
    DistillOptions,
    EvaluateOptions,
    TeachOptions,
    TrainOptions,
    TuneOptions,
)
from stemdist.search import Tuned, TuneSettings
from stemdist.search import tune as run_search
from stemdist.students import (
    ForecasterTeacher,
    Places,
    StudentSettings,
    Teacher,
    find_teacher,
)
from stemdist.students import teach as teach_student
from stemdist.types import DistillMethod, Effort, ForecasterName, TeachMethod


def distill_series(
    series: xr.Dataset | xr.DataArray,
    *,
    method: DistillMethod = "default",
    effort: Effort = "default",
    memory: int | str | None = None,
    time_limit: str | float | None = None,
    work: str | Path | None = None,
    device: str = "cpu",
    progress: bool | None = None,
    **options: Unpack[DistillOptions],
) -> DistilledSet:
    """Distil a series along time and space.

    Parameters
    ----------
    series : xarray.Dataset or xarray.DataArray
        From :func:`~stemdist.data.open_series`, or raw with one suitable variable. A series that
        was opened with a recipe of the catalogue is used as the recipe says.
    method : str
        A named method, e.g. ``"default"`` or ``"stemdist"``; options win over its settings.
    effort : str
        How long it may take: ``"quick"`` (selected real windows with the soft labels of one
        expert), ``"default"``, or ``"thorough"`` (a final round with more families of
        forecasters, for sets of any size).
    memory : int or str, optional
        Bytes that the process may use, or a text such as ``"4GiB"``; most of what is free by
        default. A series that does not fit is streamed and sampled; see
        :func:`~stemdist.distill.prepare`.
    time_limit : str or float, optional
        As for :func:`~stemdist.distill.distill`.
    work : str or Path, optional
        Folder in which state is kept, so that a run that was stopped continues exactly.
    device : str
        Where to compute: cpu, cuda, cuda:0.
    progress : bool, optional
        Show bars; None shows them on a terminal only.
    **options
        What is forecast from what (:class:`~stemdist.forecast.TaskOptions`) and fields of
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
    torch.Size([9, 12, 6])
    """
    task, own = sorted_options(options, TaskOptions, DistillSettings)
    series = canonical_of(series, task)
    settings = DistillSettings.for_series(series, method, effort=effort, **own)
    prepared = prepare(
        series, settings_for(series, task), settings, memory=memory, progress=progress
    )
    how: dict[str, Any] = {"time_limit": time_limit, "device": device, "progress": progress}
    return distill(prepared, settings, work=work, **how)


def train(
    data: DistilledSet | xr.Dataset | xr.DataArray,
    forecaster: ForecasterName | nn.Module | Callable[..., nn.Module] = "mlp",
    *,
    validation: xr.Dataset | xr.DataArray | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
    device: str = "cpu",
    progress: bool | None = None,
    **options: Unpack[TrainOptions],
) -> FittedForecaster:
    """Train a forecaster on a distilled set, or on a series in full.

    Parameters
    ----------
    data : DistilledSet, xarray.Dataset or xarray.DataArray
        What to train on.
    forecaster : str, torch.nn.Module or callable
        Registered name, e.g. ``"mlp"`` or ``"mtgnn"``; or a module, a class of modules, or a
        function that makes one: see
        :class:`~stemdist.forecast.forecasters.module.ModuleForecaster`, whose parameters are
        the hyperparameters.
    validation : xarray.Dataset or xarray.DataArray, optional
        With a distilled set, real data whose validation part chooses the weights.
    hyperparameters : mapping, optional
        Of the forecaster.
    callbacks : sequence of Callback
        Told of the training: settings, each validation, the end.
    device : str
        Where to compute.
    progress : bool, optional
        Show a bar; None shows it on a terminal only.
    **options
        Fields of :class:`~stemdist.forecast.TrainingSettings`, and for a series also
        :class:`~stemdist.forecast.TaskOptions`.

    Returns
    -------
    FittedForecaster
        Ready to ``predict`` any series of the same variables.

    Raises
    ------
    InputError
        If an option is unknown or of no use with these data.

    Examples
    --------
    >>> from stemdist.data import simulate
    >>> raw = simulate("weather-sim", days=8, n_lat=3, n_lon=4)
    >>> train(raw, "linear", updates=2).record["updates"]
    2
    """
    task, training = sorted_options(options, TaskOptions, TrainingSettings)
    name, hyperparameters = named_forecaster(forecaster, hyperparameters)
    how: dict[str, Any] = {
        "options": hyperparameters,
        "callbacks": callbacks,
        "device": device,
        "progress": progress,
    }
    chosen = TrainingSettings(**training)
    if isinstance(data, DistilledSet):
        refuse_task_options(task)
        real = None if validation is None else matching_task(validation, data)
        return train_on_distilled(data, name, chosen, validation=real, **how)
    refuse_validation(validation)
    return fit_forecaster(task_of(data, task), name, chosen, **how)


def teach(
    data: DistilledSet | xr.Dataset | xr.DataArray,
    teachers: FittedForecaster | Teacher | str | Sequence[FittedForecaster | Teacher | str] = (),
    *,
    method: TeachMethod = "soft-labels",
    validation: xr.Dataset | xr.DataArray | None = None,
    cache: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    device: str = "cpu",
    progress: bool | None = None,
    **options: Unpack[TeachOptions],
) -> FittedForecaster:
    """Train a small student on data and on the outputs of large teachers.

    Parameters
    ----------
    data : DistilledSet, xarray.Dataset or xarray.DataArray
        What to learn from.
    teachers : FittedForecaster, Teacher, str, or several of them
        Trained forecasters, pretrained models (``stemdist.students.load_teacher``), or what
        ``--teacher`` names: folders, forecasters to train, ``"file:forecasts.nc"``. Those of
        the method by default.
    method : str
        A named way to teach, e.g. ``"timedistill"``; options win over its settings.
    validation : xarray.Dataset or xarray.DataArray, optional
        With a distilled set, real data whose validation part chooses the weights and on which
        teachers are trained.
    cache : str or Path, optional
        Folder for trained teachers and their outputs, so that each is computed once.
    callbacks : sequence of Callback
        Told of each training of the student.
    device : str
        Where to compute.
    progress : bool, optional
        Show bars; None shows them on a terminal only.
    **options
        Fields of :class:`~stemdist.students.StudentSettings`, and of
        :class:`~stemdist.forecast.TrainingSettings` for the student; for a series also
        :class:`~stemdist.forecast.TaskOptions`.

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
    task, training, own = sorted_options(options, TaskOptions, TrainingSettings, StudentSettings)
    if isinstance(data, DistilledSet):
        refuse_task_options(task)
        given = data.training_set()
        real = None if validation is None else matching_task(validation, data)
        if real is not None:
            data.check_features(real)
    else:
        refuse_validation(validation)
        real = task_of(data, task)
        given = TrainingSet.of_task(real)
    settings = StudentSettings.of(method, training=TrainingSettings(**training), **own)
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
    how["callbacks"] = callbacks
    return teach_student(given, found, settings, validation=real, places=places, **how)


def tune(
    distilled: DistilledSet,
    series: xr.Dataset | xr.DataArray,
    *,
    folder: str | Path,
    storage: str | None = None,
    space: Mapping[str, Any] | None = None,
    time_limit: str | float | None = None,
    n_jobs: int = 1,
    device: str = "cpu",
    progress: bool | None = None,
    **options: Unpack[TuneOptions],
) -> Tuned:
    """Search for a forecaster and its hyper-parameters on a distilled set.

    Parameters
    ----------
    distilled : DistilledSet
        Trials train on it.
    series : xarray.Dataset or xarray.DataArray
        The series it was made from, whose validation part scores trials; the test part is not
        read.
    folder : str or Path
        Where the study is kept; the same call continues a search that was stopped.
    storage, space, time_limit, n_jobs, device, progress
        As for :func:`stemdist.search.tune`.
    **options
        Fields of :class:`~stemdist.search.TuneSettings`, e.g. ``trials=60``.

    Returns
    -------
    Tuned
        Its ``study`` is an ordinary ``optuna.Study``.

    Examples
    --------
    >>> import tempfile
    >>> from stemdist.data import simulate
    >>> raw = simulate("weather-sim", days=8, n_lat=3, n_lon=4)
    >>> tiny = distill_series(raw, labels="observed", synthesizer="selection", space_ratio=0.5)
    >>> few = {"forecasters": ("linear",), "trials": 2, "updates": 4}
    >>> found = tune(tiny, raw, folder=tempfile.mkdtemp(), **few)
    >>> len(found.study.trials), found.configuration["forecaster"]
    (2, 'linear')
    """
    (own,) = sorted_options(options, TuneSettings)
    how: dict[str, Any] = {"storage": storage, "space": space, "time_limit": time_limit}
    how |= {"n_jobs": n_jobs, "device": device, "progress": progress}
    return run_search(
        distilled, matching_task(series, distilled), TuneSettings(**own), folder=folder, **how
    )


def evaluate_distilled(
    distilled: DistilledSet,
    series: xr.Dataset | xr.DataArray,
    *,
    results: str | Path | None = None,
    progress: bool | None = None,
    **options: Unpack[EvaluateOptions],
) -> Evaluation:
    """Judge a distilled set by training fresh forecasters on it, beside what it must beat.

    Parameters
    ----------
    distilled : DistilledSet
        What is judged.
    series : xarray.Dataset or xarray.DataArray
        The series it was made from; its test part is read once.
    results : str or Path, optional
        Folder in which finished runs are kept.
    progress : bool, optional
        Show bars; None shows them on a terminal only.
    **options
        Fields of :class:`~stemdist.evaluate.EvaluationSettings`, e.g. ``seeds=3``.
    """
    (own,) = sorted_options(options, EvaluationSettings)
    task = matching_task(series, distilled)
    return evaluate(distilled, task, EvaluationSettings(**own), results=results, progress=progress)


def benchmark(
    data: Mapping[str, xr.Dataset | ForecastTask | Mapping[str, ForecastTask]],
    settings: BenchmarkSettings | None = None,
    *,
    results: str | Path,
    n_jobs: int | None = None,
    device: str = "cpu",
    progress: bool | None = None,
    **options: Unpack[BenchmarkOptions],
) -> Benchmark:
    """Distil data sets by several methods and compare what forecasters learn from the sets.

    Parameters
    ----------
    data : mapping
        Canonical series by name; or tasks, or several splits of one data set as returned by
        :func:`~stemdist.rolling_tasks`.
    settings : BenchmarkSettings, optional
        The grid; or give its fields as options.
    results : str or Path
        Folder of distilled sets and training runs; the same call continues a stopped benchmark.
    n_jobs : int, optional
        Distillations and training runs at the same time.
    device : str
        Where to distil, train and predict.
    progress : bool, optional
        Show bars; None shows them on a terminal only.
    **options
        Fields of :class:`~stemdist.BenchmarkSettings`, e.g. ``ratios=("0.1x0.1",)``.

    Raises
    ------
    InputError
        If an option is unknown, or settings and options are both given.
    """
    if settings is not None and options:
        raise InputError(
            f"settings and {', '.join(sorted(options))} are both given: put the options into the "
            "settings"
        )
    (own,) = sorted_options(options, BenchmarkSettings)
    tasks = {
        name: ForecastTask.from_series(given) if isinstance(given, xr.Dataset) else given
        for name, given in data.items()
    }
    return run_benchmark(
        tasks,
        settings or BenchmarkSettings(**own),
        results=results,
        n_jobs=n_jobs,
        device=device,
        progress=progress,
    )

"""How a set is distilled: cluster, select, label, synthesize, keep the best on validation.

Shapes: M training windows, M_S synthetic windows, N locations, K clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stemdist.data.conventions.attributes import attribution_of
from stemdist.data.origin import origin_of
from stemdist.data.windows import (
    TensorWindows,
    WindowSource,
    evenly_spaced,
    materialise,
    materialise_own,
)
from stemdist.distill.clusters import (
    Clusters,
    cluster_graph,
    cluster_windows,
)
from stemdist.distill.distilled import DistilledSet
from stemdist.distill.experts import (
    Expert,
    all_pointwise,
    answers_of,
    mean_answer,
    relabelled,
    train_experts,
)
from stemdist.distill.labels import KEPT_ANSWERS, expert_share
from stemdist.distill.material import Material
from stemdist.distill.parametrisation import encode
from stemdist.distill.problem import DistillationProblem
from stemdist.distill.ratios import compression_ratios
from stemdist.distill.selection import select_own_windows, select_windows
from stemdist.distill.settings import DistillSettings
from stemdist.distill.source_range import SourceRange, missing_inputs
from stemdist.distill.synthesizer import Synthesizer, make_synthesizer
from stemdist.durations import TimeLimit
from stemdist.files import hash_of
from stemdist.forecast import ForecastTask
from stemdist.forecast.device import check_device
from stemdist.profiling import Cost, measure

if TYPE_CHECKING:
    from torch_geometric.data import Data

CALENDARS = 512
"""Windows from which the rank of the calendar features is computed."""


@dataclass(frozen=True, kw_only=True)
class StartingPoint:
    """Real windows with labels at the representatives, from which a synthesizer starts.

    Attributes
    ----------
    windows : TensorWindows
        M_S selected windows over K clusters.
    real : WindowSource
        All M training windows over the K clusters, with the same kind of labels.
    clusters : Clusters
        The space axis.
    experts : list of Expert
        Those that gave the soft labels; none for observed labels.
    graph : torch_geometric.data.Data
        Graph between the clusters.
    labels : str
        Kind of labels.
    missing : Tensor
        (M_S, L_in, K, F_s) bool, series inputs that the source does not have.
    own_times : bool
        Whether the windows of the clusters differ in time.
    """

    windows: TensorWindows
    real: WindowSource
    clusters: Clusters
    experts: list[Expert]
    graph: Data
    labels: str
    missing: Tensor
    own_times: bool = False

    @property
    def n_calendars(self) -> int:
        """How many windows may have a calendar of their own."""
        return len(self.windows) * (self.windows.n_locations if self.own_times else 1)

    @property
    def answer(self) -> Callable[[WindowSource], Tensor] | None:
        """How experts label synthetic inputs; None where labels are learned.

        Experts that need all real locations at once cannot forecast a few clusters.
        """
        if self.labels not in ("expert", "incremental") or not all_pointwise(self.experts):
            return None
        return partial(mean_answer, self.experts, graph=self.graph)


def experts_of(
    task: ForecastTask,
    settings: DistillSettings,
    *,
    cache: str | Path | None = None,
    device: str | torch.device = "cpu",
    progress: bool | None = False,
) -> list[Expert]:
    """Train the experts that the settings ask for, or take them from the folder ``cache``."""
    return train_experts(
        task,
        settings.experts,
        settings.expert_seeds,
        settings.expert_training,
        extra=settings.extra_experts,
        cache=cache,
        device=device,
        progress=progress,
    )


def starting_point(
    source: ForecastTask | Material,
    settings: DistillSettings,
    *,
    cache: str | Path | None = None,
    device: str | torch.device = "cpu",
    progress: bool | None = False,
) -> StartingPoint:
    """Cluster the locations, select windows and label them.

    Parameters
    ----------
    source : ForecastTask or Material
        The real data.
    settings : DistillSettings
        Ratios, clustering, selection, labels and experts; those of the material win.
    cache : str or Path, optional
        Folder in which trained experts are kept.
    device : str or torch.device
        Where experts train and forecast; everything else stays on the CPU.
    progress : bool, optional
        Show bars; None shows them on a terminal only.
    """
    material = Material.of(source, settings)
    task, settings, clusters = material.task, material.settings, material.held
    n_windows, _ = settings.sizes(len(task.train), len(material.locations))
    real: WindowSource = cluster_windows(task.train, clusters)
    share, experts = expert_share(settings.labels), []
    if settings.labels != "observed":
        experts = experts_of(task, settings, cache=cache, device=device, progress=progress)
    own_times = has_own_times(settings, experts)
    select = select_own_windows if own_times else select_windows
    chosen = select(real, n_windows, settings.selection, settings.seed)
    own = materialise_own(real, chosen) if own_times else None
    if share > 0:
        answer = partial(answers_of, experts, task, clusters, real)
        few = len(real) * real.rows * real.n_locations <= KEPT_ANSWERS
        answers = answer(torch.arange(len(real))) if few else answer
        real = relabelled(real, answers, experts, share)
        own = None if own is None else _labelled(own, experts, task.graph, share)
    windows = materialise(real, chosen) if own is None else own
    return StartingPoint(
        windows=windows,
        real=real,
        clusters=clusters,
        experts=experts,
        graph=cluster_graph(material.locations.graph, material.clusters),
        labels=settings.labels,
        missing=missing_inputs(task, clusters, chosen),
        own_times=own_times,
    )


def _labelled(
    windows: TensorWindows, experts: Sequence[Expert], graph: Data, share: float
) -> TensorWindows:
    """Return windows with targets moved towards the soft labels of their own inputs."""
    labels = mean_answer(experts, windows, graph=graph)
    return materialise(relabelled(windows, labels, experts, share), torch.arange(len(windows)))


def has_own_times(settings: DistillSettings, experts: Sequence[Expert]) -> bool:
    """Say whether each cluster has windows of its own, which is chosen by the labels."""
    if settings.window_times != "auto":
        return settings.window_times == "own"
    independent = settings.labels == "expert" and all_pointwise(experts)
    return independent and settings.can_have_own_times


def problem_of(
    task: ForecastTask,
    settings: DistillSettings,
    start: StartingPoint,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> DistillationProblem:
    """Return what a synthesizer is given to improve a starting point."""
    return DistillationProblem(
        task=task,
        real=start.real,
        graph=start.graph,
        start=start.windows,
        judges=settings.judges,
        judging=settings.judging,
        judge_seeds=settings.judge_seeds,
        n_series=task.n_series_features,
        n_learned=n_learned(task, start.n_calendars),
        answer=start.answer,
        parametrisation=settings.parametrisation,
        parametrisation_options=settings.parametrisation_options,
        within=SourceRange.of_task(task, ranges, start.clusters),
    )


def n_learned(task: ForecastTask, n_calendars: int) -> int:
    """Return how many leading features are learned: the series, and maybe the calendar.

    Where the calendars of all windows are no more than the rank of the calendar features, labels
    cannot determine the effect of the calendar, and each cluster learns one of its own. Static
    features stay what they are.
    """
    n_series = task.n_series_features
    n_varying = len(task.feature_names) - len(task.settings.static)
    if n_varying == n_series:
        return n_series
    index = evenly_spaced(len(task.train), CALENDARS)
    one = task.train.inputs(index, torch.zeros(1, dtype=torch.int64))
    calendars = one[..., n_series:n_varying].flatten(1)
    rank = int(torch.linalg.matrix_rank(calendars - calendars.mean(0), rtol=1e-3))
    return n_series if n_calendars > rank else n_varying


def distill(
    source: ForecastTask | Material,
    settings: DistillSettings | None = None,
    *,
    work: str | Path | None = None,
    experts: str | Path | None = None,
    time_limit: str | float | None = None,
    device: str | torch.device = "cpu",
    progress: bool | None = False,
) -> DistilledSet:
    """Distil a task along time and space.

    Only the training and validation parts are read. The result is never worse on validation
    than real windows with the same labels, in a final check by judges with longer training.

    Parameters
    ----------
    source : ForecastTask or Material
        The real data; :func:`~stemdist.distill.prepare` makes material of a series that is
        larger than memory.
    settings : DistillSettings, optional
        Defaults are used without it; material has settings of its own.
    work : str or Path, optional
        Folder in which iterates are kept, so that a run that was stopped continues there
        exactly.
    experts : str or Path, optional
        Folder in which trained experts are kept under a hash of data and settings, so that
        another run with the same ones starts at once; ``experts`` in ``work`` by default.
    time_limit : str or float, optional
        Seconds, or a text such as ``"5min"``, after which no further iteration begins. Experts and
        the final check take their time in any case, and the result depends on the machine.
    device : str or torch.device
        Where experts train, windows are learned and judges train; ``"cuda"`` for a GPU. The
        series stays in the memory of the CPU, and batches are moved.
    progress : bool, optional
        Show bars; None shows them on a terminal only.

    Returns
    -------
    DistilledSet
        Save it with :meth:`DistilledSet.save`.

    Raises
    ------
    InputError
        If a setting cannot be used with this task, or the device is not there.

    Examples
    --------
    >>> from stemdist.data import simulate, canonical_series
    >>> from stemdist.forecast import TrainingSettings
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=5, n_lon=6))
    >>> quick = DistillSettings(
    ...     labels="observed", synthesizer="selection", judging=TrainingSettings(updates=5))
    >>> distill(ForecastTask.from_series(series), quick).windows.x.shape
    torch.Size([9, 12, 6, 2])
    """
    device, limit = check_device(device), TimeLimit.of(time_limit)
    with measure(device) as cost:
        cache = Path(work) / "experts" if experts is None and work is not None else experts
        material = Material.of(source, settings or DistillSettings())
        task, settings = material.task, material.settings
        start = starting_point(material, settings, cache=cache, device=device, progress=progress)
        problem = problem_of(task, settings, start, material.variable_ranges).to(device)
        synthesizer = make_synthesizer(settings.synthesizer, **settings.synthesizer_options)
        key = hash_of([task.content_hash, settings.to_json(), synthesizer.get_params()])
        state = None if work is None else Path(work) / f"{key}.state"
        how: dict[str, Any] = {"state": state, "cache": cache, "progress": progress}
        synthesizer.fit(problem, seed=settings.seed, limit=limit, **how)
        with torch.no_grad():
            first = problem.candidate(*encode(problem).windows())
        windows, finalists = problem.better_of_finalists(first, synthesizer.windows_)
    bounds = problem.within.physical if problem.within and synthesizer.within_range else {}
    windows = windows.to("cpu")
    unmoved = (windows.x == start.windows.x)[..., : task.n_series_features]
    return DistilledSet(
        windows=windows,
        filled=start.missing & unmoved,
        cluster_graph=start.graph,
        cluster_of_location=material.clusters.labels,
        medoids=material.clusters.medoids,
        y_kind=settings.labels,
        locations=material.locations,
        settings=task.settings,
        scaler=task.scaler,
        feature_names=task.feature_names,
        variables=tuple(map(str, task.series.data_vars)),
        units=task.units,
        record=_record(material, start, synthesizer, windows, cost)
        | {
            "finalists": finalists,
            "learned": finalists is not None and finalists["result"] <= finalists["start"],
            "validation_error": _own_error(synthesizer, finalists),
            "range": dict(bounds),
        },
    )


def _own_error(synthesizer: Synthesizer, finalists: dict[str, float] | None) -> float:
    """Return the relative squared validation error of the windows that are saved.

    The better one of the final check was saved; without a check, the iterate that was best with
    the judges of its round.
    """
    return synthesizer.best_ if finalists is None else min(finalists.values())


def _record(
    material: Material,
    start: StartingPoint,
    synthesizer: Synthesizer,
    windows: TensorWindows,
    cost: Cost,
) -> dict[str, Any]:
    """Say how a distilled set was made, and what it cost."""
    task, settings, facts = material.task, material.settings, material.facts
    attrs, n_locations = task.series.attrs, len(material.locations)
    begin, end = facts["split_boundaries"]["train"]
    series_bytes = 4 * (end - begin) * n_locations * len(task.series.data_vars)
    return {
        "stemdist_version": version("stemdist"),
        "settings": settings.to_json(),
        "content_hash": task.content_hash,
        **origin_of(task.series),
        **facts,
        "history": synthesizer.history_,
        "out_of_time": synthesizer.out_of_time_,
        "experts": [
            {key: getattr(expert, key) for key in ("family", "weight", "validation_error")}
            for expert in start.experts
        ],
        "expert_seconds": sum(expert.seconds for expert in start.experts),
        "seconds": cost.wall_seconds
        + material.seconds
        + synthesizer.earlier_seconds_
        + synthesizer.cached_seconds_
        + sum(expert.seconds for expert in start.experts if expert.cached),
        "peak_memory_bytes": cost.peak_memory_bytes,
        "peak_device_bytes": cost.peak_device_bytes,
        "stored_numbers": synthesizer.n_numbers_,
        "ratios": compression_ratios(
            windows,
            task.settings,
            facts["training_windows"],
            n_locations,
            series_bytes,
            synthesizer.n_numbers_,
        ),
        "title": str(attrs.get("title", "")),
        **{name: str(value) for name, value in attribution_of(attrs).items()},
    }

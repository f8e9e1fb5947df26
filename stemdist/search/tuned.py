"""A search from beginning to end: trials on the small set, finalists on the full data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from joblib import Parallel, delayed

from stemdist.distill import DistilledSet
from stemdist.distill.problem import validating_within_reason
from stemdist.durations import TimeLimit
from stemdist.errors import InputError
from stemdist.files import atomic_path
from stemdist.forecast import ForecastTask, fit_once
from stemdist.progress import bar, stage
from stemdist.search.settings import TuneSettings
from stemdist.search.space import spaces_of
from stemdist.search.study import (
    DEFAULT,
    FORECASTER,
    SECONDS,
    Search,
    configuration_of,
    default_storage,
    ended,
    latest,
)

if TYPE_CHECKING:
    import optuna

CONFIGURATION = "best.yaml"


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A configuration that was trained on the full data.

    Attributes
    ----------
    trial : int
        Number of its trial.
    error : float
        RMSE on validation after training on the full data, in scaled units.
    seconds : float
        Time of that training.
    """

    trial: int
    error: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Result of a search.

    Attributes
    ----------
    study : optuna.Study
        All trials; their values are RMSE on real validation windows, in scaled units.
    settings : TuneSettings
        What was searched.
    finalists : tuple of Finalist
        The best few after training on the full data, the winner first; empty without them.
    distill_seconds : float
        Time that distilling the set took.
    """

    study: optuna.Study
    settings: TuneSettings
    finalists: tuple[Finalist, ...]
    distill_seconds: float

    @property
    def winner(self) -> optuna.trial.FrozenTrial:
        """The best trial: the best finalist, or the best on the small set without any."""
        if self.finalists:
            return self.study.trials[self.finalists[0].trial]
        return best_trials(self.study, 1)[0]

    @property
    def configuration(self) -> dict[str, Any]:
        """The winner, as options of ``stemdist train``."""
        found, settings = configuration_of(self.winner.params), self.settings
        return {
            "forecaster": found.forecaster,
            **({"hyperparameters": found.options} if found.options else {}),
            **({} if found.lookback is None else {"lookback": found.lookback}),
            **found.training,
            "updates": settings.final_updates,
            "batch_windows": settings.batch_windows,
            "locations_per_update": settings.locations_per_update,
            "validation_windows": settings.validation_windows,
            "seed": settings.seed,
        }

    @property
    def trial_seconds(self) -> float:
        """Time of all trials together."""
        return sum(float(trial.user_attrs.get(SECONDS, 0.0)) for trial in ended(self.study))

    @property
    def table(self) -> pd.DataFrame:
        """One row per trial, the best first: number, state, value, seconds, configuration."""
        rows = []
        for trial in ended(self.study):
            found = configuration_of(trial.params)
            rows.append(
                {
                    "trial": trial.number,
                    "state": trial.state.name.lower(),
                    "rmse": trial.value,
                    "seconds": trial.user_attrs.get(SECONDS),
                    "forecaster": found.forecaster,
                    **({} if found.lookback is None else {"lookback": found.lookback}),
                    **found.options,
                    **found.training,
                }
            )
        return pd.DataFrame(rows).sort_values("rmse", kind="stable", ignore_index=True)

    @property
    def importance(self) -> dict[str, float]:
        """Importance of the parameters that all trials have, by fANOVA; empty for few trials."""
        import optuna

        complete = [trial for trial in self.study.trials if trial.state.name == "COMPLETE"]
        names = set.intersection(*(set(trial.params) for trial in complete)) if complete else set()
        if len(complete) < 4 or not names:
            return {}
        found: dict[str, float] = optuna.importance.get_param_importances(
            self.study, params=sorted(names)
        )
        return found

    @property
    def sentence(self) -> str:
        """What the search took, and what the same on the full data would have taken."""
        spent = self.trial_seconds + self.distill_seconds
        said = (
            f"{len(ended(self.study))} trials took {self.trial_seconds:.0f} s, and distilling "
            f"{self.distill_seconds:.0f} s."
        )
        if not self.finalists:
            return said
        each = sum(one.seconds for one in self.finalists) / len(self.finalists)
        full = each * len(ended(self.study))
        ratio = full / spent
        return (
            f"{said} As many trainings on the full data, at {each:.1f} s each as of the finalists, "
            f"would have taken {full:.0f} s: {ratio:.2g} times as long. Where the full data are in "
            "memory, trainings on them as short as the trials would take about as long as these."
        )

    @property
    def verdict(self) -> str:
        """Which configuration was best, and how it compares with the best of the defaults."""
        winner, n_trials = self.winner, len(ended(self.study))
        name = str(winner.params[FORECASTER])
        if not self.finalists:
            return (
                f"The best of {n_trials} trials is a configuration of {name}, with an RMSE of "
                f"{winner.value:.4f} (scaled units) on validation after training on the small set."
            )
        best = self.finalists[0]
        said = (
            f"The best of {n_trials} trials is a configuration of {name}, with an RMSE of "
            f"{best.error:.4f} (scaled units) on validation after training on the full data"
        )
        defaults = [one for one in self.finalists if is_default(self.study.trials[one.trial])]
        if not defaults:
            return f"{said}."
        other = self.study.trials[defaults[0].trial]
        if other.number == winner.number:
            return f"{said}; it is the default of {name}."
        gain = 100 * (1 - best.error / defaults[0].error)
        return f"{said}, {gain:.1f} % lower than that of the default {other.params[FORECASTER]}."

    def write(self, folder: str | Path) -> list[Path]:
        """Write ``trials.csv`` and ``best.yaml``, which ``stemdist train --config`` reads."""
        folder = Path(folder)
        with atomic_path(folder / "trials.csv") as part:
            self.table.to_csv(part, index=False)
        with atomic_path(folder / CONFIGURATION) as part:
            text = yaml.safe_dump(self.configuration, sort_keys=False)
            part.write_text(f"# {self.sentence}\n{text}", encoding="utf-8")
        return [folder / "trials.csv", folder / CONFIGURATION]


def tune(
    distilled: DistilledSet,
    task: ForecastTask,
    settings: TuneSettings | None = None,
    *,
    folder: str | Path,
    storage: str | None = None,
    space: Mapping[str, Any] | None = None,
    time_limit: str | float | None = None,
    n_jobs: int = 1,
    device: str = "cpu",
    progress: bool | None = False,
) -> Tuned:
    """Search for the best forecaster and its hyper-parameters on a distilled set.

    Every trial trains on the small set and is scored on real validation windows at all real
    locations; the test part is not read. The same call continues a search that was stopped, and
    several processes, on several machines, may work on one study at the same time.

    Parameters
    ----------
    distilled : DistilledSet
        Trials train on it.
    task : ForecastTask
        The real data it was made from, prepared with its settings.
    settings : TuneSettings, optional
        What is searched; the defaults without it.
    folder : str or Path
        Where the study, trained finalists and results are kept.
    storage : str, optional
        Address of a database that Optuna knows, for several machines; a file in the folder by
        default.
    space : mapping, optional
        Changes of the search spaces; see :func:`~stemdist.search.spaces_of`.
    time_limit : str or float, optional
        Seconds, or a text such as ``"10min"``, after which no further trial begins.
    n_jobs : int
        Processes that train trials at the same time.
    device : str
        Where to train.
    progress : bool, optional
        Show a bar; None shows it on a terminal only.

    Returns
    -------
    Tuned
        With an ordinary ``optuna.Study`` inside.

    Raises
    ------
    InputError
        If something cannot be used, or the study was made from something else.
    MissingDependencyError
        Without the extra ``tune``.
    """
    settings, folder = settings or TuneSettings(), Path(folder)
    limit = TimeLimit.of(time_limit)
    distilled.check_features(task)
    for steps in settings.lookbacks:
        latest(distilled.windows, steps)
    folder.mkdir(parents=True, exist_ok=True)
    search = Search(
        distilled=distilled,
        task=task,
        settings=settings,
        spaces=spaces_of(settings.forecasters, space),
        storage=storage or default_storage(folder),
        device=device,
    )
    study = search.study()
    _run(search, len(ended(study)), limit, n_jobs, progress)
    if not best_trials(study, 1):
        raise InputError("no trial was trained to its end: give more trials or more time")
    return Tuned(
        study=study,
        settings=settings,
        finalists=_finalists(search, study, folder, progress),
        distill_seconds=float(distilled.record.get("seconds", 0.0)),
    )


def best_trials(study: optuna.Study, count: int) -> list[optuna.trial.FrozenTrial]:
    """Return the trials with the lowest errors, each configuration once, the best first."""
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    found: dict[str, optuna.trial.FrozenTrial] = {}
    for trial in sorted(complete, key=lambda one: (one.value, one.number)):
        found.setdefault(repr(sorted(trial.params.items())), trial)
    return list(found.values())[:count]


def chosen_finalists(study: optuna.Study, count: int) -> list[optuna.trial.FrozenTrial]:
    """Return the best trials, and besides the best of each family and the best default.

    Short trials put families that learn slowly too low, and defaults are hard to beat.
    """
    ranked = best_trials(study, len(study.trials))
    if not count:
        return []
    chosen = {trial.number: trial for trial in ranked[:count]}
    families = {str(trial.params[FORECASTER]): trial for trial in reversed(ranked)}
    defaults = [trial for trial in ranked if is_default(trial)]
    chosen |= {trial.number: trial for trial in (*families.values(), *defaults[:1])}
    return list(chosen.values())


def is_default(trial: optuna.trial.FrozenTrial) -> bool:
    """Return whether a trial is the default configuration of its forecaster."""
    return bool(trial.user_attrs.get(DEFAULT))


def _run(search: Search, done: int, limit: TimeLimit, n_jobs: int, progress: bool | None) -> None:
    """Train the trials that are left, here or in several processes."""
    if n_jobs > 1:
        left = None if limit.seconds is None else max(0.0, limit.seconds - limit.spent)
        Parallel(n_jobs=n_jobs)(delayed(_worker)(search, left) for _ in range(n_jobs))
        return
    total = search.settings.trials
    shown = bar(title="tune", total=total, initial=done, unit="trial", progress=progress)
    with shown:
        lowest = float("inf")

        def tell(trial: optuna.trial.FrozenTrial) -> None:
            nonlocal lowest
            lowest = min(lowest, float("inf") if trial.value is None else trial.value)
            shown.set_postfix(rmse=f"{lowest:.4f}")
            shown.update()

        search.work(limit, tell)


def _worker(search: Search, seconds: float | None) -> None:
    search.work(TimeLimit(seconds))


def _finalists(
    search: Search, study: optuna.Study, folder: Path, progress: bool | None
) -> tuple[Finalist, ...]:
    """Train the best few on the full data and return them, the winner first."""
    found = []
    for trial in chosen_finalists(study, search.settings.finalists):
        chosen = configuration_of(trial.params)
        training, task = search.settings.training(chosen.training, final=True), search.task
        if chosen.lookback not in (None, task.settings.lookback):
            shorter = replace(task.settings, lookback=chosen.lookback)
            task = ForecastTask.from_series(task.series, shorter)
        with stage(f"finalist {chosen.forecaster}"):
            fitted, _ = fit_once(
                task,
                chosen.forecaster,
                validating_within_reason(training, task),
                cache=folder / "finalists",
                options=chosen.options,
                device=search.device,
                progress=progress,
            )
        error = float(fitted.record["validation_error"]) ** 0.5
        seconds = float(fitted.record["seconds"])
        found.append(Finalist(trial=trial.number, error=error, seconds=seconds))
    return tuple(sorted(found, key=lambda one: one.error))

"""An Optuna study: it suggests configurations, which are trained on the small set and scored.

Akiba et al., Optuna: A Next-generation Hyperparameter Optimization Framework, KDD 2019.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemdist.data.windows import WindowSource
from stemdist.data.wrapped_windows import LatestSteps
from stemdist.dependencies import require
from stemdist.distill import DistilledSet
from stemdist.distill.problem import validating_within_reason
from stemdist.durations import TimeLimit
from stemdist.errors import InputError
from stemdist.files import alive, hash_of, locked
from stemdist.forecast import Callback, ForecastTask
from stemdist.forecast.search_space import Choice, Parameter
from stemdist.search.configurations import Configuration
from stemdist.search.space import Spaces, default_values, space_text

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial
    from torch import Tensor
    from torch_geometric.data import Data

    from stemdist.search.settings import TuneSettings

SAMPLERS: dict[str, Callable[[Any, int], Any]] = {
    "tpe": lambda samplers, seed: samplers.TPESampler(seed=seed),
    "gp": lambda samplers, seed: samplers.GPSampler(seed=seed),
    "random": lambda samplers, seed: samplers.RandomSampler(seed=seed),
}
PRUNERS: dict[str, Callable[[Any], Any]] = {
    "none": lambda pruners: pruners.NopPruner(),
    "median": lambda pruners: pruners.MedianPruner(),
    "halving": lambda pruners: pruners.SuccessiveHalvingPruner(),
    "hyperband": lambda pruners: pruners.HyperbandPruner(),
}
FORECASTER = "forecaster"
LOOKBACK = "lookback"
"""Names of the parameters that choose the family and the input steps."""
PROCESS, IDENTITY, SECONDS, DEFAULT = "process", "identity", "seconds", "default"
_WAIT_SECONDS = 60


def default_storage(folder: Path) -> str:
    """Return the address of the database in a folder."""
    return f"sqlite:///{(folder / 'study.db').absolute()}"


@dataclass(frozen=True, kw_only=True)
class Search:
    """What every worker of a search knows; it travels to other processes.

    Parameters
    ----------
    distilled : DistilledSet
        Forecasters are trained on it.
    task : ForecastTask
        Its validation part scores them; the test part is not read.
    settings : TuneSettings
        What is searched.
    spaces : mapping
        Search space of each forecaster.
    storage : str
        Address of the database that all workers share.
    name : str
        Name of the study in it.
    device : str
        Where to train.
    """

    distilled: DistilledSet
    task: ForecastTask
    settings: TuneSettings
    spaces: Spaces
    storage: str
    name: str = "stemdist"
    device: str = "cpu"

    @property
    def identity(self) -> str:
        """A hash of everything that the score of a configuration depends on."""
        fixed = {k: v for k, v in self.settings.to_json().items() if k not in _NOT_SCORES}
        content = [self.distilled.content_hash, self.task.content_hash, fixed]
        return hash_of([*content, space_text(self.spaces)])

    def study(self) -> optuna.Study:
        """Create the study, or load it.

        Raises
        ------
        InputError
            If the study there was made from other data, settings or search spaces.
        """
        with locked(self.storage):  # processes that begin together would both make it
            return self._created_or_loaded()

    def _created_or_loaded(self) -> optuna.Study:
        library, storage = _optuna(), self._database()
        library.logging.set_verbosity(library.logging.WARNING)
        study: optuna.Study = library.create_study(
            study_name=self.name,
            storage=storage,
            pruner=PRUNERS[self.settings.pruner](library.pruners),
            load_if_exists=True,
        )
        known = study.user_attrs.get(IDENTITY)
        if known is None:
            study.set_user_attr(IDENTITY, self.identity)
            for params in self._defaults():
                study.enqueue_trial(params, user_attrs={DEFAULT: True}, skip_if_exists=True)
        elif known != self.identity:
            raise InputError(
                f"the study {self.name!r} in {self.storage!r} was made from other data, settings "
                "or search spaces: name another output, or repeat what it was made with"
            )
        return study

    def _database(self) -> Any:
        """Return the storage as Optuna takes it; a file waits while another process writes."""
        if "://" not in self.storage or self.storage.startswith("redis"):
            return self.storage
        wait = {"timeout": _WAIT_SECONDS} if self.storage.startswith("sqlite") else {}
        return _optuna().storages.RDBStorage(self.storage, engine_kwargs={"connect_args": wait})

    def work(self, limit: TimeLimit, tell: Callable[[FrozenTrial], None] | None = None) -> None:
        """Train configurations until there are enough, or the time is over.

        Parameters
        ----------
        limit : TimeLimit
            No further trial begins when it is over.
        tell : callable, optional
            Is given every trial that has ended.
        """
        optuna = _optuna()
        study = self.study()
        take_over(study)
        while not limit.over and len(begun(study)) < self.settings.trials:
            # a sampler of its own for each trial: a search that was stopped goes on the same way
            done = len(ended(study))
            seed = self.settings.seed * 1_000_003 + done
            study.sampler = SAMPLERS[self.settings.sampler](optuna.samplers, seed)
            trial = study.ask()
            trial.set_user_attr(PROCESS, f"{socket.gethostname()} {os.getpid()}")
            began = time.perf_counter()
            try:
                value, state = self._score(trial), optuna.trial.TrialState.COMPLETE
            except optuna.TrialPruned:
                value, state = None, optuna.trial.TrialState.PRUNED
            trial.set_user_attr(SECONDS, time.perf_counter() - began)
            kept = study.tell(trial, value, state=state)
            if tell is not None:
                tell(kept)

    def _score(self, trial: Trial) -> float:
        """Train a configuration and return its RMSE on real validation windows, scaled units."""
        chosen = self._configuration(trial)
        training = self.settings.training(chosen.training)

        error, failure = chosen.validation_rmse(
            latest(self.distilled.windows, chosen.lookback),
            self.distilled.cluster_graph,
            validating_within_reason(training, self.task),
            validation=self._validation(chosen.lookback),
            callbacks=[_Pruning(trial, _optuna().TrialPruned)],
            device=self.device,
        )
        if failure is not None:
            trial.set_user_attr("failure", failure)
        return error

    def _defaults(self) -> list[dict[str, Any]]:
        """Return the default configuration of each family, where the search space has it."""
        lookbacks = self.settings.lookbacks
        found = []
        for family in self.settings.forecasters:
            values = default_values(family, self.spaces[family])
            params = {FORECASTER: family, **{f"{family}.{k}": v for k, v in values.items()}}
            if lookbacks:
                params[LOOKBACK] = self.distilled.windows.lookback
            whole = len(values) == len(self.spaces[family])
            if whole and params.get(LOOKBACK) in (lookbacks or (None,)):
                found.append(params)
        return found

    def _validation(self, lookback: int | None) -> tuple[WindowSource, Data, Tensor]:
        profile = latest(self.task.train, lookback).profile
        return latest(self.task.validation, lookback), self.task.graph, profile

    def _configuration(self, trial: Trial) -> Configuration:
        """Return the suggested configuration."""
        family = str(trial.suggest_categorical(FORECASTER, self.settings.forecasters))
        space, lookbacks = self.spaces[family], self.settings.lookbacks
        found = {k: suggested(trial, f"{family}.{k}", space[k]) for k in space}
        steps = trial.suggest_categorical(LOOKBACK, lookbacks) if lookbacks else None
        return Configuration.of(family, found, steps)


def latest(source: WindowSource, lookback: int | None) -> WindowSource:
    """Return windows with a number of input steps; all of them without one."""
    return source if lookback is None else LatestSteps(source=source, steps=lookback)


_NOT_SCORES = ("trials", "sampler", "pruner", "finalists", "final_updates")
"""Settings that do not change the score of a configuration."""


class _Pruning(Callback):
    """Tells the study of each validation, and stops a trial that it gives up."""

    def __init__(self, trial: Trial, pruned: type[Exception]) -> None:
        self.trial, self.pruned = trial, pruned

    def on_validation(self, row: Mapping[str, float]) -> None:
        self.trial.report(math.sqrt(row["validation_error"]), int(row["update"]))
        if self.trial.should_prune():
            raise self.pruned


def suggested(trial: Trial, name: str, parameter: Parameter) -> Any:
    """Return the suggested value of one hyper-parameter."""
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(name, parameter.values)
    if parameter.whole:
        low, high = int(parameter.low), int(parameter.high)
        return trial.suggest_int(name, low, high, log=parameter.log)
    return trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log)


def configuration_of(params: Mapping[str, Any]) -> Configuration:
    """Return the configuration of a trial.

    Examples
    --------
    >>> configuration_of({"forecaster": "mlp", "mlp.hidden": 16, "lookback": 6}).options
    {'hidden': 16}
    """
    family = str(params[FORECASTER])
    own = f"{family}."
    found = {name.removeprefix(own): params[name] for name in params if name.startswith(own)}
    return Configuration.of(family, found, params.get(LOOKBACK))


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that were trained, to the end or until they were pruned."""
    return [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]


def begun(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that were trained or are being trained by some process."""
    running = [trial for trial in study.trials if trial.state.name == "RUNNING"]
    return [*ended(study), *running]


def take_over(study: optuna.Study) -> None:
    """Queue the configurations of processes of this machine that are gone."""
    host = socket.gethostname()
    for trial in study.trials:
        where, _, process = str(trial.user_attrs.get(PROCESS, "")).rpartition(" ")
        if trial.state.name == "RUNNING" and where == host and not alive(int(process)):
            study.tell(trial.number, state=_optuna().trial.TrialState.FAIL)
            study.enqueue_trial(trial.params)


def _optuna() -> Any:
    return require("optuna", "tune", "a search")

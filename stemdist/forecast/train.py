"""The one training loop: real windows, synthetic windows, experts and students.

Shapes: B windows, N locations, L_out horizon.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor
from torch.optim import Optimizer

from stemdist.data.windows import Batch, WindowSource, evenly_spaced
from stemdist.errors import DamagedError, InputError
from stemdist.files import atomic_path, hash_of
from stemdist.forecast.base import Forecaster
from stemdist.forecast.callbacks import Callback
from stemdist.forecast.device import check_device
from stemdist.forecast.losses import LOSSES, get_loss
from stemdist.forecast.objective import ForecastLoss, Objective, Update
from stemdist.forecast.predict import mean_error
from stemdist.forecast.training_settings import SCHEDULES, TrainingSettings
from stemdist.graph import subgraph
from stemdist.progress import bar, stage_or

if TYPE_CHECKING:
    from torch_geometric.data import Data


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training run did.

    Attributes
    ----------
    history : pandas.DataFrame
        One row per validation (or every ``validate_every`` updates): ``update``,
        ``train_loss``, ``validation_error`` (mean squared error, or CRPS of quantiles, in
        scaled units; NaN without validation), ``learning_rate``, ``seconds``, and
        ``loss_<term>`` for each of several terms of the objective, whose sum is ``train_loss``.
    updates : int
        Optimizer updates actually made.
    seconds : float
        Wall time of the updates, without validation; earlier parts of a resumed run included.
    validation_seconds : float
        Wall time of validating, likewise.
    best_validation_error : float
        Lowest validation error, whose weights the forecaster now has; NaN without validation.
    """

    history: pd.DataFrame
    updates: int
    seconds: float
    validation_seconds: float
    best_validation_error: float

    @property
    def summary(self) -> dict[str, float]:
        """Its numbers by name, without the history."""
        names = ("updates", "seconds", "validation_seconds", "best_validation_error")
        return {name: float(getattr(self, name)) for name in names}


def train_forecaster(
    forecaster: Forecaster,
    source: WindowSource,
    graph: Data,
    settings: TrainingSettings | None = None,
    *,
    objective: Objective | None = None,
    validation: tuple[WindowSource, Data, Tensor] | None = None,
    checkpoint: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    device: str | torch.device = "cpu",
    progress: bool | None = False,
) -> TrainingResult:
    """Train ``forecaster`` in place.

    Parameters
    ----------
    forecaster : Forecaster
        Changed in place; left in evaluation mode on the CPU.
    source : WindowSource
        Real or synthetic windows; their location weights and masks are honoured.
    graph : torch_geometric.data.Data
        Graph between the locations of ``source``.
    settings : TrainingSettings, optional
        Defaults are used without it.
    objective : Objective, optional
        What updates minimise; by default the loss of the settings. Its parameters are trained
        too, and left as they are after the last update.
    validation : tuple, optional
        Windows, graph and profile (N, L_in * F) for early stopping and for the choice of the
        final weights. They may have other locations than ``source``.
    checkpoint : str or Path, optional
        File in which the state is kept; a run started again with the same arguments continues
        there exactly. The file is left for the caller to remove.
    callbacks : sequence of Callback
        Told of the training; what they raise ends it.
    device : str or torch.device
        Where the computation runs.
    progress : bool, optional
        Show a bar; None shows it on a terminal only.

    Returns
    -------
    TrainingResult
        History, updates made and seconds.

    Raises
    ------
    InputError
        If the loss is no longer finite, or the checkpoint belongs to other settings.
    """
    settings, device = settings or TrainingSettings(), check_device(device)
    objective = objective or ForecastLoss(settings.loss, settings.quantiles)
    run = _Run(forecaster.to(device), source, graph, settings, objective, validation, device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        run.resume(checkpoint)
        for callback in callbacks:
            callback.on_train_begin(_described(forecaster, settings))
        for _ in bar(
            run.steps(),
            stage_or("train"),
            settings.updates,
            initial=run.update,
            unit="update",
            progress=progress,
        ):
            if run.update % settings.validate_every == 0 or run.update == settings.updates:
                run.record()
                run.save(checkpoint)
                for callback in callbacks:
                    callback.on_validation(dict(run.rows[-1]))
    result = run.finish()
    for callback in callbacks:
        callback.on_train_end(result.summary)
    return result


def _described(forecaster: Forecaster, settings: TrainingSettings) -> dict[str, Any]:
    """Return what is trained, and how."""
    return {"forecaster": type(forecaster).__name__, **forecaster.config, **asdict(settings)}


_KEPT = ("update", "terms", "rows", "best", "best_weights", "stale", "validating")


class _Run:
    """The state of one training run."""

    def __init__(
        self,
        forecaster: Forecaster,
        source: WindowSource,
        graph: Data,
        settings: TrainingSettings,
        objective: Objective,
        validation: tuple[WindowSource, Data, Tensor] | None,
        device: torch.device,
    ) -> None:
        self.forecaster, self.source, self.settings = forecaster.train(), source, settings
        self.objective = objective.to(device)
        self.graph = graph.clone().to(str(device))
        self.profile = source.profile.to(device)
        self.weight = source.location_weight.to(device)
        self.validation, self.device = validation, device
        self.parameters = [*forecaster.parameters(), *objective.parameters()]
        self.shuffle = self._shuffle()
        self.optimizer: Optimizer = torch.optim.AdamW(
            self.parameters,
            settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,  # one call for all parameters: calls dominate the time of small models
        )
        self.scheduler = SCHEDULES[settings.schedule](self.optimizer, settings)
        self.update = 0
        self.terms: dict[str, Tensor] = {}
        self.rows: list[dict[str, float]] = []
        self.best = math.inf
        self.best_weights: dict[str, Tensor] | None = None
        self.stale = 0
        self.validating = 0.0
        self.began = time.perf_counter()

    def steps(self) -> Iterator[int]:
        """Make the remaining updates, one at a time."""
        while self.update < self.settings.updates and not self.out_of_patience():
            self.step()
            self.update += 1
            yield self.update

    def step(self) -> None:
        if not self.forecaster.training:  # setting the mode of all layers takes 5 % of an update
            self.forecaster.train()
        self.objective.train()
        terms = self.objective(self.forecaster, self._inputs())
        loss = torch.stack(list(terms.values())).sum()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise InputError(
                f"the training loss became {value} at update {self.update}: lower the learning "
                f"rate (now {self.settings.learning_rate:g}) or check the inputs for extremes"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        self.optimizer.step()
        self.scheduler.step()
        self.terms = {name: term.detach() for name, term in terms.items()}

    def _shuffle(self) -> bool:
        """Return whether locations are shuffled, which an objective may not allow."""
        wanted = self.settings.shuffle_locations
        if wanted and self.objective.needs_windows:
            raise InputError(
                "shuffle_locations is on, but teacher outputs belong to the windows as they are: "
                "leave it out, or train without teachers"
            )
        if self.forecaster.pointwise:  # a permutation per location changes nothing
            return False
        if wanted is None:
            return self.source.pointwise and not self.objective.needs_windows
        return wanted

    def _inputs(self) -> Update:
        index, counts = self.objective.draw(len(self.source), self.settings, self.update)
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.update)
        size = self.settings.locations_per_update or self.source.n_locations
        if self.shuffle and len(self.source) == 1:  # nothing to permute: locations vary instead
            size = min(size, math.ceil(self.source.n_locations / 2))
        if size >= self.source.n_locations:
            x, y, mask = self._batch(index, counts, None, generator)
            return Update(x, y, mask, self.graph, self.profile, self.weight, index, None)
        chosen = torch.randperm(self.source.n_locations, generator=generator)[:size].sort().values
        x, y, mask = self._batch(index, counts, chosen, generator)
        there = chosen.to(self.device)
        # Pointwise forecasters do not read the graph, and a subgraph takes 10 % of an update.
        graph = self.graph if self.forecaster.pointwise else subgraph(self.graph, there)
        return Update(x, y, mask, graph, self.profile[there], self.weight[there], index, chosen)

    def _batch(
        self,
        index: Tensor,
        counts: Tensor | None,
        chosen: Tensor | None,
        generator: torch.Generator,
    ) -> Batch:
        batch = self.source.batch(index, chosen)
        if counts is not None:  # in the mask, windows keep theirs when locations are shuffled
            batch = batch._replace(mask=batch.mask * counts[:, None, None].to(batch.mask))
        if self.shuffle:
            batch = shuffled_locations(batch, generator)
        return Batch(*(part.to(self.device) for part in batch))

    def record(self) -> None:
        """Add a row to the history and remember the best weights."""
        error = math.nan
        if self.validation is not None:
            before = time.perf_counter()
            error = self._validate()
            self.validating += time.perf_counter() - before
            self.stale += 1
            if error < self.best:
                self.best, self.stale = error, 0
                state = self.forecaster.state_dict()
                self.best_weights = {k: v.detach().cpu().clone() for k, v in state.items()}
        terms = {f"loss_{name}": float(term) for name, term in self.terms.items()}
        self.rows.append(
            {
                "update": self.update,
                "train_loss": math.fsum(terms.values()),
                "validation_error": error,
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "seconds": time.perf_counter() - self.began,
                **(terms if len(terms) > 1 else {}),
            }
        )

    def _validate(self) -> float:
        source, graph, profile = self.validation  # type: ignore[misc]
        index = evenly_spaced(len(source), self.settings.validation_windows)
        quantiles = self.settings.quantiles
        score = get_loss(self.settings.loss, quantiles) if quantiles else LOSSES["mse"]
        return mean_error(
            self.forecaster, source, graph, profile, index=index, loss=score, device=self.device
        )

    def out_of_patience(self) -> bool:
        return self.settings.patience is not None and self.stale >= self.settings.patience

    def identity(self) -> str:
        """Identify the run, so that a checkpoint is not continued by another one."""
        shape = [len(self.source), self.source.n_locations, self.source.n_features]
        some = self.source.batch(evenly_spaced(len(self.source), 4))
        data = [hashlib.sha256(part.detach().cpu().numpy().tobytes()).hexdigest() for part in some]
        what = [
            asdict(self.settings),
            self.shuffle,
            self.objective.identity(),
            self.forecaster.config,
        ]
        return hash_of([*what, shape, data])

    def save(self, checkpoint: str | Path | None) -> None:
        if checkpoint is None:
            return
        names = _KEPT
        state: dict[str, Any] = {name: getattr(self, name) for name in names}
        state["identity"] = self.identity()
        state["forecaster"] = self.forecaster.state_dict()
        state["objective"] = self.objective.state_dict()
        state["optimizer"] = self.optimizer.state_dict()
        state["scheduler"] = self.scheduler.state_dict()
        state["rng"] = torch.get_rng_state()
        state["seconds"] = time.perf_counter() - self.began
        with atomic_path(checkpoint) as path:
            torch.save(state, path)

    def resume(self, checkpoint: str | Path | None) -> None:
        if checkpoint is None or not Path(checkpoint).exists():
            return
        try:
            state = torch.load(checkpoint, weights_only=True)
            identity = state["identity"]
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, UnpicklingError) as error:
            raise DamagedError(
                f"checkpoint {str(checkpoint)!r} cannot be read: it is damaged or another kind of "
                "file. Delete it to start afresh"
            ) from error
        if identity != self.identity():
            raise InputError(
                f"checkpoint {str(checkpoint)!r} was written by a run with other settings or "
                "data: use the same ones to continue it, or delete it to start afresh"
            )
        for name in _KEPT:
            setattr(self, name, state[name])
        self.forecaster.load_state_dict(state["forecaster"])
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        torch.set_rng_state(state["rng"])
        self.began = time.perf_counter() - state["seconds"]

    def finish(self) -> TrainingResult:
        if self.best_weights is not None:
            self.forecaster.load_state_dict(self.best_weights)
        self.forecaster.to("cpu").eval()
        self.objective.to("cpu").eval()
        return TrainingResult(
            history=pd.DataFrame(self.rows),
            updates=self.update,
            seconds=time.perf_counter() - self.began - self.validating,
            validation_seconds=self.validating,
            best_validation_error=self.best if self.best_weights is not None else math.nan,
        )


def shuffled_locations(batch: Batch, generator: torch.Generator) -> Batch:
    """Return a batch whose windows are permuted independently per location.

    Each location keeps all of its windows.

    Examples
    --------
    >>> y = torch.arange(8.0).view(4, 1, 2)  # 4 windows of 2 locations
    >>> batch = Batch(x=torch.zeros(4, 3, 2, 1), y=y, mask=torch.ones_like(y))
    >>> mixed = shuffled_locations(batch, torch.Generator().manual_seed(0)).y
    >>> mixed.sort(0).values.equal(y), mixed.equal(y)
    (True, False)
    """
    n_windows, _, n_locations, _ = batch.x.shape
    order = torch.rand(n_windows, n_locations, generator=generator).argsort(0)[:, None]
    order = order.to(batch.x.device)
    x = batch.x.gather(0, order[..., None].expand_as(batch.x))
    y, mask = (part.gather(0, order.expand_as(part)) for part in (batch.y, batch.mask))
    return Batch(x, y, mask)

"""Pretrained models that continue one series at a time.

Shapes: B windows, L_in lookback, L_out horizon, N locations, C targets, S series (B * N * C, or a
block of them), K pieces of a context, D columns of a hidden state.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Collection
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from stemdist.data.windows import target_rows
from stemdist.errors import InputError, check_count
from stemdist.files import hash_of
from stemdist.forecast import TrainingSet
from stemdist.forecast.device import check_device
from stemdist.students.teacher import Teacher


class SeriesTeacher(Teacher):
    """Applies a univariate model to every location and target of a window.

    The model reads the inputs that such models are trained on: the values of one location and one
    target, in physical units, without other locations, calendar or graph. Channel-independent
    teachers of students: DistilTS, ICASSP 2026.

    Parameters
    ----------
    model : torch.nn.Module
        Put into evaluation mode, single precision and on ``device``; its weights take no gradient.
    name : str
        Name of the teacher in messages and files.
    device : str
        Where the model runs.
    block_series : int
        Series given to the model at once. It bounds the memory and does not change the outputs.

    Raises
    ------
    InputError
        If ``block_series`` is below 1, or there is no such device.

    Examples
    --------
    A teacher that repeats the last value, for 2 windows at 3 locations:

    >>> from types import SimpleNamespace
    >>> from stemdist.data.scaling import Scaler
    >>> from stemdist.data.windows import TensorWindows
    >>> class LastValue(SeriesTeacher):
    ...     @classmethod
    ...     def load(cls, argument, device="cpu"):
    ...         return cls(nn.Identity(), name=argument, device=device)
    ...     def continue_series(self, context, horizon):
    ...         return self.model(context[:, -1:].repeat(1, horizon)), None
    >>> x = torch.arange(24.0).view(2, 4, 3, 1)
    >>> windows = TensorWindows(
    ...     x=x, y=torch.zeros(2, 5, 3), mask=torch.ones(2, 5, 3), weight=torch.ones(3))
    >>> scaler = Scaler(mean=(280.0,), scale=(4.0,))
    >>> data = SimpleNamespace(source=windows, window_scaler=scaler)  # of a TrainingSet
    >>> forecast, states = LastValue.load("last").answer(data, torch.arange(2))
    >>> forecast.shape, forecast[0, 4].tolist(), states
    (torch.Size([2, 5, 3]), [9.0, 10.0, 11.0], {})
    """

    def __init__(
        self, model: nn.Module, *, name: str, device: str = "cpu", block_series: int = 256
    ) -> None:
        self.device = check_device(device)
        self.model = model.float().to(self.device).eval().requires_grad_(False)
        self.name = name
        self.block_series = check_count("block_series", block_series)

    @abstractmethod
    def continue_series(self, context: Tensor, horizon: int) -> tuple[Tensor, Tensor | None]:
        """Continue some series, each by itself.

        Parameters
        ----------
        context : Tensor
            (S, L_in) float32 in physical units, oldest value first, on the CPU.
        horizon : int
            L_out, also beyond what the model forecasts in one go.

        Returns
        -------
        Tensor, Tensor or None
            Point forecasts (S, L_out) in physical units, and the last hidden states (S, K, D) of
            the K pieces of the context, oldest first; None if the model has none.
        """

    @property
    def settings(self) -> dict[str, Any]:
        """What determines the outputs besides the weights; JSON-serialisable."""
        return {}

    @cached_property
    def identity(self) -> str:
        """A hash of the weights and settings of the model, wherever its files lie."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
        return hash_of([type(self).__name__, self.settings, digest.hexdigest()])

    def answer(
        self, data: TrainingSet, index: Tensor, kinds: Collection[str] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the outputs for some windows; ``tokens`` are of the first target.

        Raises
        ------
        InputError
            If the model cannot read such windows, has no such states, or returns values that are
            not finite.
        """
        self.check(data, kinds)
        targets, horizon = data.source.n_targets, data.source.horizon
        x = data.source.inputs(index)  # (B, L_in, N, F)
        scaler = data.window_scaler
        physical = torch.stack([scaler.inverse(x[..., c], c) for c in range(targets)], dim=3)
        series = physical.float().permute(0, 2, 3, 1).flatten(0, 2)  # (B N C, L_in)
        forecast, tokens = self._continue_all(series, horizon, targets, "tokens" in kinds)
        forecast = forecast.view(len(x), -1, targets, horizon).permute(0, 3, 1, 2)
        rows = scaler.scale_targets(target_rows(forecast), targets)  # (B, C L_out, N)
        if not torch.isfinite(rows).all():
            raise InputError(
                f"the teacher {self.name!r} returned values that are not finite: its weights or "
                "the windows are broken"
            )
        n = data.source.n_locations
        return rows, {kind: tokens.view(len(x), n, *tokens.shape[1:]) for kind in kinds}

    def _continue_all(
        self, series: Tensor, horizon: int, targets: int, wanted: bool
    ) -> tuple[Tensor, Tensor]:
        """Continue all series (S, L_in) block by block; tokens of every first of ``targets``."""
        forecasts, tokens = [], []
        # Some libraries draw random numbers, if only to make a loader: the student's stay as
        # they are, whether the teacher runs or its outputs were kept from an earlier run.
        cards = [self.device] if self.device.type == "cuda" else []
        with torch.no_grad(), torch.random.fork_rng(cards):
            for begin in range(0, len(series), self.block_series):
                context = series[begin : begin + self.block_series].contiguous()
                forecast, states = self.continue_series(context, horizon)
                forecasts.append(forecast.cpu())
                if wanted and states is not None:
                    first = torch.arange(begin, begin + len(context)) % targets == 0
                    tokens.append(states.cpu()[first])
        return torch.cat(forecasts), torch.cat(tokens) if tokens else torch.empty(0)


Step = Callable[[Tensor, int], tuple[Tensor, Tensor]]


def unrolled(step: Step, context: Tensor, horizon: int, longest: int) -> tuple[Tensor, Tensor]:
    """Forecast beyond a model's own horizon by reading its forecasts as if they were observed.

    Parameters
    ----------
    step : callable
        Takes a context (S, at most ``longest``) and the number of steps still wanted, at least 1;
        returns a forecast of as many steps as the model makes, and its hidden states.
    context : Tensor
        (S, L_in).
    horizon : int
        L_out.
    longest : int
        Steps of a context that the model reads; older ones are dropped.

    Returns
    -------
    Tensor, Tensor
        Forecast (S, L_out), and the hidden states of the first step, those of the context alone.

    Examples
    --------
    >>> def next_two(context, wanted):
    ...     return context[:, -1:] + torch.tensor([[1.0, 2.0]]), context
    >>> forecast, states = unrolled(next_two, torch.tensor([[5.0, 6.0, 7.0]]), 5, longest=2)
    >>> forecast.tolist(), states.tolist()
    ([[8.0, 9.0, 10.0, 11.0, 12.0]], [[6.0, 7.0]])
    """
    context = context[:, -longest:]
    forecast, states = step(context, horizon)
    while forecast.shape[1] < horizon:
        recent = torch.cat([context, forecast.to(context)], dim=1)[:, -longest:]
        ahead, _ = step(recent, horizon - forecast.shape[1])
        forecast = torch.cat([forecast, ahead], dim=1)
    return forecast[:, :horizon], states

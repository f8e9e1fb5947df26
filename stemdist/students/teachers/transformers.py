"""Forecasters of the ``transformers`` library that read nothing but a series.

Shapes: S series, L_in lookback, L_out horizon, K patches of a context, D columns of a hidden state.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from stemdist.dependencies import require
from stemdist.errors import InputError
from stemdist.forecast import TrainingSet
from stemdist.students.teachers.pretrained import (
    EXTRA,
    architecture,
    load_forecaster,
    model_folder,
    read_config,
    settings_of,
)
from stemdist.students.teachers.series import SeriesTeacher, unrolled

_WHAT = "the teacher transformers"
_ARCHITECTURES = ("PatchTSMixerForPrediction", "PatchTSTForPrediction")
_CALENDAR = (
    "AutoformerForPrediction",
    "InformerForPrediction",
    "TimeSeriesTransformerForPrediction",
)


class TransformersTeacher(SeriesTeacher):
    """PatchTST and PatchTSMixer of one channel: their forecast, and their patches as ``tokens``.

    Nie et al., *A Time Series is Worth 64 Words*, ICLR 2023, section 3.1; Ekambaram et al.,
    *TSMixer: Lightweight MLP-Mixer Model for Multivariate Time Series Forecasting*, KDD 2023,
    section 3. The forecast of a model of distributions is their mean. The model reads as many
    steps as it was trained with: the last ones of a longer context, while a shorter one is
    refused, because padded inputs do not occur in its training. Beyond its own horizon,
    its forecasts are fed back. The states are those of its last layer, without the class token.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        One of the two classes.
    name : str
        Name of the teacher in messages and files.
    device : str
        Where the model runs.
    block_series : int
        Series that the model continues at once.

    Raises
    ------
    InputError
        If the model has more than one channel.

    Examples
    --------
    >>> import torch
    >>> from transformers import PatchTSTConfig, PatchTSTForPrediction
    >>> config = PatchTSTConfig(num_input_channels=1, context_length=32, prediction_length=12,
    ...     patch_length=8, patch_stride=8, num_hidden_layers=1, d_model=16, num_attention_heads=2)
    >>> teacher = TransformersTeacher(PatchTSTForPrediction(config), name="tiny")
    >>> forecast, tokens = teacher.continue_series(torch.rand(5, 32), 6)
    >>> forecast.shape, tokens.shape
    (torch.Size([5, 6]), torch.Size([5, 4, 16]))
    """

    def __init__(
        self, model: Any, *, name: str, device: str = "cpu", block_series: int = 256
    ) -> None:
        super().__init__(model, name=name, device=device, block_series=block_series)
        self._config = model.config
        if self._config.num_input_channels != 1:
            raise InputError(
                f"the teacher {name!r} has num_input_channels {self._config.num_input_channels}: "
                "it forecasts one series at a time, so choose a model with 1"
            )

    @classmethod
    def load(cls, argument: str, device: str = "cpu") -> TransformersTeacher:
        """Load a folder or OWNER/MODEL on the Hugging Face hub.

        Raises
        ------
        InputError
            If there is no such model, it is of another class, or its weights are not complete or
            not in a safe format.
        MissingDependencyError
            If ``transformers`` is not installed.
        """
        require("transformers", EXTRA, _WHAT)
        folder = model_folder(argument, _WHAT)
        config = read_config(folder, _WHAT)
        found = architecture(config)
        if found not in _ARCHITECTURES:
            raise InputError(
                f"{_WHAT}: {folder} holds a {found or 'model without architectures'}"
                f"{_advice(found, config)}; supported are {' and '.join(_ARCHITECTURES)}"
            )
        model = load_forecaster(found, folder, _WHAT)
        return cls(model, name=f"transformers:{Path(argument).name}", device=device)

    @property
    def states(self) -> tuple[str, ...]:
        """Its ``tokens``."""
        return ("tokens",)

    @property
    def settings(self) -> dict[str, Any]:
        """Configuration of the model."""
        return settings_of(self._config)

    def check(self, data: TrainingSet, kinds: Collection[str]) -> None:
        """Raise :class:`InputError` if the windows are too short, or it has no such states."""
        super().check(data, kinds)
        self._check_length(data.source.lookback)

    def continue_series(self, context: Tensor, horizon: int) -> tuple[Tensor, Tensor | None]:
        """Continue (S, L_in) -> forecasts (S, L_out) and tokens (S, K, D).

        Raises
        ------
        InputError
            If the context is shorter than the model's.
        """
        self._check_length(context.shape[1])
        return unrolled(self._step, context.to(self.device), horizon, self._config.context_length)

    def _check_length(self, lookback: int) -> None:
        if lookback < self._config.context_length:
            raise InputError(
                f"the teacher {self.name!r} reads {self._config.context_length} steps, and the "
                f"windows have {lookback}. Use --lookback {self._config.context_length} or more, "
                "or another teacher"
            )

    def _step(self, context: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
        states: list[Tensor] = []

        def note(layer: nn.Module, given: Any, made: Any) -> None:
            states.append(made.last_hidden_state)  # (S, 1, K, D)

        hook = self.model.get_submodule("model").register_forward_hook(note)
        try:
            made = self.model(past_values=context[..., None])
        finally:
            hook.remove()
        forecast = made.prediction_outputs  # (S, steps, 1), or parameters of distributions
        family: Any = self.model.distribution_output
        if family is not None:
            forecast = family.distribution(forecast, loc=made.loc, scale=made.scale).mean
        special = int(getattr(self._config, "use_cls_token", False))
        return forecast[..., 0], states[0][:, 0, special:]


def _advice(found: str, config: dict[str, Any]) -> str:
    """Return why a model is not read here, and where it is."""
    if "chronos_config" in config:
        return ", which is called chronos:FOLDER"
    if found.startswith("TimesFm"):
        return ", which is called timesfm:FOLDER"
    if found in _CALENDAR:
        return ", which reads features of the calendar that windows need not have"
    return ""

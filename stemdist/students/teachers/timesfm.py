"""TimesFM of the ``transformers`` library.

Shapes: S series, L_in lookback, L_out horizon, K patches of a context, D columns of a hidden state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stemdist.dependencies import require
from stemdist.errors import InputError
from stemdist.students.teachers.pretrained import (
    EXTRA,
    architecture,
    load_forecaster,
    model_folder,
    read_config,
    settings_of,
)
from stemdist.students.teachers.series import SeriesTeacher, unrolled

_WHAT = "the teacher timesfm"
_ARCHITECTURES = ("TimesFmModelForPrediction", "TimesFm2_5ModelForPrediction")


class TimesFMTeacher(SeriesTeacher):
    """TimesFM 1, 2 and 2.5: their point forecast, and the states of their patches as ``tokens``.

    Das et al., *A decoder-only foundation model for time-series forecasting*, ICML 2024, section
    4. The point forecast is the one the model was trained for: the mean for 1 and 2, whose
    quantiles are not calibrated, the median for 2.5. Series are declared to be of high frequency
    (daily or finer), as the library does by default. Only the last steps are read of a context
    longer than the model's; beyond its own horizon, its forecasts are fed back. The states are
    those of the last layer.

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

    Examples
    --------
    >>> from transformers import TimesFmConfig, TimesFmModelForPrediction
    >>> config = TimesFmConfig(patch_length=8, context_length=64, horizon_length=16, head_dim=8,
    ...     num_hidden_layers=1, hidden_size=16, intermediate_size=16, num_attention_heads=2)
    >>> teacher = TimesFMTeacher(TimesFmModelForPrediction(config), name="tiny")
    >>> forecast, tokens = teacher.continue_series(torch.rand(5, 32), 6)
    >>> forecast.shape, tokens.shape
    (torch.Size([5, 6]), torch.Size([5, 4, 16]))
    """

    def __init__(
        self, model: Any, *, name: str, device: str = "cpu", block_series: int = 256
    ) -> None:
        super().__init__(model, name=name, device=device, block_series=block_series)
        self._config = model.config

    @classmethod
    def load(cls, argument: str, device: str = "cpu") -> TimesFMTeacher:
        """Load a folder or OWNER/MODEL on the Hugging Face hub, in the format of transformers.

        Raises
        ------
        InputError
            If there is no such model, it is no TimesFM model, or its weights are not complete or
            not in a safe format.
        MissingDependencyError
            If ``transformers`` is not installed.
        """
        require("transformers", EXTRA, _WHAT)
        folder = model_folder(argument, _WHAT)
        found = architecture(read_config(folder, _WHAT))
        if found not in _ARCHITECTURES:
            raise InputError(
                f"{_WHAT}: {folder} is no TimesFM model in the format of transformers but a "
                f"{found or 'model without architectures'}; choose one of "
                f"{', '.join(_ARCHITECTURES)}, e.g. google/timesfm-2.5-200m-transformers"
            )
        model = load_forecaster(found, folder, _WHAT)
        return cls(model, name=f"timesfm:{Path(argument).name}", device=device)

    @property
    def states(self) -> tuple[str, ...]:
        """Its ``tokens``."""
        return ("tokens",)

    @property
    def settings(self) -> dict[str, Any]:
        """Configuration of the model."""
        return settings_of(self._config)

    def continue_series(self, context: Tensor, horizon: int) -> tuple[Tensor, Tensor | None]:
        """Continue (S, L_in) -> point forecasts (S, L_out) and tokens (S, K, D)."""
        return unrolled(self._step, context.to(self.device), horizon, self._config.context_length)

    def _step(self, context: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
        patch = self._config.patch_length
        patches = -(-context.shape[1] // patch)
        made = self.model(
            past_values=list(context),
            # The library pads to this length: by default to the longest, masked but computed.
            forecast_context_len=patches * patch,
        )
        forecast = made.mean_predictions
        # The library does this only if all series given at once are positive, so that a forecast
        # would depend on those beside it.
        if getattr(self._config, "infer_is_positive", False):
            positive = context.amin(dim=1, keepdim=True) >= 0
            forecast = torch.where(positive, forecast.clamp_min(0), forecast)
        return forecast, made.last_hidden_state[:, -patches:]

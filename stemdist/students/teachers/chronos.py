"""Chronos, Chronos-Bolt and Chronos-2 of the ``chronos-forecasting`` library.

Shapes: S series, L_in lookback, L_out horizon, K pieces of a context, D columns of a hidden state,
P sample paths, V tokens of the vocabulary.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stemdist.dependencies import require
from stemdist.errors import InputError, unknown_name
from stemdist.students.teachers.pretrained import (
    EXTRA,
    architecture,
    check_complete,
    loaded,
    model_folder,
    read_config,
    settings_of,
)
from stemdist.students.teachers.series import SeriesTeacher, unrolled

_WHAT = "the teacher chronos"
_BLOCK = 256
_SEED = 0


class ChronosTeacher(SeriesTeacher):
    """Chronos models: their median forecast, and the states of their encoder as ``tokens``.

    Ansari et al., *Chronos: Learning the Language of Time Series*, TMLR 2024, section 3 (the
    original model and Chronos-Bolt); *Chronos-2: From Univariate to Universal Forecasting*, 2025,
    section 3, here one series at a time. A token is the state of a patch of the context, of one
    step in the original model; special tokens and those of the future are left out. Only the last
    steps are read of a context longer than the model's. Beyond its own horizon, the library
    continues the quantiles of Chronos-Bolt and Chronos-2; the median of the original is fed back.

    The original draws sample paths. Here every series is continued with the same random numbers
    at each call: outputs are reproducible and do not depend on the other series of a call.

    Parameters
    ----------
    pipeline : chronos.BaseChronosPipeline
        A loaded model.
    name : str
        Name of the teacher in messages and files.
    device : str
        Where the model runs.
    block_series : int
        Series, or sample paths of the original model, that the model continues at once.

    Raises
    ------
    InputError
        If the model cannot be read as one of the three, or has no median.

    Examples
    --------
    >>> from chronos.chronos_bolt import ChronosBoltModelForForecasting, ChronosBoltPipeline
    >>> from transformers import T5Config
    >>> config = T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=2,
    ...     decoder_start_token_id=0, chronos_pipeline_class="ChronosBoltPipeline",
    ...     chronos_config={"context_length": 64, "prediction_length": 12, "input_patch_size": 8,
    ...         "input_patch_stride": 8, "quantiles": [0.1, 0.5, 0.9], "use_reg_token": True})
    >>> bolt = ChronosBoltPipeline(ChronosBoltModelForForecasting(config))
    >>> forecast, tokens = ChronosTeacher(bolt, name="tiny").continue_series(torch.rand(5, 32), 6)
    >>> forecast.shape, tokens.shape
    (torch.Size([5, 6]), torch.Size([5, 4, 16]))
    """

    def __init__(
        self, pipeline: Any, *, name: str, device: str = "cpu", block_series: int = _BLOCK
    ) -> None:
        super().__init__(pipeline.inner_model, name=name, device=device, block_series=block_series)
        self.pipeline = pipeline
        self.kind = type(pipeline).__name__
        self._own: dict[str, Any] = pipeline.inner_model.config.chronos_config
        _check_kind(self.kind, self._own, name)
        # A path takes the memory that a series takes of the other models.
        self.block_series = max(1, self.block_series // self._own.get("num_samples", 1))

    @classmethod
    def load(cls, argument: str, device: str = "cpu") -> ChronosTeacher:
        """Load a folder or OWNER/MODEL on the Hugging Face hub, e.g. amazon/chronos-bolt-tiny.

        Raises
        ------
        InputError
            If there is no such model, it is no Chronos model, or its weights are not complete or
            not in a safe format.
        MissingDependencyError
            If ``chronos-forecasting`` is not installed.
        """
        library = require("chronos", EXTRA, _WHAT)
        folder = model_folder(argument, _WHAT)
        config = read_config(folder, _WHAT)
        if not isinstance(config.get("chronos_config"), dict):
            raise InputError(
                f"{_WHAT}: {folder} is no Chronos model but a {architecture(config) or 'unknown'}: "
                "its config.json has no chronos_config. Models of transformers are called "
                "timesfm:FOLDER and transformers:FOLDER"
            )
        _check_kind(_kind(config), config["chronos_config"], argument)
        pipeline = loaded(
            lambda: library.BaseChronosPipeline.from_pretrained(
                str(folder), dtype=torch.float32, use_safetensors=True, trust_remote_code=False
            ),
            folder,
            _WHAT,
        )
        check_complete(pipeline.inner_model, folder, _WHAT)
        return cls(pipeline, name=f"chronos:{Path(argument).name}", device=device)

    @property
    def states(self) -> tuple[str, ...]:
        """Its ``tokens``."""
        return ("tokens",)

    @property
    def settings(self) -> dict[str, Any]:
        """Kind and configuration of the model."""
        return {"kind": self.kind, **settings_of(self.pipeline.inner_model.config)}

    def continue_series(self, context: Tensor, horizon: int) -> tuple[Tensor, Tensor | None]:
        """Continue (S, L_in) -> medians (S, L_out) and tokens (S, K, D)."""
        states: list[Tensor] = []

        def note(layer: nn.Module, given: Any, made: Any) -> None:
            if not states:  # later calls read forecasts, which are no part of the context
                states.append(made[0])

        hook = self.pipeline.inner_model.encoder.register_forward_hook(note)
        try:
            forecast = _CONTINUE[self.kind](self.pipeline, context, horizon)
        finally:
            hook.remove()
        return forecast, states[0][:, : self._pieces(context.shape[1])]

    def _pieces(self, length: int) -> int:
        """Return K for a context of so many steps; a first piece that is not full counts."""
        size = int(self._own.get("input_patch_size", 1))
        stride = int(self._own.get("input_patch_stride", 1))
        read = min(length, int(self._own["context_length"]))
        return (read + -read % size - size) // stride + 1


def _kind(config: dict[str, Any]) -> str:
    return str(config.get("chronos_pipeline_class", "ChronosPipeline"))


def _check_kind(kind: str, own: dict[str, Any], name: str) -> None:
    if kind not in _CONTINUE:
        raise unknown_name("Chronos model", kind, _CONTINUE)
    if "quantiles" in own and 0.5 not in own["quantiles"]:
        raise InputError(
            f"the Chronos model {name!r} forecasts the quantiles {own['quantiles']}: there is no "
            "median (0.5) to learn from"
        )
    if own.get("model_type", "seq2seq") != "seq2seq":
        raise InputError(
            f"the Chronos model {name!r} is of type {own['model_type']!r}: only seq2seq, an "
            "encoder with a decoder, is supported, as all published weights are"
        )


def _bolt(pipeline: Any, context: Tensor, horizon: int) -> Tensor:
    with warnings.catch_warnings():
        # Said again for every block; the documentation of the teachers says it once.
        warnings.filterwarnings("ignore", "We recommend keeping prediction length", UserWarning)
        _, median = pipeline.predict_quantiles(context, prediction_length=horizon)
    made: Tensor = median
    return made


def _two(pipeline: Any, context: Tensor, horizon: int) -> Tensor:
    usual = [level / 10 for level in range(1, 10)]
    followed = [level for level in pipeline.quantiles if level in usual]  # has the median
    with warnings.catch_warnings():
        # As above.
        warnings.filterwarnings("ignore", "We recommend keeping prediction length", UserWarning)
        _, medians = pipeline.predict_quantiles(
            context[:, None],  # one variable each: nothing is mixed across series
            prediction_length=horizon,
            batch_size=len(context),
            unrolled_quantiles=followed,
        )
    return torch.cat(medians)


def _sampled(pipeline: Any, context: Tensor, horizon: int) -> Tensor:
    own = pipeline.model.config
    draws = _SharedDraws(own.num_samples)

    def step(recent: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
        samples = _sample(pipeline, recent, min(wanted, own.prediction_length), draws)
        return torch.quantile(samples, 0.5, dim=1), samples

    return unrolled(step, context, horizon, own.context_length)[0]


def _sample(pipeline: Any, context: Tensor, steps: int, draws: _SharedDraws) -> Tensor:
    """Return sample paths (S, P, steps) of the original model."""
    library = require("transformers", EXTRA, _WHAT)
    own, model = pipeline.model.config, pipeline.inner_model
    tokens, mask, scale = pipeline.tokenizer.context_input_transform(context)
    settings = library.GenerationConfig(
        min_new_tokens=steps,
        max_new_tokens=steps,
        do_sample=True,
        num_return_sequences=own.num_samples,
        eos_token_id=own.eos_token_id,
        pad_token_id=own.pad_token_id,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
    )
    # The model's own choices come before the draw, which leaves one token to be sampled.
    choices = [
        library.TemperatureLogitsWarper(float(own.temperature)),
        *([library.TopKLogitsWarper(own.top_k)] if own.top_k else []),
        library.TopPLogitsWarper(float(own.top_p)),
        draws,
    ]
    made = model.generate(
        input_ids=tokens.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=settings,
        logits_processor=library.LogitsProcessorList(choices),
    )
    paths = made[:, -steps:].reshape(len(context), own.num_samples, steps)
    samples: Tensor = pipeline.tokenizer.output_transform(paths.cpu(), scale)
    return samples


class _SharedDraws:
    """Chooses the next token of each path; path p of every series uses the same random numbers.

    The token with the largest score minus log of an exponential variable is a draw from the
    softmax of the scores (the Gumbel trick), so each series by itself is sampled as usual.
    """

    def __init__(self, paths: int) -> None:
        self.paths = paths
        self.generator = torch.Generator().manual_seed(_SEED)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Map scores (S P, V) to 0 at the chosen token and minus infinity elsewhere."""
        noise = torch.empty(self.paths, scores.shape[1]).exponential_(generator=self.generator)
        raced = scores.view(-1, *noise.shape) - noise.log().to(scores)  # (S, P, V)
        chosen = raced.argmax(dim=2).view(-1, 1)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)


_CONTINUE: dict[str, Callable[[Any, Tensor, int], Tensor]] = {
    "Chronos2Pipeline": _two,
    "ChronosBoltPipeline": _bolt,
    "ChronosPipeline": _sampled,
}

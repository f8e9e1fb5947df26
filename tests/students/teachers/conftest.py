"""Tiny pretrained models with random weights, and windows to ask them about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import transformers
import xarray as xr
from chronos.chronos2 import Chronos2Model
from chronos.chronos2.config import Chronos2CoreConfig
from chronos.chronos_bolt import ChronosBoltModelForForecasting
from torch_geometric.data import Data

from stemdist.data.scaling import Scaler
from stemdist.data.windows import TensorWindows
from stemdist.forecast import TaskSettings, TrainingSet
from stemdist.forecast.locations import Locations

QUANTILES = [level / 10 for level in range(1, 10)]
T5 = {
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 2,
    # Large weights: an untrained model with small ones forecasts next to nothing.
    "initializer_factor": 0.5,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}
PATCHES = {"context_length": 64, "input_patch_size": 8, "input_patch_stride": 8}
TIMESFM = {
    "patch_length": 8,
    "context_length": 64,
    "horizon_length": 8,
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "intermediate_size": 16,
    "head_dim": 8,
    "num_attention_heads": 2,
    "initializer_range": 0.3,
}
PATCHTST = {
    "num_input_channels": 1,
    "context_length": 24,
    "patch_length": 8,
    "patch_stride": 8,
    "prediction_length": 8,
    "d_model": 16,
    "dropout": 0.1,
}


def bolt(**changes: Any) -> torch.nn.Module:
    own = {**PATCHES, "prediction_length": 8, "quantiles": QUANTILES, "use_reg_token": True}
    config = transformers.T5Config(
        **T5,
        vocab_size=2,
        chronos_pipeline_class="ChronosBoltPipeline",
        chronos_config={**own, **changes},
    )
    return ChronosBoltModelForForecasting(config)


def chronos2() -> torch.nn.Module:
    own = {
        **PATCHES,
        "output_patch_size": 8,
        "quantiles": [0.05, *QUANTILES, 0.95],
        "use_reg_token": True,
        "use_arcsinh": True,
        "max_output_patches": 2,
    }
    config = Chronos2CoreConfig(
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        initializer_factor=0.5,
        chronos_pipeline_class="Chronos2Pipeline",
        chronos_config=own,
    )
    return Chronos2Model(config)


def chronos_t5(**changes: Any) -> torch.nn.Module:
    own = {
        "tokenizer_class": "MeanScaleUniformBins",
        "tokenizer_kwargs": {"low_limit": -4.0, "high_limit": 4.0},
        "context_length": 64,
        "prediction_length": 8,
        "n_tokens": 64,
        "n_special_tokens": 2,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "use_eos_token": True,
        "model_type": "seq2seq",
        "num_samples": 5,
        "temperature": 1.0,
        "top_k": 50,
        "top_p": 1.0,
    }
    config = transformers.T5Config(
        **T5, vocab_size=64, tie_word_embeddings=False, chronos_config={**own, **changes}
    )
    model = transformers.T5ForConditionalGeneration(config)
    # A head of its own, as in the published ones: tied, so small a model repeats one token.
    model.lm_head.weight = torch.nn.Parameter(0.5 * torch.randn(64, 16))
    return model


def timesfm() -> torch.nn.Module:
    return transformers.TimesFmModelForPrediction(transformers.TimesFmConfig(**TIMESFM))


def timesfm2_5() -> torch.nn.Module:
    config = transformers.TimesFm2_5Config(
        **TIMESFM, num_key_value_heads=2, output_quantile_len=16, max_position_embeddings=64
    )
    return transformers.TimesFm2_5ModelForPrediction(config)


def patchtst(**changes: Any) -> torch.nn.Module:
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 32, "init_std": 0.3}
    config = transformers.PatchTSTConfig(**{**PATCHTST, **layers, **changes})
    return transformers.PatchTSTForPrediction(config)


def patchtsmixer(**changes: Any) -> torch.nn.Module:
    config = transformers.PatchTSMixerConfig(**{**PATCHTST, "num_layers": 2, **changes})
    return transformers.PatchTSMixerForPrediction(config)


BUILDERS = {
    "chronos2": chronos2,
    "chronos_bolt": bolt,
    "chronos_greedy": lambda: chronos_t5(top_k=1),
    "chronos_t5": chronos_t5,
    "patchtsmixer": patchtsmixer,
    "patchtst": patchtst,
    "patchtst_spread": lambda: patchtst(use_cls_token=True, loss="nll"),
    "patchtst_wide": lambda: patchtst(num_input_channels=7),
    "timesfm": timesfm,
    "timesfm2_5": timesfm2_5,
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that saves a tiny model once per kind and seed, and names its folder."""
    root = tmp_path_factory.mktemp("models")

    def folder(kind: str, seed: int = 0) -> Path:
        path = root / f"{kind}-{seed}"
        if not path.exists():
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                BUILDERS[kind]().save_pretrained(path)
        return path

    return folder


@pytest.fixture
def training_set_of() -> Callable[[TensorWindows, Scaler], TrainingSet]:
    """Return a function that makes a training set of windows and a scaler."""
    return training_set


@pytest.fixture
def teaching() -> Callable[..., TrainingSet]:
    """Return a function that makes scaled windows of random walks with F = C + 1 features."""

    def make(
        *, lookback: int = 32, horizon: int = 6, n: int = 3, targets: int = 1, windows: int = 2
    ) -> TrainingSet:
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(windows, lookback, n, targets + 1, generator=generator)
        y = torch.zeros(windows, targets * horizon, n)
        source = TensorWindows(
            x=x.cumsum(1) / 3,
            y=y,
            mask=torch.ones_like(y),
            weight=torch.ones(n),
            targets=targets,
        )
        means, scales = (60.0, -5.0, 300.0), (8.0, 0.5, 20.0)
        scaler = Scaler(mean=means[: targets + 1], scale=scales[: targets + 1])
        return training_set(source, scaler)

    return make


def training_set(source: TensorWindows, scaler: Scaler) -> TrainingSet:
    graph, n = Data(num_nodes=source.n_locations), source.n_locations
    coords = xr.Dataset(coords={"location": range(n)})
    return TrainingSet(
        kind="full",
        source=source,
        graph=graph,
        scaler=scaler,
        content_hash="windows",
        settings=TaskSettings(lookback=source.lookback, horizon=source.horizon),
        variables=("speed", "flow")[: source.n_targets],
        units="",
        locations=Locations(coords=coords, graph=graph, profile=source.profile),
    )

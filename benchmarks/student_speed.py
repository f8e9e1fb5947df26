"""Size and speed of students beside a foundation model, built from its published configuration.

Neither depends on trained weights, so these are random and nothing is downloaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
import transformers
import xarray as xr
from chronos.chronos_bolt import ChronosBoltModelForForecasting
from isolated_process import hardware

from stemdist import ForecastTask, TaskSettings
from stemdist.data import canonical_series
from stemdist.evaluate.comparison.tables import aligned
from stemdist.forecast import fresh_forecaster, predict_windows

LOOKBACK, HORIZON, LOCATIONS = 512, 96, 7
STUDENTS = {
    "dlinear": {},
    "itransformer": {"hidden": 512, "feed_forward": 2048, "layers": 1, "heads": 8},
    "decomposition-mlp": {"hidden": 16, "level": "reversible"},
    "patchtst": {"hidden": 16, "layers": 3},
}
"""Those of DistilTS, iTransformer with its widths; TimeDistill's; and a small teacher."""


def chronos_bolt_base() -> torch.nn.Module:
    """Return Chronos-Bolt-base with random weights: T5-base on patches of 16 steps.

    Ansari et al., *Chronos*, TMLR 2024; ``config.json`` of ``amazon/chronos-bolt-base``.
    """
    config = transformers.T5Config(
        d_model=768,
        d_kv=64,
        d_ff=3072,
        num_layers=12,
        num_decoder_layers=12,
        num_heads=12,
        vocab_size=2,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
        is_encoder_decoder=True,
        feed_forward_proj="relu",
    )
    config.chronos_config = {
        "context_length": 2048,
        "input_patch_size": 16,
        "input_patch_stride": 16,
        "prediction_length": 64,
        "quantiles": [level / 10 for level in range(1, 10)],
        "use_reg_token": True,
    }
    return ChronosBoltModelForForecasting(config).eval()


def foundation_table() -> str:
    """Return weights, milliseconds of one window of seven series on one core, and ratios."""
    hours = np.arange(4000)
    values = np.sin(2 * np.pi * hours / 24)[:, None] + np.arange(LOCATIONS)
    raw = xr.Dataset(
        {"z": (("time", "location"), values)},
        {"time": np.datetime64("2020-01-01", "h") + hours, "location": np.arange(LOCATIONS)},
    )
    settings = TaskSettings(lookback=LOOKBACK, horizon=HORIZON, neighbour_context=False)
    task = ForecastTask.from_series(canonical_series(raw, variables=["z"]), settings)
    model = chronos_bolt_base()
    context = task.train.inputs(torch.arange(1))[0, :, :, 0].T.contiguous()  # (N, L_in)
    count, index = sum(weight.numel() for weight in model.parameters()), torch.arange(32)
    runs: dict[str, tuple[int, Callable[[], object], int]] = {
        "Chronos-Bolt-base": (count, lambda: continued(model, context), 1)
    }
    for name, options in STUDENTS.items():
        made = fresh_forecaster(name, task.train, 0, options).eval()
        run = lambda made=made: predict_windows(  # noqa: E731
            made, task.train, task.graph, task.train.profile, index=index
        )
        runs[name] = (sum(weight.numel() for weight in made.parameters()), run, len(index))
    rows = [["", "weights", "ms / window", "1 / weights", "times as fast"]]
    base = None
    for name, (weights, run, windows) in runs.items():
        spent = least_milliseconds(run) / windows
        base = base or (weights, spent)
        ratios = [f"{base[0] / weights:.0f}", f"{base[1] / spent:.0f}"]
        rows.append([name, f"{weights:,}", f"{spent:.3f}", *ratios])
    return f"{LOOKBACK} to {HORIZON} steps of {LOCATIONS} series, {hardware(1)}\n{aligned(rows)}"


@torch.no_grad()
def continued(model: torch.nn.Module, context: torch.Tensor) -> torch.Tensor:
    """Forecast 96 steps: 64 at once, and the median read again for the others."""
    forecast = model(context).quantile_preds[:, 4]
    again = model(torch.cat([context, forecast], 1)).quantile_preds[:, 4]
    return torch.cat([forecast, again], 1)[:, :HORIZON]


def least_milliseconds(run: Callable[[], object], repeats: int = 5) -> float:
    """Return the least time of several calls after a first one."""
    run()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - began))
    return min(times)

"""TimesFM: short contexts, long horizons, positive series, wrong folders."""

from __future__ import annotations

import pytest
import torch

from stemdist.errors import InputError
from stemdist.students.teachers.timesfm import TimesFMTeacher


def walk(series=3, steps=32):
    return torch.randn(series, steps, generator=torch.Generator().manual_seed(0)).cumsum(1) + 20


@pytest.mark.parametrize("steps", [5, 29, 32])
@pytest.mark.parametrize("kind", ["timesfm", "timesfm2_5"])
def test_less_padding_changes_nothing(kind, steps, saved):
    """The library pads to all 64 steps of the model, which the teacher does not."""
    teacher = TimesFMTeacher.load(str(saved(kind)))
    made = teacher.model(past_values=list(walk(steps=steps)))
    computed = []
    teacher.model.register_forward_hook(
        lambda layer, given, made: computed.append(made.last_hidden_state.shape[1])
    )
    forecast, tokens = teacher.continue_series(walk(steps=steps), 8)
    assert computed == [-(-steps // 8)]
    torch.testing.assert_close(forecast, made.mean_predictions, rtol=1e-5, atol=1e-4)
    assert made.last_hidden_state.shape[1] == 8
    torch.testing.assert_close(
        tokens, made.last_hidden_state[:, -computed[0] :], rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("kind", ["timesfm", "timesfm2_5"])
def test_long_horizons_read_the_forecasts(kind, saved):
    teacher = TimesFMTeacher.load(str(saved(kind)))
    first, tokens = teacher.continue_series(walk(), 8)
    second, _ = teacher.continue_series(torch.cat([walk(), first], 1), 8)
    forecast, long_tokens = teacher.continue_series(walk(), 13)
    torch.testing.assert_close(forecast, torch.cat([first, second[:, :5]], 1))
    assert torch.equal(long_tokens, tokens)


def test_positive_series_stay_so_whatever_stands_beside_them(saved):
    teacher = TimesFMTeacher.load(str(saved("timesfm2_5")))
    positive = walk() - walk().min()  # begins where the forecast can go below zero
    raw = teacher.model(past_values=list(positive), truncate_negative=False).mean_predictions
    assert (raw < 0).any()
    forecast, _ = teacher.continue_series(torch.cat([positive, -positive]), 8)
    torch.testing.assert_close(forecast[:3], raw.clamp_min(0), rtol=1e-4, atol=1e-4)
    assert (forecast[3:] < 0).any()
    teacher.model.config.infer_is_positive = False
    assert (teacher.continue_series(positive, 8)[0] < 0).any()


def test_the_wrong_folder(saved):
    with pytest.raises(InputError, match=r"no TimesFM model .* but a PatchTSTForPrediction"):
        TimesFMTeacher.load(str(saved("patchtst")))

"""Forecasters of transformers: what they read, and what is refused."""

from __future__ import annotations

import pytest
import torch
import transformers

from stemdist.errors import InputError
from stemdist.students.teacher import load_teacher
from stemdist.students.teachers.transformers import TransformersTeacher


def walk(steps=24):
    return torch.randn(2, steps, generator=torch.Generator().manual_seed(0)).cumsum(1) + 20


@pytest.mark.parametrize("kind", ["patchtst", "patchtst_spread", "patchtsmixer"])
def test_long_horizons_read_the_forecasts(kind, saved):
    teacher = load_teacher(f"transformers:{saved(kind)}")
    first, tokens = teacher.continue_series(walk(), 8)
    recent = torch.cat([walk(), first], 1)[:, -24:]
    second, _ = teacher.continue_series(recent, 8)
    forecast, long_tokens = teacher.continue_series(walk(), 11)
    torch.testing.assert_close(forecast, torch.cat([first, second[:, :3]], 1))
    assert torch.equal(long_tokens, tokens)


def test_the_class_token_is_left_out(saved):
    teacher = load_teacher(f"transformers:{saved('patchtst_spread')}")
    states = teacher.model.model(past_values=walk()[..., None]).last_hidden_state
    assert states.shape == (2, 1, 4, 16)  # the class token, then three patches
    _, tokens = teacher.continue_series(walk(), 8)
    torch.testing.assert_close(tokens, states[:, 0, 1:])


def test_short_windows_are_refused(saved, teaching):
    teacher = load_teacher(f"transformers:{saved('patchtsmixer')}")
    data = teaching(lookback=23)
    message = r"reads 24 steps, and the windows have 23. Use --lookback 24 or more"
    with pytest.raises(InputError, match=message):
        teacher.check(data, ())
    with pytest.raises(InputError, match=message):
        teacher.answer(data, torch.arange(2))
    with pytest.raises(InputError, match=message):
        teacher.continue_series(walk(23), 4)
    with pytest.raises(InputError, match="cannot show its logits"):
        teacher.check(teaching(), ["logits"])


def test_several_channels_are_refused(saved):
    with pytest.raises(InputError, match=r"num_input_channels 7: .* one series at a time"):
        TransformersTeacher.load(str(saved("patchtst_wide")))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("timesfm", "holds a TimesFmModelForPrediction, which is called timesfm:FOLDER"),
        ("chronos_t5", "holds a T5ForConditionalGeneration, which is called chronos:FOLDER"),
    ],
)
def test_models_of_other_teachers(kind, message, saved):
    with pytest.raises(InputError, match=message):
        TransformersTeacher.load(str(saved(kind)))


@pytest.mark.parametrize("name", ["Informer", "Autoformer", "TimeSeriesTransformer"])
def test_models_that_read_the_calendar(name, tmp_path):
    config = getattr(transformers, f"{name}Config")(prediction_length=4, architectures=[])
    config.architectures = [f"{name}ForPrediction"]
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    message = (
        f"holds a {name}ForPrediction, which reads features of the calendar .*; supported are "
        "PatchTSMixerForPrediction and PatchTSTForPrediction"
    )
    with pytest.raises(InputError, match=message):
        TransformersTeacher.load(str(tmp_path))


def test_classes_that_are_no_forecasters(tmp_path):
    transformers.BertConfig(architectures=["BertModel"]).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InputError, match="holds a BertModel; supported are"):
        TransformersTeacher.load(str(tmp_path))

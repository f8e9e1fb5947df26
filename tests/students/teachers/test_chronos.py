"""Chronos: sampling that can be repeated, tokens of the library, wrong folders."""

from __future__ import annotations

import json

import pytest
import torch
from chronos import BaseChronosPipeline
from safetensors.torch import load_file

from stemdist.errors import InputError
from stemdist.students.teachers.chronos import ChronosTeacher, _sample, _SharedDraws


def walk(series=2, steps=32, seed=0):
    return torch.randn(series, steps, generator=torch.Generator().manual_seed(seed)).cumsum(1) + 9


@pytest.mark.parametrize("horizon", [8, 20])
@pytest.mark.parametrize("kind", ["chronos_bolt", "chronos2", "chronos_greedy"])
@pytest.mark.filterwarnings("ignore:We recommend keeping prediction length")
def test_long_horizons_are_those_of_the_library(kind, horizon, saved):
    context = walk()
    pipeline = BaseChronosPipeline.from_pretrained(str(saved(kind)))
    _, median = pipeline.predict_quantiles(list(context), prediction_length=horizon)
    forecast, _ = ChronosTeacher.load(str(saved(kind))).continue_series(context, horizon)
    median = torch.stack([part.flatten() for part in median])
    torch.testing.assert_close(forecast, median, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("kind", "pieces"), [("chronos_bolt", 4), ("chronos_t5", 32)])
def test_tokens_are_the_embeddings_of_the_library(kind, pieces, saved):
    context = walk()
    embeddings, _ = BaseChronosPipeline.from_pretrained(str(saved(kind))).embed(context)
    assert embeddings.shape == (2, pieces + 1, 16)  # one special token more
    _, tokens = ChronosTeacher.load(str(saved(kind))).continue_series(context, 8)
    torch.testing.assert_close(tokens, embeddings[:, :pieces])


def test_tokens_of_chronos2_are_of_the_very_forecast(saved):
    teacher = ChronosTeacher.load(str(saved("chronos2")))
    # A horizon of 16 steps is two patches: context, special token, future are 4 + 1 + 2.
    encoded, *_ = teacher.pipeline.model.encode(walk(), num_output_patches=2)
    assert encoded[0].shape == (2, 7, 16)
    _, tokens = teacher.continue_series(walk(), 16)
    torch.testing.assert_close(tokens, encoded[0][:, :4])


def test_the_head_of_the_original_is_its_own(saved):
    stored = load_file(saved("chronos_t5") / "model.safetensors")
    model = ChronosTeacher.load(str(saved("chronos_t5"))).model
    assert torch.equal(model.lm_head.weight, stored["lm_head.weight"])
    assert torch.equal(model.encoder.embed_tokens.weight, stored["shared.weight"])
    assert not torch.equal(stored["shared.weight"], stored["lm_head.weight"])


def test_special_token_is_left_out_only_where_there_is_one(saved):
    from_bolt = ChronosTeacher.load(str(saved("chronos_bolt")))
    model = from_bolt.pipeline.model
    config = model.config
    config.chronos_config["use_reg_token"] = False
    bare = type(from_bolt.pipeline)(type(model)(config))
    _, tokens = ChronosTeacher(bare, name="bare").continue_series(walk(), 8)
    assert tokens.shape == (2, 4, 16)


def test_shared_draws_follow_the_softmax():
    probabilities = torch.tensor([[0.7, 0.2, 0.1, 0.0], [0.1, 0.1, 0.2, 0.6]])
    draws = _SharedDraws(paths=20_000)
    scores = probabilities.log().repeat_interleave(20_000, dim=0)
    chosen = draws(torch.empty(0), scores)
    assert chosen.shape == (40_000, 4)
    assert torch.equal(chosen.softmax(1).max(1).values, torch.ones(40_000))  # nothing left to draw
    shares = chosen.softmax(1).view(2, 20_000, 4).mean(1)
    # Four standard errors of a share of .5 in 20,000 draws.
    torch.testing.assert_close(shares, probabilities, rtol=0, atol=4 * 0.5 / 20_000**0.5)


def test_equal_series_are_continued_alike_and_paths_differ(saved):
    teacher = ChronosTeacher.load(str(saved("chronos_t5")))
    context = walk(1).repeat(3, 1)
    forecast, _ = teacher.continue_series(context, 8)
    assert torch.equal(forecast[0], forecast[2])
    teacher.pipeline.model.config.num_samples = 1
    single, _ = teacher.continue_series(context, 8)
    assert not torch.equal(single[0], forecast[0])


def test_samples_are_distributed_as_the_librarys(saved):
    teacher = ChronosTeacher.load(str(saved("chronos_t5")))
    own = teacher.pipeline.model.config
    own.num_samples, own.temperature, own.top_k, own.top_p = 4000, 2.0, 12, 0.6
    samples = _sample(teacher.pipeline, walk(1), 2, _SharedDraws(4000))[0]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = teacher.pipeline.predict(walk(1), prediction_length=2)[0]
    assert samples.shape == theirs.shape == (4000, 2)
    for step in range(2):
        values = theirs[:, step].unique()
        assert len(values) > 3
        shares = [(drawn[:, step, None] == values).float().mean(0) for drawn in (samples, theirs)]
        # Five standard errors of the difference of two shares of at most .5.
        torch.testing.assert_close(*shares, rtol=0, atol=5 * (0.5 / 4000) ** 0.5)


def test_paths_count_in_the_block(saved):
    assert ChronosTeacher.load(str(saved("chronos_bolt"))).block_series == 256
    assert ChronosTeacher.load(str(saved("chronos_t5"))).block_series == 51  # 5 paths each


@pytest.mark.parametrize(
    ("changes", "own", "message"),
    [
        ({"chronos_config": None}, {}, "is no Chronos model but a ChronosBoltModelForForecasting"),
        ({"chronos_pipeline_class": "ChronosBoldPipeline"}, {}, "mean 'ChronosBoltPipeline'"),
        ({}, {"quantiles": [0.1, 0.9]}, r"quantiles \[0.1, 0.9\]: there is no median"),
        ({}, {"model_type": "causal"}, "of type 'causal': only seq2seq"),
        ({}, {"input_patch_size": 4}, "cannot be loaded: "),
    ],
)
def test_other_models_are_refused(changes, own, message, saved, tmp_path):
    source = saved("chronos_bolt")
    config = json.loads((source / "config.json").read_text())
    config["chronos_config"].update(own)
    config = {name: value for name, value in {**config, **changes}.items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(source / "model.safetensors")
    with pytest.raises(InputError, match=message):
        ChronosTeacher.load(str(tmp_path))


def test_weights_of_another_model_are_refused(saved, tmp_path):
    (tmp_path / "config.json").symlink_to(saved("chronos_bolt") / "config.json")
    (tmp_path / "model.safetensors").symlink_to(saved("timesfm") / "model.safetensors")
    with pytest.raises(InputError, match=r"lack \d+ of the model's weights .* would be random"):
        ChronosTeacher.load(str(tmp_path))

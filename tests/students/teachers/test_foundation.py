"""What every pretrained teacher promises, and parity with its library called by hand."""

from __future__ import annotations

import pytest
import torch
import transformers
from chronos import BaseChronosPipeline

from stemdist.students.teacher import TEACHERS, load_teacher

NAMES = {
    "chronos2": "chronos",
    "chronos_bolt": "chronos",
    "chronos_greedy": "chronos",
    "chronos_t5": "chronos",
    "patchtsmixer": "transformers",
    "patchtst": "transformers",
    "patchtst_spread": "transformers",
    "timesfm": "timesfm",
    "timesfm2_5": "timesfm",
}
KINDS = list(NAMES)
# Answers of blocks differ by the rounding of sums, a scaled unit being 8 physical ones.
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module")
def teachers(saved):
    return {kind: load_teacher(f"{NAMES[kind]}:{saved(kind)}") for kind in KINDS}


def by_chronos(folder, series, horizon):
    pipeline = BaseChronosPipeline.from_pretrained(str(folder), dtype=torch.float32)
    _, median = pipeline.predict_quantiles([series], prediction_length=horizon)
    return median[0].flatten()


def by_timesfm(folder, series, horizon):
    kind = getattr(transformers, transformers.AutoConfig.from_pretrained(folder).architectures[0])
    model = kind.from_pretrained(folder)
    with torch.no_grad():
        return model(past_values=[series]).mean_predictions[0, :horizon]


def by_transformers(folder, series, horizon):
    kind = getattr(transformers, transformers.AutoConfig.from_pretrained(folder).architectures[0])
    model = kind.from_pretrained(folder)
    with torch.no_grad():
        made = model(past_values=series[-24:].view(1, 24, 1))
    forecast = made.prediction_outputs
    if model.config.loss == "nll":
        location = forecast[1]  # of a Student t distribution: degrees, location, scale
        forecast = location * made.scale + made.loc
    return forecast[0, :horizon, 0]


DIRECT = {"chronos": by_chronos, "timesfm": by_timesfm, "transformers": by_transformers}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "chronos_t5"])
def test_parity_with_the_library_on_single_series(kind, teachers, saved, teaching):
    data = teaching(horizon=8, targets=2)
    forecast, _ = teachers[kind].answer(data, torch.tensor([1, 0]))
    assert forecast.shape == (2, 16, 3)
    for window, location, target in [(0, 2, 1), (1, 0, 0)]:
        scaled = data.source.x[1 - window, :, location, target]
        mean, scale = data.scaler.mean[target], data.scaler.scale[target]
        direct = DIRECT[NAMES[kind]](saved(kind), scaled * scale + mean, 8)
        own = forecast[window, 8 * target : 8 * (target + 1), location]
        torch.testing.assert_close(own * scale + mean, direct, rtol=1e-5, atol=1e-3)
        assert direct.std() > 1e-3  # the comparison is not of constants


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_repeats_and_neighbours_change_nothing(kind, teachers, teaching):
    teacher, data = teachers[kind], teaching(horizon=8)
    first, states = teacher.answer(data, torch.arange(2), ["tokens"])
    before = torch.get_rng_state()
    whole = teacher.block_series
    try:
        teacher.block_series = 4
        again, again_states = teacher.answer(data, torch.arange(2), ["tokens"])
    finally:
        teacher.block_series = whole
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(again, first, **CLOSE)
    torch.testing.assert_close(again_states, states, **CLOSE)
    alone, _ = teacher.answer(data, torch.tensor([1]))
    torch.testing.assert_close(alone[0], first[1], **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_units_do_not_matter(kind, teachers):
    """Each model scales a series by itself, the original Chronos by a factor only."""
    context = torch.randn(4, 32, generator=torch.Generator().manual_seed(3)).cumsum(1) + 20
    shift = 0.0 if kind in ("chronos_t5", "chronos_greedy") else 50.0
    forecast, tokens = teachers[kind].continue_series(context, 8)
    moved, moved_tokens = teachers[kind].continue_series(4 * context + shift, 8)
    torch.testing.assert_close(moved, 4 * forecast + shift, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(moved_tokens, tokens, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_patches_of_the_first_target(kind, teachers, teaching):
    # A lookback of 29 steps is four patches of 8, the first not full, and 29 single steps;
    # PatchTST reads the last 24.
    pieces = {"chronos_t5": 29, "chronos_greedy": 29}
    expected = 3 if kind.startswith("patch") else pieces.get(kind, 4)
    both = teaching(lookback=29, targets=2)
    _, states = teachers[kind].answer(both, torch.arange(2), ["tokens"])
    tokens = states["tokens"]
    assert tokens.shape == (2, 3, expected, 16)
    assert not tokens.requires_grad
    first = both.source.x[1, :, 2, 0] * 8 + 60
    _, alone = teachers[kind].continue_series(first[None], 6)
    torch.testing.assert_close(tokens[1, 2], alone[0], **CLOSE)
    assert tokens.std() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_longer_horizons_begin_like_shorter_ones(kind, teachers, teaching):
    data = teaching(horizon=27, windows=1)
    long, states = teachers[kind].answer(data, torch.arange(1), ["tokens"])
    assert long.shape == (1, 27, 3)
    short, short_states = teachers[kind].answer(teaching(windows=1, horizon=8), torch.arange(1))
    assert short_states == {}
    assert states["tokens"].shape[2] <= 32
    if kind != "chronos2":  # its future patches are read by those before them
        torch.testing.assert_close(long[:, :8], short, **CLOSE)
    assert (long[:, 8:].diff(dim=1).abs() > 1e-4).any()


@pytest.mark.parametrize("kind", KINDS)
def test_contexts_beyond_the_models_are_cut(kind, teachers):
    context = torch.randn(2, 90, generator=torch.Generator().manual_seed(5)).cumsum(1)
    longest = 24 if kind.startswith("patch") else 64
    forecast, tokens = teachers[kind].continue_series(context, 8)
    cut, cut_tokens = teachers[kind].continue_series(context[:, -longest:], 8)
    torch.testing.assert_close(forecast, cut, **CLOSE)
    torch.testing.assert_close(tokens, cut_tokens, **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_identity_is_of_the_weights(kind, teachers, saved, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.symlink_to(saved(kind))
    assert load_teacher(f"{NAMES[kind]}:{moved}").identity == teachers[kind].identity
    other = load_teacher(f"{NAMES[kind]}:{saved(kind, 1)}")
    assert other.identity != teachers[kind].identity


@pytest.mark.parametrize("kind", KINDS)
def test_teachers_are_frozen_and_named(kind, teachers):
    teacher = teachers[kind]
    assert teacher.name == f"{NAMES[kind]}:{kind}-0"
    assert teacher.states == ("tokens",)
    assert not any(module.training for module in teacher.model.modules())
    assert not any(weight.requires_grad for weight in teacher.model.parameters())


def test_registry_names_them():
    assert {"chronos", "timesfm", "transformers"} <= set(TEACHERS.names())

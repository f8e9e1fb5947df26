from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stemdist.errors import InputError
from stemdist.forecast.layers import attention
from stemdist.forecast.layers.attention import (
    EncoderBlock,
    LandmarkAttention,
    MultiHeadAttention,
    attend,
    attend_in_blocks,
    make_attention,
)

B, QUERIES, TOKENS, C, HEADS = 3, 4, 5, 8, 2


def random(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


def parts() -> tuple[Tensor, Tensor, Tensor]:
    return random(B, QUERIES, C), random(B, TOKENS, C), random(B, TOKENS, C)


def up_to_the_second_derivative(out: Tensor, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    slopes = torch.autograd.grad(out.pow(3).sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(slope.square().sum() for slope in slopes), inputs)
    return [out, *slopes, *second]


def test_attention_is_the_fused_one():
    query, key, value = parts()
    expected = functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(attend(query, key, value), expected)


# One score at a time; part of a row; two rows; a whole set; two sets of three; all.
@pytest.mark.parametrize("scores", [1, 3, 10, 20, 41, 60])
def test_blocks_equal_unblocked_up_to_the_second_derivative(scores):
    inputs = parts()
    blocked = attend_in_blocks(*inputs, scores=scores)
    torch.testing.assert_close(
        up_to_the_second_derivative(blocked, inputs),
        up_to_the_second_derivative(attend(*inputs), inputs),
    )


@pytest.mark.parametrize(
    ("scores", "shapes"),
    [
        (60, [(3, 4)]),
        (20, [(1, 4)] * 3),
        (40, [(2, 4), (1, 4)]),
        (15, [(1, 3), (1, 1)] * 3),
        (2, [(1, 1)] * 12),
    ],
)
def test_blocks_hold_no_more_scores_than_allowed(scores, shapes, monkeypatch):
    seen = []

    def spy(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        seen.append(tuple(query.shape[:2]))
        return attend(query, key, value)

    monkeypatch.setattr(attention, "attend", spy)
    attend_in_blocks(*parts(), scores=scores)
    assert seen == shapes


def test_blocks_keep_no_scores_for_the_backward_pass():
    inputs = parts()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        attend_in_blocks(*inputs, scores=TOKENS)
    assert TOKENS not in {shape[-1] for shape in kept}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        attend(*inputs)
    assert (B, QUERIES, TOKENS) in kept


def test_heads_are_those_of_torch():
    torch.manual_seed(0)
    ours = MultiHeadAttention(C, HEADS).double()
    theirs = nn.MultiheadAttention(C, HEADS, batch_first=True).double()
    h, context = random(B, QUERIES, C), random(B, TOKENS, C)
    copy_attention(ours, theirs)
    for arguments in ([h], [h, context]):
        expected, _ = theirs(h, arguments[-1], arguments[-1])
        torch.testing.assert_close(ours(*arguments), expected)


def copy_attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    """Give torch's layer our weights; the biases that we leave out are zero."""
    zero = torch.zeros_like(ours.query.bias)
    with torch.no_grad():
        weights = [ours.query.weight, ours.key.weight, ours.value.weight]
        theirs.in_proj_weight.copy_(torch.cat(weights))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, zero, zero]))
    theirs.out_proj.load_state_dict(ours.out.state_dict())


def test_block_is_the_encoder_layer_of_torch():
    torch.manual_seed(0)
    ours = EncoderBlock(MultiHeadAttention(C, HEADS), C, 16, dropout=0.0).double()
    theirs = nn.TransformerEncoderLayer(
        C, HEADS, 16, dropout=0.0, activation="gelu", batch_first=True
    ).double()
    copy_attention(ours.attention, theirs.self_attn)
    theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
    theirs.norm2.load_state_dict(ours.norm.state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward.inner.state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward.outer.state_dict())
    h = random(B, TOKENS, C)
    torch.testing.assert_close(ours(h), theirs(h))


def test_landmarks_by_hand():
    torch.manual_seed(0)
    layer = LandmarkAttention(C, 1, landmarks=2, hidden=16).double()
    h = random(B, TOKENS, C)

    def read(attention: MultiHeadAttention, query: Tensor, context: Tensor) -> Tensor:
        scores = attention.query(query) @ attention.key(context).mT / math.sqrt(C)
        share = scores.exp() / scores.exp().sum(-1, keepdim=True)
        return attention.out(share @ attention.value(context))

    collect = layer.collect
    seen = layer.landmarks + read(collect.attention, layer.landmarks, h)
    seen = functional.layer_norm(seen, (C,))
    seen = functional.layer_norm(seen + collect.feed_forward(seen), (C,))
    torch.testing.assert_close(layer(h), read(layer.read, h, seen))


@pytest.mark.parametrize("name", ["full", "landmark"])
def test_order_of_tokens_does_not_matter(name):
    torch.manual_seed(0)
    layer = make_attention(name, C, HEADS, landmarks=3, hidden=16, dropout=0.0).double()
    h, order = random(B, TOKENS, C), torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(layer(h[:, order]), layer(h)[:, order])


def test_landmarks_see_many_tokens_at_no_more_than_linear_cost(monkeypatch):
    pairs = []

    def spy(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        pairs.append(query.shape[1] * key.shape[1])
        return attend(query, key, value)

    monkeypatch.setattr(attention, "attend", spy)
    LandmarkAttention(C, HEADS, landmarks=3, hidden=16)(torch.zeros(1, 1000, C))
    assert pairs == [3 * 1000, 1000 * 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "ful"}, "unknown attention 'ful': did you mean 'full'.*full, landmark"),
        ({"heads": 3}, "heads is 3: 8 hidden columns cannot be split evenly.*1, 2, 4, 8"),
        ({"heads": 0}, "heads is 0: it must be a whole number of at least 1"),
        ({"landmarks": 0}, "landmarks is 0"),
    ],
)
def test_wrong_options(options, message):
    given = {"name": "landmark", "heads": 2, "landmarks": 4, **options}
    with pytest.raises(InputError, match=message):
        make_attention(given.pop("name"), C, given.pop("heads"), hidden=16, dropout=0.0, **given)

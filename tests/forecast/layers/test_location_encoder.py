from __future__ import annotations

import pytest
import torch

from stemdist.errors import InputError
from stemdist.forecast.layers.location_encoder import (
    LOCATION_ENCODERS,
    AttentionLocationEncoder,
    LandmarkLocationEncoder,
    make_location_encoder,
)


def attention(scores: int) -> AttentionLocationEncoder:
    torch.manual_seed(0)
    return AttentionLocationEncoder(6, 4, hidden=8, scores=scores).double()


def test_blocked_attention_equals_unblocked_up_to_the_second_derivative():
    profile = torch.randn(10, 6, dtype=torch.float64, requires_grad=True)
    results = []
    for scores in (3, 100):
        encoder = attention(scores)
        codes = encoder(profile)
        (slope,) = torch.autograd.grad(codes.pow(3).sum(), profile, create_graph=True)
        second = torch.autograd.grad(slope.square().sum(), [profile, encoder.read.weight])
        results.append([codes, slope, *second])
    torch.testing.assert_close(*results)


def test_attention_by_hand():
    """STemDist's encoder in plain tensor operations, location by location."""
    encoder = attention(100)
    weights = dict(encoder.named_parameters())
    shapes = {name: tuple(one.shape) for name, one in weights.items() if one.dim() > 1}
    assert shapes == {
        "embed.weight": (8, 6),
        "read.weight": (24, 8),
        "out.weight": (8, 8),
        "head.weight": (4, 8),
        "map.weight": (4, 4),
    }

    def linear(name: str, h: torch.Tensor, rows: slice = slice(None)) -> torch.Tensor:
        return weights[f"{name}.weight"][rows] @ h + weights[f"{name}.bias"][rows]

    for one in (encoder.read.bias, encoder.out.bias):  # 0 at the start
        torch.nn.init.normal_(one)
    profile = torch.randn(5, 6, dtype=torch.float64)
    h = [linear("embed", row).clamp_min(0) for row in profile]
    queries, keys, values = (
        [linear("read", one, slice(part, part + 8)) for one in h] for part in (0, 8, 16)
    )
    rows = []
    for query, own in zip(queries, h, strict=True):
        mixed = own + linear("out", softmax_mean(query, keys, values))
        mixed = (mixed - mixed.mean()) / (mixed.var(correction=0) + 1e-5).sqrt()
        rows.append(linear("map", linear("head", mixed)))
    torch.testing.assert_close(encoder(profile), torch.stack(rows))


def test_attention_is_that_of_torch_with_its_initial_weights():
    torch.manual_seed(1)
    reference = torch.nn.MultiheadAttention(8, 1)
    encoder = AttentionLocationEncoder(6, 4, hidden=8)
    for own, other in (
        (encoder.read.weight, reference.in_proj_weight),
        (encoder.out.weight, reference.out_proj.weight),
    ):  # uniform distributions of the same width
        assert own.abs().max().item() == pytest.approx(other.abs().max().item(), rel=0.1)
    assert not encoder.read.bias.any()
    assert not encoder.out.bias.any()
    reference.load_state_dict(
        {
            "in_proj_weight": encoder.read.weight,
            "in_proj_bias": encoder.read.bias,
            "out_proj.weight": encoder.out.weight,
            "out_proj.bias": encoder.out.bias,
        }
    )
    profile = torch.randn(5, 6)
    h = torch.relu(encoder.embed(profile))
    expected = encoder.map(encoder.head(encoder.norm(h + reference(h, h, h)[0])))
    torch.testing.assert_close(encoder(profile), expected)


def landmark(landmarks: int = 3) -> LandmarkLocationEncoder:
    torch.manual_seed(0)
    return LandmarkLocationEncoder(6, 4, hidden=8, landmarks=landmarks).double()


def softmax_mean(query: torch.Tensor, keys: list, values: list) -> torch.Tensor:
    scores = torch.stack([query @ key for key in keys]) / len(query) ** 0.5
    share = scores.exp() / scores.exp().sum()
    return sum(part * value for part, value in zip(share, values, strict=True))


def test_landmarks_by_hand():
    encoder, profile = landmark(), torch.randn(5, 6, dtype=torch.float64)
    h = encoder.embed(profile)
    keys, values = [encoder.inner_key(one) for one in h], [encoder.inner_value(one) for one in h]
    summary = [point + softmax_mean(point, keys, values) for point in encoder.landmarks]
    keys, values = [encoder.key(one) for one in summary], [encoder.value(one) for one in summary]
    rows = [one + softmax_mean(encoder.query(one), keys, values) for one in h]
    expected = [encoder.head(torch.nn.functional.layer_norm(row, (8,))) for row in rows]
    torch.testing.assert_close(encoder(profile), torch.stack(expected))


def test_one_landmark_at_zero_tells_every_location_the_mean():
    encoder, profile = landmark(landmarks=1), torch.randn(5, 6, dtype=torch.float64)
    encoder.landmarks.data.zero_()
    h = encoder.embed(profile)
    mean = encoder.value(encoder.inner_value(h.mean(0)))
    torch.testing.assert_close(encoder(profile), encoder.head(encoder.norm(h + mean)))


@pytest.mark.parametrize("encoder", [attention(100), landmark()])
def test_a_second_copy_of_every_location_changes_nothing(encoder):
    profile = torch.randn(5, 6, dtype=torch.float64)
    torch.testing.assert_close(encoder(profile.repeat(2, 1)), encoder(profile).repeat(2, 1))
    other = profile.clone()
    other[1:] += 1
    assert not torch.allclose(encoder(other)[0], encoder(profile)[0])  # the others are seen


@pytest.mark.parametrize("name", LOCATION_ENCODERS)
def test_every_parameter_has_a_first_and_a_second_derivative(name):
    torch.manual_seed(0)
    encoder = make_location_encoder(name, 6, 4).double()
    parameters = list(encoder.parameters())
    profile = torch.randn(9, 6, dtype=torch.float64)
    gradients = torch.autograd.grad(encoder(profile).pow(3).sum(), parameters, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in gradients), parameters)
    assert all(one.any() for one in (*gradients, *second))


@pytest.mark.parametrize("name", LOCATION_ENCODERS)
def test_permuting_locations_permutes_the_codes(name):
    encoder = make_location_encoder(name, 6, 4).double()
    profile, order = torch.randn(9, 6, dtype=torch.float64), torch.randperm(9)
    torch.testing.assert_close(encoder(profile[order]), encoder(profile)[order])


def test_memory_of_landmarks_is_linear_in_locations():
    # An (N, N) tensor of double precision would take 200 GB here.
    assert landmark()(torch.zeros(160_000, 6, dtype=torch.float64)).shape == (160_000, 4)


@pytest.mark.parametrize("name", LOCATION_ENCODERS)
def test_codes_of_any_number_of_locations(name):
    encoder = make_location_encoder(name, 6, 4)
    assert [encoder(torch.randn(n, 6)).shape for n in (1, 7)] == [(1, 4), (7, 4)]


def test_unknown_name_lists_the_choices():
    message = "unknown location encoder 'mpl': did you mean 'mlp'.*attention, landmark, mlp"
    with pytest.raises(InputError, match=message):
        make_location_encoder("mpl", 6, 4)

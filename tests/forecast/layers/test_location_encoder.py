from __future__ import annotations

import pytest
import torch

from stemdist.errors import InputError
from stemdist.forecast.layers.location_encoder import (
    LOCATION_ENCODERS,
    AttentionLocationEncoder,
    make_location_encoder,
)


def attention(block_rows: int) -> AttentionLocationEncoder:
    torch.manual_seed(0)
    return AttentionLocationEncoder(6, 4, hidden=8, block_rows=block_rows).double()


def test_blocked_attention_equals_unblocked_up_to_the_second_derivative():
    profile = torch.randn(10, 6, dtype=torch.float64, requires_grad=True)
    results = []
    for block_rows in (3, 100):
        encoder = attention(block_rows)
        codes = encoder(profile)
        (slope,) = torch.autograd.grad(codes.pow(3).sum(), profile, create_graph=True)
        second = torch.autograd.grad(slope.square().sum(), [profile, encoder.query.weight])
        results.append([codes, slope, *second])
    torch.testing.assert_close(*results)


def test_attention_by_hand():
    encoder = attention(100)
    profile = torch.randn(5, 6, dtype=torch.float64)
    h = encoder.embed(profile)
    rows = []
    for i in range(5):
        scores = torch.stack([encoder.query(h[i]) @ encoder.key(h[j]) for j in range(5)]) / 8**0.5
        share = scores.exp() / scores.exp().sum()
        mixed = h[i] + sum(share[j] * encoder.value(h[j]) for j in range(5))
        mixed = (mixed - mixed.mean()) / (mixed.var(correction=0) + 1e-5).sqrt()
        rows.append(encoder.head(mixed))
    torch.testing.assert_close(encoder(profile), torch.stack(rows))


@pytest.mark.parametrize("name", LOCATION_ENCODERS)
def test_codes_of_any_number_of_locations(name):
    encoder = make_location_encoder(name, 6, 4)
    assert [encoder(torch.randn(n, 6)).shape for n in (1, 7)] == [(1, 4), (7, 4)]


def test_unknown_name_lists_the_choices():
    message = "unknown location encoder 'mpl': did you mean 'mlp'.*attention, mlp"
    with pytest.raises(InputError, match=message):
        make_location_encoder("mpl", 6, 4)

"""Shares of the time axis."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemdist.data import Split
from stemdist.errors import InputError


def test_boundaries_by_hand():
    assert Split().boundaries(10) == {"train": (0, 6), "validation": (6, 8), "test": (8, 10)}
    split = Split(train=0.7, validation=0.3, test=0.0)
    assert split.boundaries(11) == {"train": (0, 7), "validation": (7, 11), "test": (11, 11)}


@given(st.integers(1, 98), st.integers(0, 50), st.integers(1, 5000))
def test_parts_follow_each_other_and_cover_everything(train, validation, steps):
    validation = min(validation, 100 - train)
    shares = (train / 100, validation / 100, (100 - train - validation) / 100)
    bounds = Split(**dict(zip(("train", "validation", "test"), shares, strict=True)))
    ends = list(bounds.boundaries(steps).values())
    assert ends[0][0] == 0
    assert ends[-1][1] == steps
    assert [e for _, e in ends[:-1]] == [b for b, _ in ends[1:]]
    for share, (begin, end) in zip(shares, ends, strict=True):
        assert abs(end - begin - share * steps) < 1 + 1e-6


@pytest.mark.parametrize(
    "shares", [(0.6, 0.2, 0.3), (0.0, 0.5, 0.5), (1.2, -0.1, -0.1), (math.nan, 0.2, 0.2)]
)
def test_wrong_shares(shares):
    with pytest.raises(InputError, match=r"three shares .* that sum to 1"):
        Split(train=shares[0], validation=shares[1], test=shares[2])

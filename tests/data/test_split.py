"""Shares of the time axis."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemdist.data import Split
from stemdist.data.split import PARTS
from stemdist.errors import InputError


def test_boundaries_by_hand():
    assert Split().boundaries(10) == {"train": (0, 6), "validation": (6, 8), "test": (8, 10)}
    assert Split(train=4, validation=3, test=2).boundaries(10) == {
        "train": (0, 4),
        "validation": (4, 7),
        "test": (7, 9),
    }
    assert Split(train=4, validation=3, test=2).boundaries(6)["test"] == (6, 6)
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


def test_shares_that_floats_cannot_hold():
    assert 0.29 * 100 < 29  # by the last bit
    bounds = Split(train=0.29, validation=0.29, test=0.42).boundaries(100)
    assert bounds == {"train": (0, 29), "validation": (29, 58), "test": (58, 100)}
    # a sum just above 1 reaches no further than the end
    over = Split(train=0.5, validation=0.5 + 9e-7, test=0.0).boundaries(10_000_000)
    assert over == {
        "train": (0, 5_000_000),
        "validation": (5_000_000, 10_000_000),
        "test": (10_000_000, 10_000_000),
    }


def test_sums_may_be_off_by_a_millionth():
    Split(train=0.6, validation=0.2, test=0.2 + 9e-7)
    for off in (2e-6, -2e-6):
        with pytest.raises(InputError, match="sum to 1"):
            Split(train=0.6, validation=0.2, test=0.2 + off)


def test_what_each_share_may_be():
    Split(train=1.0, validation=0.0, test=0.0)
    for shares in ((0.6, -0.1, 0.5), (0.6, 0.5, -0.1), (0.0, 0.5, 0.5)):
        with pytest.raises(
            InputError, match=r"split is \(.*the first above 0, e\.g\. 0\.6 0\.2 0\.2"
        ):
            Split(**dict(zip(PARTS, shares, strict=True)))

"""Messages that say what is wrong and what to do."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemdist.errors import (
    CatalogueError,
    InputError,
    MissingDependencyError,
    OutputError,
    StemdistError,
    check_count,
    check_distinct,
    check_ratio,
    unknown_name,
)


def test_every_error_is_ours_and_a_usual_one():
    pairs = {
        InputError: ValueError,
        CatalogueError: ValueError,
        MissingDependencyError: ImportError,
        OutputError: OSError,
    }
    for ours, usual in pairs.items():
        assert issubclass(ours, StemdistError)
        assert issubclass(ours, usual)


def test_unknown_names():
    near = unknown_name("forecaster", "mtgn", ["mtgnn", "mlp"], "See --help")
    message = "unknown forecaster 'mtgn': did you mean 'mtgnn'? Choose from: mlp, mtgnn. See --help"
    assert str(near) == message
    far = unknown_name("forecaster", "zzz", ["mtgnn", "mlp"])
    assert str(far) == "unknown forecaster 'zzz': Choose from: mlp, mtgnn"
    assert str(unknown_name("thing", "a", [])) == "unknown thing 'a': There is none to choose from"
    assert "unknown thing 5" in str(unknown_name("thing", 5, ["five"]))


@pytest.mark.parametrize("value", [0, -0.1, 1.0001, math.nan, math.inf, "0.1", None])
def test_wrong_ratio(value):
    with pytest.raises(InputError, match=r"time_ratio is .*share above 0 and at most 1"):
        check_ratio("time_ratio", value)


@given(st.floats(0, 1, exclude_min=True))
def test_ratio(value):
    assert check_ratio("ratio", value) == value


@pytest.mark.parametrize("value", [0, -3, 1.0, True, "2", None])
def test_wrong_count(value):
    with pytest.raises(InputError, match=r"lookback is .*whole number of at least 1"):
        check_count("lookback", value)


def test_count():
    assert check_count("seed", 0, minimum=0) == 0
    assert check_ratio("ratio", 1) == 1.0


def test_values_that_are_named_once():
    assert check_distinct("shares", iter([1.0, 0.5])) == (1.0, 0.5)
    assert check_distinct("references", (), minimum=0) == ()
    with pytest.raises(InputError, match=r"shares is \(\): give at least one, and each only once$"):
        check_distinct("shares", [])
    with pytest.raises(InputError, match=r"names is \('a', 'a'\): give each only once\. Leave one"):
        check_distinct("names", ["a", "a"], minimum=0, hint="Leave one out")

"""Where windows start and what fills gaps, by hand and against pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stemdist.data.gaps import fill_forward, gapless_starts, window_starts
from stemdist.errors import InputError

NO_GAPS = np.zeros(0, dtype=np.int64)


def test_starts_by_hand():
    assert window_starts(0, 7, 3, 2, NO_GAPS).tolist() == [0, 1, 2]
    assert window_starts(5, 10, 3, 2, NO_GAPS).tolist() == [5]
    assert window_starts(0, 12, 2, 2, np.array([3, 4])).tolist() == [0, 5, 6, 7, 8]
    # A gap just before or after the part does not matter.
    assert window_starts(4, 8, 2, 2, np.array([3, 7])).tolist() == [4]


def test_no_window_fits():
    message = r"the test part has 4 time steps: no window of lookback 3 \+ horizon 2 = 5 steps"
    with pytest.raises(InputError, match=message):
        window_starts(6, 10, 3, 2, NO_GAPS, "test")
    with pytest.raises(InputError, match="without crossing one of its 1 time gaps"):
        window_starts(0, 8, 3, 2, np.array([3]))


@given(
    begin=st.integers(0, 20),
    length=st.integers(0, 40),
    lookback=st.integers(1, 5),
    horizon=st.integers(1, 5),
    gaps=st.sets(st.integers(0, 60), max_size=6),
)
def test_starts_are_exactly_those_allowed(begin, length, lookback, horizon, gaps):
    span = lookback + horizon
    allowed = [
        start
        for start in range(begin, begin + length)
        if start + span <= begin + length and not gaps & set(range(start, start + span - 1))
    ]
    if not allowed:
        with pytest.raises(InputError, match="no window"):
            window_starts(begin, begin + length, lookback, horizon, np.array(sorted(gaps)))
        return
    found = window_starts(begin, begin + length, lookback, horizon, np.array(sorted(gaps)))
    assert found.tolist() == allowed


def test_fill_forward_by_hand():
    nan = np.nan
    values = np.array([[nan, 1.0], [2.0, nan], [nan, nan], [nan, nan], [5.0, 3.0]])
    filled = fill_forward(values, limit=2)
    assert filled.tolist() == [[0, 1], [2, 1], [2, 1], [2, 0], [5, 3]]
    assert np.isnan(values[0, 0])  # the input is left alone


@settings(max_examples=50)
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 12), st.integers(1, 3)),
        elements=st.one_of(st.just(np.nan), st.floats(-9, 9)),
    ),
    st.integers(1, 5),
)
def test_fill_forward_equals_pandas(values, limit):
    expected = pd.DataFrame(values).ffill(limit=limit).fillna(0.0)
    np.testing.assert_array_equal(fill_forward(values, limit), expected)
    deep = fill_forward(np.stack([values, values], axis=-1), limit)
    np.testing.assert_array_equal(deep[..., 1], expected)


def test_no_runs_in_a_part_that_is_too_short():
    assert gapless_starts(5, 3, 4, NO_GAPS).tolist() == []
    assert gapless_starts(5, 9, 5, NO_GAPS).tolist() == []
    assert gapless_starts(5, 9, 4, NO_GAPS).tolist() == [5]
    assert gapless_starts(0, 3, 1, np.array([0, 1])).tolist() == [0, 1, 2]


def test_message_without_gaps_or_a_name():
    with pytest.raises(InputError) as found:
        window_starts(0, 4, 3, 2, NO_GAPS)
    assert str(found.value) == (
        "the series part has 4 time steps: no window of lookback 3 + horizon 2 = 5 steps fits in. "
        "Use a shorter --lookback or --horizon, a longer series, or another --split"
    )
    with pytest.raises(InputError, match=r"fits in without crossing one of its 2 time gaps\. Use"):
        window_starts(0, 8, 3, 2, np.array([3, 4]))


def test_fill_forward_keeps_type_and_what_is_whole():
    whole = np.ones((3, 2), dtype=np.float32)
    assert fill_forward(whole, limit=1) is whole
    gappy = np.array([[np.nan], [1.5], [np.nan]], dtype=np.float32)
    filled = fill_forward(gappy, limit=1)
    assert filled.dtype == np.float32
    assert filled.ravel().tolist() == [0.0, 1.5, 1.5]
    assert fill_forward(gappy, limit=0).ravel().tolist() == [0.0, 1.5, 0.0]
    assert fill_forward(np.array([np.inf, 2.0, np.nan]), limit=3).tolist() == [0.0, 2.0, 2.0]

import math

import pytest

from stemdist.durations import TimeLimit, parse_seconds
from stemdist.errors import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("5min", 300),
        ("1.5 h", 5400),
        ("2D", 172800),
        (0.5, 0.5),
        (1e-9, 1e-9),
    ],
)
def test_time_spans(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "five", "5 m", "0s", "-3", "1:30", "nan", math.nan, math.inf, 0, -1.0]
)
def test_what_is_no_time_span(text):
    with pytest.raises(InputError, match="is no time span: give one such as 90s, 5min or 2h"):
        parse_seconds(text)


def test_a_limit_is_over_when_its_seconds_are_spent(monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    limit, without = TimeLimit(60.0, began=now), TimeLimit(began=now)
    now = 159.9
    assert not limit.over
    assert limit.spent == pytest.approx(59.9)
    now = 160.0
    assert limit.over
    assert not without.over

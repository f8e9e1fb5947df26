"""What the check of values finds, and what it leaves in peace."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemdist.data.checks import ValueSummary, check_values, plausible_range
from stemdist.errors import InputError

RANDOM = np.random.default_rng(0)


def kinds(values):
    summary = ValueSummary(n_steps=len(values), n_locations=values.shape[1])
    for begin in range(0, len(values), 7):
        summary.add(values[begin : begin + 7], begin)
    return {finding.kind: str(finding) for finding in summary.findings()}


def natural():
    return RANDOM.normal(280.0, 5.0, size=(200, 12))


@pytest.mark.parametrize("bad", [-9999.0, 1e20, 9.96921e36, -1e30])
def test_sentinels_are_named_with_the_option(bad):
    values = natural()
    values[RANDOM.random(values.shape) < 0.05] = bad
    assert f"--null-value {bad:g}" in kinds(values)["extremes"]
    with pytest.raises(InputError, match="lie far from all other values"):
        check_values(values, "t")
    check_values(values, "t", accept=("extremes",))


def test_several_sentinels_do_not_hide_one_another():
    values = natural()
    values[3, 2], values[50:60, 1], values[7, 7] = 1e30, -9999.0, 1e20
    found = kinds(values)["extremes"]
    assert all(text in found for text in ("-9999", "1e+20", "1e+30"))


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.gamma(0.1, 5.0, size=(300, 9)) * (RANDOM.random((300, 9)) < 0.05),  # rain
        RANDOM.lognormal(0.0, 2.0, size=(300, 9)),
        RANDOM.poisson(3.0, size=(300, 9)).astype(float),
        RANDOM.standard_cauchy(size=(300, 9)).clip(-400, 400),
    ],
    ids=["rain", "lognormal", "counts", "heavy tails"],
)
def test_natural_values_are_left_in_peace(values):
    assert not {"extremes", "zeros"} & set(kinds(values))


def test_zeros_apart_from_the_rest():
    values = RANDOM.normal(60.0, 5.0, size=(200, 12))
    values[RANDOM.random(values.shape) < 0.08] = 0.0
    assert "--null-value 0" in kinds(values)["zeros"]


def test_dead_locations_and_empty_stretches():
    values = natural()
    values[:, 4] = 0.5
    values[150:] = np.nan
    found = kinds(values)
    assert "1 of 12 locations never change: 4 (0.5)" in found["constant"]
    assert "from 150 to 199 (25% of time)" in found["empty"]
    unwritten = RANDOM.normal(size=(200, 12))
    unwritten[:60] = 0.0
    assert "all locations are exactly 0 from 0 to 59" in kinds(unwritten)["empty"]


def test_nothing_to_say_of_what_cannot_be_forecast():
    assert not kinds(np.full((20, 2), np.nan))
    assert not kinds(np.ones((20, 2)))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_the_plausible_range_holds_most_distinct_values(values):
    values = np.asarray(values)
    found = plausible_range(values)
    if found is not None:
        low, high = found
        distinct = np.unique(values)
        inside = (distinct >= low) & (distinct <= high)
        assert inside.sum() >= len(distinct) - 2 * max(1, len(distinct) // 20)
        assert not inside.all()


@settings(max_examples=60, deadline=None)
@given(
    sentinel=st.sampled_from([-9999.0, -999.0, -99999.0, 9999.0, 1e20, 1e30, -1e34, 9.96921e36]),
    share=st.floats(0.001, 0.6),
    centre=st.floats(-100, 100),
    spread=st.floats(0.1, 20),
    seed=st.integers(0, 99),
)
def test_a_sentinel_is_noticed_at_any_share(sentinel, share, centre, spread, seed):
    random = np.random.default_rng(seed)
    values = random.normal(centre, spread, (200, 12))
    hit = random.permutation(values.size)[: max(1, round(share * values.size))]
    values.flat[hit] = sentinel
    assert "extremes" in kinds(values)


def test_a_code_among_the_values_is_a_value():
    values = natural()
    values[3, 4] = -999.0
    assert "-999" in kinds(values)["extremes"]
    wide = RANDOM.uniform(-2000.0, 2000.0, (200, 12))
    wide[3, 4] = -999.0
    assert "extremes" not in kinds(wide)

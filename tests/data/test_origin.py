"""What artefacts remember of their data, and what is refused of other data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stemdist.data import OpenOptions, open_series
from stemdist.data.conventions.units import same_unit
from stemdist.data.origin import check_origin, origin_of, recalled
from stemdist.errors import InputError


def series(freq="h", units="K", **options) -> xr.Dataset:
    time = pd.date_range("2020-01-01", periods=24, freq=freq)
    values = np.random.default_rng(0).normal(size=(24, 3))
    raw = xr.Dataset({"v": (("time", "station"), values, {"units": units})}, {"time": time})
    return open_series(raw, **options)


def test_what_is_remembered(tmp_path):
    path = tmp_path / "speeds.csv"
    path.write_text("a,b\n" + "1,2\n3,0\n" * 4)
    options = {"start": "2020-01-01", "step_minutes": 5.0, "null_value": 0.0}
    record = origin_of(open_series(path, **options))
    assert record["source_name"] == "speeds.csv"
    assert record["opening"] == options
    assert record["step"] == {"seconds": 300.0}
    again = recalled(OpenOptions(), record, str(path))
    assert (again.start, again.step_minutes, again.null_value) == ("2020-01-01", 5.0, 0.0)
    other = recalled(OpenOptions(start="2021-01-01"), record, "elsewhere/later.csv")
    assert (other.start, other.step_minutes, other.null_value) == ("2021-01-01", None, 0.0)


def test_a_contradiction_is_refused():
    record = origin_of(series(null_value=-1.0))
    with pytest.raises(InputError, match=r"null_value is 0.0, but the artefact .* with -1.0"):
        recalled(OpenOptions(null_value=0.0), record, "w.nc")
    assert recalled(OpenOptions(null_value=-1.0), record, "w.nc").null_value == -1.0


def test_months_are_remembered_as_months():
    assert origin_of(series("MS"))["step"] == {"months": 1}
    check_origin(series("ME"), origin_of(series("MS")), what="the set")
    with pytest.raises(InputError, match=r"is 1 month here, .* steps of 3 months"):
        check_origin(series("MS"), origin_of(series("QS")), what="the set")


def test_units_and_steps_are_compared():
    record = origin_of(series())
    check_origin(series(units="kelvin"), record, what="the set")
    with pytest.raises(InputError, match=r"'v' is in 'degC' here, but the set .* from 'K'"):
        check_origin(series(units="degC"), record, what="the set")
    check_origin(series(units="degC", accept=["units"]), record, what="the set")
    with pytest.raises(InputError, match=r"is 30 minutes here, but the set .* 60 minutes"):
        check_origin(series("30min"), record, what="the set")
    check_origin(series("30min"), record, what="the set", accept=["step"])


def test_a_missing_value_that_is_not_given_is_refused():
    record = origin_of(series(null_value=0.0))
    with pytest.raises(InputError, match=r"in which 0 means 'missing'.*--null-value 0"):
        check_origin(series(), record, what="the set")
    check_origin(series(null_value=0.0), record, what="the set")


def test_records_of_earlier_versions_compare_nothing():
    check_origin(series(), {"source_name": "w.nc"}, what="the set")


def test_what_can_be_accepted():
    with pytest.raises(InputError, match="unknown thing to accept 'unit': did you mean 'units'"):
        OpenOptions(accept=["unit"])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("m s-1", "m s**-1", True), ("degC", "Celsius", True), ("K", "degC", False), ("", "1", True)],
)
def test_units_by_another_name(one, other, same):
    assert same_unit(one, other) is same

"""A distilled file that was changed is refused, whatever was changed."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from stemdist.data import canonical_series, simulate
from stemdist.distill import DistilledSet, DistillSettings, distill
from stemdist.errors import InputError
from stemdist.forecast import FittedForecaster, ForecastTask, TrainingSettings, fit_forecaster


@pytest.fixture(scope="module")
def task():
    return ForecastTask.from_series(
        canonical_series(simulate("weather-sim", days=8, n_lat=4, n_lon=4))
    )


@pytest.fixture(scope="module")
def stored(task) -> xr.Dataset:
    quick = DistillSettings(
        labels="observed", synthesizer="selection", judging=TrainingSettings(updates=2)
    )
    return distill(task, quick).to_xarray()


def with_one(dataset: xr.Dataset, name: str, value: float) -> xr.Dataset:
    changed = dataset.copy(deep=True)
    changed[name].values.flat[0] = value
    return changed


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("cluster_of_location", -1, "holds -1, which is not a number from 0 to"),
        ("cluster_of_location", 10**6, "holds 1000000"),
        ("cluster_medoid", 99, "holds 99"),
        ("edge_source", -1, "holds -1"),
        ("location_edge_target", 10**6, "holds 1000000"),
        ("cluster_weight", 0.0, "not above 0"),
        ("cluster_profile", np.nan, "not finite"),
        ("edge_weight", np.inf, "not finite"),
        ("x", np.inf, "infinite"),
        ("x", 1.5, "SHA-256"),
        ("y", 1.5, "SHA-256"),
        ("scaler_mean", 0.0, "SHA-256"),
    ],
)
def test_a_changed_number_is_refused(stored, name, value, message):
    with pytest.raises(InputError, match=message):
        DistilledSet.from_xarray(with_one(stored, name, value))


def test_targets_that_are_all_missing_are_refused(stored):
    with pytest.raises(InputError, match="all targets 'y' are missing"):
        DistilledSet.from_xarray(stored.assign(y=stored["y"] * np.nan))


def test_a_change_that_is_meant(stored):
    changed = with_one(stored, "y", 1.5)
    del changed.attrs["sha256"]
    assert float(DistilledSet.from_xarray(changed).to_xarray()["y"].values.flat[0]) == 1.5


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
def test_what_is_written_is_read_again(stored, tmp_path, name):
    DistilledSet.from_xarray(stored).save(tmp_path / name)
    assert DistilledSet.load(tmp_path / name).to_xarray().attrs["sha256"] == stored.attrs["sha256"]


def test_a_flipped_byte_of_the_weights_is_refused(task, tmp_path):
    fitted = fit_forecaster(task, "linear", TrainingSettings(updates=2))
    path = fitted.save(tmp_path / "model") / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 0x40
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"weights.safetensors is not the file that was written"):
        FittedForecaster.load(tmp_path / "model")


def test_input_that_is_all_missing_is_refused(task):
    fitted = fit_forecaster(task, "linear", TrainingSettings(updates=2))
    series = task.series.copy(deep=True)
    series["t2m"][-12:] = np.nan
    with pytest.raises(InputError, match=r"all 12 steps from .* are missing"):
        fitted.predict(series)


def test_the_record_says_whose_data_they_were(task, stored):
    record = DistilledSet.from_xarray(stored).record
    assert record["license"] == stored.attrs["license"] == task.series.attrs["license"]

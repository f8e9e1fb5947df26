from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from stemdist.distill import DistilledSet, DistillSettings, distill, train_on_distilled
from stemdist.distill.ratios import compression_ratios
from stemdist.errors import InputError, OutputError
from stemdist.forecast import ForecastTask, TrainingSettings


@pytest.fixture(scope="module")
def distilled(task, quick) -> DistilledSet:
    return distill(task, replace(quick, synthesizer="selection", synthesizer_options={}))


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_round_trip(distilled, tmp_path, suffix):
    path = distilled.save(tmp_path / f"a{suffix}")
    again = DistilledSet.load(path)
    for name in ("x", "y", "mask", "weight"):
        mine, theirs = getattr(distilled.windows, name), getattr(again.windows, name)
        assert torch.allclose(mine, theirs, atol=1e-5), name
    assert torch.allclose(distilled.windows.profile, again.windows.profile)
    assert torch.equal(distilled.cluster_of_location, again.cluster_of_location)
    assert torch.equal(distilled.medoids, again.medoids)
    assert torch.equal(distilled.cluster_graph.edge_index, again.cluster_graph.edge_index)
    assert torch.equal(distilled.locations.profile, again.locations.profile)
    for name in ("settings", "scaler", "feature_names", "variables", "units", "y_kind"):
        assert getattr(distilled, name) == getattr(again, name), name
    assert DistillSettings.from_json(again.record["settings"]).time_ratio == 0.1


def test_targets_of_pointwise_experts_are_known_as_such(distilled, task, quick, tmp_path):
    def known(labels):
        settings = replace(quick, labels=labels, synthesizer="selection", synthesizer_options={})
        return distill(task, settings).windows.pointwise

    again = DistilledSet.load(distilled.save(tmp_path / "a.nc"))
    assert distilled.windows.pointwise
    assert again.training_set().source.pointwise
    assert not known("observed")
    assert not known("mixed")
    other = replace(distilled, windows=replace(distilled.windows, pointwise=False))
    assert other.content_hash != distilled.content_hash  # it is trained on in another way
    assert not DistilledSet.load(other.save(tmp_path / "b.nc")).windows.pointwise


def test_readable_with_xarray_alone(distilled, task, tmp_path):
    with xr.open_dataset(distilled.save(tmp_path / "a.nc")) as plain:
        assert dict(plain["x"].sizes) == {"window": 14, "lookback": 6, "cluster": 4, "feature": 2}
        assert plain["y"].attrs["units"] == "degC"
        assert 10 < float(plain["x"].isel(feature=0).mean()) < 30  # physical units
        assert plain["calendar"].dims == ("calendar_row", "lookback", "calendar_feature")
        assert plain.sizes["calendar_row"] <= 24  # hours
        hours = plain["calendar"].values[plain["calendar_of"].values]  # (M_S, K, L_in, 2)
        np.testing.assert_allclose((hours**2).sum(-1), 1, rtol=1e-5)
        assert float(plain["cluster_weight"].sum()) == task.n_locations


def test_positions_called_x_and_y(task, quick, tmp_path):
    places = {"x": ("location", np.arange(12.0) * 100), "y": ("location", np.arange(12.0) % 3)}
    series = task.series.assign_coords(places).assign_attrs(grid_dims="y x")
    projected = ForecastTask.from_series(series, task.settings)
    made = distill(projected, replace(quick, synthesizer="selection", synthesizer_options={}))
    path = made.save(tmp_path / "a.nc")
    again = DistilledSet.load(path)
    assert again.locations.coords.identical(made.locations.coords)
    assert torch.equal(again.locations.graph.cell, projected.graph.cell)
    assert torch.allclose(again.windows.x, made.windows.x, atol=1e-5)
    with xr.open_dataset(path) as plain:
        assert plain["x"].dims == ("window", "lookback", "cluster", "feature")
        assert plain["location_x"].dims == ("location",)


def test_medoid_windows_are_the_observed_ones(task, quick):
    observed = distill(
        task, replace(quick, labels="observed", synthesizer="selection", synthesizer_options={})
    )
    real = task.train.values[..., 0][:, observed.medoids]
    first = observed.windows.x[0, :, :, 0]
    hits = [t for t in range(len(real) - 6) if torch.equal(real[t : t + 6], first)]
    assert len(hits) == 1


def test_missing_targets_stay_missing(task, quick, tmp_path):
    observed = distill(
        task,
        replace(
            quick,
            labels="observed",
            synthesizer="selection",
            synthesizer_options={},
            time_ratio=1.0,
            space_ratio=1.0,
        ),
    )
    assert observed.windows.mask.min() == 0
    again = DistilledSet.load(observed.save(tmp_path / "a.nc"))
    assert torch.equal(again.windows.mask, observed.windows.mask)


def test_ratios_by_hand(distilled):
    # 14 of 136 windows, 4 of 12 locations; numbers: 14 * 4 * (6 * 2 + 3) of x and y, 6 * 2 of each
    # different calendar, and which of them each of 14 * 4 has; the series: 144 steps, 12 locations
    hours = distilled.windows.x[:, 0, :, 2:].flatten(0, 1).unique(dim=0)
    ratios = distilled.record["ratios"]
    assert ratios["window_ratio"] == pytest.approx(14 / 136 * 4 / 12)
    assert ratios["training_ratio"] == pytest.approx(14 * 4 / (136 * 12))
    assert ratios["byte_ratio"] == pytest.approx((14 * 4 * 16 + len(hours) * 12) / (144 * 12))
    own_calendars = replace(distilled.windows, x=distilled.windows.x + torch.rand(14, 6, 4, 1))
    with_more = compression_ratios(own_calendars, distilled.settings, 136, 12, 4 * 144 * 12)
    assert with_more["byte_ratio"] > ratios["byte_ratio"]


def test_learned_calendars_are_stored_by_cluster(distilled, tmp_path):
    x = distilled.windows.x + torch.rand(14, 6, 4, 1) / 10
    learned = replace(distilled, windows=replace(distilled.windows, x=x))
    path = learned.save(tmp_path / "learned.nc")
    with xr.open_dataset(path) as stored:
        assert list(stored["feature"].values) == list(learned.feature_names)
        assert stored.sizes["calendar_feature"] == 0
    again = DistilledSet.load(path)
    assert torch.allclose(again.windows.x, x, atol=1e-5)
    ratios = compression_ratios(again.windows, again.settings, 136, 12, 4 * 144 * 12)
    assert ratios["byte_ratio"] == pytest.approx(14 * 4 * (6 * 4 + 3) / (144 * 12))


def test_other_views(distilled):
    x, y, mask = distilled.torch_dataset()[0]
    assert (x.shape, y.shape, mask.shape) == ((6, 4, 4), (3, 4), (3, 4))
    data = distilled.to_pyg()
    assert data.x.shape == (4, 14, 6, 4)
    assert data.y.shape == (4, 14, 3)
    assert data.validate()


def test_trained_forecaster_serves_all_locations(distilled, task):
    fitted = train_on_distilled(distilled, "mlp", TrainingSettings(updates=5), validation=task)
    assert fitted.predict(task.series).shape == (1, 3, 12)
    other = ForecastTask.from_series(task.series, replace(task.settings, calendar=()))
    with pytest.raises(InputError, match="the validation data have the features"):
        train_on_distilled(distilled, "mlp", TrainingSettings(updates=5), validation=other)


def test_not_a_distilled_file(tmp_path):
    with pytest.raises(InputError, match=r"there is no distilled file .*make one with"):
        DistilledSet.load(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("hello")
    with pytest.raises(InputError, match="cannot be read as a distilled file"):
        DistilledSet.load(tmp_path / "text.nc")
    xr.Dataset({"a": ("b", np.zeros(2))}).to_netcdf(tmp_path / "plain.nc", engine="netcdf4")
    with pytest.raises(InputError, match="is not a distilled set: `stemdist distill DATA` makes"):
        DistilledSet.load(tmp_path / "plain.nc")
    later = xr.Dataset({"a": ("b", np.zeros(2))}, attrs={"stemdist_format": "stemdist-distilled-9"})
    later.to_netcdf(tmp_path / "later.nc", engine="netcdf4")
    with pytest.raises(InputError, match="is not a distilled file of this version"):
        DistilledSet.load(tmp_path / "later.nc")


def test_a_failed_save_leaves_the_old_file(distilled, tmp_path, monkeypatch):
    path = distilled.save(tmp_path / "a.nc")
    before = path.read_bytes()

    def full(self, target, **kwargs):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    with pytest.raises(OutputError, match="No space left on device"):
        distilled.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]

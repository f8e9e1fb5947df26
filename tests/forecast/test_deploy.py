"""A deployed file forecasts as its forecaster does, and a bad one replaces nothing."""

from __future__ import annotations

import errno
import json
import logging
import re
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import xarray as xr

from stemdist.data import canonical_series
from stemdist.errors import InputError, MissingDependencyError, OutputError, StemdistError
from stemdist.forecast import (
    FittedForecaster,
    Forecaster,
    ForecastTask,
    TaskSettings,
    TrainingSettings,
    fit_forecaster,
)
from stemdist.forecast import deploy as deploy_module
from stemdist.forecast.deploy import (
    Deployable,
    deploy,
    deployment_metadata,
    feature_names,
    open_deployed,
    random_windows,
)

LOOKBACK, HORIZON, STEPS = 2, 2, 40
LATS, LONS = [50.0, 51.0, 52.0], [0.0, 1.0]
SUFFIXES = [".onnx", ".pt2"]
SETTINGS = TaskSettings(lookback=LOOKBACK, horizon=HORIZON, calendar=("time_of_day",))

both_formats = pytest.mark.parametrize("suffix", SUFFIXES)


@cache
def task_of(targets=(), static=()):
    """Temperatures near 280 K and pressures near 101,325 Pa on a grid of 3 x 2 points."""
    draws = np.random.default_rng(0).standard_normal((2, STEPS, 3, 2))
    axes = ("time", "lat", "lon")
    raw = xr.Dataset(
        {
            "t": (axes, (280 + 4 * draws[0]).astype("f4"), {"units": "K"}),
            "p": (axes, (101_325 + 500 * draws[1]).astype("f4"), {"units": "Pa"}),
        },
        {"time": xr.date_range("2001-01-01", periods=STEPS, freq="6h"), "lat": LATS, "lon": LONS},
    )
    series = canonical_series(raw, variables=("t", "p"), static=static)
    return ForecastTask.from_series(series, replace(SETTINGS, targets=targets, static=static))


def fit(name="mlp", options=None, quantiles=(), **task):
    loss = {"loss": "quantile", "quantiles": quantiles} if quantiles else {}
    training = TrainingSettings(updates=2, validate_every=2, **loss)
    return fit_forecaster(task_of(**task), name, training, options=options or {})


def in_torch(fitted, x):
    with torch.no_grad():
        return Deployable(fitted)(x)


# --- the module ----------------------------------------------------


def constant(fitted, level):
    """Make the scaled forecasts of an MLP ``level``, whatever it reads."""
    with torch.no_grad():
        fitted.forecaster.head.weight.zero_()
        fitted.forecaster.head.bias.copy_(torch.as_tensor(level))
    return fitted


def test_forecasts_are_in_the_units_of_their_targets():
    fitted = constant(fit(targets=("t", "p")), [0.0, 1.0, 0.0, -2.0])  # two steps of each target
    forecast = in_torch(fitted, random_windows(fitted, 4))
    assert forecast.shape == (4, 2, HORIZON, 6)  # B, C, L_out, N
    (mean_t, mean_p), (scale_t, scale_p) = fitted.scaler.mean[:2], fitted.scaler.scale[:2]
    expected = torch.tensor([[mean_t, mean_t + scale_t], [mean_p, mean_p - 2 * scale_p]])
    torch.testing.assert_close(forecast, expected[:, :, None].expand(4, -1, -1, 6))


def test_quantiles_come_in_ascending_order():
    # Two targets at three levels, crossed for the first target: 1, -1, 0 and 0, 1, 2.
    levels = [1.0, 0.0, -1.0, 1.0, 0.0, 2.0]
    fitted = fit(targets=("t", "p"), quantiles=(0.1, 0.5, 0.9))
    constant(fitted, [level for level in levels for _ in range(HORIZON)])
    forecast = in_torch(fitted, random_windows(fitted, 5))
    assert forecast.shape == (5, 3, 2, HORIZON, 6)  # B, Q, C, L_out, N
    for target, multiples in ((0, [-1.0, 0.0, 1.0]), (1, [0.0, 1.0, 2.0])):
        mean, scale = fitted.scaler.mean[target], fitted.scaler.scale[target]
        found = (forecast[:, :, target] - mean) / scale
        expected = torch.tensor(multiples)[:, None, None].expand(5, 3, HORIZON, 6)
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_one_quantile_keeps_its_axis():
    fitted = fit(quantiles=(0.5,))
    assert in_torch(fitted, random_windows(fitted, 2)).shape == (2, 1, 1, HORIZON, 6)


def test_missing_values_become_the_mean_of_training():
    fitted = fit()
    x = random_windows(fitted, 2)
    mean = x.clone()
    x[0, 1, 3, 0] = torch.nan
    mean[0, 1, 3, 0] = fitted.scaler.mean[0]
    torch.testing.assert_close(in_torch(fitted, x), in_torch(fitted, mean))
    assert not in_torch(fitted, mean).equal(in_torch(fitted, random_windows(fitted, 2)))


def test_the_forecaster_itself_is_left_alone():
    fitted = fit()
    fitted.forecaster.train()
    Deployable(fitted)
    assert fitted.forecaster.training
    assert all(weight.requires_grad for weight in fitted.forecaster.parameters())


# --- the file ------------------------------------------------------

IN_BOTH_FORMATS = [
    ("mlp", {"hidden": 8, "location_encoder": "attention"}),
    ("gru", {"hidden": 4}),
]
AS_ONNX = [  # a program of torch.export becomes the graph of ONNX: both are made
    ("linear", {}),
    ("decomposition-mlp", {"hidden": 4, "kernel": 3, "level": "reversible"}),
    ("patchtst", {"hidden": 8, "feed_forward": 8, "heads": 2, "layers": 1, "patch": 2}),
    ("unet", {"channels": 2, "levels": 2}),
    (
        "module",
        {
            "factory": "torch.nn:Linear",
            "options": {"in_features": LOOKBACK * 5, "out_features": HORIZON},
            "layout": "(B N) (T F)",
            "output": "(B N) H",
        },
    ),
]
AS_PROGRAM = [  # slow to export, or made of the parts of those above
    ("dlinear", {}),
    ("rlinear", {}),
    ("bottleneck-mlp", {"hidden": 4}),
    ("lstm", {"hidden": 4}),
    ("rnn", {"hidden": 4}),
    ("binned-rnn", {"hidden": 4}),
    ("lowrank-linear", {"rank": 2}),
    ("graph-transformer", {"hidden": 8, "heads": 2, "layers": 1, "attention": "full"}),
    ("agcrn", {"hidden": 4, "layers": 1}),
]
CASES = [
    *((name, options, ".onnx") for name, options in IN_BOTH_FORMATS + AS_ONNX),
    *((name, options, ".pt2") for name, options in IN_BOTH_FORMATS + AS_PROGRAM),
]


@pytest.mark.parametrize(
    ("name", "options", "suffix"), CASES, ids=[name + suffix for name, _, suffix in CASES]
)
def test_the_file_forecasts_as_the_forecaster(name, options, suffix, tmp_path):
    fitted = fit(name, options)
    path = deploy(fitted, tmp_path / f"model{suffix}")
    assert path == tmp_path / f"model{suffix}"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    _, forecast = open_deployed(path)
    for count in (1, 5):
        x = random_windows(fitted, count, seed=7)
        found = forecast(x)
        assert found.shape == (count, 1, HORIZON, 6)
        torch.testing.assert_close(found, in_torch(fitted, x), rtol=1e-5, atol=1e-3)


@both_formats
def test_quantiles_of_several_targets(suffix, tmp_path):
    task, fitted = task_of(targets=("t", "p")), fit(targets=("t", "p"), quantiles=(0.1, 0.9))
    metadata, forecast = open_deployed(deploy(fitted, tmp_path / f"model{suffix}"))
    x = random_windows(fitted, 5)
    found = forecast(x)
    assert found.shape == (5, 2, 2, HORIZON, 6)
    assert (found[:, 0] <= found[:, 1]).all()
    torch.testing.assert_close(found, in_torch(fitted, x), rtol=1e-5, atol=1e-3)
    assert (metadata["targets"], metadata["quantiles"]) == (["t", "p"], [0.1, 0.9])
    expected = fitted.predict(task.series, init_times="all").isel(init_time=[0, 9])
    found = forecast(fitted.scaler.inverse_features(task.train.inputs(torch.tensor([0, 9]))))
    for target, name in enumerate(("t", "p")):
        there = expected[name].transpose("init_time", "quantile", "horizon", ...)
        there = there.values.reshape(2, 2, HORIZON, 6)
        np.testing.assert_allclose(found[:, :, target], there, rtol=1e-5)


@both_formats
def test_a_fixed_number_of_windows(suffix, tmp_path):
    fitted = fit()
    _, forecast = open_deployed(deploy(fitted, tmp_path / f"model{suffix}", batch=2))
    x = random_windows(fitted, 2)
    torch.testing.assert_close(forecast(x), in_torch(fitted, x), rtol=1e-5, atol=1e-3)
    with pytest.raises(Exception, match=r"(?i)dimension|guard|shape"):
        forecast(random_windows(fitted, 3))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """Return a function that writes one forecaster once in each format."""
    folder = tmp_path_factory.mktemp("deployed")
    fitted = fit(targets=("t",), static=("lat",))
    write = cache(lambda suffix: deploy(fitted, folder / f"model{suffix}"))
    return lambda suffix: (fitted, write(suffix))


def test_plain_onnxruntime_is_enough(deployed):
    runtime = pytest.importorskip("onnxruntime")
    fitted, path = deployed(".onnx")
    session = runtime.InferenceSession(path)
    assert [(item.name, item.shape) for item in session.get_inputs()] == [
        ("x", ["window", LOOKBACK, 6, 6])
    ]
    (output,) = session.get_outputs()
    assert (output.name, output.shape) == ("forecast", ["window", 1, HORIZON, 6])
    x = random_windows(fitted, 3)
    (forecast,) = session.run(None, {"x": x.numpy()})
    np.testing.assert_allclose(forecast, in_torch(fitted, x), rtol=1e-5)
    metadata = json.loads(session.get_modelmeta().custom_metadata_map["stemdist"])
    assert metadata == deployment_metadata(fitted)


@both_formats
def test_the_file_does_not_say_where_it_was_made(suffix, deployed):
    content = deployed(suffix)[1].read_bytes()
    home = deploy_module.__file__.rpartition("/")[0]
    assert home.encode() not in content
    assert b"site-packages" not in content


@both_formats
def test_metadata(suffix, deployed):
    metadata, _ = open_deployed(deployed(suffix)[1])
    waves = ["time_of_day_sin", "time_of_day_cos"]
    assert metadata.pop("stemdist_version").startswith("0.")
    assert metadata == {
        "comment": "made by stemdist deploy",
        "forecaster": "mlp",
        "features": ["t", "t_neighbours", "p", *waves, "lat"],
        "feature_units": ["K", "K", None, "1", "1", None],
        "lookback": LOOKBACK,
        "horizon": HORIZON,
        "locations": [0, 1, 2, 3, 4, 5],
        "positions": {
            "lat": [50.0, 50.0, 51.0, 51.0, 52.0, 52.0],
            "lon": [0.0, 1.0] * 3,
        },
        "targets": ["t"],
        "units": ["K"],
        "quantiles": [],
    }


def test_names_are_those_of_the_task():
    for task in ({}, {"targets": ("t", "p")}, {"static": ("lat", "lon")}):
        assert feature_names(fit("linear", **task)) == task_of(**task).feature_names


# --- what can go wrong ---------------------------------------------


@pytest.fixture
def occupied(tmp_path):
    """Two files of the names to be written, with other content."""
    for suffix in SUFFIXES:
        (tmp_path / f"model{suffix}").write_text("old")
    return tmp_path


def is_untouched(folder):
    names = sorted(file.name for file in folder.iterdir())
    contents = {file.read_text() for file in folder.iterdir()}
    return names == ["model.onnx", "model.pt2"] and contents == {"old"}


@both_formats
def test_a_file_that_forecasts_otherwise_is_not_kept(suffix, occupied, monkeypatch):
    fitted = fit()

    def shifted(*args):
        return deploy_quantiles(*args) + 0.01 * fitted.scaler.scale[0]

    deploy_quantiles = deploy_module.physical_quantiles
    monkeypatch.setattr(deploy_module, "physical_quantiles", shifted)
    with pytest.raises(StemdistError, match=r"does not forecast as 'mlp' does: .* 0\.01 standard"):
        deploy(fitted, occupied / f"model{suffix}")
    assert is_untouched(occupied)


def test_a_forecast_that_is_not_finite_is_not_kept(occupied):
    with pytest.raises(StemdistError, match="does not forecast as"):
        deploy(constant(fit(), [torch.nan, 0.0]), occupied / "model.pt2")
    assert is_untouched(occupied)


@both_formats
def test_a_full_disk_leaves_the_old_file(suffix, occupied, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch.export, "save", full)
    monkeypatch.setattr(torch.onnx.ONNXProgram, "save", full)
    with pytest.raises(OutputError, match=r"No space left on device.*Nothing was changed"):
        deploy(fit(), occupied / f"model{suffix}")
    assert is_untouched(occupied)


LIBRARIES = ["onnx", "onnxscript", "onnxruntime"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_missing_library(library, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    message = re.escape(
        f"writing .onnx files needs {library}, which is not installed: "
        'pip install "stemdist[deploy]"'
    )
    with pytest.raises(MissingDependencyError, match=message):
        deploy(fit(), tmp_path / "model.onnx")


def test_programs_of_torch_need_no_library(tmp_path, monkeypatch):
    for library in LIBRARIES:
        monkeypatch.setitem(sys.modules, library, None)
    assert deploy(fit(), tmp_path / "model.pt2").is_file()


@pytest.mark.parametrize(
    ("name", "said"), [("model.tflite", "not '.tflite'"), ("model", "not 'nothing'")]
)
def test_an_unknown_ending(name, said, tmp_path):
    message = rf"must end in .onnx or .pt2, {said}: name it 'model.onnx'"
    with pytest.raises(InputError, match=message):
        deploy(fit(), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("batch", [0, -1, 1.5])
def test_an_impossible_number_of_windows(batch, tmp_path):
    with pytest.raises(InputError, match=rf"batch is {batch}"):
        deploy(fit(), tmp_path / "model.pt2", batch=batch)


class Undecided(Forecaster):
    """What it does depends on the values it reads."""

    def forward(self, x, graph, profile):
        last = x[:, -1, :, 0]
        if last.mean() > 0:
            last = -last
        return last[:, None].expand(-1, self.horizon, -1)


class WindowByWindow(Forecaster):
    """Goes through the windows of a call in Python."""

    def forward(self, x, graph, profile):
        return torch.stack([window[-1:, :, 0].expand(self.horizon, -1) for window in x])


def plugged_in(kind):
    module = kind(lookback=LOOKBACK, horizon=HORIZON, n_features=5).eval()
    return FittedForecaster(**{**vars(fit()), "name": "plug-in", "forecaster": module})


@both_formats
def test_a_forecaster_that_cannot_be_exported(suffix, occupied):
    message = r"'plug-in' cannot be exported as a program \(.+\)\. .*batch=1.*e\.g\. mlp, dlinear"
    with pytest.raises(InputError, match=message) as caught:
        deploy(plugged_in(Undecided), occupied / f"model{suffix}")
    assert "\n" not in str(caught.value)
    assert is_untouched(occupied)


def test_a_forecaster_of_a_fixed_number_of_windows(tmp_path):
    fitted = plugged_in(WindowByWindow)
    with pytest.raises(InputError, match=r"Fix the number of windows of a call \(batch=1\)"):
        deploy(fitted, tmp_path / "model.pt2")
    _, forecast = open_deployed(deploy(fitted, tmp_path / "model.pt2", batch=2))
    x = random_windows(fitted, 2)
    torch.testing.assert_close(forecast(x)[:, 0, 0], x[:, -1, :, 0], rtol=1e-5, atol=1e-3)


class Gamma(Forecaster):
    """Torch has this function, and ONNX has not."""

    def forward(self, x, graph, profile):
        last = torch.special.i1(x[:, -1, :, 0])
        return last[:, None].expand(-1, self.horizon, -1)


def test_what_onnx_lacks_may_work_in_torch(tmp_path):
    fitted = plugged_in(Gamma)
    assert deploy(fitted, tmp_path / "model.pt2").is_file()
    with pytest.raises(InputError, match=r"exported as \.onnx \(.+\)\. Write \.pt2 instead, or"):
        deploy(fitted, tmp_path / "model.onnx")


def test_warnings_and_logs_are_as_before(tmp_path, caplog):
    deploy(fit(), tmp_path / "model.onnx")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    logging.getLogger("stemdist").warning("still heard")
    assert caplog.records[-1].message == "still heard"

"""The package as its users import it: one call per job, and the accessor."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
import xarray as xr

import stemdist
from stemdist.errors import InputError

QUICK = {
    "lookback": 6,
    "horizon": 3,
    "labels": "observed",
    "synthesizer": "selection",
    "clusters": 4,
    "judge_seeds": 1,
}
COMPARISON = {
    "forecasters": ("linear",),
    "references": ("distilled", "random"),
    "seeds": 1,
    "learning_rates": (1e-3,),
    "updates": 2,
    "validation_windows": 4,
}


@pytest.fixture(scope="module")
def raw():
    return stemdist.simulate("weather-sim", days=4, n_lat=3, n_lon=4)


@pytest.fixture(scope="module")
def quick():
    return {**QUICK, "judging": stemdist.TrainingSettings(updates=2)}


@pytest.fixture(scope="module")
def tiny(raw, quick):
    return stemdist.distill_series(raw, **quick)


def assert_same(one, other):
    assert torch.equal(one.windows.x, other.windows.x)
    assert torch.equal(one.windows.y, other.windows.y)
    assert one.record["content_hash"] == other.record["content_hash"]


@pytest.mark.parametrize("name", stemdist.__all__)
def test_every_public_name_resolves(name):
    assert getattr(stemdist, name).__name__ == name
    assert name in dir(stemdist)


def test_public_names_are_listed_once_and_sorted():
    assert sorted(stemdist._HOME) == stemdist.__all__


def test_unknown_public_name():
    with pytest.raises(AttributeError, match="module 'stemdist' has no attribute 'distil'"):
        _ = stemdist.distil


def test_importing_the_package_does_not_import_torch():
    code = (
        "import stemdist, sys, xarray; dir(stemdist); xarray.Dataset().stemdist; "
        "print([m for m in ('torch', 'sklearn', 'stemdist.cli', 'stemdist.data') if m in "
        "sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_raw_canonical_and_array_give_the_same_set(raw, quick, tiny):
    assert tiny.n_clusters == 4  # round(0.3 * 12)
    assert tiny.variables == ("t2m",)
    assert tiny.windows.y.shape == (5, 3, 4)  # round(0.1 * (57 - 9 + 1)) windows
    assert_same(stemdist.distill_series(stemdist.open_series(raw), **quick), tiny)
    assert_same(stemdist.distill_series(raw["t2m"], **quick), tiny)
    assert_same(raw.stemdist.distill(variable="t2m", **quick), tiny)


@pytest.mark.parametrize("static", [("elevation",), "elevation"])
def test_static_features_are_taken_from_the_raw_series(raw, quick, static):
    names = ("t2m", "t2m_neighbours", "elevation")
    ours = stemdist.distill_series(raw, static=static, **quick)
    assert ours.feature_names == names
    accessed = raw.stemdist.distill(static=static, **quick)
    assert_same(accessed, ours)
    fitted = stemdist.train(ours, "linear", updates=2)
    assert np.isfinite(fitted.predict(raw)).all()
    table = stemdist.evaluate_distilled(ours, raw, **COMPARISON).table
    assert np.isfinite(table["rmse"]).all()


def test_one_calendar_feature_as_text(raw, quick):
    timed = stemdist.distill_series(raw, calendar="time_of_day", **quick)
    assert timed.settings.calendar == ("time_of_day",)


def test_several_variables_need_a_choice(raw, quick):
    two = raw.assign(wind=2 * raw["t2m"])
    with pytest.raises(InputError, match=r"variables=\['t2m'\] in Python"):
        stemdist.distill_series(two, **quick)
    chosen = two.stemdist.distill(variable=["wind", "t2m"], **quick)
    assert chosen.variables == ("wind", "t2m")
    with pytest.raises(InputError, match=r"unknown variable 'wind'.*Choose from: t2m"):
        stemdist.evaluate_distilled(chosen, raw, **COMPARISON)
    with pytest.raises(InputError, match=r"does not fit the data: features \('wind'"):
        stemdist.evaluate_distilled(chosen, two.stemdist.series(["t2m", "wind"]), **COMPARISON)


def test_training_on_a_distilled_set(raw, tiny):
    fitted = stemdist.train(tiny, "mlp", updates=3, hyperparameters={"hidden": 8}, batch_windows=2)
    assert fitted.record["trained_on"] == "distilled"
    assert fitted.record["updates"] == 3
    assert fitted.forecaster.config["hidden"] == 8
    forecast = fitted.predict(raw)
    assert dict(forecast.sizes) == {"init_time": 1, "horizon": 3, "lat": 3, "lon": 4}
    xr.testing.assert_equal(fitted.predict(raw["t2m"]), forecast)
    assert forecast.attrs["license"] == raw.attrs["license"]


def test_training_on_a_series(raw):
    how = {"updates": 3, "lookback": 6, "horizon": 3}
    fitted = stemdist.train(raw, "linear", **how)
    assert fitted.record["trained_on"] == "full"
    assert fitted.settings.lookback == 6
    accessed = raw.stemdist.train("linear", **how)
    xr.testing.assert_equal(accessed.predict(raw), fitted.predict(raw))


def test_evaluation(raw, tiny, tmp_path):
    ours = stemdist.evaluate_distilled(tiny, raw, results=tmp_path, **COMPARISON)
    trained = ours.table[ours.table["forecaster"] == "linear"]
    assert set(trained["method"]) == {"distilled", "random"}
    assert any(tmp_path.iterdir())
    accessed = raw.stemdist.evaluate(tiny, **COMPARISON)
    assert accessed.table["rmse"].tolist() == ours.table["rmse"].tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda raw, tiny: stemdist.distill_series(raw, time_ration=0.1), "'time_ratio'"),
        (lambda raw, tiny: stemdist.distill_series(raw, horizn=3), "'horizon'"),
        (lambda raw, tiny: stemdist.train(raw, lookbak=3), "'lookback'"),
        (lambda raw, tiny: stemdist.train(raw, update=3), "'updates'"),
        (lambda raw, tiny: stemdist.train(tiny, learning_rat=3), "'learning_rate'"),
        (lambda raw, tiny: stemdist.evaluate_distilled(tiny, raw, seds=3), "'seeds'"),
        (lambda raw, tiny: raw.stemdist.distill(time_ration=0.1), "'time_ratio'"),
        (lambda raw, tiny: raw.stemdist.evaluate(tiny, seds=3), "'seeds'"),
    ],
)
def test_unknown_option(raw, tiny, call, message):
    with pytest.raises(InputError, match=rf"unknown option '\w+': did you mean {message}\?"):
        call(raw, tiny)


def test_a_distilled_set_fixes_the_windows(tiny, raw):
    with pytest.raises(InputError, match="horizon: no use here, because a distilled set fixes"):
        stemdist.train(tiny, horizon=6)
    with pytest.raises(InputError, match="validation is for learning from a distilled set"):
        stemdist.train(raw, validation=raw)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": (0.6, 0.4)}, r"split is \(0.6, 0.4\): give three shares"),
        ({"graph": "correlations"}, r"unknown graph 'correlations': did you mean 'correlation'"),
        ({"judging": 5}, r"judging is 5: give a stemdist.TrainingSettings\(...\), or a mapping"),
        ({"judging": {"update": 5}}, "unknown field of judging 'update': did you mean 'updates'"),
        ({"judging": {"patience": 2}}, "judging has patience=2, which changes nothing"),
        ({"effort": "fast"}, "unknown effort 'fast'"),
        ({"effort": "quick", "method": "mtt"}, "which the method 'mtt' does not have: choose def"),
        ({"lookback": 6.0}, "lookback is 6.0: it must be a whole number"),
        ({"time_ratio": 2}, "time_ratio is 2: it must be a share"),
        ({"static": "height"}, r"unknown static feature 'height'.*elevation"),
    ],
)
def test_wrong_value(raw, options, message):
    with pytest.raises(InputError, match=message):
        stemdist.distill_series(raw, **options)


@pytest.mark.parametrize("job", [stemdist.distill_series, stemdist.train])
def test_a_name_is_opened_first(job):
    with pytest.raises(InputError, match=r"the series is str: give .*stemdist\.open_series opens"):
        job("weather-sim")


def test_teach_from_a_series_and_from_a_distilled_set(raw, tiny):
    short = {"lookback": 6, "horizon": 3}
    teacher = stemdist.train(raw, "gru", updates=2, **short)
    student = stemdist.teach(raw, teacher, student="linear", updates=2, **short)
    again = raw.stemdist.teach(teacher, student="linear", updates=2, **short)
    assert student.record["teachers"] == ["gru"]
    for one, other in zip(
        student.forecaster.parameters(), again.forecaster.parameters(), strict=True
    ):
        assert torch.equal(one, other)
    small = stemdist.teach(tiny, teacher, student="linear", updates=2, validation=raw)
    assert small.record["trained_on"] == "distilled"
    assert small.predict(raw).dims == ("init_time", "horizon", "lat", "lon")
    with pytest.raises(InputError, match="horizon: no use here"):
        stemdist.teach(tiny, teacher, horizon=3)
    with pytest.raises(InputError, match="ask a teacher, and none is given"):
        stemdist.teach(raw, method="hints", **short)


def test_teach_trains_the_teachers_of_a_method_once(raw, tmp_path):
    how = {
        "lookback": 6,
        "horizon": 3,
        "updates": 2,
        "teacher_training": stemdist.TrainingSettings(updates=2),
        "cache": tmp_path,
    }
    first = stemdist.teach(raw, method="gru-linear", **how)
    second = stemdist.teach(raw, "gru", method="hints", **how)
    assert first.record["teacher_hashes"] == second.record["teacher_hashes"]
    assert len(list((tmp_path / "teachers").iterdir())) == 1


def _flat_linear(lookback: int, n_features: int, rows: int) -> torch.nn.Module:
    return torch.nn.Linear(lookback * n_features, rows)


def _no_module() -> dict[str, int]:
    return {}


SHORT = {"lookback": 6, "horizon": 3, "updates": 2}
FLAT = {"layout": "(B N) (T F)", "output": "(B N) H"}


@pytest.mark.parametrize(
    ("forecaster", "options"),
    [
        (torch.nn.Linear, {"options": {"in_features": 12, "out_features": 3}}),
        (_flat_linear, {}),
        (torch.nn.Linear(12, 3), {}),
    ],
    ids=["class", "function", "instance"],
)
def test_any_torch_module_is_trained(raw, tmp_path, forecaster, options):
    before = copy.deepcopy(forecaster) if isinstance(forecaster, torch.nn.Module) else None
    fitted = stemdist.train(raw, forecaster, hyperparameters={**FLAT, **options}, **SHORT)
    assert fitted.name == "module"
    if before is not None:  # a copy was trained
        assert torch.equal(before.weight, forecaster.weight)
        assert not torch.equal(before.weight, fitted.forecaster.module.weight)
    if forecaster is torch.nn.Linear:  # it can be imported again by its name
        fitted.save(tmp_path / "model")
        return
    with pytest.raises(InputError, match="cannot be saved, because its hyper-parameters are no"):
        fitted.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_is_no_module_is_refused(raw):
    with pytest.raises(InputError, match="the forecaster is 5: give a registered name"):
        stemdist.train(raw, 5)
    with pytest.raises(InputError, match="returned a dict: it must return a torch"):
        stemdist.train(raw, _no_module, hyperparameters=FLAT, **SHORT)


def test_validation_chooses_the_weights_of_a_distilled_set(raw, tiny):
    fitted = stemdist.train(tiny, "linear", validation=raw, updates=4, validate_every=2)
    assert fitted.record["validation_error"] is not None
    assert stemdist.train(tiny, "linear", updates=4).record["validation_error"] is None


def test_benchmark_takes_series_and_options(tmp_path):
    quick = {"labels": "observed", "judging": {"updates": 2}}
    longer = stemdist.simulate("weather-sim", days=8, n_lat=3, n_lon=4)
    found = stemdist.benchmark(
        {"w": stemdist.open_series(longer)},
        results=tmp_path,
        methods=("kmeans",),
        references=("full",),
        forecasters=("linear",),
        learning_rates=(5e-3,),
        seeds=1,
        updates=2,
        distill=quick,
    )
    assert found.excess().index.tolist() == [("0.1x0.1", "kmeans")]
    with pytest.raises(InputError, match="settings and seeds are both given"):
        stemdist.benchmark({}, stemdist.BenchmarkSettings(), results=tmp_path, seeds=2)

"""Objects show themselves in a few lines, and as HTML in a notebook."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from stemdist.data import canonical_series, simulate
from stemdist.distill import DistillSettings, distill
from stemdist.evaluate import BenchmarkSettings, EvaluationSettings, benchmark, evaluate
from stemdist.forecast import ForecastTask, TrainingSettings, fit_forecaster


@pytest.fixture(scope="module")
def task():
    series = canonical_series(simulate("weather-sim", days=8, n_lat=3, n_lon=4))
    return ForecastTask.from_series(series.assign_attrs(source_name="weather.nc"))


@pytest.fixture(scope="module")
def tiny(task):
    quick = DistillSettings.of("kmeans", judging=TrainingSettings(updates=2), judge_seeds=1)
    return distill(task, quick)


def parsed(shown):
    """Return the HTML as a tree; what is not well-formed raises."""
    return ElementTree.fromstring(f"<html>{shown._repr_html_()}</html>")


def test_a_distilled_set_is_short_and_says_its_size(tiny):
    text = repr(tiny)
    assert text == str(tiny)
    assert len(text.splitlines()) < 12
    assert "weather.nc" in text
    assert f"{tiny.n_clusters} of 12 locations" in text
    html = parsed(tiny)
    assert {each.text for each in html.iter("summary")} == {"record", "as xarray.Dataset"}
    inner = list(html.iter("rect"))[1]
    ratios = tiny.record["ratios"]
    area = float(inner.get("width")) / 160 * float(inner.get("height")) / 90
    assert area == pytest.approx(ratios["window_ratio"], rel=0.1)


def test_a_forecaster_says_what_it_forecasts_from_what(task):
    fitted = fit_forecaster(task, "linear", TrainingSettings(updates=3))
    text = repr(fitted)
    assert "3 updates on full data of weather.nc" in text
    assert f"{task.settings.horizon} steps of t2m" in text
    assert "LinearForecaster" in fitted._repr_html_()
    assert "history" not in fitted._repr_html_()


def test_results_show_their_table_and_verdict(task, tiny, tmp_path):
    settings = EvaluationSettings(
        forecasters=("linear",), references=("full", "distilled"), seeds=1, updates=3
    )
    found = evaluate(tiny, task, settings)
    assert repr(found) == str(found)
    html = parsed(found)
    assert "of the windows x locations, the distilled set is" in "".join(html.itertext())
    assert "linear" in [each.text for each in html.iter("th")]
    grid = BenchmarkSettings(
        methods=("random",), ratios=("0.1x0.5",), forecasters=("linear",), seeds=1, updates=3
    )
    shown = parsed(benchmark({"w": task}, grid, results=tmp_path))
    assert "the set of random" in "".join(shown.itertext())

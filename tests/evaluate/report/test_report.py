"""The report: every number is there, every figure is described, and nothing is fetched or run."""

import base64
import dataclasses
import json
import math
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch

from stemdist.cli.outputs import write_report
from stemdist.errors import InputError, MissingDependencyError
from stemdist.evaluate import (
    Benchmark,
    evaluate,
    fidelity,
    report_benchmark,
    report_evaluation,
    text_table,
)
from stemdist.evaluate.comparison.fidelity import spectra
from stemdist.evaluate.report import figures
from stemdist.evaluate.report.provenance import LOOKS
from stemdist.forecast.locations import Locations
from stemdist.page.elements import Cell, Image, Page, Paragraph, Section, Table

HOSTILE = '</title><script>alert("1")</script><img src=x onerror="alert(2)"> $a_{'


class Reader(HTMLParser):
    """Collects tables by caption, images, links, ids and the text of a page."""

    VOID = ("meta", "link", "img", "source")

    def __init__(self, html):
        super().__init__()
        self.open, self.tables, self.images, self.targets = [], {}, [], []
        self.dark, self.verdict, self.title, self.inside = 0, "", "", ""
        self.ids, self.texts, self.buttons, self.scripts, self.sorts = [], [], 0, 0, []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        assert not any(name.startswith("on") for name in values)
        self.targets += [values[name] for name in ("src", "href") if name in values]
        self.ids += [values["id"]] if "id" in values else []
        if tag == "img":
            self.images.append(values)
        if tag not in self.VOID:
            self.open.append(tag)
        self.inside = values.get("class") if tag == "p" else tag
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
            self.sorts += [values["data-sort"]] if "data-sort" in values else []
        if tag == "table":
            self.rows = []
        if tag == "source":
            assert values["media"] == "screen and (prefers-color-scheme: dark)"
            assert values["srcset"].startswith("data:image/png;base64,")
            self.dark += 1
        if tag == "button":
            assert self.open[-2:] == ["th", "button"]
            self.buttons += 1
        self.scripts += tag == "script"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.inside == "verdict" and self.open[-1:] == ["p"]:
            self.verdict += data
        if self.open[-1:] == ["h1"]:
            self.title += data
        if "caption" in self.open:
            self.caption = data
            self.tables[data] = self.rows
        elif "th" in self.open or "td" in self.open:
            self.rows[-1][-1] += data
        if not {"script", "style"} & set(self.open):
            self.texts.append(data)

    def table(self, beginning):
        (found,) = (rows for caption, rows in self.tables.items() if caption.startswith(beginning))
        return found

    @property
    def text(self):
        return " ".join(self.texts)


def checked(path):
    """Read a page and check what holds for every page."""
    html = path.read_text(encoding="utf-8")
    page = Reader(html)
    assert all(len(image["alt"]) > 20 for image in page.images)
    for target in page.targets:
        assert target.startswith(("#s", "data:image/png;base64,")) or target == "data:,"
    assert all(target[1:] in page.ids for target in page.targets if target.startswith("#"))
    assert len(page.ids) == len(set(page.ids))
    assert page.buttons == sum(len(rows[0]) for rows in page.tables.values())
    assert page.scripts == 1
    assert page.dark == len(page.images)
    assert "url(" not in html
    assert "default-src 'none'" in html
    return page


@pytest.fixture(scope="module")
def written(evaluation, distilled, task, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    return report_evaluation(path, evaluation, distilled=distilled, task=task)


@pytest.fixture(scope="module")
def page(written):
    return checked(written)


def test_headline_and_costs_are_those_of_the_text(page, evaluation):
    rows = page.table("Test relative_rmse, mean")
    assert rows[0] == ["trained on", "linear", "mlp"]
    summary = evaluation.summary()
    found = dict(zip((row[0] for row in rows[1:]), rows[1:], strict=True))
    assert set(found) == {
        "full data",
        "random windows",
        "random windows + expert labels",
        "selected windows + labels",
        "clustered series",
        "compressed series",
        "distilled",
    }
    for method, title in (("full", "full data"), ("distilled", "distilled")):
        for column, name in enumerate(("linear", "mlp"), start=1):
            mean, half = summary.loc[(method, name), ["mean", "half_width"]]
            assert found[title][column] == f"{mean:.4f} ± {half:.4f}!"  # of 12 updates
    assert "! worse than a baseline without training: no win" in page.text
    assert page.verdict == evaluation.verdict().replace("+-", "±")
    assert page.verdict.startswith("At ")
    assert "Error: root mean squared error over that of the test mean" in page.text
    assert page.table("Excess: ")[0][0] == "excess over the full data at equal updates"
    costs, text = page.table("Costs and sizes"), text_table(evaluation)
    assert [row[0] for row in costs[1:]] == list(found)
    for row in costs:
        (line,) = (line for line in text.splitlines() if line.split("  ")[:2] == [row[0], ""]
                   and line.endswith(row[-1]))  # fmt: skip
        assert line.split() == " ".join(row).split()
    references = dict(page.table("Test relative_rmse of forecasts without")[1:])
    assert references["persistence"] == f"{summary.loc[('persistence', ''), 'mean']:.4f}"


def test_numbers_by_horizon_and_target_size(page, evaluation):
    rows = page.table("Test relative_rmse by horizon step")
    assert rows[0] == ["trained on", "forecaster", "step 1", "step 2", "step 3"]
    own = evaluation.by_horizon
    own = own[(own["method"] == "random") & (own["forecaster"] == "mlp") & (own["horizon"] == 2)]
    (row,) = (row for row in rows if row[:2] == ["random windows", "mlp"])
    assert row[3] == f"{own['relative_rmse'].mean():.4f}"
    strata = page.table("Errors by size of the target")
    keys = ["method", "forecaster", "stratum"]
    assert len(strata) == 1 + len(evaluation.by_stratum.drop_duplicates(keys))
    top = evaluation.by_stratum
    top = top[(top["method"] == "full") & (top["forecaster"] == "linear")]
    own = top[top["to"] == math.inf]
    (row,) = (r for r in strata if r[:2] == ["full data", "linear"] and r[3] == "inf")
    assert row[4] == f"{own['count'].iloc[0]:,.0f}"
    mae = own["mae"].mean()
    assert row[5] == (f"{mae:.4f}" if mae < 10 else f"{mae:.2f}")


def test_fidelity_and_provenance(page, distilled, task, evaluation):
    rows = page.table("Fidelity")[1:]
    scores = fidelity(distilled, task)
    assert [row[0] for row in rows] == [*scores] == [*LOOKS]
    assert rows[0][1] == f"{scores['spectrum_db']:.4f}"
    known = dict(page.table("Provenance")[1:])
    assert known["content hash"] == task.content_hash
    # What is installed may leave out the build: 2.11.0 for 2.11.0+cu130.
    assert torch.__version__.startswith(known["report made with torch"].partition("+")[0])
    begin, end = evaluation.facts["split_boundaries"]["test"]
    assert known["test part (time steps)"] == f"{begin} to {end - 1}"
    facts, record = (text for text in page.texts if text.startswith('{\n  "stemdist_version"'))
    assert json.loads(facts)["settings"]["updates"] == 12
    assert json.loads(record)["ratios"] == distilled.record["ratios"]


def test_figures_of_every_part(page):
    alts = [image["alt"] for image in page.images]
    for part, count in (
        ("Dots with intervals", 1),
        ("over the horizon", 2),  # one for each forecaster
        ("Bars: seconds", 1),
        ("Bars: peak memory", 1),
        ("Dots: the number of trainings", 1),
        ("Map of the locations", 1),
        ("Map of the medoids", 1),
        ("Map of the rmse (km h-1)", 1),
        ("Map of the difference of rmse (km h-1)", 1),
        ("windows of the set at", 1),
        ("training windows at", 1),
        ("mean power along time", 1),
    ):
        assert sum(part in alt for alt in alts) == count
    assert len(alts) == 13
    assert all(int(image["width"]) > int(image["height"]) / 2 for image in page.images)


@pytest.fixture
def undrawn(monkeypatch):
    """Pages with an empty picture for every figure, which take less time."""
    monkeypatch.setattr(Image, "pictures", ("", ""))


def test_both_budgets_are_in_one_report(evaluation, distilled, task, tmp_path, undrawn):
    def doubled(table):
        rows = table if "forecaster" not in table else table[table["forecaster"] != ""]
        return pd.concat([table, rows.assign(budget="converged")], ignore_index=True)

    names = ("table", "search", "by_target", "by_horizon", "by_stratum", "by_location")
    facts = {**evaluation.facts, "settings": {**evaluation.facts["settings"], "budget": "both"}}
    tables = {name: doubled(getattr(evaluation, name)) for name in names}
    both = dataclasses.replace(evaluation, facts=facts, **tables)
    page = checked(report_evaluation(tmp_path / "r.html", both, distilled=distilled, task=task))
    for caption in ("Test relative_rmse, mean", "Excess: ", "Costs and", "Errors by size"):
        rows = page.table(caption)
        assert rows[0][1] == "budget"
        assert [row[1] for row in rows[1:3]] == ["equal", "converged"]
    assert page.table("Test relative_rmse by horizon")[0][1] == "budget"
    assert page.table("Excess: ")[0][0] == "excess over the converged full data"
    assert len(page.images) == 13  # figures are of the headline's budget


def test_the_same_results_make_the_same_file(
    written, evaluation, distilled, task, tmp_path, undrawn
):
    again = report_evaluation(tmp_path / "r.html", evaluation, distilled=distilled, task=task)
    png = re.compile(r"(?<=data:image/png;base64,)[^\"]+")
    assert again.read_text() == png.sub("", written.read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


def test_the_same_figure_is_the_same_picture(evaluation, written):
    figure = figures.plot_horizon(evaluation.by_horizon, "linear", "relative_rmse")
    image = Image(figure=figure, alt="a", caption="c")
    content = base64.b64decode(image.pictures[0])
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
    assert (width, height) == (image.width * 1.5, image.height * 1.5)
    assert all(picture in written.read_text() for picture in image.pictures)


def test_no_two_methods_look_alike(evaluation):
    axes = figures.plot_horizon(evaluation.by_horizon, "linear", "relative_rmse").axes[0]
    lines = [line for line in axes.lines if line.get_marker() not in (None, "", "None")]
    looks = {(line.get_color(), line.get_marker()) for line in lines}
    assert len(looks) == len(lines) == evaluation.summary().query("forecaster == 'linear'").shape[0]


def test_a_dollar_is_no_formula():
    spectrum = pd.DataFrame({"real": [1.0, 2.0], "synthetic": [2.0, 1.0]}, index=[4.0, 2.0])
    figure = figures.plot_spectra(spectrum)
    figure.axes[0].set_xlabel(HOSTILE)
    assert all(Image(figure=figure, alt="a", caption="c").pictures)


def test_names_from_data_are_only_text(evaluation, distilled, tmp_path, undrawn):
    record = {**distilled.record, "source_name": HOSTILE, "license": "https://example.org/l"}
    hostile = dataclasses.replace(distilled, record=record, units="$x_{")
    facts = {**evaluation.facts, "units": HOSTILE}
    own = dataclasses.replace(evaluation, facts=facts)
    path = report_evaluation(tmp_path / "r.html", own, distilled=hostile)
    page = checked(path)
    assert HOSTILE in page.text
    assert not [image for image in page.images if image["src"] == "x"]
    assert "the windows of the set are not compared with them" in page.text


def test_without_a_set_and_without_positions(evaluation, distilled, tmp_path, undrawn):
    page = checked(report_evaluation(tmp_path / "a.html", evaluation, column="mae"))
    assert "Positions are not known" in page.text
    assert "mae of speed" in page.text
    coords = distilled.locations.coords
    coords = coords.drop_vars([name for name in coords.coords if name != "location"])
    own = distilled.locations
    places = Locations(coords=coords, graph=own.graph, profile=own.profile)
    unplaced = dataclasses.replace(distilled, locations=places)
    page = checked(report_evaluation(tmp_path / "b.html", evaluation, distilled=unplaced))
    maps = [image["alt"] for image in page.images if image["alt"].startswith("Map")]
    assert not maps
    assert sum(image["alt"].startswith("Mean window of each") for image in page.images) == 1
    with pytest.raises(InputError, match="unknown error 'bias'"):
        report_evaluation(tmp_path / "c.html", evaluation, column="bias")
    assert not (tmp_path / "c.html").exists()


def test_forecasters_on_the_full_data_have_a_row_each(task, small, tmp_path, undrawn):
    compared = evaluate(None, task, dataclasses.replace(small, references=("full",)))
    page = checked(report_evaluation(tmp_path / "r.html", compared, task=task))
    rows = page.table("Test relative_rmse, mean")
    assert rows[0][0] == "forecaster"
    summary = compared.summary()
    means = {name or f"({method})": row["mean"] for (method, name), row in summary.iterrows()}
    assert [row[0] for row in rows[1:]] == sorted(means, key=means.get)
    (mlp,) = (row for row in rows if row[0] == "mlp")
    assert mlp[1].startswith(f"{means['mlp']:.4f} ± ")
    assert int(mlp[5]) == compared.table.query("forecaster == 'mlp'")["weights"].iloc[0]
    assert not any("of forecasts without training" in caption for caption in page.tables)
    assert "by forecaster." in " ".join(image["alt"] for image in page.images)
    assert page.title == ("Comparison of forecasters: Simulated motorway traffic (traffic-sim)")
    best, other = sorted(("linear", "mlp"), key=means.get)
    assert page.verdict.startswith(f"{best} has the lowest error of 2 forecasters")
    assert f"{other}, the next" in page.verdict
    assert page.verdict == compared.verdict().replace("+-", "±")


@pytest.mark.parametrize("name", ["matplotlib", "jinja2"])
def test_the_extra_is_named(name, evaluation, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=r'pip install "stemdist\[report\]"'):
        report_evaluation(tmp_path / "r.html", evaluation)
    ((name, told),) = write_report(lambda path: report_evaluation(path, evaluation), tmp_path)
    assert name == "no html"
    assert told.endswith('pip install "stemdist[report]"')
    assert not list(tmp_path.iterdir())


def test_cells_sort_by_their_number():
    texts = ("0.50 +- 0.02*", "0.1x0.05", "33 x 10", "1,200", "-3.5 % +- 0.1", "4e-05", "12 models")
    numbers = [0.5, 0.005, 330, 1200, -3.5, 4e-5, 12]
    assert [Cell.of(text).sort for text in texts] == pytest.approx(numbers)
    assert [Cell.of(text).sort for text in ("-", "never", "mlp", "")] == [None] * 4
    assert Cell.of("0.5*").kind == "best"
    assert Cell.of("0.5!").kind == "worse"
    rows = [["name", "size", "said"], ["1", "2", "3 times"]]
    ((name, size, said),) = Table(caption="c", rows=rows, sentences=("said",)).body
    assert (name.text, size.sort, said.sort, said.kind) == ("1", 2, None, "text")


def test_a_failed_write_leaves_the_old_report(tmp_path):
    section = Section(title="s", parts=[Paragraph(text="5 < 6 & 7", failed=True)])
    path = Page(title="t", lines=["l"], sections=[section]).write(tmp_path / "r.html")
    assert "<p class=\"failed\">5 &lt; 6 &amp; 7</p>" in path.read_text()  # fmt: skip
    before = path.read_bytes()
    broken = Section(title="s", parts=[Table(caption="c", rows=[["a", "b"], ["1"]])])
    with pytest.raises(ValueError, match="shorter"):
        Page(title="t", lines=["l"], sections=[broken]).write(path)
    assert path.read_bytes() == before


def test_break_even_of_all_forecasters_is_one_chart():
    after = {
        "distilled": {"mlp": 100.0, "gru": 1.0},
        "random windows": {"mlp": 0.0, "gru": math.inf},
        "slow": {"gru": 1234.0},
    }
    axes = figures.plot_break_even(after).axes[0]
    mlp, gru = axes.get_lines()[:2]
    assert (mlp.get_label(), gru.get_label()) == ("mlp", "gru")
    np.testing.assert_allclose(mlp.get_xdata(), [2, 0, np.nan])
    np.testing.assert_allclose(gru.get_xdata(), [0, 4.6, math.log10(1234)])
    ticks = dict(zip(axes.get_xticks(), axes.get_xticklabels(), strict=True))
    texts = {place: text.get_text() for place, text in ticks.items()}
    assert texts == {0: "at most 1", 1: "10", 2: "100", 3: "1,000", 4: "10,000", 4.6: "never"}
    assert [text.get_text() for text in axes.get_yticklabels()] == list(after)


def test_error_maps_and_horizon_curves(evaluation, distilled):
    coords = distilled.locations.coords
    values = np.arange(len(distilled.locations), dtype=float) - 2
    axes = figures.plot_location_values(coords, values, "e (m)", diverging=True).axes
    image = axes[0].collections[0]
    np.testing.assert_array_equal(image.get_array(), values)
    low, high = image.get_clim()
    assert low == -high == -np.percentile(values, 99)
    assert axes[1].get_ylabel() == "e (m)"
    empty = np.full(len(values), np.nan)
    assert figures.plot_location_values(coords, empty, "e", diverging=False) is None
    axes = figures.plot_horizon(evaluation.by_horizon, "mlp", "mae").axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert {"full data", "distilled", "persistence"} <= set(lines)
    own = evaluation.by_horizon
    own = own[(own["method"] == "full") & (own["forecaster"] == "mlp")]
    expected = own.groupby("horizon")["mae"].mean()
    np.testing.assert_allclose(lines["full data"].get_ydata(), expected)
    assert axes.get_ylabel() == "mae\n(unit of the target)"


def test_edges_join_the_medoids(distilled):
    from matplotlib.collections import LineCollection

    clusters = figures.plot_clusters(distilled).axes[0].collections
    assert not [item for item in clusters if isinstance(item, LineCollection)]
    axes = figures.plot_cluster_graph(distilled).axes[0]
    (lines,) = (item for item in axes.collections if isinstance(item, LineCollection))
    source, target = distilled.cluster_graph.edge_index
    segments = lines.get_segments()
    assert len(segments) == int((source != target).sum())
    lon, lat = (distilled.locations.coords[name].values for name in ("lon", "lat"))
    medoids = distilled.medoids.numpy()
    expected = {
        (lon[medoids[a]], lat[medoids[a]], lon[medoids[b]], lat[medoids[b]])
        for a, b in zip(source, target, strict=True)
        if a != b
    }
    assert {tuple(segment.ravel()) for segment in segments} == expected
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["edge, wider where stronger", "medoid"]
    widths, weight = lines.get_linewidths(), distilled.cluster_graph.edge_weight[source != target]
    assert np.argmax(widths) == 0  # the strongest first
    assert widths[0] / widths[-1] == pytest.approx(3.2 / (0.8 + 2.4 * weight.min() / weight.max()))


def test_spectra_differ_by_their_score(distilled, task):
    found = spectra(distilled, task)
    assert found.index[0] == task.settings.lookback + task.settings.horizon
    assert found.index[-1] >= 2
    distance = np.sqrt(((found["synthetic"] - found["real"]) ** 2).mean())
    assert distance == pytest.approx(fidelity(distilled, task)["spectrum_db"])


ERRORS = {
    "full data": (0.50, 0.50),
    "random windows": (0.60, 0.70),
    "random windows + expert labels": (0.58, 0.62),
    "good": (0.52, 0.56),
}


@pytest.fixture
def benchmark():
    """Two data sets and ratios; errors of all but the full data fall by a tenth at the second."""
    rows = [
        {
            "data": data,
            "split": "",
            "ratio": "" if method == "full data" else ratio,
            "method": method,
            "surrogate": "mlp" if method == "good" else "",
            "forecaster": forecaster,
            "seed": seed,
            "training_seed": seed,
            "relative_rmse": error * (1 if method == "full data" or ratio == "0.1x0.1" else 0.9),
            "train_seconds": 60.0 if method == "full data" else 10.0,
            "data_seconds": 120.0 if method == "good" else 0.0,
            "peak_memory_bytes": 5.0 * 2**20,
            "byte_ratio": 0.3,
            "fidelity_coverage": 0.5 if method == "good" else math.nan,
        }
        for data in ("sim", HOSTILE)
        for ratio in ("0.1x0.1", "0.2x0.1")
        for method, errors in ERRORS.items()
        for seed, error in enumerate(errors)
        for forecaster in ("linear", "mlp")
        if method != "full data" or ratio == "0.1x0.1"
    ]
    task = {"split": "", "content_hash": "0123456789abcdef", "target": "speed", "units": "km h-1"}
    sizes = {"locations": 8, "training_windows": 300, "test_windows": 90, "held_out_locations": 0}
    settings = {
        "learning_rates": [0.005], "shuffles": ["auto"], "seeds": 2, "trainings": 1,
        "updates": 9, "batch_windows": 8,
    }  # fmt: skip
    facts = {
        "stemdist_version": "0.1.0",
        "settings": settings,
        "tasks": [{"data": data, **task, **sizes} for data in ("sim", HOSTILE)],
    }
    failures = ({"job": "sim: default, seed 0", "error": f"RuntimeError: {HOSTILE}"},)
    return Benchmark(table=pd.DataFrame(rows), failures=failures, facts=facts)


def test_benchmark_tables(benchmark, tmp_path, undrawn):
    page = checked(report_benchmark(tmp_path / "r.html", benchmark))
    assert page.verdict == benchmark.headline_verdict().replace("+-", "±")
    assert page.verdict.startswith(
        "At 1 % of the windows x locations of 2 data sets, forecasters on the sets of good are "
        "8.0 % worse than the full data at equal updates (± 7.3 %)"
    )
    excess = {(row[0], row[1]): row[2] for row in page.table("Excess: ")}
    assert excess["good", "0.1x0.1"].startswith("8.0 % ± ")  # 4 % and 12 %
    assert excess["good", "0.2x0.1"].startswith("-2.8 % ± ")  # 0.9 x 1.08
    by_data = page.table("Excess by data set")
    assert by_data[0][2:] == ["sim", HOSTILE]
    cross = page.table("Mean excess by the surrogate")
    assert cross[0][1:] == ["distilled with", "linear", "mlp"]
    assert cross[1] == ["good", "mlp", "2.6 %", "2.6 %"]  # mean of both ratios
    paired = page.table("Relative difference")
    assert paired[0] == [
        "against random windows", "ratio", "difference", "pairs", "t-test p", "Wilcoxon p",
    ]  # fmt: skip
    assert {row[0] for row in paired[1:]} == {"random windows + expert labels", "good"}
    p_values = benchmark.paired()["p_value"]
    assert [float(row[4]) for row in paired[1:]] == pytest.approx(p_values.tolist(), rel=0.05)
    scores = {(row[0], row[1]): row for row in page.table("Ranks")}
    assert scores["good", "0.1x0.1"][2:5] == ["1.00", "100 %", "73.3 %"]
    assert scores["good", "0.1x0.1"][-1] == "0.5000"
    costs = {(row[0], row[1]): row for row in page.table("Making")}
    assert costs["good", "0.2x0.1"][2:] == ["120.0", "10.00", "5", "30 %", "3"]
    assert page.table("What failed")[1] == ["sim: default, seed 0", f"RuntimeError: {HOSTILE}"]
    assert page.table("Data sets and splits")[1][:3] == ["sim", "-", "speed"]
    alts = [image["alt"] for image in page.images]
    assert sum("Curves with intervals" in alt for alt in alts) == 3  # all, and two data sets
    assert sum("Bars: seconds" in alt for alt in alts) == 2
    assert {"0.01", "0.02"} <= set(page.sorts)  # ratios are sorted by their products


def test_benchmark_without_references_or_results(benchmark, tmp_path, undrawn):
    table = benchmark.table
    partial = dataclasses.replace(benchmark, table=table[table["method"] == "good"], failures=())
    page = checked(report_benchmark(tmp_path / "a.html", partial))
    assert not [caption for caption in page.tables if caption.startswith("Excess")]
    assert "Failures" not in page.text
    empty = dataclasses.replace(benchmark, table=table.iloc[:0])
    page = checked(report_benchmark(tmp_path / "b.html", empty))
    assert "1 of the jobs failed" in page.text
    assert page.verdict == ""
    with pytest.raises(InputError, match="unknown error 'correlation'"):
        report_benchmark(tmp_path / "c.html", benchmark, column="correlation")


def test_the_best_method_at_the_smallest_ratio_is_the_headline(benchmark):
    table = benchmark.table
    assert "methods" not in benchmark.headline_verdict()
    other = table[table["method"] == "good"].assign(method="better")
    other["relative_rmse"] = other["relative_rmse"] - 0.05
    both = dataclasses.replace(benchmark, table=pd.concat([table, other], ignore_index=True))
    said = both.headline_verdict()
    # 0.47 and 0.51 over 0.5, of two data sets: -6, 2, -6 and 2 %
    assert "forecasters on the sets of better are not distinguishable from the full data" in said
    assert "(-2.0 % +- 7.3 %)" in said
    assert said.endswith(", the lowest error of 2 methods.")
    full = dataclasses.replace(benchmark, table=table[table["method"] == "full data"])
    assert full.headline_verdict() == ""
    none = dataclasses.replace(benchmark, table=table[table["method"] != "full data"])
    assert none.headline_verdict() == ""


def test_a_benchmark_draws_itself(benchmark):
    from matplotlib import pyplot

    axes = benchmark.plot()
    labels = axes.get_legend_handles_labels()[1]
    assert {"full data", "good"} <= set(labels)
    assert axes.get_ylabel() == "excess of relative_rmse (%)"
    with pytest.raises(InputError, match="unknown error 'bias'"):
        benchmark.plot("bias")
    pyplot.close("all")

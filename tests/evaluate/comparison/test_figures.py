"""Figures: what is drawn, in which units, and how files are written."""

import dataclasses
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from stemdist.data.windows import materialise
from stemdist.distill.figures import WINDOWS_SHOWN
from stemdist.errors import InputError, MissingDependencyError
from stemdist.evaluate import plot_distilled, plot_evaluation, save_figure
from stemdist.figures import cut_intervals, new_figure
from stemdist.forecast.locations import Locations


def with_coords(distilled, coords):
    own = distilled.locations
    return dataclasses.replace(
        distilled, locations=Locations(coords=coords, graph=own.graph, profile=own.profile)
    )


def unknown_places(distilled):
    coords = distilled.locations.coords
    return with_coords(distilled, coords.drop_vars([n for n in coords.coords if n != "location"]))


def gridded(distilled):
    """The same locations, said to be a grid of two rows."""
    half = len(distilled.locations) // 2
    rows, columns = np.repeat([51.0, 50.0], half), np.tile(np.arange(half) * 0.5, 2)
    coords = unknown_places(distilled).locations.coords.assign_coords(
        latitude=("location", rows), longitude=("location", columns),
        lat=("location", rows), lon=("location", columns),
    ).assign_attrs(grid_dims="latitude longitude")  # fmt: skip
    return with_coords(distilled, coords)


def table(**columns):
    rows = [(m, f, s, e) for m in ("full", "distilled") for f in ("linear", "mlp")
            for s, e in ((0, 0.4), (1, 0.6))]  # fmt: skip
    rows.append(("persistence", "", 0, 0.9))
    frame = pd.DataFrame(rows, columns=["method", "forecaster", "seed", "relative_rmse"])
    return frame.assign(**columns)


def test_three_panels_with_units_and_legends(distilled):
    figure = plot_distilled(distilled)
    places, windows, sizes = figure.axes[:3]
    assert places.get_xlabel() == "longitude (° east)"
    assert places.get_ylabel() == "latitude (° north)"
    assert windows.get_xlabel() == "time from the last input (steps)"
    assert windows.get_ylabel() == "speed (km h-1)"
    assert "log scale" in sizes.get_xlabel()
    assert all(axes.get_legend() is not None for axes in (places, windows, sizes))
    assert "speed (km h-1)" in figure.axes[3].get_ylabel()
    title = figure.get_suptitle()
    assert f"x {len(distilled.locations)} locations" in title
    assert f"{distilled.n_windows} windows x {distilled.n_clusters} clusters" in title
    one = dataclasses.replace(
        distilled, windows=materialise(distilled.windows, torch.zeros(1, dtype=torch.int64))
    )
    title = plot_distilled(one).get_suptitle()
    assert title.endswith(f"distilled to 1 window x {distilled.n_clusters} clusters")


def test_windows_are_those_stored(distilled):
    stored = distilled.to_xarray()
    largest = int(distilled.cluster_sizes.argmax())
    windows = plot_distilled(distilled).axes[1]
    inputs, targets = windows.get_lines()[:2]
    first = stored.isel(window=0, cluster=largest)
    np.testing.assert_allclose(inputs.get_ydata(), first["x"].isel(feature=0), rtol=1e-5)
    np.testing.assert_array_equal(inputs.get_xdata(), stored["lookback"])
    np.testing.assert_allclose(targets.get_ydata(), first["y"], rtol=1e-5)
    np.testing.assert_array_equal(targets.get_xdata(), stored["horizon"])
    shown = min(3, distilled.n_clusters) * min(WINDOWS_SHOWN, distilled.n_windows)
    assert len(windows.get_lines()) == 2 * shown + 2  # two of them explain the line styles


def test_sizes_carry_the_ratios_of_the_record(distilled):
    sizes = plot_distilled(distilled).axes[2]
    ratios = distilled.record["ratios"]
    texts = [text.get_text() for text in sizes.texts]
    for text, name in zip(texts[1::2], ("training_ratio", "byte_ratio"), strict=True):
        assert text.endswith(f"= {100 * ratios[name]:.3g} %")
    full, small = (bar.get_width() for bar in sizes.patches[:2])
    assert small == distilled.n_windows * distilled.n_clusters
    assert full == distilled.record["training_windows"] * len(distilled.locations)


def test_a_grid_is_an_image_with_borders(distilled):
    from matplotlib.collections import LineCollection, QuadMesh

    made = gridded(distilled)
    places = plot_distilled(made).axes[0]
    (image,) = (item for item in places.collections if isinstance(item, QuadMesh))
    cells = image.get_array().reshape(2, -1)
    labels = made.cluster_of_location.numpy().reshape(2, -1)
    equal = cells[:, :-1] == cells[:, 1:]
    np.testing.assert_array_equal(equal, labels[:, :-1] == labels[:, 1:])
    (borders,) = (item for item in places.collections if isinstance(item, LineCollection))
    upright, level = (labels[:, :-1] != labels[:, 1:]).sum(), (labels[0] != labels[1]).sum()
    assert len(borders.get_segments()) == upright + level
    assert places.get_xlabel() == "longitude (° east)"


def test_without_positions_profiles_are_drawn(distilled):
    made = unknown_places(distilled)
    places = plot_distilled(made).axes[0]
    assert places.get_title() == "Mean window of each location"
    assert places.get_ylabel() == "speed (km h-1)"
    lines = [line for line in places.get_lines() if len(line.get_xdata()) > 1]
    assert len(lines) == len(made.locations) + made.n_clusters
    profile = made.locations.profile.unflatten(1, (made.settings.lookback, -1))[0, :, 0]
    expected = made.scaler.inverse(profile)
    torch.testing.assert_close(torch.tensor(lines[0].get_ydata()), expected)


def test_dots_are_means_and_references_are_lines():
    axes = plot_evaluation(table()).axes[0]
    assert axes.get_ylabel() == "trained on"
    assert [text.get_text() for text in axes.get_yticklabels()] == ["full data", "distilled"]
    assert "standard deviations of the target" in axes.get_xlabel()
    linear, mlp = axes.containers
    assert (linear.get_label(), mlp.get_label()) == ("linear", "mlp")
    np.testing.assert_allclose(linear.lines[0].get_xdata().astype(float), [0.5, 0.5])
    (start, end) = linear.lines[2][0].get_segments()[0][:, 0]
    assert end - start == pytest.approx(2 * 12.706 * 0.1, rel=1e-3)  # t(0.975; 1) s / sqrt(2)
    labels = [line.get_label() for line in axes.get_lines()]
    assert [label for label in labels if label != "_cut"][-1] == "persistence: 0.900"


def test_a_baseline_far_from_the_forecasters_leaves_them_their_room():
    far = table()
    far.loc[len(far)] = ("climatology", "", 0, 1.01)  # more than twice 0.5
    far["relative_rmse"] = [0.5, 0.5] * 4 + [0.9, 1.01]
    figure = plot_evaluation(far)
    assert figure.axes[0].get_xlim()[1] < 1.0
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[2:] == ["persistence: 0.900", "climatology: 1.010, not drawn"]


def test_a_table_read_back_is_the_same_figure(tmp_path):
    table().to_csv(tmp_path / "table.csv", index=False)
    figures = (plot_evaluation(table()), plot_evaluation(pd.read_csv(tmp_path / "table.csv")))
    paths = [save_figure(f, tmp_path / f"{i}.png") for i, f in enumerate(figures)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_an_evaluation_is_drawn_as_its_table(evaluation):
    axes = plot_evaluation(evaluation, "mae").axes[0]
    assert axes.get_xlabel() == "mae (unit of the target)"
    assert (
        len(axes.get_yticklabels()) == evaluation.table.query("forecaster != ''").method.nunique()
    )


def test_formats(tmp_path):
    figure = plot_evaluation(table())
    assert save_figure(figure, tmp_path / "a.svg").read_text().startswith("<?xml")
    assert save_figure(figure, tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(InputError, match=r"must end in \.png or \.svg or \.pdf, e\.g\. a\.png"):
        save_figure(figure, tmp_path / "a.bmp")


def test_wrong_tables_are_refused():
    with pytest.raises(InputError, match="no column method, relative_rmse"):
        plot_evaluation(pd.DataFrame({"forecaster": ["mlp"], "seed": [0]}))
    with pytest.raises(InputError, match="it has no rows"):
        plot_evaluation(table().iloc[:0])
    with pytest.raises(InputError, match="unknown error 'bias'"):
        plot_evaluation(table(), "bias")


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "stemdist\[report\]"'):
        plot_evaluation(table())


def test_real_windows_are_beside_those_of_the_set_on_equal_axes(distilled, task):
    figure = plot_distilled(distilled, task)
    own, real, sizes = figure.axes[1:4]
    assert own.get_title() == "Real windows of the set"
    assert real.get_title() == "Real training windows"
    assert real.get_ylim() == own.get_ylim()
    assert sizes.get_title() == "Size"
    first = task.train.batch(torch.tensor([0]))[0][0, :, distilled.medoids, 0]
    scale = distilled.cluster_scaler
    largest = int(distilled.cluster_sizes.argmax())
    expected = scale.inverse(first)[:, largest]
    np.testing.assert_allclose(real.get_lines()[0].get_ydata(), expected, rtol=1e-5)


def test_accessors_draw_what_the_functions_draw(distilled, task, evaluation):
    from matplotlib import pyplot

    panels = distilled.plot(task)
    titles = [axes.get_title() for axes in plot_distilled(distilled, task).axes[:4]]
    assert [axes.get_title() for axes in panels] == titles
    assert distilled.plot.clusters().get_title() == "Locations by cluster"
    assert distilled.plot.graph().get_title() == "Graph of the clusters"
    assert distilled.plot.sizes().get_title() == "Size"
    axes = new_figure(4, 4).subplots()
    assert distilled.plot.windows(ax=axes) is axes
    own = distilled.plot.windows().get_lines()[0].get_ydata()
    np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), own)
    real = distilled.plot.windows(task).get_lines()[0].get_ydata()
    np.testing.assert_array_equal(panels[2].get_lines()[0].get_ydata(), real)
    ticks = [text.get_text() for text in evaluation.plot("mae").get_yticklabels()]
    expected = plot_evaluation(evaluation, "mae").axes[0].get_yticklabels()
    assert ticks == [text.get_text() for text in expected]
    horizon = evaluation.plot.horizon("mlp", "rmse")
    assert horizon.get_ylabel().startswith("rmse")
    with pytest.raises(InputError, match="unknown forecaster 'mpl': did you mean 'mlp'"):
        evaluation.plot.horizon("mpl")
    assert len(pyplot.get_fignums()) == 8
    pyplot.close("all")


def test_a_series_is_made_a_task_for_the_accessor(distilled, series):
    from matplotlib import pyplot

    axes = distilled.plot(series)
    assert axes[2].get_title() == "Real training windows"
    pyplot.close("all")


def test_no_graph_without_a_map(distilled):
    with pytest.raises(InputError, match="graph of the clusters is not drawn"):
        unknown_places(distilled).plot.graph(ax=new_figure(2, 2).subplots())


@pytest.mark.parametrize("place", ["point", "line", "shared"])
def test_no_map_where_positions_say_nothing(distilled, place):
    n = len(distilled.locations)
    lon = {"point": np.ones(n), "line": np.arange(n) * 1.0, "shared": np.arange(n) % 2 * 1.0}
    lat = {"point": np.ones(n), "line": np.ones(n), "shared": np.arange(n) % 2 * 1.0}
    coords = distilled.locations.coords.assign_coords(
        lon=("location", lon[place]), lat=("location", lat[place])
    )
    places = plot_distilled(with_coords(distilled, coords)).axes[0]
    assert places.get_title() == "Mean window of each location"


def test_intervals_of_two_seeds_are_cut_and_marked():
    wide = table()
    wide.loc[wide["method"] == "full", "relative_rmse"] = [0.4, 1.4, 0.45, 0.451]
    figure = plot_evaluation(wide)
    axes = figure.axes[0]
    assert "an arrow: the interval is longer" in figure.get_suptitle()
    low, high = axes.get_xlim()
    assert (low, high) == pytest.approx((0.4505 - 0.4495, 0.9 + 0.4495))  # means and one range
    marks = [line for line in axes.get_lines() if line.get_label() == "_cut"]
    assert [(line.get_marker(), line.get_xdata()[0]) for line in marks] == [
        ("<", low), ("<", low), ("<", low), (">", high), (">", high), (">", high),
    ]  # fmt: skip
    narrow = table()
    narrow["relative_rmse"] = [0.40, 0.401, 0.42, 0.421, 0.43, 0.431, 0.44, 0.441, 0.9]
    figure = plot_evaluation(narrow)
    assert "arrow" not in figure.get_suptitle()


def test_equal_means_have_no_range():
    axes = new_figure(2, 2).subplots()
    assert not cut_intervals(axes, "y", [(1.0, 5.0, 0.0, "red"), (1.0, np.nan, 1.0, "red")])
    assert not cut_intervals(axes, "y", [])


def test_forecasters_on_the_same_data_have_a_row_each():
    one = table()[lambda rows: rows["method"] != "distilled"]
    axes = plot_evaluation(one).axes[0]
    assert axes.get_ylabel() == "forecaster"
    assert [text.get_text() for text in axes.get_yticklabels()] == ["linear", "mlp"]

"""Figures say what is drawn, in which unit, and are written whole."""

from __future__ import annotations

import dataclasses
import sys

import pandas as pd
import pytest

from stemdist.cli import main
from stemdist.errors import InputError, MissingDependencyError
from stemdist.evaluate.figures import plot_distilled, plot_evaluation


def test_distilled_on_a_map(distilled):
    places, windows, sizes = plot_distilled(distilled).axes
    assert places.get_xlabel() == "lon (degrees)"
    assert len(places.collections[0].get_offsets()) == len(distilled.locations)
    assert len(places.collections[1].get_offsets()) == distilled.n_clusters
    assert distilled.units in windows.get_ylabel()
    assert "%" in sizes.get_xlabel()


def test_distilled_without_positions(distilled):
    coords = distilled.locations.coords.drop_vars(["lat", "lon"])
    locations = type(distilled.locations)(
        coords=coords, graph=distilled.locations.graph, profile=distilled.locations.profile
    )
    places = plot_distilled(dataclasses.replace(distilled, locations=locations)).axes[0]
    assert places.get_title() == "mean window of each location"


def test_comparison(evaluation):
    axes = plot_evaluation(evaluation).axes[0]
    drawn = [label.get_text() for label in axes.get_yticklabels()]
    assert drawn == list(evaluation.table.query("forecaster != ''")["method"].unique())
    with pytest.raises(InputError, match="the table has no column nothing"):
        plot_evaluation(evaluation, "nothing")


def test_command(distilled, evaluation, tmp_path, capsys):
    made = distilled.save(tmp_path / "a.distilled.nc")
    evaluation.write_csv(tmp_path / "table.csv")
    assert main(["plot", str(made), "-o", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert main(["plot", str(tmp_path), "-o", str(tmp_path / "b.svg")]) == 0
    assert "<svg" in (tmp_path / "b.svg").read_text()
    capsys.readouterr()
    assert main(["plot", str(made), "-o", str(tmp_path / "a.bmp")]) == 2
    assert ".png" in capsys.readouterr().err
    pd.DataFrame({"a": [1]}).to_json(tmp_path / "other.json")
    assert main(["plot", str(tmp_path / "other.json"), "-o", str(tmp_path / "c.png")]) == 2
    assert "neither a distilled set nor a result" in capsys.readouterr().err


def test_without_matplotlib(distilled, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "stemdist\[report\]"'):
        plot_distilled(distilled)

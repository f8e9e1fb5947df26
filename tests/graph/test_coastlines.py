"""Coastlines: only from files that are here, and never a reason to fail."""

import logging
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from stemdist.figures import new_figure
from stemdist.graph import coastlines
from stemdist.graph.location_map import draw_values

shapefile = pytest.importorskip("shapefile")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Coastlines of each resolution: a square island around (0, 50), wider where coarser."""
    coastlines._warn.cache_clear()
    monkeypatch.delenv("CARTOPY_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = tmp_path / "cartopy" / "shapefiles" / "natural_earth" / "physical"
    folder.mkdir(parents=True)
    for resolution, size in (("10m", 1.0), ("50m", 2.0), ("110m", 3.0)):
        corners = [(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]
        with shapefile.Writer(str(folder / f"ne_{resolution}_coastline")) as writer:
            writer.field("scale", "N")
            writer.line([[(size * x, 50 + size * y) for x, y in corners]])
            writer.record(1)
    return folder


def extent(lines):
    points = np.concatenate(lines)
    return (*points.min(axis=0), *points.max(axis=0))


def test_wider_maps_take_coarser_coasts(files):
    assert extent(coastlines.coastlines((-5, 5, 45, 55))) == (-1, 49, 1, 51)
    assert extent(coastlines.coastlines((-20, 20, 40, 60))) == (-2, 48, 2, 52)
    assert extent(coastlines.coastlines((-180, 180, -80, 80))) == (-3, 47, 3, 53)


def test_coasts_near_the_map_are_turned_to_its_longitudes(files):
    assert extent(coastlines.coastlines((355, 365, 45, 55))) == (359, 49, 361, 51)
    assert extent(coastlines.coastlines((0.5, 5, 45, 55))) == (-1, 49, 1, 51)
    for elsewhere in ((10, 20, 45, 55), (-5, 5, 0, 10)):
        assert coastlines.coastlines(elsewhere) == []


def test_the_folder_of_the_environment_comes_first(files, tmp_path, monkeypatch):
    monkeypatch.setenv("CARTOPY_DATA_DIR", str(tmp_path / "cartopy"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))
    assert extent(coastlines.coastlines((-5, 5, 45, 55))) == (-1, 49, 1, 51)


def test_the_first_resolution_that_is_here_is_taken(files):
    for path in files.glob("ne_10m*"):
        path.unlink()
    assert extent(coastlines.coastlines((-5, 5, 45, 55))) == (-2, 48, 2, 52)


def test_a_map_in_degrees_has_coasts_and_keeps_its_limits(files):
    coords = xr.Dataset(coords={
        "lat": ("location", [49.5, 50.0, 50.5, 50.5]), "lon": ("location", [-0.5, 0.0, 0.5, 3.0])
    })  # fmt: skip
    axes = new_figure(3, 3).subplots()
    draw_values(axes, coords, np.arange(4.0), ("lon", "lat"))
    coast = [item for item in axes.collections if item.get_label() == "_coastline"]
    assert len(coast) == 1
    assert axes.get_xlim()[1] < 4
    plane = coords.rename(lat="y", lon="x")
    axes = new_figure(3, 3).subplots()
    draw_values(axes, plane, np.arange(4.0), ("x", "y"))
    assert not [item for item in axes.collections if item.get_label() == "_coastline"]


def test_nothing_is_downloaded_and_a_hint_is_logged(files, monkeypatch, caplog):
    for path in files.glob("*"):
        path.unlink()
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a download"))
    caplog.set_level(logging.INFO)
    axes = new_figure(3, 3).subplots()
    assert not coastlines.draw_coastlines(axes)
    assert "python -m cartopy.feature.download physical" in caplog.text


def test_a_damaged_file_is_no_reason_to_fail(files, caplog):
    for path in files.glob("*"):
        path.write_bytes(b"damaged")
    assert coastlines.coastlines((-5, 5, 45, 55)) == []
    assert coastlines.coastlines((-5, 5, 45, 55)) == []
    assert caplog.text.count("cannot be read") == 1


def test_without_a_reader_of_shapes_there_are_none(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "shapefile", None)
    assert coastlines.coastlines((-5, 5, 45, 55)) == []


def test_cartopy_is_not_imported(files):
    program = (
        "import sys; from stemdist.graph.coastlines import coastlines; "
        "assert coastlines((-5, 5, 45, 55)); assert not {'cartopy', 'pyproj'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

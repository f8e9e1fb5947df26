"""Every graph method against numbers derived by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from stemdist.errors import InputError
from stemdist.graph import GraphSettings, build_graph

DEGREE_KM = 6371.0 * np.pi / 180


def located(**coords):
    size = len(next(iter(coords.values())))
    values = np.random.default_rng(0).standard_normal((6, size))
    return xr.Dataset(
        {"v": (("time", "location"), values)},
        coords={
            "location": np.arange(size),
            **{name: ("location", np.asarray(part)) for name, part in coords.items()},
        },
    )


def gridded(lat, lon, kept=None):
    rows, columns = (part.ravel() for part in np.meshgrid(lat, lon, indexing="ij"))
    kept = np.ones(len(rows), bool) if kept is None else np.asarray(kept).ravel()
    rows, columns = rows[kept], columns[kept]
    series = located(lat=rows, lon=columns, latitude=rows, longitude=columns)
    return series.assign_attrs(grid_dims="latitude longitude")


def edges(graph):
    return set(map(tuple, graph.edge_index.T.tolist()))


def in_degree(graph):
    return torch.bincount(graph.edge_index[1], minlength=graph.num_nodes).tolist()


EQUATOR = {"lat": [0.0] * 4, "lon": [0.0, 1.0, 3.0, 6.0]}


class TestKnn:
    def test_four_points_on_the_equator(self):
        graph = build_graph(located(**EQUATOR), GraphSettings(method="knn", neighbours=1))
        assert edges(graph) == {(1, 0), (0, 1), (1, 2), (2, 3)}  # 1, 1, 2 and 3 degrees away
        distance = np.array([1, 1, 2, 3])
        expected = np.exp(-((distance / distance.mean()) ** 2))
        np.testing.assert_allclose(graph.edge_weight, expected, rtol=1e-6)
        assert graph.edge_index.dtype == torch.int64
        assert graph.edge_weight.dtype == torch.float32
        assert (graph.num_nodes, graph.method, graph.coordinates) == (4, "knn", "lat lon")
        np.testing.assert_allclose(graph.pos, np.stack(list(EQUATOR.values()), 1))

    def test_sigma_and_cutoff_are_in_km(self):
        settings = GraphSettings(
            method="knn", neighbours=1, sigma_km=DEGREE_KM, cutoff_km=2.5 * DEGREE_KM
        )
        graph = build_graph(located(**EQUATOR), settings)
        assert edges(graph) == {(1, 0), (0, 1), (1, 2)}
        np.testing.assert_allclose(graph.edge_weight, np.exp([-1, -1, -4]), rtol=1e-5)

    def test_the_date_line_is_no_border(self):
        series = located(lat=[0.0, 0.0, 0.0], lon=[179.5, -179.5, 170.0])
        graph = build_graph(series, GraphSettings(method="knn", neighbours=1))
        assert edges(graph) == {(1, 0), (0, 1), (0, 2)}

    def test_metres_on_a_plane(self):
        series = located(x=[0.0, 3000.0, 0.0], y=[0.0, 4000.0, 6000.0])
        settings = GraphSettings(method="knn", neighbours=1, sigma_km=5.0)
        graph = build_graph(series, settings)
        assert graph.coordinates == "x y"
        distance = [5.0, np.sqrt(13), np.sqrt(13)]
        np.testing.assert_allclose(graph.edge_weight, np.exp(-np.square(distance) / 25), rtol=1e-6)

    def test_more_neighbours_than_others_is_clipped(self):
        graph = build_graph(located(**EQUATOR), GraphSettings(method="knn", neighbours=99))
        assert in_degree(graph) == [3, 3, 3, 3]

    def test_locations_at_the_same_place_have_no_self_loop(self):
        series = located(lat=[5.0, 5.0, 5.0], lon=[1.0, 1.0, 1.0])
        graph = build_graph(series, GraphSettings(method="knn", neighbours=2))
        assert in_degree(graph) == [2, 2, 2]
        assert (graph.edge_weight == 1).all()

    def test_a_remote_location_keeps_its_neighbours(self):
        lon = [*np.arange(0, 1, 0.01), 90.0]
        graph = build_graph(
            located(lat=np.zeros(101), lon=lon), GraphSettings(method="knn", neighbours=2)
        )
        assert in_degree(graph)[-1] == 2

    def test_missing_positions_are_named(self):
        series = located(lat=[0.0, np.nan, 1.0], lon=[0.0, 1.0, 2.0])
        with pytest.raises(InputError, match=r"1 of 3 locations have no position.*number 1"):
            build_graph(series, GraphSettings(method="knn"))
        with pytest.raises(InputError, match="neither 'lat' and 'lon'"):
            build_graph(located(height=[0.0, 1.0]), GraphSettings(method="knn"))


class TestDistance:
    def test_kernel_of_the_distances_within_the_cutoff(self):
        settings = GraphSettings(method="distance", cutoff_km=3.01 * DEGREE_KM)
        graph = build_graph(located(**EQUATOR), settings)
        pairs = {(0, 1): 1, (1, 2): 2, (0, 2): 3, (2, 3): 3}  # degrees
        sigma = np.std([d for d in pairs.values() for _ in range(2)])
        assert edges(graph) == {*pairs, *((b, a) for a, b in pairs)}
        for (a, b), weight in zip(graph.edge_index.T.tolist(), graph.edge_weight, strict=True):
            expected = np.exp(-((pairs[min(a, b), max(a, b)] / sigma) ** 2))
            assert float(weight) == pytest.approx(expected, rel=1e-5)

    def test_sigma_alone_cuts_where_the_weight_is_a_tenth(self):
        # exp(-(d/s)**2) = 0.1 at d = 1.517 s
        for stretch, count in ((1.50, 2), (1.53, 0)):
            series = located(x=[0.0, 1000.0 * stretch], y=[0.0, 0.0])
            graph = build_graph(series, GraphSettings(method="distance", sigma_km=1.0))
            assert graph.num_edges == count

    def test_equal_distances_do_not_divide_by_zero(self):
        series = located(x=[0.0, 1000.0], y=[0.0, 0.0])
        graph = build_graph(series, GraphSettings(method="distance", cutoff_km=2.0))
        np.testing.assert_allclose(graph.edge_weight, np.exp([-1, -1]), rtol=1e-6)

    def test_nobody_within_reach(self):
        settings = GraphSettings(method="distance", cutoff_km=1.0)
        assert build_graph(located(**EQUATOR), settings).num_edges == 0

    def test_road_distances_from_a_file(self, tmp_path):
        path = tmp_path / "roads.csv"
        path.write_text("source,target,distance_km\n0,1,1\n1,0,4\n2,3,50\n3,3,0\n")
        settings = GraphSettings(method="distance", file=str(path), sigma_km=2.0)
        graph = build_graph(located(**EQUATOR), settings)
        assert graph.edge_index.tolist() == [[0], [1]]
        np.testing.assert_allclose(graph.edge_weight, np.exp([-0.25]), rtol=1e-6)

    def test_says_how_far_to_look(self):
        with pytest.raises(InputError, match="needs cutoff_km"):
            build_graph(located(**EQUATOR), GraphSettings(method="distance"))


class TestGrid:
    @pytest.mark.parametrize(
        ("neighbours", "corner", "side", "middle"), [(4, 2, 3, 4), (8, 3, 5, 8)]
    )
    def test_degree_counts(self, neighbours, corner, side, middle):
        series = gridded([50.0, 50.25, 50.5], np.arange(4) * 0.25)
        graph = build_graph(series, GraphSettings(method="grid", neighbours=neighbours))
        c, s, m = corner, side, middle
        assert in_degree(graph) == [c, s, s, c, s, m, m, s, c, s, s, c]
        assert (graph.edge_weight == 1).all()

    def test_dropped_points_leave_holes(self):
        kept = np.ones((3, 3), bool)
        kept[1, 1] = False
        graph = build_graph(
            gridded([0.0, 1.0, 2.0], [0.0, 1.0, 2.0], kept), GraphSettings(neighbours=4)
        )
        assert graph.method == "grid"
        assert in_degree(graph) == [2] * 8

    def test_a_row_without_points_is_not_skipped_over(self):
        kept = np.ones((4, 2), bool)
        kept[1] = False
        series = gridded([0.0, 1.0, 2.0, 3.0], [0.0, 1.0], kept)
        graph = build_graph(series, GraphSettings(neighbours=4))
        assert in_degree(graph) == [1, 1, 2, 2, 2, 2]

    def test_order_of_the_locations_does_not_matter(self):
        series = gridded([2.0, 1.0, 0.0], np.float32([0.1, 0.2, 0.3]))
        shuffled = series.isel(location=[4, 0, 1, 2, 3, 5, 6, 7, 8])
        graph = build_graph(shuffled, GraphSettings(neighbours=8))
        assert in_degree(graph) == [8, 3, 5, 3, 5, 5, 3, 5, 3]

    def test_a_grid_round_the_earth_is_closed(self):
        series = gridded([0.0, 10.0], np.arange(0.0, 360.0, 60.0))
        assert in_degree(build_graph(series, GraphSettings(neighbours=4))) == [3] * 12
        half = gridded([0.0, 10.0], np.arange(0.0, 180.0, 60.0))
        assert in_degree(build_graph(half, GraphSettings(neighbours=4))) == [2, 3, 2] * 2

    @pytest.mark.parametrize("method", ["grid", "knn", "correlation"])
    def test_cells_are_rows_and_columns_in_ascending_order(self, method):
        kept = np.ones((4, 2), bool)
        kept[1], kept[3, 0] = False, False  # a whole row, and one point
        series = gridded([53.0, 52.0, 51.0, 50.0], np.float32([0.1, 0.2]), kept)
        graph = build_graph(series, GraphSettings(method=method))
        assert graph.cell.tolist() == [[3, 0], [3, 1], [1, 0], [1, 1], [0, 1]]
        assert graph.cell.dtype == torch.int64

    def test_an_irregular_axis_has_one_row_for_each_value(self):
        graph = build_graph(gridded([0.0, 1.0, 2.7], [5.0]), GraphSettings())
        assert graph.cell.tolist() == [[0, 0], [1, 0], [2, 0]]

    def test_one_point_of_a_grid_has_a_cell(self):
        assert build_graph(gridded([50.0], [1.0]), GraphSettings()).cell.tolist() == [[0, 0]]

    def test_no_cells_without_two_numbers_for_each_location(self):
        stations = located(**EQUATOR)
        named = gridded([0.0, 1.0], [0.0]).assign_coords(latitude=("location", ["a", "b"]))
        partly = gridded([0.0, np.nan], [0.0])
        for series in (stations, named, partly, stations.assign_attrs(grid_dims="lat")):
            assert "cell" not in build_graph(series, GraphSettings(method="correlation"))

    def test_needs_a_grid(self):
        with pytest.raises(InputError, match="comes from a grid of two spatial dimensions"):
            build_graph(located(**EQUATOR), GraphSettings(method="grid"))
        double = gridded([0.0, 1.0], [0.0, 1.0]).isel(location=[0, 1, 1])
        for method in ("grid", "knn"):
            with pytest.raises(InputError, match="same point of the grid"):
                build_graph(double, GraphSettings(method=method))

    def test_era5_grid(self, real_data):
        with xr.open_dataset(real_data("era5-2mt-2019-03-uk.nc")) as raw:
            graph = build_graph(
                gridded(raw["latitude"].values, raw["longitude"].values), GraphSettings()
            )
        rows, columns = 33, 49
        across, down = rows * (columns - 1), (rows - 1) * columns
        diagonal = 2 * (rows - 1) * (columns - 1)
        assert graph.num_nodes == 1617
        assert graph.num_edges == 2 * (across + down + diagonal)
        north_west = [rows - 1, 0]  # ERA5 begins in the north, cells in the south
        assert graph.cell[[0, 1, columns]].tolist() == [north_west, [rows - 1, 1], [rows - 2, 0]]
        assert len(torch.unique(graph.cell, dim=0)) == graph.num_nodes


class TestAuto:
    def test_what_is_known_decides(self, tmp_path):
        assert build_graph(gridded([0.0, 1.0], [0.0, 1.0]), GraphSettings()).method == "grid"
        assert build_graph(located(**EQUATOR), GraphSettings()).method == "knn"
        assert build_graph(located(height=[0.0, 1.0]), GraphSettings()).method == "correlation"
        path = tmp_path / "a.csv"
        path.write_text("0,1\n0,0\n")
        graph = build_graph(located(height=[0.0, 1.0]), GraphSettings(file=str(path)))
        assert graph.method == "adjacency"

    @pytest.mark.parametrize("method", ["auto", "knn", "correlation"])
    def test_one_location(self, method):
        series = located(lat=[0.0], lon=[0.0])
        graph = build_graph(series, GraphSettings(method=method))
        assert (graph.num_nodes, graph.num_edges) == (1, 0)
        assert graph.edge_index.shape == (2, 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "kn"}, "unknown graph 'kn': did you mean 'knn'"),
        ({"neighbours": 0}, "neighbours is 0"),
        ({"cutoff_km": -1.0, "method": "knn"}, "cutoff_km is -1.0"),
        ({"sigma_km": float("nan"), "method": "knn"}, "sigma_km is nan"),
        ({"method": "grid", "neighbours": 5}, "has 4 or 8 neighbours"),
        ({"method": "grid", "sigma_km": 1.0}, "does not use it.*knn, distance"),
        ({"method": "correlation", "file": "a.csv"}, "choose one of: distance, adjacency"),
        ({"method": "adjacency"}, "needs file"),
    ],
)
def test_settings_check_themselves(wrong, message):
    with pytest.raises(InputError, match=message):
        GraphSettings(**wrong)


def test_a_series_without_locations_is_refused():
    with pytest.raises(InputError, match="'location' dimension"):
        build_graph(xr.Dataset({"v": ("time", [1.0])}), GraphSettings())


@pytest.mark.parametrize(("steps", "message"), [(7, "has 6 time steps"), (0, "train_steps is 0")])
def test_train_steps_are_checked(steps, message):
    with pytest.raises(InputError, match=message):
        build_graph(located(**EQUATOR), GraphSettings(), train_steps=steps)

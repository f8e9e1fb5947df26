"""A distilled set written down by hand: what its file holds, and what comes back."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from torch_geometric.data import Data

from stemdist.data import Scaler, TensorWindows
from stemdist.distill import DistilledSet
from stemdist.distill.inputs import StoredInputs, join_inputs
from stemdist.errors import InputError
from stemdist.forecast import Locations, TaskSettings

# Two windows of 2 + 1 steps over two clusters of 3 and 1 locations. Features: targets a and b,
# sine and cosine of the day, latitude; a target is missing.
A = [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]  # (window, lookback, cluster)
B = [[[-1.0, 0.0], [0.0, 1.0]], [[2.0, -2.0], [1.0, -1.0]]]
SINE, COSINE = [[0.0, 0.5], [1.0, -0.5]], [[1.0, -1.0], [0.0, 2.0]]  # (window, lookback)
LATITUDE = [-1.0, 2.0]
Y = [[[1.0, -1.0], [0.5, 1.5]], [[2.0, 0.0], [-0.5, 0.0]]]  # (window, target row, cluster)
MASK = [[[1.0, 1.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 0.0]]]
FEATURES = ("a", "b", "time_of_day_sin", "time_of_day_cos", "lat")


@pytest.fixture
def by_hand() -> DistilledSet:
    x = torch.zeros(2, 2, 2, 5)
    x[..., 0], x[..., 1] = torch.tensor(A), torch.tensor(B)
    x[..., 2], x[..., 3] = torch.tensor(SINE)[..., None], torch.tensor(COSINE)[..., None]
    x[..., 4] = torch.tensor(LATITUDE)
    edges = {"edge_index": torch.tensor([[0, 2, 3], [1, 0, 2]]), "num_nodes": 4}
    coords = {
        "location": ["n", "e", "s", "w"],
        "lat": ("location", [50.0, 51.0, 52.0, 60.0]),
        "x": ("location", [1.0, 2.0, 6.0, 8.0]),
    }
    return DistilledSet(
        windows=TensorWindows(
            x=x,
            y=torch.tensor(Y),
            mask=torch.tensor(MASK),
            weight=torch.tensor([1.5, 0.5]),
            targets=2,
            given_profile=torch.arange(20.0).view(2, 10),
        ),
        cluster_graph=Data(
            edge_index=torch.tensor([[1, 0, 1], [0, 1, 1]]),
            edge_weight=torch.tensor([0.25, 0.5, 1.0]),
            num_nodes=2,
        ),
        cluster_of_location=torch.tensor([0, 0, 0, 1]),
        medoids=torch.tensor([2, 3]),
        y_kind="expert",
        locations=Locations(
            coords=xr.Dataset(coords=coords),
            graph=Data(edge_weight=torch.tensor([0.1, 0.2, 0.3]), **edges),
            profile=torch.arange(40.0).view(4, 10),
        ),
        settings=TaskSettings(
            lookback=2,
            horizon=1,
            targets=("a", "b"),
            calendar=("time_of_day",),
            static=("lat",),
            neighbour_context=False,
        ),
        scaler=Scaler(mean=(10.0, 100.0, 0.0, 0.0, 50.0), scale=(2.0, 10.0, 1.0, 0.5, 5.0)),
        feature_names=FEATURES,
        variables=("a", "b"),
        units="km/h",
        record={"source_name": "roads.nc", "seed": 3, "title": "Roads", "license": "CC0"},
    )


def one_target(distilled: DistilledSet) -> DistilledSet:
    """Forecast ``a`` alone; ``b`` is an input."""
    windows = distilled.windows
    return replace(
        distilled,
        windows=replace(windows, y=windows.y[:, :1], mask=windows.mask[:, :1], targets=1),
        settings=replace(distilled.settings, targets=("a",)),
    )


def test_sizes(by_hand):
    assert (by_hand.n_windows, by_hand.n_clusters) == (2, 2)
    assert by_hand.cluster_sizes.tolist() == [3, 1]
    lonely = replace(by_hand, cluster_of_location=torch.tensor([0, 0, 0, 0]))
    assert lonely.cluster_sizes.tolist() == [4, 0]


# --- the dataset ---------------------------------------------------------------------------------


def test_variables_are_in_physical_units(by_hand):
    made = by_hand.to_xarray()
    a, b = 10 + 2 * np.array(A), 100 + 10 * np.array(B)
    assert made["x"].dims == ("window", "lookback", "cluster", "feature")
    np.testing.assert_array_equal(made["x"], np.stack([a, b], -1))
    assert made["x"].attrs == {"long_name": "inputs; missing where the source has none"}
    assert made["calendar"].dims == ("window", "lookback", "calendar_feature")
    np.testing.assert_array_equal(made["calendar"], np.stack([SINE, 0.5 * np.array(COSINE)], -1))
    assert made["static"].dims == ("cluster", "static_feature")
    assert made["static"].values.tolist() == [[45.0], [60.0]]
    assert made["y"].dims == ("window", "target", "horizon", "cluster")
    expected = [[[[12.0, 8.0]], [[105.0, 115.0]]], [[[14.0, 10.0]], [[95.0, np.nan]]]]
    np.testing.assert_array_equal(made["y"], expected)
    assert made["target"].values.tolist() == ["a", "b"]
    assert made["target"].dims == ("target",)


def test_targets_of_one_variable_have_its_units(by_hand):
    y = one_target(by_hand).to_xarray()["y"]
    assert y.dims == ("window", "horizon", "cluster")
    assert y.values.tolist() == [[[12.0, 8.0]], [[14.0, 10.0]]]
    assert y.attrs == {"units": "km/h", "long_name": "a"}


def test_clusters_and_edges(by_hand):
    made = by_hand.to_xarray()
    stored = {
        "cluster_weight": ("cluster", [3, 1], np.float32),
        "cluster_medoid": ("cluster", [2, 3], np.int32),
        "cluster_of_location": ("location", [0, 0, 0, 1], np.int32),
        "edge_source": ("edge", [1, 0, 1], np.int32),
        "edge_target": ("edge", [0, 1, 1], np.int32),
        "edge_weight": ("edge", [0.25, 0.5, 1.0], np.float32),
        "scaler_mean": ("input_feature", [10, 100, 0, 0, 50], np.float64),
        "scaler_scale": ("input_feature", [2, 10, 1, 0.5, 5], np.float64),
        "cluster_lat": ("cluster", [51.0, 60.0], np.float64),
        "cluster_x": ("cluster", [3.0, 8.0], np.float64),
    }
    for name, (dim, values, dtype) in stored.items():
        assert made[name].dims == (dim,), name
        assert made[name].values.tolist() == values, name
        assert made[name].dtype == dtype, name
    assert made["cluster_profile"].dims == ("cluster", "profile")
    np.testing.assert_array_equal(made["cluster_profile"], np.arange(20).reshape(2, 10))
    assert "cluster_lon" not in made.variables
    assert {"cluster_lat", "cluster_x", "location_x", "lat"} <= set(made.coords)


def test_all_four_kinds_of_positions_are_averaged(by_hand):
    places = by_hand.locations
    more = {name: ("location", [0.0, 1.0, 2.0, 4.0]) for name in ("lon", "y")}
    placed = replace(by_hand, locations=replace(places, coords=places.coords.assign_coords(more)))
    made = placed.to_xarray()
    for name in ("cluster_lon", "cluster_y"):
        assert made[name].values.tolist() == [1.0, 4.0]
    assert made["location_y"].values.tolist() == [0.0, 1.0, 2.0, 4.0]


def test_axes(by_hand):
    made = by_hand.to_xarray()
    assert made["input_feature"].values.tolist() == list(FEATURES)
    assert made["feature"].values.tolist() == ["a", "b"]
    assert made["lookback"].values.tolist() == [-1, 0]
    assert made["horizon"].values.tolist() == [1]
    assert made["location"].values.tolist() == ["n", "e", "s", "w"]


def test_attributes(by_hand):
    attrs = by_hand.to_xarray().attrs
    assert attrs["Conventions"] == "CF-1.11"
    assert attrs["stemdist_format"] == "stemdist-distilled-1"
    assert (attrs["y_kind"], attrs["y_pointwise"], attrs["units"]) == ("expert", 0, "km/h")
    assert json.loads(attrs["variables"]) == ["a", "b"]
    assert json.loads(attrs["task"])["calendar"] == ["time_of_day"]
    assert json.loads(attrs["record"]) == dict(by_hand.record)
    assert (attrs["title"], attrs["license"]) == ("Roads", "CC0")
    assert not {"citation", "seed", "source_name"} & set(attrs)
    pointwise = replace(by_hand, windows=replace(by_hand.windows, pointwise=True))
    assert pointwise.to_xarray().attrs["y_pointwise"] == 1
    cited = replace(by_hand, record={"citation": "Roe 2020"}).to_xarray().attrs
    assert cited["citation"] == "Roe 2020"


# --- back again ----------------------------------------------------------------------------------


def check_equal(again: DistilledSet, made: DistilledSet) -> None:
    for name in ("x", "y", "mask", "weight", "given_profile"):
        mine, theirs = getattr(made.windows, name), getattr(again.windows, name)
        assert mine.dtype == theirs.dtype == torch.float32, name
        assert torch.equal(mine, theirs), name
    assert again.windows.targets == made.windows.targets
    assert again.windows.pointwise == made.windows.pointwise
    for name in ("cluster_graph", "locations.graph"):
        mine, theirs = (
            one.cluster_graph if name == "cluster_graph" else one.locations.graph
            for one in (made, again)
        )
        assert torch.equal(mine.edge_index, theirs.edge_index), name
        assert torch.equal(mine.edge_weight, theirs.edge_weight), name
        assert mine.num_nodes == theirs.num_nodes, name
    for name in ("cluster_of_location", "medoids"):
        assert getattr(again, name).dtype == torch.int64, name
        assert torch.equal(getattr(again, name), getattr(made, name)), name
    assert again.locations.coords.identical(made.locations.coords)
    assert torch.equal(again.locations.profile, made.locations.profile)
    for name in ("y_kind", "settings", "scaler", "feature_names", "variables", "units", "record"):
        assert getattr(again, name) == getattr(made, name), name


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_everything_comes_back(by_hand, tmp_path, suffix):
    path = tmp_path / f"roads{suffix}"
    assert by_hand.save(str(path)) == path
    assert path.is_dir() == (suffix == ".zarr")
    again = DistilledSet.load(str(path))
    check_equal(again, by_hand)
    assert again.content_hash == by_hand.content_hash


def test_one_target_comes_back(by_hand):
    made = one_target(by_hand)
    check_equal(DistilledSet.from_xarray(made.to_xarray()), made)


def test_files_that_do_not_say_are_not_pointwise(by_hand):
    pointwise = replace(by_hand, windows=replace(by_hand.windows, pointwise=True)).to_xarray()
    assert DistilledSet.from_xarray(pointwise).windows.pointwise is True
    del pointwise.attrs["y_pointwise"]
    assert DistilledSet.from_xarray(pointwise).windows.pointwise is False


def test_large_arrays_are_compressed(by_hand, tmp_path):
    many = replace(
        by_hand.windows,
        **{
            name: getattr(by_hand.windows, name).repeat(200, *[1] * (dims - 1))
            for name, dims in (("x", 4), ("y", 3), ("mask", 3))
        },
    )
    path = replace(by_hand, windows=many).save(tmp_path / "many.nc")
    with xr.open_dataset(path, engine="netcdf4") as stored:
        # 400 windows of 2 x 2 x 2 inputs, and of 2 targets of 2 clusters
        compressed = {name for name, part in stored.variables.items() if part.encoding.get("zlib")}
    assert compressed == {"x", "y", "calendar"}


# --- files that are none -------------------------------------------------------------------------


def test_messages_name_the_file(by_hand, tmp_path):
    path = tmp_path / "none.nc"
    with pytest.raises(InputError) as missing:
        DistilledSet.load(path)
    assert str(missing.value) == (
        f"there is no distilled file {str(path)!r}: make one with `stemdist distill DATA "
        "-o none.nc`"
    )
    text = tmp_path / "text.nc"
    text.write_text("hello")
    with pytest.raises(InputError, match=r"text\.nc' cannot be read as a distilled file: "):
        DistilledSet.load(text)
    other = by_hand.to_xarray().assign_attrs(stemdist_format="stemdist-distilled-0")
    other.to_netcdf(tmp_path / "old.nc")
    with pytest.raises(
        InputError, match=r"its stemdist_format is 'stemdist-distilled-0', expected"
    ):
        DistilledSet.load(tmp_path / "old.nc")


@pytest.mark.parametrize("lost", ["scaler_mean", "edge_source", "location_profile"])
def test_damaged_files_are_called_so(by_hand, tmp_path, lost):
    by_hand.to_xarray().drop_vars(lost).to_netcdf(tmp_path / "damaged.nc")
    with pytest.raises(InputError, match=rf"damaged\.nc' is damaged \(.*{lost}.*\): make it again"):
        DistilledSet.load(tmp_path / "damaged.nc")


# --- views ---------------------------------------------------------------------------------------


def test_hash_is_of_every_part_that_training_sees(by_hand):
    known = by_hand.content_hash
    assert len(known) == 64
    assert replace(by_hand, units="mph", record={}).content_hash == known
    windows, graph = by_hand.windows, by_hand.cluster_graph
    changed = [
        replace(by_hand, windows=replace(windows, **{name: getattr(windows, name) + 1}))
        for name in ("x", "y", "mask", "weight", "given_profile")
    ]
    changed.append(replace(by_hand, windows=replace(windows, pointwise=True)))
    for name in ("edge_index", "edge_weight"):
        fields = {"edge_index": graph.edge_index, "edge_weight": graph.edge_weight, "num_nodes": 2}
        changed.append(
            replace(by_hand, cluster_graph=Data(**{**fields, name: 1 - getattr(graph, name)}))
        )
    assert len({known, *(other.content_hash for other in changed)}) == 9


def test_torch_dataset_and_graph(by_hand):
    x, y, mask = by_hand.torch_dataset()[1]
    assert x.equal(by_hand.windows.x[1])
    assert y.equal(by_hand.windows.y[1])
    assert mask.equal(by_hand.windows.mask[1])
    graph = by_hand.to_pyg()
    assert graph.x[1, 0, :, 0].tolist() == [2.0, 4.0]  # (cluster, window, lookback, feature)
    assert graph.x.shape == (2, 2, 2, 5)
    assert graph.y[0].tolist() == [[1.0, 0.5], [2.0, -0.5]]  # (window, target row)
    assert graph.edge_index.equal(by_hand.cluster_graph.edge_index)
    assert "y" not in by_hand.cluster_graph


def test_training_set(by_hand):
    data = by_hand.training_set()
    assert (data.kind, data.units, data.source_name) == ("distilled", "km/h", "roads.nc")
    for name in ("settings", "scaler", "variables", "locations", "content_hash"):
        assert getattr(data, name) is getattr(by_hand, name), name
    assert data.source is by_hand.windows
    assert data.graph is by_hand.cluster_graph
    assert replace(by_hand, record={}).training_set().source_name == ""


def test_data_of_other_features_are_refused(by_hand):
    by_hand.check_features(SimpleNamespace(feature_names=FEATURES, series=xr.Dataset()))
    message = r"have the features \('a',\), the distilled set \('a', 'b', 'time_of_day_sin'"
    with pytest.raises(InputError, match=message):
        by_hand.check_features(SimpleNamespace(feature_names=("a",)))


def test_how_clusters_are_represented(by_hand):
    clusters = by_hand.clusters
    assert clusters.labels is by_hand.cluster_of_location
    assert clusters.medoids is by_hand.medoids
    for record, kind in (
        ({}, "medoid"),
        ({"settings": None}, "medoid"),
        ({"settings": {"representative": "mean"}}, "mean"),
    ):
        assert replace(by_hand, record=record).clusters.representative == kind


def test_shared_features_come_last():
    x = torch.tensor([[[[1.0], [2.0]], [[3.0], [4.0]]]])  # (1, 2, 2, 1)
    calendar, static = torch.tensor([[[5.0], [6.0]]]), torch.tensor([[7.0, 8.0], [9.0, 0.0]])
    assert join_inputs(StoredInputs(x, calendar, None, static)).tolist() == [
        [
            [[1.0, 5.0, 7.0, 8.0], [2.0, 5.0, 9.0, 0.0]],
            [[3.0, 6.0, 7.0, 8.0], [4.0, 6.0, 9.0, 0.0]],
        ]
    ]


# --- as a table ----------------------------------------------------------------------------------


def wide(frame: pd.DataFrame, role: str) -> pd.DataFrame:
    keys = ["window", "cluster", "step"]
    return frame[frame["role"] == role].pivot(index=keys, columns="variable", values="value")


def test_the_table_has_a_row_for_each_number(by_hand):
    frame = by_hand.to_frame()
    assert list(frame) == [
        *("window", "cluster", "location", "weight", "role", "variable", "step", "value"),
    ]
    assert len(frame) == 2 * 2 * (2 * 5 + 1 * 2)  # windows, clusters; inputs and targets of each
    inputs, targets = wide(frame, "x"), wide(frame, "y")
    assert set(inputs) == set(FEATURES)
    assert inputs.loc[(1, 0, -1)].to_dict() == {
        "a": 20.0, "b": 120.0, "time_of_day_sin": 1.0, "time_of_day_cos": 0.0, "lat": 45.0,
    }  # fmt: skip
    assert inputs["lat"].unstack("cluster").drop_duplicates().to_numpy().tolist() == [[45.0, 60.0]]
    assert targets.loc[(0, 1, 1)].to_dict() == {"a": 8.0, "b": 115.0}
    assert np.isnan(targets.loc[(1, 1, 1), "b"])
    assert targets["a"].notna().all()


def test_rows_say_what_they_stand_for(by_hand):
    frame = by_hand.to_frame()
    once = frame.drop_duplicates("cluster").set_index("cluster")
    assert once["location"].tolist() == ["s", "w"]
    assert once["weight"].tolist() == [3, 1]
    assert frame.attrs["title"] == "Roads"
    assert frame.attrs["license"] == "CC0"


def test_a_table_of_one_target(by_hand):
    targets = wide(one_target(by_hand).to_frame(), "y")
    assert targets["a"].tolist() == [12.0, 8.0, 14.0, 10.0]


def test_a_table_of_clusters_with_times_of_their_own(by_hand):
    x = by_hand.windows.x.clone()
    x[:, :, 1, 2:4] = x[:, :, 1, 2:4].flip(0)  # the second cluster sees the other window's time
    moved = replace(by_hand, windows=replace(by_hand.windows, x=x))
    sines = wide(moved.to_frame(), "x")["time_of_day_sin"].unstack("step")
    assert sines.to_numpy().tolist() == [SINE[0], SINE[1], SINE[1], SINE[0]]


def test_names_of_files_say_their_format(by_hand, tmp_path):
    with pytest.raises(InputError, match=r"'\.parquet': name it with one of \.nc, \.nc4, \.zarr"):
        by_hand.save(tmp_path / "tiny.parquet")
    assert not list(tmp_path.iterdir())

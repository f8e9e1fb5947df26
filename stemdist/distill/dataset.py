"""A distilled set as one self-describing xarray dataset, and back.

Shapes: M_S windows, L_in lookback, R target rows, K clusters, N locations, F features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stemdist.data.conventions.attributes import attribution_of
from stemdist.data.scaling import Scaler
from stemdist.data.windows import TensorWindows
from stemdist.distill.clusters import Clusters
from stemdist.distill.inputs import StoredInputs, join_inputs, split_inputs
from stemdist.distill.integrity import DIGEST, check_distilled, digest_of
from stemdist.distill.labels import LABELS_IN_WORDS
from stemdist.distill.long_names import LONG_NAMES
from stemdist.forecast import Locations, TaskSettings
from stemdist.graph.edges import make_graph

if TYPE_CHECKING:
    from torch_geometric.data import Data

FORMAT = "stemdist-distilled-1"

# Positions in metres, or grid dimensions, with these names would clash with the windows x and y.
_POSITIONS = {"x": "location_x", "y": "location_y"}


@dataclass(frozen=True, kw_only=True)
class SetContents:
    """What a distilled file holds; :class:`~stemdist.distill.DistilledSet` describes the fields."""

    windows: TensorWindows
    cluster_graph: Data
    cluster_of_location: Tensor
    medoids: Tensor
    y_kind: str
    locations: Locations
    settings: TaskSettings
    scaler: Scaler
    feature_names: tuple[str, ...]
    variables: tuple[str, ...]
    units: str
    record: Mapping[str, Any]
    filled: Tensor | None = None

    @property
    def n_windows(self) -> int:
        """Number of synthetic windows M_S."""
        return len(self.windows)

    @property
    def n_clusters(self) -> int:
        """Number of clusters K."""
        return self.windows.n_locations

    @property
    def clusters(self) -> Clusters:
        """The clusters, with the recorded representative, or medoids if none is recorded."""
        return _clusters(self.cluster_of_location, self.medoids, self.record)

    @property
    def cluster_scaler(self) -> Scaler:
        """The scaler of the windows: that of the clusters' representatives."""
        return self.scaler.reduced(self.clusters.reduce)

    @property
    def contents(self) -> str:
        """What the windows and their targets are, in words."""
        targets = LABELS_IN_WORDS.get(self.y_kind, f"{self.y_kind} targets")
        return f"{self.window_kind} with {targets}"

    @property
    def window_kind(self) -> str:
        """What the windows are, in words: learned ones, real ones, or unknown.

        A synthesizer that finds nothing better returns the real windows it started from.
        """
        learned = self.record.get("learned")
        return "windows" if learned is None else f"{'learned' if learned else 'real'} windows"

    @cached_property
    def cluster_sizes(self) -> Tensor:
        """(K,) number of real locations in each cluster."""
        return torch.bincount(self.cluster_of_location, minlength=self.n_clusters)


def _clusters(labels: Tensor, medoids: Tensor, record: Mapping[str, Any]) -> Clusters:
    kind = (record.get("settings") or {}).get("representative", "medoid")
    return Clusters(labels=labels, medoids=medoids, representative=kind)


def dataset_of(distilled: SetContents) -> xr.Dataset:
    """Return the dataset of a distilled set, in physical units."""
    physical = distilled.cluster_scaler.inverse_features(distilled.windows.x)
    inputs = _within_range(distilled, physical)
    stored = split_inputs(inputs, distilled.settings)
    places = distilled.locations.to_dataset()
    places = places.rename({k: v for k, v in _POSITIONS.items() if k in places.coords})
    arrays = {
        **_input_variables(distilled, stored),
        **_target_variables(distilled),
        **_cluster_variables(distilled),
    }
    dataset = places.assign({name: (dims, *rest) for name, (dims, *rest) in arrays.items()})
    own = stored.own.shape[-1]
    shared = own + stored.calendar.shape[-1]
    names = distilled.feature_names
    dataset = dataset.assign_coords(
        input_feature=list(names),
        feature=list(names[:own]),
        calendar_feature=np.asarray(names[own:shared], dtype=str),
        static_feature=np.asarray(names[shared:], dtype=str),
        lookback=np.arange(1 - distilled.settings.lookback, 1),
        horizon=np.arange(1, distilled.settings.horizon + 1),
        **_cluster_positions(distilled),
    )
    for name, text in LONG_NAMES.items():
        if name in dataset.variables:
            dataset[name].attrs.setdefault("long_name", text)
    return dataset.assign_attrs(
        {DIGEST: digest_of(dataset), **attribution_of(distilled.record)}, **_attributes(distilled)
    )


def _attributes(distilled: SetContents) -> dict[str, Any]:
    record = distilled.record
    made = f"distilled by stemdist {record.get('stemdist_version', '')}"
    source = record.get("source_name")
    return {
        "Conventions": "CF-1.11",
        "title": record.get("title") or f"{', '.join(distilled.variables)}, distilled",
        "history": f"{made} from {source}" if source else made,
        "stemdist_format": FORMAT,
        "made_by": "stemdist distill",
        "contents": distilled.contents,
        "y_kind": distilled.y_kind,
        "y_pointwise": int(distilled.windows.pointwise),
        "variables": json.dumps(distilled.variables),
        "units": distilled.units,
        "task": json.dumps(distilled.settings.to_json()),
        "record": json.dumps(dict(record)),
    }


def _input_variables(distilled: SetContents, stored: StoredInputs) -> dict[str, Any]:
    """Return the inputs: each cluster's own, their calendars, and static features."""
    x = stored.own.numpy()
    gaps = np.zeros(x.shape, dtype=bool)  # what the source does not have
    if distilled.filled is not None:
        gaps[..., : distilled.filled.shape[-1]] = distilled.filled.numpy()
    has_table = stored.calendar_of is not None
    rows = "calendar_row" if has_table else "window"
    variables: dict[str, Any] = {
        "x": (("window", "lookback", "cluster", "feature"), np.where(gaps, np.nan, x)),
        "calendar": ((rows, "lookback", "calendar_feature"), stored.calendar.numpy()),
        "static": (("cluster", "static_feature"), stored.static.numpy()),
    }
    if stored.calendar_of is not None:
        place = stored.calendar_of.numpy().astype(np.int32)
        variables["calendar_of"] = (("window", "cluster"), place)
    return variables | ({"x_fill": ("fill", x[gaps])} if gaps.any() else {})


def _target_variables(distilled: SetContents) -> dict[str, Any]:
    """Return ``y`` (M_S, L_out, K), or (M_S, C, L_out, K) where there are several targets."""
    n_targets, mask = distilled.windows.n_targets, distilled.windows.mask
    y = distilled.cluster_scaler.inverse_targets(distilled.windows.y, n_targets)
    each = torch.unflatten(y, 1, (n_targets, -1))  # (M_S, C, L_out, K)
    each = _within_range(distilled, each.movedim(1, -1)).movedim(-1, 1)
    each = torch.where(mask.view_as(each) > 0, each, torch.nan)
    attrs = {"units": distilled.units, "long_name": distilled.variables[0]}
    if n_targets == 1:
        return {"y": (("window", "horizon", "cluster"), each[:, 0].numpy(), attrs)}
    dims = ("window", "target", "horizon", "cluster")
    names = np.asarray(distilled.feature_names[:n_targets])
    return {"y": (dims, each.numpy()), "target": ("target", names)}


def _cluster_variables(distilled: SetContents) -> dict[str, Any]:
    source, sink = distilled.cluster_graph.edge_index.numpy()
    clusters = distilled.cluster_of_location.numpy().astype(np.int32)
    return {
        "cluster_weight": ("cluster", distilled.cluster_sizes.numpy().astype(np.float32)),
        "cluster_medoid": ("cluster", distilled.medoids.numpy().astype(np.int32)),
        "cluster_profile": (("cluster", "profile"), distilled.windows.profile.numpy()),
        "cluster_of_location": ("location", clusters),
        "edge_source": ("edge", source.astype(np.int32)),
        "edge_target": ("edge", sink.astype(np.int32)),
        "edge_weight": ("edge", distilled.cluster_graph.edge_weight.numpy()),
        **_scaler_variables(distilled.scaler),
    }


def _scaler_variables(scaler: Scaler) -> dict[str, Any]:
    """Return mean and scale (F,), or (F, N) where locations are scaled by their own statistics."""
    columns = scaler.columns(torch.empty(0, dtype=torch.float64))
    dims = ("input_feature",) if scaler.n_locations is None else ("input_feature", "location")
    names = ("scaler_mean", "scaler_scale")
    return {name: (dims, part.numpy().T) for name, part in zip(names, columns, strict=True)}


def _within_range(distilled: SetContents, values: Tensor) -> Tensor:
    """Undo what rounding to physical units did to values (..., F) at the range's ends."""
    ends = list((distilled.record.get("range") or {}).values())[: values.shape[-1]]
    if not ends:
        return values
    low, high = values.new_tensor(ends).unbind(1)
    series, others = values[..., : len(ends)], values[..., len(ends) :]
    inside = series.clamp(low, high)
    rounded = (inside - series).abs() <= 1e-5 * (high - low)
    return torch.cat([torch.where(rounded, inside, series), others], -1)


def _cluster_positions(distilled: SetContents) -> dict[str, Any]:
    """Return the mean position of each cluster's locations, where positions are known."""
    found = {}
    counts = distilled.cluster_sizes.numpy()
    labels = distilled.cluster_of_location.numpy()
    for name in ("lat", "lon", "x", "y"):
        if name in distilled.locations.coords.coords:
            values = distilled.locations.coords[name].values.astype(float)
            total = np.bincount(labels, weights=values, minlength=distilled.n_clusters)
            found[f"cluster_{name}"] = ("cluster", total / counts)
    return found


def fields_of(dataset: xr.Dataset) -> dict[str, Any]:
    """Return the fields of a distilled set from its dataset.

    Raises
    ------
    InputError
        If its numbers were changed, or cannot be meant (see
        :func:`~stemdist.distill.integrity.check_distilled`).
    """
    check_distilled(dataset)
    scaler = Scaler.from_json(
        {name: dataset[f"scaler_{name}"].values.tolist() for name in ("mean", "scale")}
    )
    settings = TaskSettings.from_json(json.loads(dataset.attrs["task"]))
    ends = [_tensor(dataset, f"edge_{end}", torch.int64) for end in ("source", "target")]
    record = json.loads(dataset.attrs["record"])
    labels, medoids = (
        _tensor(dataset, name, torch.int64) for name in ("cluster_of_location", "cluster_medoid")
    )
    own = scaler.reduced(_clusters(labels, medoids, record).reduce)
    windows, gaps = _windows(dataset, own, settings)
    return {
        "windows": windows,
        "cluster_graph": make_graph(
            edge_index=torch.stack(ends),
            edge_weight=_tensor(dataset, "edge_weight"),
            num_nodes=dataset.sizes["cluster"],
        ),
        "cluster_of_location": labels,
        "medoids": medoids,
        "y_kind": dataset.attrs["y_kind"],
        "locations": Locations.from_dataset(_with_own_positions(dataset)),
        "settings": settings,
        "scaler": scaler,
        "feature_names": tuple(map(str, dataset["input_feature"].values)),
        "variables": tuple(json.loads(dataset.attrs["variables"])),
        "units": dataset.attrs["units"],
        "record": record,
        "filled": gaps,
    }


def _windows(
    dataset: xr.Dataset, scaler: Scaler, settings: TaskSettings
) -> tuple[TensorWindows, Tensor]:
    """Return the windows in scaled units, and which of their inputs the source does not have."""
    y = _tensor(dataset, "y")  # (M_S, L_out, K) or (M_S, C, L_out, K)
    y = scaler.scale_targets(y.reshape(len(y), -1, y.shape[-1]), settings.n_targets)
    mask = torch.isfinite(y)
    own = _tensor(dataset, "x")
    gaps = torch.isnan(own)
    if gaps.any():
        own[gaps] = _tensor(dataset, "x_fill")
    has_table = "calendar_of" in dataset
    place = _tensor(dataset, "calendar_of", torch.int64) if has_table else None
    parts = (own, _tensor(dataset, "calendar"), place, _tensor(dataset, "static"))
    sizes = _tensor(dataset, "cluster_weight")
    windows = TensorWindows(
        x=scaler.scale_features(join_inputs(StoredInputs(*parts))),
        y=torch.where(mask, y, torch.zeros(())),
        mask=mask.float(),
        weight=sizes / sizes.mean(),
        targets=settings.n_targets,
        given_profile=_tensor(dataset, "cluster_profile"),
        pointwise=bool(dataset.attrs.get("y_pointwise", 0)),
    )
    return windows, gaps


def _tensor(dataset: xr.Dataset, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(dataset[name].values)).to(dtype)


def _with_own_positions(dataset: xr.Dataset) -> xr.Dataset:
    """Rename positions of the locations to their names in the source."""
    stored = {v: k for k, v in _POSITIONS.items() if v in dataset.coords}
    return dataset.drop_vars([k for k in _POSITIONS if k in dataset]).rename(stored)

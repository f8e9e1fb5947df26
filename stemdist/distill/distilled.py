"""The distilled set: a few synthetic windows over a few clusters, and all that is needed to use it.

Shapes: M_S synthetic windows, L_in lookback, L_out horizon, C targets, K clusters, N real
locations, F features, E cluster edges.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.utils.data import TensorDataset

from stemdist.data.conventions.attributes import attribution_of
from stemdist.data.origin import ORIGIN, check_origin
from stemdist.data.scaling import Scaler
from stemdist.data.windows import TensorWindows
from stemdist.distill.clusters import Clusters
from stemdist.distill.integrity import DIGEST, check_distilled, digest_of
from stemdist.distill.labels import LABELS_IN_WORDS
from stemdist.distill.long_names import LONG_NAMES
from stemdist.distill.ratios import features_of_clusters
from stemdist.errors import InputError
from stemdist.files import atomic_path, recovered
from stemdist.forecast import ForecastTask, Locations, TaskSettings, TrainingSet
from stemdist.graph.edges import make_graph

if TYPE_CHECKING:
    from torch_geometric.data import Data

FORMAT = "stemdist-distilled-1"

# Positions in metres, or grid dimensions, with these names would clash with the windows x and y.
_POSITIONS = {"x": "location_x", "y": "location_y"}


@dataclass(frozen=True, kw_only=True)
class DistilledSet:
    """A distilled training set.

    Parameters
    ----------
    windows : TensorWindows
        M_S windows over K clusters in scaled units; the weight of a cluster is proportional
        to its number of locations, and its profile is that of its representative.
    cluster_graph : torch_geometric.data.Data
        Graph between the K clusters.
    cluster_of_location : Tensor
        (N,) int64.
    medoids : Tensor
        (K,) int64, the real location nearest to each centroid.
    y_kind : str
        Where the targets come from: ``observed``, ``expert`` or ``mixed``.
    locations : Locations
        The N real locations, with their graph and profiles.
    settings : TaskSettings
        Lookback, horizon, features and graph of the task.
    scaler : Scaler
        One mean and scale per feature.
    feature_names, variables : tuple of str
        The F input features, and the variables of the source they were made from.
    units : str
        Unit of the first target.
    record : dict
        How it was made: version, configuration, seed, source, costs, ratios; JSON types.
    filled : Tensor, optional
        (M_S, L_in, K, F_s) bool, inputs of series features that the source does not have.
        Forecasters train on what they were filled with; a file has NaN there.
    """

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
    def contents(self) -> str:
        """What the windows and their targets are, in words.

        A synthesizer that finds nothing better returns the real windows it started from.
        """
        learned = self.record.get("learned")
        kind = "windows" if learned is None else f"{'learned' if learned else 'real'} windows"
        return f"{kind} with {LABELS_IN_WORDS.get(self.y_kind, self.y_kind + ' targets')}"

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(M_S, L_in, K, F_own) of ``x`` in a file, where shared features stand apart."""
        return (*self.windows.x.shape[:3], features_of_clusters(self.windows, self.settings))

    @cached_property
    def cluster_sizes(self) -> Tensor:
        """(K,) number of real locations in each cluster."""
        return torch.bincount(self.cluster_of_location, minlength=self.n_clusters)

    def at(self, places: Tensor) -> DistilledSet:
        """Return the same windows for chosen real locations (n,), all medoids among them."""
        clusters = self.clusters.at(places)
        return replace(
            self,
            cluster_of_location=clusters.labels,
            medoids=clusters.medoids,
            locations=self.locations.at(places),
        )

    def torch_dataset(self) -> TensorDataset:
        """Return the windows as a ``torch.utils.data.Dataset`` of scaled ``(x, y, mask)``."""
        return TensorDataset(self.windows.x, self.windows.y, self.windows.mask)

    def to_pyg(self) -> Data:
        """Return the cluster graph as PyG ``Data`` with ``x`` (K, M_S, L_in, F) and ``y``."""
        graph = self.cluster_graph.clone()
        graph.x = self.windows.x.permute(2, 0, 1, 3)
        graph.y = self.windows.y.permute(2, 0, 1)  # (K, M_S, C * L_out)
        return graph

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the windows, their weights, masks and profiles, and the cluster graph."""
        windows, graph = self.windows, self.cluster_graph
        parts = (windows.x, windows.y, windows.mask, windows.weight, windows.profile)
        digest = hashlib.sha256()
        for tensor in (*parts, graph.edge_index, graph.edge_weight):
            digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
        if windows.pointwise:
            digest.update(b"pointwise")
        return digest.hexdigest()

    def training_set(self) -> TrainingSet:
        """Return the synthetic windows as a training set for forecasters of all real locations."""
        return TrainingSet(
            kind="distilled",
            source=self.windows,
            graph=self.cluster_graph,
            scaler=self.scaler,
            content_hash=self.content_hash,
            settings=self.settings,
            variables=self.variables,
            units=self.units,
            locations=self.locations,
            origin={name: self.record[name] for name in ORIGIN if name in self.record},
        )

    def check_features(self, task: ForecastTask) -> None:
        """Raise :class:`InputError` if real data have other features."""
        if task.feature_names != self.feature_names:
            raise InputError(
                f"the validation data have the features {task.feature_names}, the distilled "
                f"set {self.feature_names}: prepare them with the distilled set's settings"
            )
        check_origin(task.series, self.record, what="the distilled set")

    @property
    def clusters(self) -> Clusters:
        """The clusters, with the recorded representative, or medoids if none is recorded."""
        kind = (self.record.get("settings") or {}).get("representative", "medoid")
        return Clusters(labels=self.cluster_of_location, medoids=self.medoids, representative=kind)

    def to_xarray(self) -> xr.Dataset:
        """Return everything as one self-describing dataset in physical units.

        It has the windows themselves, whatever parametrisation they were learned in, so that it
        can be read with xarray alone; ``byte_ratio`` counts the numbers of the parametrisation.
        """
        target = {"units": self.units, "long_name": self.variables[0]}
        source, sink = self.cluster_graph.edge_index.numpy()
        x, calendar, static = (part.numpy() for part in self._stored_inputs())
        y = self.scaler.inverse_targets(self.windows.y, self.windows.n_targets)
        y = self._within_range(torch.unflatten(y, 1, (self.windows.n_targets, -1)).movedim(1, -1))
        y = y.movedim(-1, 1).flatten(1, 2)
        y = torch.where(self.windows.mask > 0, y, torch.nan)
        gaps = self._gaps(x.shape)
        arrays: dict[str, Any] = {
            "x": (("window", "lookback", "cluster", "feature"), np.where(gaps, np.nan, x)),
            **({"x_fill": ("fill", x[gaps])} if gaps.any() else {}),
            **self._target_variables(y, target),
            "calendar": (("window", "lookback", "calendar_feature"), calendar),
            "static": (("cluster", "static_feature"), static),
            "cluster_weight": ("cluster", self.cluster_sizes.numpy().astype(np.float32)),
            "cluster_medoid": ("cluster", self.medoids.numpy().astype(np.int32)),
            "cluster_profile": (("cluster", "profile"), self.windows.profile.numpy()),
            "cluster_of_location": ("location", self.cluster_of_location.numpy().astype(np.int32)),
            "edge_source": ("edge", source.astype(np.int32)),
            "edge_target": ("edge", sink.astype(np.int32)),
            "edge_weight": ("edge", self.cluster_graph.edge_weight.numpy()),
            "scaler_mean": ("input_feature", np.asarray(self.scaler.mean)),
            "scaler_scale": ("input_feature", np.asarray(self.scaler.scale)),
        }
        places = self.locations.to_dataset()
        places = places.rename({k: v for k, v in _POSITIONS.items() if k in places.coords})
        dataset = places.assign({name: (dims, *rest) for name, (dims, *rest) in arrays.items()})
        own, shared = x.shape[-1], x.shape[-1] + calendar.shape[-1]
        dataset = dataset.assign_coords(
            input_feature=list(self.feature_names),
            feature=list(self.feature_names[:own]),
            calendar_feature=np.asarray(self.feature_names[own:shared], dtype=str),
            static_feature=np.asarray(self.feature_names[shared:], dtype=str),
            lookback=np.arange(1 - self.settings.lookback, 1),
            horizon=np.arange(1, self.settings.horizon + 1),
            **self._cluster_positions(),
        )
        for name, text in LONG_NAMES.items():
            if name in dataset.variables:
                dataset[name].attrs.setdefault("long_name", text)
        made = f"distilled by stemdist {self.record.get('stemdist_version', '')}"
        source = self.record.get("source_name")
        return dataset.assign_attrs(
            {DIGEST: digest_of(dataset), **attribution_of(self.record)},
            Conventions="CF-1.11",
            title=self.record.get("title") or f"{', '.join(self.variables)}, distilled",
            history=f"{made} from {source}" if source else made,
            stemdist_format=FORMAT,
            made_by="stemdist distill",
            contents=self.contents,
            y_kind=self.y_kind,
            y_pointwise=int(self.windows.pointwise),
            variables=json.dumps(self.variables),
            units=self.units,
            task=json.dumps(self.settings.to_json()),
            record=json.dumps(dict(self.record)),
        )

    def _target_variables(self, y: Tensor, attrs: dict[str, str]) -> dict[str, Any]:
        """Return ``y`` (M_S, L_out, K), or (M_S, C, L_out, K) where there are several targets."""
        if self.windows.n_targets == 1:
            return {"y": (("window", "horizon", "cluster"), y.numpy(), attrs)}
        each = torch.unflatten(y, 1, (self.windows.n_targets, -1))
        names = np.asarray(self.feature_names[: self.windows.n_targets])
        dims = ("window", "target", "horizon", "cluster")
        return {"y": (dims, each.numpy()), "target": ("target", names)}

    def _stored_inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Split the inputs: each cluster's own, those equal at all clusters, and static ones."""
        x = self._within_range(self.scaler.inverse_features(self.windows.x))
        own = features_of_clusters(self.windows, self.settings)
        static = x.shape[-1] - len(self.settings.static)
        return x[..., :own], x[:, :, 0, own:static], x[0, 0, :, static:]

    def _within_range(self, values: Tensor) -> Tensor:
        """Undo what rounding to physical units did to values (..., F) at the range's ends."""
        ends = list((self.record.get("range") or {}).values())[: values.shape[-1]]
        if not ends:
            return values
        low, high = values.new_tensor(ends).unbind(1)
        series, others = values[..., : len(ends)], values[..., len(ends) :]
        inside = series.clamp(low, high)
        rounded = (inside - series).abs() <= 1e-5 * (high - low)
        return torch.cat([torch.where(rounded, inside, series), others], -1)

    def _gaps(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return which of the stored inputs (M_S, L_in, K, F_own) the source does not have."""
        gaps = np.zeros(shape, dtype=bool)
        if self.filled is not None:
            gaps[..., : self.filled.shape[-1]] = self.filled.numpy()
        return gaps

    def _cluster_positions(self) -> dict[str, Any]:
        """Return the mean position of each cluster's locations, where positions are known."""
        found = {}
        counts = self.cluster_sizes.numpy()
        labels = self.cluster_of_location.numpy()
        for name in ("lat", "lon", "x", "y"):
            if name in self.locations.coords.coords:
                values = self.locations.coords[name].values.astype(float)
                total = np.bincount(labels, weights=values, minlength=self.n_clusters)
                found[f"cluster_{name}"] = ("cluster", total / counts)
        return found

    def save(self, path: str | Path) -> Path:
        """Write one NetCDF-4 file, or a Zarr store for a name that ends in ``.zarr``.

        Raises
        ------
        OutputError
            If it cannot be written; an existing file is left unchanged.
        """
        path = Path(path)
        dataset = self.to_xarray()
        with atomic_path(path) as part:
            if path.suffix == ".zarr":
                dataset.to_zarr(part, zarr_format=2)
            else:
                big = {n: {"zlib": True} for n, a in dataset.data_vars.items() if a.size > 1000}
                dataset.to_netcdf(part, engine="netcdf4", encoding=big)
        return path

    @classmethod
    def load(cls, path: str | Path) -> DistilledSet:
        """Read a file written by :meth:`save`.

        Raises
        ------
        InputError
            If there is no such file, or it is not a distilled set.
        """
        path = recovered(path)
        if not path.exists():
            raise InputError(
                f"there is no distilled file {str(path)!r}: make one with `stemdist distill DATA "
                f"-o {path.name}`"
            )
        engine = "zarr" if path.is_dir() else "netcdf4"
        try:
            with xr.open_dataset(path, engine=engine) as stored:
                dataset = stored.load()
        except (OSError, ValueError) as error:
            raise InputError(
                f"{str(path)!r} cannot be read as a distilled file: {error}"
            ) from error
        if dataset.attrs.get("stemdist_format") != FORMAT:
            raise InputError(
                f"{str(path)!r} is not a distilled file of this version (its stemdist_format is "
                f"{dataset.attrs.get('stemdist_format')!r}, expected {FORMAT!r}): make one with "
                "`stemdist distill`"
            )
        try:
            return cls.from_xarray(dataset)
        except InputError as error:
            raise InputError(f"{str(path)!r} cannot be used: {error}") from error
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"the distilled file {str(path)!r} is damaged ({error}): make it again"
            ) from error

    @classmethod
    def from_xarray(cls, dataset: xr.Dataset) -> DistilledSet:
        """Rebuild from the dataset made by :meth:`to_xarray`.

        Raises
        ------
        InputError
            If its numbers were changed, or cannot be meant (see
            :func:`~stemdist.distill.integrity.check_distilled`).
        """
        check_distilled(dataset)

        def tensor(name: str, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(dataset[name].values)).to(dtype)

        scaler = Scaler(
            mean=tuple(map(float, dataset["scaler_mean"].values)),
            scale=tuple(map(float, dataset["scaler_scale"].values)),
        )
        settings = TaskSettings.from_json(json.loads(dataset.attrs["task"]))
        y = tensor("y")  # (M_S, L_out, K) or (M_S, C, L_out, K)
        y = scaler.scale_targets(y.reshape(len(y), -1, y.shape[-1]), settings.n_targets)
        mask = torch.isfinite(y)
        own = tensor("x")
        gaps = torch.isnan(own)
        if gaps.any():
            own[gaps] = tensor("x_fill")
        x = with_shared_features(own, tensor("calendar"), tensor("static"))
        sizes = tensor("cluster_weight")
        ends = torch.stack([tensor(f"edge_{end}", torch.int64) for end in ("source", "target")])
        n_clusters = dataset.sizes["cluster"]
        return cls(
            windows=TensorWindows(
                x=scaler.scale_features(x),
                y=torch.where(mask, y, torch.zeros(())),
                mask=mask.float(),
                weight=sizes / sizes.mean(),
                targets=settings.n_targets,
                given_profile=tensor("cluster_profile"),
                pointwise=bool(dataset.attrs.get("y_pointwise", 0)),
            ),
            cluster_graph=make_graph(
                edge_index=ends, edge_weight=tensor("edge_weight"), num_nodes=n_clusters
            ),
            cluster_of_location=tensor("cluster_of_location", torch.int64),
            medoids=tensor("cluster_medoid", torch.int64),
            y_kind=dataset.attrs["y_kind"],
            locations=Locations.from_dataset(_with_own_positions(dataset)),
            settings=settings,
            scaler=scaler,
            feature_names=tuple(map(str, dataset["input_feature"].values)),
            variables=tuple(json.loads(dataset.attrs["variables"])),
            units=dataset.attrs["units"],
            record=json.loads(dataset.attrs["record"]),
            filled=gaps,
        )


def _with_own_positions(dataset: xr.Dataset) -> xr.Dataset:
    """Rename positions of the locations to their names in the source."""
    stored = {v: k for k, v in _POSITIONS.items() if v in dataset.coords}
    return dataset.drop_vars([k for k in _POSITIONS if k in dataset]).rename(stored)


def with_shared_features(x: Tensor, calendar: Tensor, static: Tensor) -> Tensor:
    """Append features (M_S, L_in, C) and (K, S) to x (M_S, L_in, K, F)."""
    m, lookback, k, _ = x.shape
    shared = calendar[:, :, None].expand(m, lookback, k, -1)
    return torch.cat([x, shared, static.expand(m, lookback, k, -1)], dim=-1)

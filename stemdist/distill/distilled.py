"""The distilled set: a few synthetic windows over a few clusters, and all that is needed to use it.

Shapes: M_S synthetic windows, L_in lookback, L_out horizon, C targets, K clusters, N real
locations, F features, E cluster edges.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from torch import Tensor
from torch.utils.data import TensorDataset

from stemdist.data.downloads import is_downloaded, local_copy
from stemdist.data.origin import ORIGIN, check_origin
from stemdist.display import Fields, Shown, share_picture, share_text
from stemdist.distill.dataset import FORMAT, SetContents, dataset_of, fields_of
from stemdist.distill.frame import frame_of
from stemdist.distill.inputs import split_inputs
from stemdist.errors import InputError
from stemdist.files import atomic_path, check_suffix, recovered
from stemdist.forecast import ForecastTask, TrainingSet

if TYPE_CHECKING:
    import pandas as pd
    from torch_geometric.data import Data

    from stemdist.distill.figures import DistilledPlots


@dataclass(frozen=True, kw_only=True, repr=False)
class DistilledSet(Shown, SetContents):
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
        One mean and scale per feature, or one for each of the N locations.
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

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(M_S, L_in, K, F_own) of ``x`` in a file, where shared features stand apart."""
        m, lookback, k, n_own = split_inputs(self.windows.x, self.settings).own.shape
        return m, lookback, k, n_own

    def fields(self) -> Fields:
        """Return what the set is made from and how large it is, in words."""
        ratios = ", ".join(
            f"{name.removesuffix('_ratio')} {share_text(value)}"
            for name, value in self.record.get("ratios", {}).items()
        )
        return [
            ("made from", str(self.record.get("source_name") or "unknown")),
            ("contents", self.contents),
            ("inputs x", f"{self.input_shape} (window, lookback, cluster, feature)"),
            ("targets", f"{self.variables[0]} ({self.units}), {self.y_kind}"),
            ("features", ", ".join(self.feature_names)),
            ("clusters", f"{self.n_clusters} of {len(self.locations)} locations"),
            ("ratios", ratios),
        ]

    def details(self) -> Mapping[str, Any]:
        """Return how the set was made, and its variables."""
        return {"record": dict(self.record), "as xarray.Dataset": repr(self.to_xarray())}

    def picture(self) -> str:
        """Return its share of time and space as a picture."""
        whole = self.record.get("ratios", {}).get("window_ratio")
        if whole is None:
            return ""
        space = self.n_clusters / len(self.locations)
        return share_picture(min(1.0, whole / space), space)

    @property
    def plot(self) -> DistilledPlots:
        """Draw it: ``tiny.plot()``, or one of ``clusters``, ``graph``, ``windows``, ``sizes``.

        Needs matplotlib, which the extra ``report`` installs.

        Examples
        --------
        >>> from stemdist.data import canonical_series, simulate
        >>> from stemdist.distill import DistillSettings, distill
        >>> from stemdist.forecast import ForecastTask, TrainingSettings
        >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=3, n_lon=4))
        >>> few = TrainingSettings(updates=2)
        >>> real = ForecastTask.from_series(series)
        >>> quick = DistillSettings(synthesizer="selection", expert_training=few, judging=few)
        >>> tiny = distill(real, quick)
        >>> tiny.plot.windows().get_ylabel()
        't2m (K)'
        >>> [axes.get_title() for axes in tiny.plot(real)][1:3]
        ['Real windows of the set', 'Real training windows']
        """
        from stemdist.distill.figures import DistilledPlots

        return DistilledPlots(self)

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
            own_scaler=self.cluster_scaler,
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

    def to_xarray(self) -> xr.Dataset:
        """Return everything as one self-describing dataset in physical units.

        It has the windows themselves, whatever parametrisation they were learned in, so that it
        can be read with xarray alone; ``byte_ratio`` counts the numbers of the parametrisation.
        """
        return dataset_of(self)

    def to_frame(self) -> pd.DataFrame:
        """Return the windows as one tidy table in physical units, a row for each number.

        Returns
        -------
        pandas.DataFrame
            ``window`` and ``cluster``, their numbers; ``location``, the medoid of the cluster, and
            ``weight``, how many locations it stands for; ``role``, ``"x"`` for inputs and ``"y"``
            for targets; ``variable``, the feature or target; ``step``, up to 0 in inputs, 0 being
            the last one, and from 1 in targets; ``value``, NaN where missing. Its ``attrs`` say
            what the set was made from, and on which terms.

        Examples
        --------
        >>> import stemdist
        >>> raw = stemdist.simulate("weather-sim", days=8, n_lat=4, n_lon=4)
        >>> how = {"horizon": 2, "labels": "observed", "synthesizer": "selection"}
        >>> frame = stemdist.distill_series(raw, **how).to_frame()
        >>> targets = frame[frame["role"] == "y"]
        >>> targets.pivot_table(index="window", columns="step", values="value").columns.tolist()
        [1, 2]
        """
        return frame_of(self.to_xarray())

    def save(self, path: str | Path) -> Path:
        """Write one NetCDF-4 file, or a Zarr store for a name that ends in ``.zarr``.

        Raises
        ------
        InputError
            If the name ends in anything else than ``.nc``, ``.nc4`` or ``.zarr``.
        OutputError
            If it cannot be written; an existing file is left unchanged.
        """
        path = Path(path)
        check_suffix(path, (".nc", ".nc4", ".zarr"))
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

        Parameters
        ----------
        path : str or Path
            A file or Zarr store; or the address of a file, ``https://...`` or
            ``hf://OWNER/NAME[/FILE][@REVISION]`` (see
            :func:`~stemdist.data.downloads.local_copy`).

        Raises
        ------
        InputError
            If there is no such file, or it is not a distilled set.
        DownloadError
            If it cannot be downloaded.
        """
        address = str(path)
        path = local_copy(address) if is_downloaded(address) else recovered(path)
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
        if "stemdist_format" not in dataset.attrs:
            raise InputError(
                f"{str(path)!r} is not a distilled set: `stemdist distill DATA` makes one, and "
                "`stemdist info FILE` says what is in a file"
            )
        if dataset.attrs["stemdist_format"] != FORMAT:
            raise InputError(
                f"{str(path)!r} is not a distilled file of this version (its stemdist_format is "
                f"{dataset.attrs['stemdist_format']!r}, expected {FORMAT!r}): make one with "
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
        return cls(**fields_of(dataset))

"""Whether a distilled file is what was written, and means what it must.

Shapes: K clusters, N real locations.
"""

from __future__ import annotations

import hashlib

import numpy as np
import xarray as xr

from stemdist.errors import InputError

_NEEDED = ("x", "y", "calendar", "static", "scaler_mean", "scaler_scale", "input_feature")

DIGEST = "sha256"
"""Attribute with the digest of the numbers."""


def digest_of(dataset: xr.Dataset) -> str:
    """Return the SHA-256 of all numeric variables and coordinates, by name.

    Examples
    --------
    >>> one = xr.Dataset({"x": ("a", [1.0, 2.0])})
    >>> digest_of(one) == digest_of(one.assign(x=("a", [1.0, 2.5])))
    False
    """
    digest = hashlib.sha256()
    for name in sorted(map(str, dataset.variables)):
        values = np.asarray(dataset[name].values)
        if values.dtype.kind in "fiub":
            digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def check_distilled(dataset: xr.Dataset) -> None:
    """Raise unless the numbers of a distilled set can be meant.

    Raises
    ------
    InputError
        If they are not those that were written, targets are all missing, inputs, weights or
        statistics are not finite, or an index points nowhere.
    """
    n_clusters, n_locations = dataset.sizes["cluster"], dataset.sizes["location"]
    for name in _NEEDED:
        _ = dataset[name]  # a missing one is a KeyError that names it
    indices = {
        "cluster_of_location": n_clusters,
        "cluster_medoid": n_locations,
        "edge_source": n_clusters,
        "edge_target": n_clusters,
        "location_edge_source": n_locations,
        "location_edge_target": n_locations,
    }
    for name, bound in indices.items():
        values = dataset[name].values
        if values.size and not (values.min() >= 0 and values.max() < bound):
            bad = values.min() if values.min() < 0 else values.max()
            _refuse(f"{name!r} holds {bad}, which is not a number from 0 to {bound - 1}")
    for name in ("edge_weight", "location_edge_weight", "cluster_profile", "location_profile"):
        if not np.isfinite(dataset[name].values).all():
            _refuse(f"{name!r} holds values that are not finite")
    if not (dataset["cluster_weight"].values > 0).all():
        _refuse("'cluster_weight' holds a value that is not above 0")
    if not np.isfinite(dataset["y"].values).any():
        _refuse("all targets 'y' are missing")
    if np.isinf(dataset["x"].values).any() or np.isinf(dataset["y"].values).any():
        _refuse("'x' or 'y' holds an infinite value")
    n_missing, n_fill = int(np.isnan(dataset["x"].values).sum()), dataset.sizes.get("fill", 0)
    if n_missing != n_fill:
        _refuse(f"{n_missing} inputs 'x' are missing, and 'x_fill' has {n_fill} values for them")
    stored = dataset.attrs.get(DIGEST)
    if stored is not None and stored != digest_of(dataset):
        _refuse("its numbers are not those that were written (SHA-256)")


def _refuse(reason: str) -> None:
    raise InputError(
        f"the distilled set was changed after it was made: {reason}. Make it again; a change that "
        f"is meant needs the attribute {DIGEST!r} removed and numbers that can be used"
    )

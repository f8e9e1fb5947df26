"""A distilled set as one table with a row for each number, as pandas and databases want it.

Shapes: M_S windows, K clusters.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from stemdist.data.conventions.attributes import attribution_of

_AXES = ("window", "cluster", "variable", "step")
_DESCRIBED = ("title", "history", "contents", "units")


def frame_of(dataset: xr.Dataset) -> pd.DataFrame:
    """Return the windows of a distilled file; see :meth:`stemdist.distill.DistilledSet.to_frame`.

    Parameters
    ----------
    dataset : xarray.Dataset
        As :func:`~stemdist.distill.dataset.dataset_of` makes it.
    """
    parts = {"x": _inputs(dataset), "y": _targets(dataset)}
    frame = pd.concat([_rows(array).assign(role=role) for role, array in parts.items()])
    frame = frame.sort_values(["window", "cluster"], kind="stable", ignore_index=True)
    cluster = frame["cluster"].to_numpy()
    medoids = dataset["location"].values[dataset["cluster_medoid"].values].astype(str)
    frame["location"] = pd.Categorical(medoids).take(cluster)
    frame["weight"] = dataset["cluster_weight"].values.astype(np.int64)[cluster]
    for name in ("role", "variable"):
        frame[name] = frame[name].astype("category")
    frame.attrs.update({name: dataset.attrs[name] for name in _DESCRIBED})
    frame.attrs.update(attribution_of(dataset.attrs))
    return frame[["window", "cluster", "location", "weight", "role", "variable", "step", "value"]]


def _inputs(dataset: xr.Dataset) -> xr.DataArray:
    """Return all features of the inputs, those of the calendar and static ones repeated."""
    calendar = dataset["calendar"]
    if "calendar_of" in dataset:
        calendar = calendar.isel(calendar_row=dataset["calendar_of"])
    features = (
        (dataset["x"], "feature"),
        (calendar, "calendar_feature"),
        (dataset["static"], "static_feature"),
    )
    named = (array.reset_coords(drop=True).rename({own: "variable"}) for array, own in features)
    parts = xr.broadcast(*named, exclude=["variable"])
    joined = xr.concat([each.rename("value") for each in parts], "variable")
    return joined.rename(lookback="step")


def _targets(dataset: xr.Dataset) -> xr.DataArray:
    y = dataset["y"].reset_coords(drop=True).rename(horizon="step")
    if "target" in y.dims:
        return y.rename(target="variable")
    return y.expand_dims(variable=dataset["feature"].values[:1])


def _rows(array: xr.DataArray) -> pd.DataFrame:
    numbered = array.assign_coords(
        {axis: np.arange(array.sizes[axis]) for axis in ("window", "cluster")}
    )
    return numbered.transpose(*_AXES).rename("value").to_series().reset_index()

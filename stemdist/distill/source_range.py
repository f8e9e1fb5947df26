"""What the source says about learned windows: the range of its values, and what it lacks.

Shapes: M_S synthetic windows, L_in lookback, R target rows, K clusters, F_s series features (the
first C are the targets).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from dask.base import compute
from torch import Tensor

from stemdist.distill.clusters import Clusters
from stemdist.forecast import ForecastTask


@dataclass(frozen=True, kw_only=True)
class SourceRange:
    """The lowest and highest value of each series feature in the training part.

    Learned inputs and targets are kept between them, so that there are no negative counts.

    Parameters
    ----------
    low, high : Tensor
        (F_s,) in scaled units, or (K, F_s) where locations are scaled by their own statistics.
    n_targets : int
        C.
    physical : mapping
        The same in physical units, by feature; see :func:`physical_range`.

    Examples
    --------
    >>> counts = SourceRange(low=torch.zeros(1), high=torch.ones(1), n_targets=1)
    >>> counts.inputs(torch.tensor([-0.5, 0.5, 3.0])[:, None])[:, 0]
    tensor([0.0000, 0.5000, 1.0000])
    """

    low: Tensor
    high: Tensor
    n_targets: int
    physical: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of_task(
        cls,
        task: ForecastTask,
        variables: Mapping[str, tuple[float, float]] | None = None,
        clusters: Clusters | None = None,
    ) -> SourceRange:
        """Return the range of a task's training part.

        Parameters
        ----------
        task : ForecastTask
            The real data.
        variables : mapping, optional
            Lowest and highest value of each variable, where they are known.
        clusters : Clusters, optional
            Where the learned windows are; by default they are at the locations of the task.
        """
        n_series = task.n_series_features
        physical = physical_range(task, variables)
        edges = torch.tensor(list(physical.values()), dtype=torch.float64)  # (F_s, 2)
        scaler = task.scaler if clusters is None else task.scaler.reduced(clusters.reduce)
        mean, scale = (part[..., :n_series] for part in scaler.columns(edges))
        low, high = (((edge - mean) / scale).float() for edge in edges.unbind(1))
        return cls(low=low, high=high, n_targets=task.train.n_targets, physical=physical)

    def inputs(self, x: Tensor, first: int = 0) -> Tensor:
        """Return inputs (..., F), from feature ``first`` on, with the series within the range."""
        low, high = (edge[..., first : first + x.shape[-1]].to(x.device) for edge in self._edges)
        count = low.shape[-1]
        within = x[..., :count].clamp(low, high)
        return within if count == x.shape[-1] else torch.cat([within, x[..., count:]], -1)

    def targets(self, y: Tensor) -> Tensor:
        """Return targets (M_S, R, K) within the range."""
        each = y.shape[1] // self.n_targets
        low, high = (
            edge[..., : self.n_targets].repeat_interleave(each, -1).view(-1, y.shape[1]).T
            for edge in self._edges
        )
        return y.clamp(low.to(y.device), high.to(y.device))

    @property
    def _edges(self) -> tuple[Tensor, Tensor]:
        return self.low, self.high


def physical_range(
    task: ForecastTask, variables: Mapping[str, tuple[float, float]] | None = None
) -> dict[str, tuple[float, float]]:
    """Return the lowest and highest value of each series feature in the training part.

    A mean over neighbours has the range of what is averaged.
    """
    found = variables
    if found is None:
        end = task.split_boundaries["train"][1]
        part = task.series.isel(time=slice(0, end))
        # In one pass over the values.
        low, high = compute(part.min(), part.max())  # type: ignore[no-untyped-call]
        found = {str(name): (float(low[name]), float(high[name])) for name in part.data_vars}
    sources = zip(task.feature_names, task.feature_sources, strict=False)
    return {feature: found[variable] for feature, (variable, _) in sources}


def missing_inputs(task: ForecastTask, clusters: Clusters, chosen: Tensor) -> Tensor:
    """Say which inputs of chosen training windows the source does not have.

    Parameters
    ----------
    task : ForecastTask
        The real data; its inputs are filled where values are missing.
    clusters : Clusters
        A cluster mean is missing where all of its locations are.
    chosen : Tensor
        (M_S,) numbers of training windows, or (M_S, K) where each cluster has its own.

    Returns
    -------
    Tensor
        (M_S, L_in, K, F_s) bool. Neighbour means are made, not missing.
    """
    lags = torch.arange(task.train.lookback)[:, None]
    places = torch.arange(len(clusters.medoids))
    starts = chosen[:, None].expand(-1, len(places)) if chosen.dim() == 1 else chosen
    steps = task.train.starts[starts][:, None] + lags  # (M_S, L_in, K)
    sources, last = task.feature_sources, task.series.sizes["time"] - 1
    missing = torch.zeros(*steps.shape, len(sources), dtype=torch.bool)
    for feature, (name, lead) in enumerate(sources):
        if lead is None:
            continue
        needed, rows = np.unique((steps + lead).clamp(max=last).numpy(), return_inverse=True)
        if feature < task.train.n_targets:  # known in memory
            finite = task.train.observed[torch.from_numpy(needed), :, feature]
        else:
            finite = torch.from_numpy(np.isfinite(task.series[name].isel(time=needed).values))
        seen = clusters.reduce(finite) > 0  # (U, K)
        missing[..., feature] = ~seen[torch.from_numpy(rows.reshape(steps.shape)), places]
    return missing

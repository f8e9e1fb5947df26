"""Subsets of the clusters, for granular distillation (STemDist, Kwon et al., ICDE 2026).

Shapes: M_S windows, L_in lookback, K clusters, k clusters of a subset, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from stemdist.graph import subgraph, subset_weights

if TYPE_CHECKING:
    from torch_geometric.data import Data


@dataclass(frozen=True, kw_only=True)
class ClusterSubset:
    """Some of the clusters, on which one update is made.

    Parameters
    ----------
    index : Tensor or None
        (k,) which clusters; None for all in their order.
    graph : torch_geometric.data.Data
        Graph between them.
    weight : Tensor
        (k,) their weights in the loss, mean 1.
    """

    index: Tensor | None
    graph: Data
    weight: Tensor

    @classmethod
    def cut(cls, graph: Data, weight: Tensor, index: Tensor) -> ClusterSubset:
        """Return the clusters ``index`` (k,) of a graph between K clusters with weights (K,)."""
        index = index.to(weight.device)
        return cls(index=index, graph=subgraph(graph, index), weight=subset_weights(weight[index]))

    def of(self, values: Tensor, axis: int = 2) -> Tensor:
        """Return ``values`` with K clusters on ``axis`` at the clusters of the subset."""
        return values if self.index is None else values.index_select(axis, self.index)


def mean_profile(x: Tensor) -> Tensor:
    """Return the mean windows (k, L_in * F) of inputs (M_S, L_in, k, F), for location encoders."""
    return x.mean(0).transpose(0, 1).flatten(1)

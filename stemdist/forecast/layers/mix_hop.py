"""Mix-hop propagation over a graph.

Shapes: B windows, N locations, T time steps, C channels. Tensors are (B, N, T, C): a window's
locations are the rows of one contiguous matrix (N, T * C), which is what products with an
adjacency need, and the layout is "channels last" for convolutions over time, so nothing is
ever permuted in memory.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemdist.forecast.layers.products import Product


class MixHop(nn.Module):
    """Mix-hop propagation in both directions of a graph, summed.

    Wu et al., MTGNN, KDD 2020, section 4.3: ``h_k = retain x + (1 - retain) A h_(k-1)``, then
    a linear map of all hops, once along the edges and once against them.

    Parameters
    ----------
    channels_in, channels_out : int
        C before and after.
    hops : int
        Propagation depth.
    retain : float
        Share of the input kept at each hop, in [0, 1].

    Examples
    --------
    >>> MixHop(3, 4, hops=2, retain=0.05)(torch.ones(2, 5, 6, 3), torch.abs, torch.abs).shape
    torch.Size([2, 5, 6, 4])
    """

    def __init__(self, channels_in: int, channels_out: int, hops: int, retain: float) -> None:
        super().__init__()
        self.channels_in = channels_in
        self.retain = retain
        self.along = nn.Linear(channels_in * (hops + 1), channels_out)
        self.against = nn.Linear(channels_in * (hops + 1), channels_out)

    def forward(self, h: Tensor, along: Product, against: Product) -> Tensor:
        """Return (B, N, T, C_out) for (B, N, T, C_in) and products with the graph."""
        to_along, to_against = self._power_maps(self.along), self._power_maps(self.against)
        # Both sides start from h itself, so their maps are added before they are applied.
        bias = self.along.bias + self.against.bias
        rows = functional.linear(h.flatten(0, 2), to_along[0] + to_against[0], bias)
        for product, maps in ((along, to_along), (against, to_against)):
            power = h.flatten(2)  # (B, N, T C_in)
            for weight in maps[1:]:
                power = product(power)
                # In place: rows (B N T, C_out) is large and its old value is needed by nothing.
                rows = rows.addmm_(power.view(-1, self.channels_in), weight.T)
        return rows.view(*h.shape[:3], -1)

    def _power_maps(self, linear: nn.Linear) -> list[Tensor]:
        """Return the map (C_out, C_in) of each power ``A^i h``.

        Hop k is ``(1 - retain)^k A^k h`` plus ``retain (1 - retain)^i A^i h`` of each i < k, so
        collecting powers in the weights saves a pass over the data for every hop.
        """
        maps = torch.split(linear.weight, self.channels_in, dim=1)  # (C_out, C_in) of each hop
        collected = []
        later = torch.zeros_like(maps[0])
        for power in reversed(range(len(maps))):
            collected.append((maps[power] + self.retain * later) * (1 - self.retain) ** power)
            later = later + maps[power]
        return collected[::-1]

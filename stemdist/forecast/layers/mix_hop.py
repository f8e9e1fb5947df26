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

FEW_LOCATIONS = 8
"""Number of locations up to which one map of all of them is faster than separate products: half
the time of a step at 5, nine tenths at 8, more at 11 where gradients are differentiated again."""


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

    share: Tensor

    def __init__(self, channels_in: int, channels_out: int, hops: int, retain: float) -> None:
        super().__init__()
        self.hops = hops
        self.along = nn.Linear(channels_in * (hops + 1), channels_out)
        self.against = nn.Linear(channels_in * (hops + 1), channels_out)
        # Hop k is (1 - retain)^k A^k h plus retain (1 - retain)^i A^i h of each i < k.
        kept = [(1 - retain) ** power for power in range(hops + 1)]
        share = torch.tensor(kept)[:, None] * (retain * torch.ones(hops + 1, hops + 1)).triu(1)
        self.register_buffer("share", share + torch.tensor(kept).diag(), persistent=False)

    def forward(self, h: Tensor, along: Product, against: Product) -> Tensor:
        """Return (B, N, T, C_out) for (B, N, T, C_in) and products with the graph."""
        to_along, to_against = self._power_maps(self.along), self._power_maps(self.against)
        # Both sides start from h itself, so their maps are added before they are applied.
        bias = self.along.bias + self.against.bias
        first = to_along[0] + to_against[0]
        # An exported program serves any number of locations.
        if not torch.compiler.is_compiling() and h.shape[1] <= FEW_LOCATIONS:
            maps = torch.cat([first[None], to_along[1:], to_against[1:]])
            return self._at_once(h, maps, bias, along, against)
        rows = functional.linear(h.flatten(0, 2), first, bias)
        for product, maps in ((along, to_along), (against, to_against)):
            power = h.flatten(2)  # (B, N, T C_in)
            for weight in maps[1:]:
                power = product(power)
                # In place: rows (B N T, C_out) is large and its old value is needed by nothing.
                rows = rows.addmm_(power.view(-1, h.shape[3]), weight.T)
        return rows.view(*h.shape[:3], -1)

    def _at_once(
        self, h: Tensor, maps: Tensor, bias: Tensor, along: Product, against: Product
    ) -> Tensor:
        """Return the same by one map from all locations and channels to all of them.

        The map (N C_out, N C_in) is the sum over powers of the Kronecker product of the power of
        the adjacency with its ``maps`` (2 hops + 1, C_out, C_in).
        """
        n = h.shape[1]
        powers = [torch.eye(n, dtype=h.dtype, device=h.device)[None]]  # (1, N, N) each
        for product in (along, against):
            power = powers[0]
            for _ in range(self.hops):
                power = product(power)
                powers.append(power)
        joined = torch.einsum("pnm,poc->nomc", torch.cat(powers), maps)
        joined = joined.flatten(2).flatten(0, 1)  # (N C_out, N C_in)
        rows = functional.linear(h.transpose(1, 2).flatten(2), joined, bias.repeat(n))
        return rows.view(len(h), h.shape[2], n, -1).transpose(1, 2)

    def _power_maps(self, linear: nn.Linear) -> Tensor:
        """Return the map (hops + 1, C_out, C_in) of each power ``A^i h``.

        Collecting powers in the weights saves a pass over the data for every hop.
        """
        hops = linear.weight.view(len(linear.weight), self.hops + 1, -1)  # (C_out, hops + 1, C_in)
        return torch.einsum("pk,okc->poc", self.share.to(hops.dtype), hops)

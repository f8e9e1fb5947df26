"""Layers of the graph convolution forecasters.

Shapes: B windows, N locations, T time steps, C channels. Tensors are (B, N, T, C): a window's
locations are the rows of one contiguous matrix (N, T * C), which is what products with an
adjacency need, and the layout is "channels last" for convolutions over time, so nothing is
ever permuted in memory.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemdist.errors import InputError
from stemdist.forecast.sparse import Pattern, pair_weights, spmm, top_k_rows

KERNELS = (2, 3, 6, 7)
"""Widths of the parallel convolutions over time (MTGNN section 4.4)."""


class FastDropout(nn.Module):
    """Dropout whose random numbers cost a tenth of ``torch.nn.Dropout``'s on CPU.

    Each value takes 16 random bits of a 64-bit number instead of a whole draw, so the share
    is rounded to a multiple of 1/65536.

    Parameters
    ----------
    share : float
        Share of values set to zero in training, in [0, 1).

    Examples
    --------
    >>> FastDropout(0.3).eval()(torch.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, h: Tensor) -> Tensor:
        """Return ``h`` with a share of its values zero and the others scaled up, in training."""
        dropped = round(self.share * 65536)
        if not self.training or dropped == 0:
            return h
        if h.device.type != "cpu":
            return functional.dropout(h, self.share)
        draws = torch.empty(-(-h.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = draws.view(torch.int16)[: h.numel()].view(h.shape)
        keep = (bits >= dropped - 32768).to(h.dtype)
        return h * keep.mul_(65536 / (65536 - dropped))


class DilatedInception(nn.Module):
    """Gated parallel convolutions over time of widths 2, 3, 6 and 7, computed as one.

    Wu et al., MTGNN, KDD 2020, sections 4.4 and 4.5: each width gives a quarter of the
    channels, all aligned at the latest step, and a tanh filter is multiplied by a sigmoid
    gate. The eight kernels are padded on the left to width 7 and joined, which is 4 times
    faster than eight convolutions and gives the same numbers. The dilation is 1, as in the
    paper's multi-step setting.

    Parameters
    ----------
    channels_in, channels_out : int
        C before and after; ``channels_out`` a multiple of 4.

    Raises
    ------
    InputError
        If ``channels_out`` is not a multiple of 4.

    Examples
    --------
    >>> DilatedInception(3, 8)(torch.zeros(2, 5, 19, 3)).shape
    torch.Size([2, 5, 13, 8])
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        if channels_out % len(KERNELS):
            raise InputError(
                f"conv_channels is {channels_out}: it must be a multiple of {len(KERNELS)}, one "
                "share for each convolution width"
            )
        self.share = channels_out // len(KERNELS)
        branches = [nn.Conv1d(channels_in, 2 * self.share, width) for width in KERNELS]
        # (2 * share, channels_in, width): rows of the filter, then of the gate.
        self.weights = nn.ParameterList(branch.weight for branch in branches)
        self.biases = nn.ParameterList(branch.bias for branch in branches)

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, N, T - 6, C_out) for (B, N, T, C_in)."""
        weight, bias = self._joined()
        both = functional.conv2d(h.permute(0, 3, 1, 2), weight, bias)  # (B, 2 C_out, N, T - 6)
        signal, gate = both.permute(0, 2, 3, 1).chunk(2, dim=-1)  # (B, N, T - 6, C_out) each
        return torch.tanh(signal) * torch.sigmoid(gate)

    def _joined(self) -> tuple[Tensor, Tensor]:
        """Return one kernel (2 C_out, C_in, 1, 7), filters before gates, and its bias."""
        weights = [
            functional.pad(weight, (KERNELS[-1] - weight.shape[-1], 0)).view(
                2, self.share, -1, 1, KERNELS[-1]
            )
            for weight in self.weights
        ]
        biases = [bias.view(2, self.share) for bias in self.biases]
        return torch.cat(weights, dim=1).flatten(0, 1), torch.cat(biases, dim=1).flatten()


Product = Callable[[Tensor], Tensor]
"""Multiplies an (N, N) matrix with windows (B, N, D)."""


def sparse_product(values: Tensor, pattern: Pattern) -> Product:
    """Return the product with the stored pairs ``values`` (E,), by sparse kernels."""
    return lambda h: spmm(values, h, pattern)


def dense_product(values: Tensor, pattern: Pattern) -> Product:
    """Return the same product by an ordinary (N, N) matrix."""
    matrix = values.new_zeros(pattern.size, pattern.size).index_put(
        (pattern.rows, pattern.cols), values, accumulate=True
    )
    return lambda h: matrix @ h


PRODUCTS: dict[str, Callable[[Tensor, Pattern], Product]] = {
    "dense": dense_product,
    "sparse": sparse_product,
}


def learned_adjacency(
    source_code: Tensor,
    target_code: Tensor,
    neighbours: int,
    saturation: float,
    product: Callable[[Tensor, Pattern], Product],
) -> tuple[Product, Product]:
    """Learn a directed graph from location codes and normalise it in both directions.

    Wu et al., MTGNN, KDD 2020, section 4.2 (top-k rows of a uni-directional graph) and
    section 4.3 (self loops and row normalisation).

    Parameters
    ----------
    source_code, target_code : Tensor
        (N, R) codes e1 and e2.
    neighbours : int
        k; all locations where ``N <= k``.
    saturation : float
        Slope of the tanh.
    product : callable
        :func:`sparse_product` or :func:`dense_product`.

    Returns
    -------
    tuple of callable
        Products with ``D^-1 (A + I)`` and with ``D'^-1 (A^T + I)``.

    Examples
    --------
    >>> e1, e2 = torch.tensor([[9.0], [0.0]]), torch.tensor([[0.0], [9.0]])
    >>> along, against = learned_adjacency(e1, e2, 1, 3.0, dense_product)
    >>> h = torch.tensor([[[2.0], [4.0]]])
    >>> along(h).tolist(), against(h).tolist()
    ([[[3.0], [4.0]]], [[[2.0], [3.0]]])
    """
    n = len(source_code)
    chosen = top_k_rows(source_code, target_code, neighbours)  # (N, k)
    weights = pair_weights(source_code, target_code, chosen, saturation)
    itself = torch.arange(n, device=chosen.device)
    pattern = Pattern(
        rows=itself.repeat_interleave(chosen.shape[1] + 1),
        cols=torch.cat([chosen, itself[:, None]], dim=1).flatten(),
        size=n,
    )
    values = functional.pad(weights, (0, 1), value=1.0)  # (N, k + 1), last the self loop
    out_degree = values.sum(1, keepdim=True)  # (N, 1)
    in_degree = values.new_zeros(n).index_add(0, pattern.cols, values.flatten())  # (N,)
    turned, order = pattern.transposed
    against = values.flatten() / in_degree[pattern.cols]
    return product((values / out_degree).flatten(), pattern), product(against[order], turned)


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

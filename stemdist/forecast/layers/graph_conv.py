"""Graph convolutions: one linear map for each of several views of the windows over a graph.

Shapes: B windows, N locations, C channels, D columns of a window: the channels of all its steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemdist.forecast.layers.products import Product


def chebyshev_terms(h: Tensor, product: Product, order: int) -> Iterator[Tensor]:
    """Yield ``T_1(L) h`` ... ``T_order(L) h``, the Chebyshev polynomials of a rescaled Laplacian.

    Defferrard et al., NeurIPS 2016, section 2.1: ``T_k = 2 L T_(k-1) - T_(k-2)``, where the
    largest eigenvalue is taken as 2, so that ``L = -D^-1/2 W D^-1/2``.

    Parameters
    ----------
    h : Tensor
        (B, N, D).
    product : callable
        Product with ``D^-1/2 W D^-1/2``, as ``symmetric_product(self_loops=False)`` gives.
    order : int
        Highest polynomial.

    Examples
    --------
    >>> [term.item() for term in chebyshev_terms(torch.ones(1, 1, 1), lambda h: 0.5 * h, 2)]
    [-0.5, -0.5]
    """
    before, now = h, -product(h)
    for degree in range(1, order + 1):
        yield now
        if degree < order:
            before, now = now, -2 * product(now) - before


def diffusion_terms(h: Tensor, products: Iterable[Product], hops: int) -> Iterator[Tensor]:
    """Yield ``P h`` ... ``P^hops h`` of every product P in turn.

    Li et al., DCRNN, ICLR 2018, section 2.2, equation 2; Wu et al., Graph WaveNet, IJCAI 2019,
    section 3.2, equation 7.

    Parameters
    ----------
    h : Tensor
        (B, N, D).
    products : iterable of callable
        Steps of random walks.
    hops : int
        Steps that each walk takes.

    Examples
    --------
    >>> walks = [lambda h: 2 * h, lambda h: 3 * h]
    >>> [term.item() for term in diffusion_terms(torch.ones(1, 1, 1), walks, 2)]
    [2.0, 4.0, 3.0, 9.0]
    """
    for product in products:
        power = h
        for _ in range(hops):
            power = product(power)
            yield power


class GraphConv(nn.Module):
    """``h W_0 + sum over terms t_i W_i + b``, a linear map of joined terms without joining them.

    Parameters
    ----------
    channels_in, channels_out : int
        C before and after.
    n_terms : int
        Number of terms beside ``h`` itself.

    Examples
    --------
    >>> h = torch.ones(2, 5, 6, 3)
    >>> GraphConv(3, 4, n_terms=1)(h, [h.flatten(2)]).shape
    torch.Size([2, 5, 6, 4])
    """

    def __init__(self, channels_in: int, channels_out: int, n_terms: int) -> None:
        super().__init__()
        self.channels_in = channels_in
        self.linear = nn.Linear(channels_in * (n_terms + 1), channels_out)

    def forward(self, h: Tensor, terms: Iterable[Tensor]) -> Tensor:
        """Return (B, N, ..., C_out) for h (B, N, ..., C_in) and its terms (B, N, D)."""
        first, *others = torch.split(self.linear.weight, self.channels_in, dim=1)
        rows = functional.linear(h.reshape(-1, self.channels_in), first, self.linear.bias)
        for term, weight in zip(terms, others, strict=True):
            # In place: rows is large and its old value is needed by nothing.
            rows = rows.addmm_(term.reshape(-1, self.channels_in), weight.T)
        return rows.view(*h.shape[:-1], -1)

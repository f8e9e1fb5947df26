from __future__ import annotations

import pytest
import torch
from torch.autograd import gradgradcheck

from stemdist.forecast.layers.graph_conv import GraphConv, chebyshev_terms, diffusion_terms


def matrices(n: int) -> torch.Tensor:
    """Two symmetric matrices with eigenvalues in (-1, 1)."""
    random = torch.randn(2, n, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    symmetric = random + random.mT
    return symmetric / (1.1 * torch.linalg.eigvalsh(symmetric).abs().amax(1)[:, None, None])


def windows(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_chebyshev_terms_are_cosines_of_the_eigenvalues(order):
    matrix, h = matrices(6)[0], windows(2, 6, 3)
    values, vectors = torch.linalg.eigh(-matrix)
    terms = list(chebyshev_terms(h, lambda h: matrix @ h, order))
    assert len(terms) == order
    for degree, term in enumerate(terms, start=1):
        filtered = vectors @ torch.diag((degree * values.arccos()).cos()) @ vectors.T
        torch.testing.assert_close(term, filtered @ h)


def test_chebyshev_terms_multiply_once_each():
    calls = []
    list(chebyshev_terms(windows(1, 2, 1), lambda h: calls.append(h) or h, 3))
    assert len(calls) == 3


def test_diffusion_terms_are_powers():
    one, other = matrices(6)
    h = windows(2, 6, 3)
    terms = list(diffusion_terms(h, [lambda h: one @ h, lambda h: other @ h], 3))
    expected = [torch.linalg.matrix_power(m, i) @ h for m in (one, other) for i in (1, 2, 3)]
    torch.testing.assert_close(terms, expected)


@pytest.mark.parametrize("shape", [(2, 6, 3), (2, 6, 5, 3)], ids=["step", "steps"])
def test_graph_convolution_is_a_linear_map_of_joined_terms(shape):
    torch.manual_seed(0)
    layer, h = GraphConv(3, 4, n_terms=2).double(), windows(*shape)
    matrix = matrices(6)[0]
    once = torch.einsum("ij,bj...->bi...", matrix, h)
    twice = torch.einsum("ij,bj...->bi...", matrix, once)
    got = layer(h, diffusion_terms(h.flatten(2), [lambda h: matrix @ h], 2))
    torch.testing.assert_close(got, layer.linear(torch.cat([h, once, twice], -1)))


def test_graph_convolution_differentiates_twice():
    layer, matrix = GraphConv(2, 2, n_terms=1).double(), matrices(3)[0]
    h = windows(1, 3, 2, 2).requires_grad_()

    def squared(h: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(
            layer, {"linear.weight": weight}, (h, [matrix @ h.flatten(2)])
        ).square()

    assert gradgradcheck(squared, (h, layer.linear.weight))


def test_a_missing_term_is_an_error():
    with pytest.raises(ValueError, match="zip"):
        GraphConv(2, 2, n_terms=2).double()(windows(1, 3, 2), [windows(1, 3, 2)])

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from stemdist.errors import InputError
from stemdist.forecast.layers.sparse import (
    Pattern,
    pair_weights,
    sddmm,
    spmm,
    top_k_products,
    top_k_rows,
)

N, B, D, K = 5, 2, 3, 2


def pattern() -> Pattern:
    generator = torch.Generator().manual_seed(0)
    cols = torch.stack([torch.randperm(N, generator=generator)[:K] for _ in range(N)])
    return Pattern(rows=torch.arange(N).repeat_interleave(K), cols=cols.flatten(), size=N)


def numbers(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def dense_matrix(values: torch.Tensor) -> torch.Tensor:
    stored = pattern()
    return torch.zeros(N, N, dtype=values.dtype).index_put((stored.rows, stored.cols), values)


def test_products_equal_dense_ones():
    stored, values, h, g = pattern(), numbers(N * K), numbers(B, N, D), numbers(B, N, D)
    torch.testing.assert_close(spmm(values, h, stored), dense_matrix(values) @ h)
    full = torch.einsum("bid,bjd->ij", g, h)
    torch.testing.assert_close(sddmm(g, h, stored), full[stored.rows, stored.cols])


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_spmm_derivatives(check):
    assert check(lambda v, h: spmm(v, h, pattern()), (numbers(N * K), numbers(B, N, D)))


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_sddmm_derivatives(check):
    left, right = numbers(B, N, D), numbers(B, N, D)
    assert check(lambda g, h: sddmm(g, h, pattern()), (left, right * 2))


def test_derivatives_by_one_argument_only():
    values, h = numbers(N * K), numbers(B, N, D)
    (alone,) = torch.autograd.grad(spmm(values.detach(), h, pattern()).sum(), h)
    (both, _) = torch.autograd.grad(spmm(values, h, pattern()).sum(), (h, values))
    torch.testing.assert_close(alone, both)


def test_half_precision_is_worked_in_single():
    values, h = numbers(N * K).bfloat16(), numbers(B, N, D).bfloat16()
    product = spmm(values, h, pattern())
    assert product.dtype == torch.bfloat16
    expected = spmm(values.float(), h.float(), pattern())
    torch.testing.assert_close(product, expected.bfloat16())


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 30), k=st.integers(1, 40), block=st.integers(1, 31))
def test_top_k_rows_in_blocks_are_the_top_k(n, k, block):
    generator = torch.Generator().manual_seed(n)
    e1, e2 = torch.randn(2, n, 4, generator=generator, dtype=torch.float64)
    score = e1 @ e2.T - e2 @ e1.T
    expected = score.topk(min(k, n), dim=1).values
    chosen = top_k_rows(e1, e2, k, block_rows=block)
    torch.testing.assert_close(score.gather(1, chosen), expected)


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(1, 300), k=st.integers(1, 4), block=st.integers(1, 8), levels=st.integers(1, 50)
)
def test_top_k_products_in_chunks_are_the_top_k_whatever_the_ties(n, k, block, levels):
    # From N = 80 k on rows are searched in chunks; few levels make many equal products.
    generator = torch.Generator().manual_seed(n)
    left = torch.eye(7, 3, dtype=torch.float64)
    right = torch.randint(levels, (n, 3), generator=generator).double()
    products = left @ right.T
    chosen = top_k_products(left, right, k, block_rows=block)
    assert chosen.sort(1).values.diff(dim=1).all()  # no column twice
    assert torch.equal(products.gather(1, chosen), products.topk(min(k, n), dim=1).values)


def test_top_k_products_of_half_precision_are_worked_in_single():
    # 1 + 2^-12 and 1 are the same number in half precision.
    left = torch.tensor([[1.0, 2.0**-6]]).bfloat16()
    right = torch.tensor([[1.0, 0.0], [1.0, 2.0**-6]]).bfloat16()
    assert top_k_products(left, right, 1).tolist() == [[1]]


@pytest.mark.parametrize("wrong", [{"k": 0}, {"k": 1, "block_rows": 0}])
def test_wrong_counts_of_the_search(wrong):
    with pytest.raises(InputError, match="is 0: it must be a whole number of at least 1"):
        top_k_products(torch.eye(2), torch.eye(2), **wrong)


def test_pair_weights_by_hand():
    e1, e2 = torch.tensor([[0.1, 0.2], [0.3, 0.0]]), torch.tensor([[0.5, 0.0], [0.0, 1.0]])
    # score(0, 1) = e1_0 . e2_1 - e2_0 . e1_1 = 0.2 - 0.15 = 0.05; score(1, 0) is its opposite.
    weights = pair_weights(e1, e2, torch.tensor([[1], [0]]), saturation=2.0)
    torch.testing.assert_close(weights, torch.tensor([[0.1], [0.0]]).tanh())

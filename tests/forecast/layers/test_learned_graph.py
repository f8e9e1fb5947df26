from __future__ import annotations

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stemdist.forecast.layers.learned_graph import as_edges, softmax_adjacency
from stemdist.forecast.layers.products import PRODUCTS, dense_product, sparse_product

every = pytest.mark.parametrize("product", PRODUCTS.values(), ids=list(PRODUCTS))


def codes(n: int, r: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n)
    e1, e2 = torch.randn(2, n, r, generator=generator, dtype=torch.float64)
    return e1.requires_grad_(), e2.requires_grad_()


def matrix(weigh, n: int) -> torch.Tensor:
    return weigh(torch.eye(n, dtype=torch.float64)[None])[0]


@every
@pytest.mark.parametrize("k", [7, 50])
def test_all_neighbours_give_the_dense_softmax_of_the_papers(product, k):
    e1, e2 = codes(7)
    expected = torch.softmax(torch.relu(e1 @ e2.T), dim=1)
    got = matrix(softmax_adjacency(e1, e2, k, product), 7)
    torch.testing.assert_close(got, expected)
    weight = torch.arange(49.0, dtype=torch.float64).view(7, 7)
    torch.testing.assert_close(
        torch.autograd.grad((got * weight).sum(), (e1, e2)),
        torch.autograd.grad((expected * weight).sum(), (e1, e2)),
    )


@every
def test_few_neighbours_share_the_softmax_among_them(product):
    e1, e2 = codes(9)
    score = torch.relu(e1 @ e2.T)
    kept = torch.full_like(score, -math.inf)
    chosen = (e1 @ e2.T).topk(3, dim=1).indices
    kept = kept.scatter(1, chosen, score.gather(1, chosen))
    got = matrix(softmax_adjacency(e1, e2, 3, product), 9)
    torch.testing.assert_close(got, kept.softmax(dim=1))
    assert ((got > 0).sum(1) == 3).all()


@every
def test_edges_are_what_the_product_multiplies_with(product):
    e1, e2 = codes(9)
    (source, target), weight = softmax_adjacency(e1, e2, 3, as_edges)
    expected = matrix(softmax_adjacency(e1, e2, 3, product), 9)
    dense = torch.zeros_like(expected).index_put((target, source), weight)
    torch.testing.assert_close(dense, expected)


def test_one_location_is_its_own_neighbour():
    e1, e2 = codes(1)
    assert matrix(softmax_adjacency(e1, e2, 20, dense_product), 1).item() == 1.0


def test_no_tensor_grows_with_the_square_of_the_locations():
    n, largest = 3000, 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for item in out if isinstance(out, tuple | list) else (out,):
                if isinstance(item, torch.Tensor) and item.layout == torch.strided:
                    largest = max(largest, item.numel())
            return out

    e1, e2 = codes(n)
    with Watch():
        weigh = softmax_adjacency(e1, e2, 10, sparse_product)
        weigh(torch.ones(1, n, 2, dtype=torch.float64)).square().sum().backward()
    assert n * 10 <= largest <= n * 100

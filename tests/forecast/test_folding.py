"""Parts of a program that depend on constants alone are computed once, and right."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stemdist.forecast.folding import folded

# torch 2.13 makes a deprecated class of its own when it rewrites operators that write in place.
pytestmark = pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")

X = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


def fold(module):
    shapes = ({0: torch.export.Dim("batch")},)
    return folded(torch.export.export(module.eval(), (X,), dynamic_shapes=shapes))


def operators(module):
    return [str(node.target) for node in module.graph.nodes if node.op == "call_function"]


class Encoded(nn.Module):
    """Adds a code that two weights make; one of them is read by the inputs too."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.tensor([[1.0, 0.0], [2.0, 1.0]]))
        self.second = nn.Parameter(torch.tensor([3.0, -1.0]))

    def forward(self, x):
        code = torch.sort(self.first @ self.second).values  # (3, 5)
        return x * self.second + code


def test_what_only_weights_make_is_computed_once():
    module = fold(Encoded())
    assert module(X).tolist() == [[6.0, 3.0], [12.0, 1.0], [18.0, -1.0]]
    assert operators(module) == ["aten.mul.Tensor", "aten.add.Tensor"]
    assert sorted(map(tuple, module.state_dict().values())) == [(3.0, -1.0), (3.0, 5.0)]


class Counting(nn.Module):
    """Makes a constant, and writes into it what it reads."""

    def forward(self, x):
        total = torch.ones(2)
        return total.add_(x.sum(0)).clone()


def test_a_constant_that_is_written_to_starts_anew_at_each_call():
    module = fold(Counting())
    assert module(X).tolist() == module(X).tolist() == [10.0, 13.0]


class Buffered(nn.Module):
    """Writes constants into a constant, and reads only the result."""

    def forward(self, x):
        square = torch.zeros(2, 2)
        torch.mm(torch.eye(2), torch.full((2, 2), 2.0), out=square)
        return x @ square


def test_constants_written_by_constants_are_computed_once():
    module = fold(Buffered())
    assert module(X[:1]).tolist() == [[6.0, 6.0]]
    assert operators(module) == ["aten.matmul.default"]


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.rand(2)


def test_random_numbers_are_drawn_at_each_call():
    module = fold(Noisy())
    assert not module(X).equal(module(X))

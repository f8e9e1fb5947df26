from itertools import combinations

import pytest
import torch

from stemdist.data.windows import TensorWindows
from stemdist.distill.craig import craig_windows, facility_location, linear_gradients
from stemdist.forecast.closed_form import fit_linear


def chance() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def source() -> TensorWindows:
    x, y = torch.randn(12, 3, 2, 2, generator=chance()), torch.randn(12, 2, 2, generator=chance())
    mask = torch.ones_like(y)
    mask[4, 1, 0] = 0
    return TensorWindows(x=x, y=y * mask, mask=mask, weight=torch.tensor([0.5, 1.5]))


def test_gradients_are_those_of_autograd(source):
    head = fit_linear(source).head
    solution = torch.cat([head.step_weight(), head.bias[:, None]], dim=1)  # (R, P + 1)
    solution = solution.detach().requires_grad_()
    found = linear_gradients(source, chance())
    for x, y, mask, own in zip(source.x, source.y, source.mask, found, strict=True):
        rows = torch.cat([x.transpose(0, 1).flatten(1), torch.ones(2, 1)], dim=1)  # (N, P + 1)
        errors = mask * (solution @ rows.T - y) ** 2
        (expected,) = torch.autograd.grad((errors * source.weight).sum() / 2, solution)
        torch.testing.assert_close(own, expected.flatten(), atol=1e-5, rtol=1e-4)


def test_one_gradient_of_each_direction():
    directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]).repeat_interleave(4, 0)
    length = torch.arange(1.0, 13.0)[:, None]
    chosen = facility_location(directions * length, 3, chance())
    assert (chosen // 4).tolist() == [0, 1, 2]


def test_greedy_choice_is_near_the_best_one(source):
    gradients = linear_gradients(source, chance())
    rows = torch.nn.functional.normalize(gradients)
    similarity = (1 + rows @ rows.T) / 2

    def value(chosen) -> float:
        return similarity[:, list(chosen)].max(1).values.sum().item()

    best = max(value(chosen) for chosen in combinations(range(12), 3))
    assert value(craig_windows(source, 3, seed=0).tolist()) > (1 - 1 / 2.72) * best

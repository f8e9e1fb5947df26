"""Divergences: closed forms against integrals, and what is paid where."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Categorical, Normal, kl_divergence
from torch.nn import functional

from stemdist.errors import InputError
from stemdist.students.divergences import (
    DIVERGENCES,
    Truth,
    make_divergence,
)

NOTHING = Truth(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))


def test_kl_is_that_of_torch_and_zero_only_for_equals():
    student, teacher = torch.randn(2, 4, 6).log_softmax(-1)
    found = make_divergence("kl", {})(student, teacher, NOTHING).sum(-1)
    expected = kl_divergence(Categorical(logits=teacher), Categorical(logits=student))
    torch.testing.assert_close(found, expected)
    assert (found > 0).all()
    same = make_divergence("kl", {})(teacher, teacher, NOTHING)
    assert torch.equal(same, torch.zeros(4, 6))


def test_cross_entropy_is_kl_and_the_teachers_entropy():
    student, teacher = torch.randn(2, 4, 6).log_softmax(-1)
    kl, cross = (make_divergence(n, {})(student, teacher, NOTHING) for n in ("kl", "cross-entropy"))
    torch.testing.assert_close(cross - kl.sum(-1), Categorical(logits=teacher).entropy())


def test_gaussian_kl_is_that_of_torch_and_learns_the_spread():
    spread = torch.tensor([[0.5, 2.0]])
    divergence = make_divergence("gaussian-kl", {"spread": spread})
    with torch.no_grad():
        divergence.log_spread.copy_(torch.tensor([[0.2, -0.3]]))
    student, teacher = torch.randn(2, 3, 2, 1, 2)
    found = divergence(student, teacher, NOTHING)
    own = divergence.log_spread.exp()
    torch.testing.assert_close(found, kl_divergence(Normal(teacher, spread), Normal(student, own)))
    found.mean().backward()
    assert (divergence.log_spread.grad != 0).all()


def test_teacher_bounded_pays_where_the_student_is_worse_and_something_was_observed():
    y = torch.zeros(1, 1, 1, 4)
    student = torch.tensor([3.0, 1.0, 2.0, 5.0], requires_grad=True)
    teacher = torch.tensor([1.0, 1.0, 3.0, 0.0])
    truth = Truth(y, torch.tensor([1.0, 1.0, 1.0, 0.0]).view_as(y))
    found = make_divergence("bounded", {"margin": 0.5})(student + y, teacher + y, truth)
    assert found.flatten().tolist() == [7.5, 0, 0, 0]
    found.sum().backward()
    assert student.grad.tolist() == [6.0, 0, 0, 0]  # the slope of the squared error


def test_activation_boundary_is_a_squared_hinge():
    student, teacher = torch.tensor([2.0, 0.5, 0.5]), torch.tensor([0.1, 0.1, -0.1])
    assert make_divergence("activation-boundary", {})(student, teacher, NOTHING).tolist() == [
        0.0,
        0.25,
        2.25,
    ]


def test_information_is_the_divergence_from_the_standard_normal():
    code = torch.randn(2, 3, 8)
    mean, log_variance = code.chunk(2, -1)
    found = make_divergence("information", {})(code, code, NOTHING)
    own = Normal(mean, (0.5 * log_variance).exp())
    torch.testing.assert_close(found, kl_divergence(own, Normal(0.0, 1.0)))
    assert make_divergence("information", {})(torch.zeros(1, 1, 4), code, NOTHING).sum() == 0


def test_elementwise_ones():
    student, teacher = torch.tensor([0.0, 0.0]), torch.tensor([0.5, 3.0])
    found = {n: make_divergence(n, {})(student, teacher, NOTHING) for n in ("mse", "mae", "huber")}
    assert found["mse"].tolist() == [0.25, 9.0]
    assert found["mae"].tolist() == [0.5, 3.0]
    torch.testing.assert_close(
        found["huber"], functional.huber_loss(student, teacher, reduction="none")
    )
    turned = make_divergence("cosine", {})(
        torch.tensor([1.0, 0.0]), torch.tensor([0.0, 5.0]), NOTHING
    )
    assert turned.item() == 1


def test_names_and_options_are_checked():
    with pytest.raises(InputError, match="loss between student and teacher 'k1'"):
        make_divergence("k1", {})
    with pytest.raises(InputError, match=r"margin is -1: it must be a number above 0"):
        make_divergence("bounded", {"margin": -1})
    assert {"mse", "kl", "bounded"} <= set(DIVERGENCES)

"""Losses by hand, and their mean over observed targets."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stemdist.errors import InputError
from stemdist.forecast.losses import (
    LOSSES,
    get_loss,
    quantile_score,
    weighted_mean,
)
from stemdist.forecast.training_settings import check_quantiles


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mse", [0.0, 0.25, 9.0]), ("mae", [0.0, 0.5, 3.0]), ("huber", [0.0, 0.125, 2.5])],
)
def test_elementwise_by_hand(name, expected):
    y = torch.tensor([[[1.0, 2.0, -1.0]]])
    forecast = torch.tensor([[[1.0, 1.5, 2.0]]])
    loss = get_loss(name)
    assert loss(forecast, y).flatten().tolist() == expected
    assert loss(y, forecast).flatten().tolist() == expected


def test_unknown_loss():
    message = r"unknown loss 'hubert': did you mean 'huber'\? Choose from: huber, mae, mse"
    with pytest.raises(InputError, match=message):
        get_loss("hubert")


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_and_vanish_at_the_target(name):
    forecast = torch.tensor([1.0, 1e4, -1e4], requires_grad=True)
    get_loss(name)(forecast, torch.tensor([1.0, 0.0, 0.0])).sum().backward()
    assert forecast.grad[0] == 0
    assert forecast.grad.isfinite().all()
    assert forecast.grad[1] > 0 > forecast.grad[2]


@st.composite
def cases(draw):
    """Errors, mask and weight with at least one observed target."""
    shape = tuple(draw(st.integers(1, size)) for size in (3, 2, 4))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    mask = random.random(shape) < draw(st.sampled_from([0.2, 0.7, 1.0]))
    mask[-1, -1, -1] = True
    weight = random.uniform(0.1, 3.0, shape[-1])
    return random.random(shape), mask, weight


@given(cases())
def test_weighted_mean_is_the_average_of_what_is_observed(case):
    errors, mask, weight = case
    shares = np.broadcast_to(weight, errors.shape)[mask]
    expected = np.average(errors[mask], weights=shares)
    tensors = [torch.from_numpy(part.astype(np.float64)) for part in case]
    assert weighted_mean(*tensors).item() == pytest.approx(expected)
    assert weighted_mean(tensors[0], tensors[1], 7 * tensors[2]).item() == pytest.approx(expected)


@given(cases())
def test_masked_errors_have_no_influence(case):
    errors, mask, weight = (torch.from_numpy(part.astype(np.float64)) for part in case)
    errors.requires_grad_()
    mean = weighted_mean(errors, mask, weight)
    mean.backward()
    assert (errors.grad[mask == 0] == 0).all()
    assert errors.grad.sum().item() == pytest.approx(1)
    poisoned = torch.where(mask == 1, errors.detach(), torch.tensor(1e9, dtype=torch.float64))
    assert weighted_mean(poisoned, mask, weight).item() == mean.item()


def test_a_location_of_weight_zero_has_no_influence():
    errors, mask = torch.tensor([[[5.0, 1.0]]]), torch.ones(1, 1, 2)
    assert weighted_mean(errors, mask, torch.tensor([0.0, 2.0])).item() == 1.0


def test_nothing_observed_gives_zero_and_no_gradient():
    errors = torch.ones(2, 3, 4, requires_grad=True)
    mean = weighted_mean(errors, torch.zeros(2, 3, 4), torch.ones(4))
    mean.backward()
    assert mean.item() == 0
    assert (errors.grad == 0).all()


def test_a_forecast_that_is_not_a_number_is_seen():
    errors = torch.tensor([[[math.nan, 1.0]]])
    assert weighted_mean(errors, torch.ones(1, 1, 2), torch.ones(2)).isnan()


def test_nothing_observed_is_the_only_case_of_zero():
    tiny = torch.full((1, 1, 1), 1e-9)
    assert weighted_mean(torch.full((1, 1, 1), 3.0), tiny, torch.ones(1)).item() == pytest.approx(3)


# --- quantiles -----------------------------------------------------------------------------------


def test_quantile_loss_by_hand():
    # levels 0.1 and 0.75 of two rows at one location: (B, Q * R, N)
    forecast = torch.tensor([[[1.0], [5.0], [4.0], [6.0]]])
    y = torch.tensor([[[2.0], [4.0]]])
    # row 0: y is 1 above 1 (0.1), 2 below 4 (0.25 * 2); row 1: 1 below 5 (0.9), 2 below 6 (0.5)
    loss = get_loss("quantile", (0.1, 0.75))(forecast, y)
    assert loss.shape == (1, 2, 1)
    assert loss.flatten().tolist() == pytest.approx([0.1 + 0.5, 0.9 + 0.5])


def test_score_of_the_median_is_the_absolute_error():
    forecast, y = torch.tensor([[[3.0, -1.0]]]), torch.tensor([[1.0, 4.0]])
    assert quantile_score(forecast, y, (0.5,)).tolist() == [[2.0, 5.0]]


def test_levels_that_ascend_inside_zero_and_one():
    assert check_quantiles((0.1, 0.5)) == (0.1, 0.5)
    assert check_quantiles((0.001, 0.999)) == (0.001, 0.999)
    assert check_quantiles(("0.25",)) == (0.25,)
    for wrong in ((), (0.0, 0.5), (0.5, 1.0), (0.5, 0.5), (0.5, 0.1), (0.1, 0.9, 0.5), (-0.1, 2.0)):
        with pytest.raises(InputError) as found:
            check_quantiles(wrong)
        assert str(found.value) == (
            f"quantiles is {wrong}: give levels above 0 and below 1 in ascending order, "
            "e.g. 0.1,0.5,0.9"
        )


def test_unknown_loss_names_the_quantile_loss_too():
    with pytest.raises(InputError, match=r"unknown loss 'pinball'.*mse, quantile"):
        get_loss("pinball")

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from torch_geometric.data import Data

from stemdist.data.windows import TensorWindows
from stemdist.errors import InputError
from stemdist.forecast.closed_form import Moments, fit_linear, moments_of

M, L_IN, L_OUT, N, F = 40, 4, 3, 5, 2


def source(missing: float = 0.0, seed: int = 0) -> TensorWindows:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(M, L_IN, N, F, generator=generator, dtype=torch.float64)
    y = x[:, -L_OUT:, :, 0] * 0.5 + 2 + torch.randn(M, L_OUT, N, generator=generator).double()
    mask = (torch.rand(M, L_OUT, N, generator=generator) >= missing).double()
    weight = torch.tensor([0.5, 0.5, 1.0, 1.0, 2.0], dtype=torch.float64)
    return TensorWindows(x=x, y=y * mask, mask=mask, weight=weight)


def rows_of(windows: TensorWindows) -> tuple[np.ndarray, ...]:
    x = windows.x.transpose(1, 2).reshape(-1, L_IN * F)
    y, mask = (part.transpose(1, 2).reshape(-1, L_OUT) for part in (windows.y, windows.mask))
    return x.numpy(), y.numpy(), mask.numpy().astype(bool), windows.weight.repeat(M).numpy()


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("ridge", [0.0, 1e-3, 1.0])
def test_equals_scikit_learn_step_by_step(missing, ridge):
    windows = source(missing)
    weight, bias = moments_of(windows, batch_size=7).solve(ridge)
    x, y, mask, sample_weight = rows_of(windows)
    for step in range(L_OUT):
        seen = mask[:, step]
        alpha = ridge * sample_weight[seen].sum()
        model = Ridge(alpha=alpha).fit(x[seen], y[seen, step], sample_weight=sample_weight[seen])
        np.testing.assert_allclose(weight[step], model.coef_, atol=1e-10)
        np.testing.assert_allclose(bias[step], model.intercept_, atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), ridge=st.sampled_from([0.0, 1e-6, 1e-3, 1.0]))
def test_square_root_rows_equal_full_data_ridge(seed, ridge):
    moments = moments_of(source(seed=seed))
    x, y = moments.rows()
    assert x.shape == (L_IN * F + 1 + L_OUT, L_IN * F)
    reduced = Moments(n_inputs=L_IN * F, lookback=L_IN, horizon=L_OUT)
    reduced.add(x, y, torch.ones_like(y), torch.ones(len(x)))
    torch.testing.assert_close(reduced.solve(ridge), moments.solve(ridge), atol=1e-8, rtol=1e-8)


def test_square_root_rows_of_a_constant_input():
    constant = TensorWindows(
        x=torch.ones(M, L_IN, N, F), y=torch.ones(M, L_OUT, N) * 3,
        mask=torch.ones(M, L_OUT, N), weight=torch.ones(N),
    )  # fmt: skip
    moments = moments_of(constant)
    x, y = moments.rows()
    reduced = Moments(n_inputs=L_IN * F, lookback=L_IN, horizon=L_OUT)
    reduced.add(x, y, torch.ones_like(y), torch.ones(len(x)))
    torch.testing.assert_close(reduced.solve(1e-3), moments.solve(1e-3), atol=1e-8, rtol=1e-8)


def test_fit_linear_recovers_an_affine_map_despite_missing_targets():
    windows = source(missing=0.2)
    exact = windows.x[:, -L_OUT:, :, 0] * 2 - 1
    clean = TensorWindows(
        x=windows.x, y=exact * windows.mask, mask=windows.mask, weight=windows.weight
    )
    forecaster = fit_linear(clean, ridge=0.0)
    forecast = forecaster(windows.x.float(), Data(num_nodes=N), clean.profile.float())
    torch.testing.assert_close(forecast, exact.float(), atol=1e-5, rtol=1e-5)


def test_missing_targets_have_no_common_rows():
    with pytest.raises(InputError, match="no single set of rows reproduces them all: fill"):
        moments_of(source(missing=0.3)).rows()


def test_no_rows():
    moments = Moments(n_inputs=2, lookback=1, horizon=1)
    with pytest.raises(InputError, match="no row was added"):
        moments.rows()
    with pytest.raises(InputError, match="a horizon step has no observed target"):
        moments.solve(0.1)


@pytest.mark.parametrize("ridge", [-1.0, float("nan"), float("inf")])
def test_wrong_ridge(ridge):
    with pytest.raises(InputError, match="it must be a number of at least 0"):
        moments_of(source()).solve(ridge)

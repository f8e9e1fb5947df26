"""The exact linear forecaster from one streaming pass, and a small set with the same solution.

Shapes: M windows, N locations, P = L_in * F inputs of a row, L_out horizon, R synthetic rows.
A row is one window of one location. Everything is in float64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stemdist.data.windows import WindowSource
from stemdist.errors import InputError, check_count
from stemdist.forecast.forecasters.linear import LinearForecaster

BLOCK_ROWS = 2**16
"""Rows that are summed together."""


class Moments:
    """Second moments of rows ``z = [x, 1, y]``, summed with the rows' weights.

    Rows observed at every step share one moment matrix; the others are added step by step, so
    a step only counts the rows at which it was observed.

    Parameters
    ----------
    n_inputs, horizon : int
        P and L_out.
    lookback : int
        L_in; P is a multiple of it.

    Examples
    --------
    >>> moments = Moments(n_inputs=1, lookback=1, horizon=1)
    >>> x = torch.tensor([[1.0], [3.0]])
    >>> moments.add(x, 2 * x + 1, torch.ones(2, 1), torch.ones(2))
    >>> weight, bias = moments.solve(ridge=0.0)
    >>> round(weight.item(), 6), round(bias.item(), 6)
    (2.0, 1.0)
    """

    def __init__(self, *, n_inputs: int, lookback: int, horizon: int) -> None:
        self.n_inputs = check_count("n_inputs", n_inputs)
        self.lookback = check_count("lookback", lookback)
        self.horizon = check_count("horizon", horizon)
        size = n_inputs + 1
        self._whole = torch.zeros(size, size, dtype=torch.float64)  # rows observed throughout
        self._partial: Tensor | None = None  # (L_out, P + 1, P + 1) the other rows
        self._cross = torch.zeros(size, horizon, dtype=torch.float64)  # [x, 1]^T y
        self._targets = torch.zeros(horizon, horizon, dtype=torch.float64)  # y^T y

    def add(self, x: Tensor, y: Tensor, mask: Tensor, weight: Tensor) -> None:
        """Add rows x (rows, P), y (rows, L_out), mask (rows, L_out) and weight (rows,)."""
        y, mask, root = y.double(), mask.double(), weight.double().sqrt()[:, None]
        design = torch.cat([x.double(), torch.ones_like(root)], dim=1) * root  # (rows, P + 1)
        target = y * mask * root
        self._cross += design.T @ target
        self._targets += target.T @ target
        whole = mask.all(dim=1)
        self._whole += design[whole].T @ design[whole]
        some = ~whole & mask.any(dim=1)
        if some.any():
            if self._partial is None:
                self._partial = self._whole.new_zeros(self.horizon, *self._whole.shape)
            for step in range(self.horizon):
                rows = design[some] * mask[some, step, None]
                self._partial[step] += rows.T @ rows

    def gram(self) -> Tensor:
        """Return the weighted sums of ``[x, 1]^T [x, 1]``.

        Returns
        -------
        Tensor
            (P + 1, P + 1), or (L_out, P + 1, P + 1) if some rows were observed at some steps
            only; the last entry of each matrix is the total weight of its rows.
        """
        return self._whole if self._partial is None else self._whole + self._partial

    def solve(self, ridge: float) -> tuple[Tensor, Tensor]:
        """Return the ridge solution: weight (L_out, P) and bias (L_out,).

        It minimises ``mean over rows of |y - W x - b|^2 + ridge |W|^2``. The penalty is
        relative to the rows' total weight and leaves the bias free, so a set of other rows
        with the same mean moments has the same solution.

        Raises
        ------
        InputError
            If ``ridge`` is not a number of at least 0, or a step has no observed row.
        """
        if not 0 <= ridge < math.inf:
            raise InputError(f"ridge is {ridge!r}: it must be a number of at least 0, e.g. 0.001")
        gram = self.gram()
        count = gram[..., -1:, -1:]  # total weight of the rows: (1, 1), or (L_out, 1, 1)
        if not (count > 0).all():
            raise InputError(
                "a horizon step has no observed target, so no linear forecaster can be fitted: "
                "use a longer training part or a shorter horizon"
            )
        penalty = torch.full((self.n_inputs + 1,), float(ridge), dtype=torch.float64)
        penalty[-1] = 0.0
        system = gram / count + penalty.diag()
        if self._partial is None:
            solution = torch.linalg.lstsq(system, self._cross / count, driver="gelsd").solution
        else:
            right = self._cross.T[..., None] / count  # (L_out, P + 1, 1)
            solution = torch.linalg.lstsq(system, right, driver="gelsd").solution[..., 0].T
        return solution[:-1].T.contiguous(), solution[-1].contiguous()

    def only(self, inputs: Tensor) -> Moments:
        """Return the moments of some of the inputs; the constant, number P, comes last.

        Parameters
        ----------
        inputs : Tensor
            (K + 1,) numbers from 0 to P.
        """
        kept = Moments(n_inputs=len(inputs) - 1, lookback=1, horizon=self.horizon)
        kept._whole = self._whole[inputs][:, inputs]
        if self._partial is not None:
            kept._partial = self._partial[:, inputs][:, :, inputs]
        kept._cross, kept._targets = self._cross[inputs], self._targets
        return kept

    def squared_error(self, weight: Tensor, bias: Tensor) -> float:
        """Return the mean squared error of ``y = W x + b`` over the observed values added.

        Parameters
        ----------
        weight, bias : Tensor
            (L_out, P) and (L_out,), as :meth:`solve` returns them.

        Examples
        --------
        >>> moments = Moments(n_inputs=1, lookback=1, horizon=1)
        >>> moments.add(torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [8.0]]),
        ...             torch.ones(2, 1), torch.ones(2))
        >>> round(moments.squared_error(torch.tensor([[2.0]]), torch.tensor([1.0])), 6)
        1.0
        """
        solution = torch.cat([weight, bias[:, None]], dim=1).double()  # (L_out, P + 1)
        gram = self.gram().expand(self.horizon, -1, -1)  # (L_out, P + 1, P + 1)
        explained = torch.einsum("hp,hpq,hq->", solution, gram, solution)
        total = self._targets.trace() - 2 * (solution * self._cross.T).sum() + explained
        return float(total / gram[:, -1, -1].sum())

    def rows(self) -> tuple[Tensor, Tensor]:
        """Return a small training set with the same mean moments as all rows added.

        The square root of the moment matrix gives ``P + 1 + L_out`` rows of ``[x, 1, y]``. A
        rotation, which changes no moment, makes the column of ones constant, and scaling it to
        1 leaves ordinary rows: every ridge solution on them equals that on all the data.

        Returns
        -------
        tuple of Tensor
            x (R, P) and y (R, L_out), with R = P + 1 + L_out.

        Raises
        ------
        InputError
            If some rows were observed at some steps only: the steps then have different
            moments, which one set of rows cannot have.
        """
        if self._partial is not None:
            raise InputError(
                "some targets are missing, so each horizon step has its own moments and no "
                "single set of rows reproduces them all: fill the gaps first, or use solve()"
            )
        top = torch.cat([self._whole, self._cross], dim=1)
        moments = torch.cat([top, torch.cat([self._cross.T, self._targets], dim=1)])
        scale, vectors = torch.linalg.eigh(moments)
        root = scale.clamp_min(0).sqrt()[:, None] * vectors.T  # (R, R), root^T root = moments
        root = _constant_column(root, self.n_inputs)
        root = root / root[:, self.n_inputs].mean()
        return root[:, : self.n_inputs], root[:, self.n_inputs + 1 :]


def _constant_column(root: Tensor, column: int) -> Tensor:
    """Reflect the rows of ``root`` so that one of its columns becomes constant."""
    values = root[:, column]
    length = values.norm()
    if not length > 0:
        raise InputError("no row was added, so there are no moments: add windows first")
    constant = torch.full_like(values, float(length) / math.sqrt(len(values)))
    normal = values - constant
    square = normal @ normal
    if square <= torch.finfo(root.dtype).eps * length**2:
        return root
    return root - torch.outer(normal, normal @ root) * (2 / square)


def moments_of(source: WindowSource, batch_size: int = 64) -> Moments:
    """Sum the moments of all windows of a source, ``batch_size`` windows at a time.

    Parameters
    ----------
    source : WindowSource
        Windows in scaled units; rows count with their location's weight.
    batch_size : int
        Windows held at a time; fewer where the locations are many.
    """
    n_inputs = source.lookback * source.n_features
    moments = Moments(n_inputs=n_inputs, lookback=source.lookback, horizon=source.rows)
    weight = source.location_weight
    size = min(check_count("batch_size", batch_size), max(1, BLOCK_ROWS // source.n_locations))
    for index in torch.split(torch.arange(len(source)), size):
        x, y, mask = source.batch(index)
        moments.add(
            x.transpose(1, 2).reshape(-1, n_inputs),  # (B N, P)
            y.transpose(1, 2).reshape(-1, source.rows),
            mask.transpose(1, 2).reshape(-1, source.rows),
            weight.repeat(len(index)),
        )
    return moments


def linear_from(moments: Moments, ridge: float = 1e-3, n_targets: int = 1) -> LinearForecaster:
    """Return the linear forecaster (float32) that solves the ridge problem exactly."""
    weight, bias = moments.solve(ridge)
    forecaster = LinearForecaster(
        lookback=moments.lookback,
        horizon=moments.horizon // n_targets,
        n_outputs=n_targets,
        n_targets=n_targets,
        n_features=moments.n_inputs // moments.lookback,
    )
    forecaster.head.assign(weight, bias)
    return forecaster


def fit_linear(source: WindowSource, ridge: float = 1e-3, batch_size: int = 64) -> LinearForecaster:
    """Fit the linear forecaster exactly, in one pass over the windows.

    Ridge regression of ``y`` on ``[x, 1]`` by its normal equations in float64; missing
    targets are left out step by step, and locations count with their weight.

    Parameters
    ----------
    source : WindowSource
        Training windows in scaled units.
    ridge : float
        Penalty on the weights relative to the number of rows; the bias is free.
    batch_size : int
        Windows held at a time.

    Returns
    -------
    LinearForecaster
        With float32 weights.

    Raises
    ------
    InputError
        If a horizon step is never observed, or ``ridge`` is negative.

    Examples
    --------
    >>> from stemdist.data.windows import TensorWindows
    >>> x = torch.randn(20, 2, 3, 1)
    >>> y = x[:, -1:, :, 0] * 2 + 1
    >>> ones = torch.ones_like(y)
    >>> source = TensorWindows(x=x, y=y, mask=ones, weight=torch.ones(3))
    >>> fit_linear(source, ridge=0.0).head.bias.item()
    1.0
    """
    return linear_from(moments_of(source, batch_size), ridge, source.n_targets)

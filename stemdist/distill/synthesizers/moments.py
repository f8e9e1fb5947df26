"""Synthetic windows in closed form, with the second moments of all real windows.

Shapes: M_S synthetic windows, K clusters, S = M_S * K synthetic rows, L_in lookback, F features,
P = L_in * F inputs of a row, P_l learned ones, P_f the others and a one, R targets of a row.
A row is one window of one cluster, with the weight of its cluster. All computation is in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from stemdist.data.windows import TensorWindows
from stemdist.distill.parametrisation import is_free
from stemdist.distill.problem import DistillationProblem
from stemdist.distill.synthesizer import Synthesizer, SyntheticState
from stemdist.errors import InputError
from stemdist.forecast.closed_form import moments_of

_NEGLIGIBLE = 1e-12  # share of the largest variance below which a direction is rounding noise


class ClosedForm(Synthesizer):
    """Synthetic windows on which a linear forecaster has the weights fitted to all real windows.

    Ridge regression, shared by all locations, depends on its data through their mean second
    moments only, which are summed in one pass over the real windows. The learned inputs of the
    start are changed, as little as possible in the weighted squared sense, to have these moments.
    The targets are then set, without noise, such that the ridge solution is that of the real
    windows. There is one iteration.

    With fixed features (calendar, static), the learned inputs keep their regression on the fixed
    ones, and the moments of the residuals are matched. The solution is exact

    - for every ridge, if there are no fixed features and no target is missing;
    - otherwise for ``ridge`` itself, and each horizon step has its own solution where targets
      are missing.

    This needs ``S`` minus the rank of ``[fixed features, 1]`` to be at least the rank of the
    learned inputs. With fewer rows the leading principal directions are matched, and the solution
    is the real one in these directions. If the fixed features of the chosen windows vary in fewer
    directions than those of all real windows, their weights are undetermined.

    The windows are statistics of the source rather than examples of it: moments are matched
    exactly, so that single values may leave the range of the source.

    Parameters
    ----------
    ridge : float
        Penalty on the weights relative to the number of rows, as in
        :func:`stemdist.forecast.closed_form.fit_linear`.
    """

    within_range = False
    iterations = 1
    relabel = 0.0  # the targets follow from the moments

    def __init__(self, *, ridge: float = 1e-3) -> None:
        self.ridge = ridge

    def optimizer(self, tensors: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Return an optimizer that changes nothing, after checking the parameters."""
        if not 0 <= self.ridge < math.inf:
            raise InputError(
                f"ridge is {self.ridge!r}: it must be a number of at least 0, e.g. 0.001"
            )
        return torch.optim.SGD(tensors, lr=0.0)

    def prepare(self, problem: DistillationProblem, *, seed: int, cache: str | Path | None) -> None:
        """Check that every number of the windows is learned independently.

        Raises
        ------
        InputError
            If the windows are parametrised otherwise, so that moments cannot be set exactly.
        """
        if not is_free(problem):
            raise InputError(
                f"parametrisation {problem.parametrisation!r} cannot be used with the synthesizer "
                "'closed-form', which sets every number of the windows: use 'tensor'"
            )

    def improve(
        self, problem: DistillationProblem, synthetic: SyntheticState, generator: torch.Generator
    ) -> float:
        """Set the windows and return the share of the inputs' variance that is not matched."""
        problem = problem.to("cpu")  # LAPACK's least squares for matrices without full rank
        start = problem.start
        moments = moments_of(problem.real)
        gram = moments.gram().reshape(-1, moments.n_inputs + 1, moments.n_inputs + 1).sum(0)
        share = _rows(start.mask) * start.weight.double().repeat(len(start))[:, None]  # (S, R)
        learned = torch.arange(moments.n_inputs) % start.n_features < problem.n_learned
        inputs, missed = matched_inputs(
            _rows(start.x),
            gram / gram[-1, -1],
            learned=learned,
            share=share.sum(1),
            generator=generator,
        )
        inputs = inputs.to(start.x.dtype).double()  # targets for the inputs as stored
        weight, bias = moments.solve(self.ridge)
        targets = matched_targets(inputs, share, weight, bias, self.ridge)
        x, y = synthetic.tensors
        with torch.no_grad():
            x.copy_(_windows(inputs, start)[..., : problem.n_learned])
            y.copy_(targets.view(len(start), start.n_locations, -1).transpose(1, 2))
        return missed


def matched_inputs(
    rows: Tensor, gram: Tensor, *, learned: Tensor, share: Tensor, generator: torch.Generator
) -> tuple[Tensor, float]:
    """Change the learned inputs of rows as little as possible so that they have given moments.

    The mean moments of ``[learned, fixed, 1]`` become those of ``gram`` as far as the fixed
    inputs allow: the regression of the learned on the fixed inputs and the one is that of
    ``gram``, and so are the moments of its residuals ``U Lambda^(1/2) V^T``. U is orthonormal,
    orthogonal to the fixed inputs and the one, and as near as possible to the given rows.

    Parameters
    ----------
    rows : Tensor
        (S, P) float64.
    gram : Tensor
        (P + 1, P + 1) wanted mean of ``[x, 1]^T [x, 1]``.
    learned : Tensor
        (P,) bool, the inputs that may change.
    share : Tensor
        (S,) weight of each row; rows of weight 0 stay as they are.
    generator : torch.Generator
        Draws directions where the given rows do not vary.

    Returns
    -------
    Tensor, float
        Rows (S, P), and the share of the residual variance left out for lack of rows.

    Raises
    ------
    InputError
        If no row has a weight.

    Examples
    --------
    >>> rows, mean_square = torch.tensor([[0.0], [2.0]]).double(), 25.0
    >>> gram = torch.tensor([[mean_square, 4.0], [4.0, 1.0]]).double()  # mean 4, variance 9
    >>> matched, missed = matched_inputs(rows, gram, learned=torch.tensor([True]),
    ...                                  share=torch.ones(2).double(), generator=torch.Generator())
    >>> [round(x, 6) for x in matched.flatten().tolist()], missed
    ([1.0, 7.0], 0.0)
    """
    used = share > 0
    if not used.any():
        raise InputError(
            "no target of the chosen windows was observed, so their moments are not defined: "
            "choose more windows, or labels='expert'"
        )
    change = torch.cat([learned, torch.zeros(1, dtype=torch.bool)])
    fixed = torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)[used][:, ~change]  # (S, P_f)
    root = (share[used] / share.sum()).sqrt()[:, None]
    regression = _solve(gram[~change][:, ~change], gram[~change][:, change])  # (P_f, P_l)
    residual = gram[change][:, change] - gram[change][:, ~change] @ regression
    variance, directions = torch.linalg.eigh(residual)
    variance, directions = variance.flip(0).clamp_min(0), directions.flip(1)

    beside = _orthonormal_basis(root * fixed)
    found = int((variance > _NEGLIGIBLE * gram.diagonal().max()).sum())
    rank = min(found, len(root) - beside.shape[1])
    spread = variance[:rank].sqrt() * directions[:, :rank]  # (P_l, rank)
    expected = fixed @ regression
    wanted = root * (rows[used][:, learned] - expected) @ spread
    smallest = _NEGLIGIBLE * float(variance[0])
    unit = _nearest_orthonormal(wanted, beside, smallest, generator)  # (S, rank)
    matched = rows.clone()
    matched[used.nonzero(), learned.nonzero()[:, 0]] = expected + unit @ spread.T / root
    total = float(variance[:found].sum())
    return matched, float(variance[rank:found].sum()) / total if total else 0.0


def matched_targets(
    rows: Tensor, share: Tensor, weight: Tensor, bias: Tensor, ridge: float
) -> Tensor:
    """Return noise-free targets for which ridge regression on given rows has a given solution.

    With the rows' mean moments G and the penalty D (``ridge`` on the weights, 0 on the bias),
    the targets are ``[x, 1] A`` with ``G A = (G + D) W``. Where G is singular, W is
    recovered in the directions in which the rows vary.

    Parameters
    ----------
    rows : Tensor
        (S, P) inputs, float64.
    share : Tensor
        (S, R) weight of each target, 0 where it is not observed.
    weight, bias : Tensor
        (R, P) and (R,) of the wanted solution.
    ridge : float
        Penalty relative to the total weight.

    Returns
    -------
    Tensor
        (S, R).

    Examples
    --------
    >>> rows, share = torch.tensor([[-1.0], [1.0]]).double(), torch.ones(2, 1).double()
    >>> weight, bias = torch.ones(1, 1).double(), torch.zeros(1).double()
    >>> matched_targets(rows, share, weight, bias, ridge=1.0).flatten().tolist()
    [-2.0, 2.0]
    """
    design = torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
    solution = torch.cat([weight, bias[:, None]], dim=1).T  # (P + 1, R)
    penalised = ridge * solution
    penalised[-1] = 0.0
    steps = share.T if bool((share != share[:, :1]).any()) else share[:, :1].T
    parts = torch.split(penalised, penalised.shape[1] // len(steps), dim=1)
    change = [
        _solve((design * step[:, None]).T @ design / step.sum().clamp_min(1e-12), part)
        for step, part in zip(steps, parts, strict=True)
    ]
    return design @ (solution + torch.cat(change, dim=1))


def _solve(gram: Tensor, right: Tensor) -> Tensor:
    """Return the minimum-norm solution, without directions that are rounding noise."""
    solution: Tensor = torch.linalg.lstsq(gram, right, rcond=_NEGLIGIBLE, driver="gelsd").solution
    return solution


def _orthonormal_basis(columns: Tensor) -> Tensor:
    """Return an orthonormal basis (S, rank) of the span of columns."""
    left, size, _ = torch.linalg.svd(columns, full_matrices=False)
    basis: Tensor = left[:, size > math.sqrt(_NEGLIGIBLE) * size[0]]
    return basis


def _nearest_orthonormal(
    wanted: Tensor, beside: Tensor, smallest: float, generator: torch.Generator
) -> Tensor:
    """Return the orthonormal columns (S, r), orthogonal to ``beside``, nearest to ``wanted``.

    They are its polar factor; directions with singular values below ``smallest`` are replaced by
    random ones.
    """
    wanted = wanted - beside @ (beside.T @ wanted)
    left, size, right = torch.linalg.svd(wanted, full_matrices=False)
    noise = torch.randn(left.shape, generator=generator, dtype=left.dtype)
    left = torch.where(size > smallest, left, noise)
    basis, triangle = torch.linalg.qr(torch.cat([beside, left], dim=1))
    sign = torch.where(triangle.diagonal() < 0, -1.0, 1.0).to(basis.dtype)
    unit: Tensor = (basis * sign)[:, beside.shape[1] :] @ right
    return unit


def _rows(values: Tensor) -> Tensor:
    """Put (M_S, steps, K, ...) into float64 rows (S, steps * ...)."""
    per_location = values.transpose(1, 2)  # (M_S, K, steps, ...)
    return per_location.flatten(0, 1).flatten(1).double()


def _windows(rows: Tensor, like: TensorWindows) -> Tensor:
    """Put rows (S, P) back into windows (M_S, L_in, K, F)."""
    shape = (len(like), like.n_locations, like.lookback, like.n_features)
    return rows.view(shape).transpose(1, 2)

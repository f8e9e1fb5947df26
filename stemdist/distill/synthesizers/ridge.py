"""Differentiable weighted ridge regression.

Shapes: n samples that are known, m queries, H features, R targets.
"""

from __future__ import annotations

import torch
from torch import Tensor


def ridge_answers(
    features: Tensor, targets: Tensor, share: Tensor, queries: Tensor, ridge: float
) -> Tensor:
    """Return the predictions of weighted ridge regression with a bias.

    The penalty is ``ridge`` times the trace of the kernel of the samples divided by their number.
    The system has the size of the samples or of the features, whichever are fewer; it is solved
    in float64.

    Parameters
    ----------
    features, targets : Tensor
        (n, H) and (n, R) of the training samples.
    share : Tensor
        (n, R) weight of each target, 0 where it is missing.
    queries : Tensor
        (m, H) features of the samples to predict.
    ridge : float
        Above 0.

    Returns
    -------
    Tensor
        (m, R) in the dtype of the targets, differentiable in all tensors.

    Examples
    --------
    >>> features, targets = torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [5.0]])
    >>> found = ridge_answers(features, targets, torch.ones(2, 1), torch.tensor([[3.0]]), 1e-9)
    >>> round(found.item(), 4)
    7.0
    """
    known, queries = (_with_one(rows.double()) for rows in (features, queries))
    if not bool((share != share[:, :1]).any()):
        share = share[:, :1]  # one system for all targets
    n_systems = share.shape[1]
    root = share.double().T.sqrt()[..., None]  # (systems, n, 1)
    known = known * root  # (systems, n, H + 1)
    wanted = torch.stack(torch.chunk(targets.double(), n_systems, dim=1)) * root
    penalty = ridge * (known**2).sum((1, 2), keepdim=True) / len(features)
    turned = known.transpose(1, 2)
    if known.shape[1] <= known.shape[2]:
        weight = turned @ _positive_solve(known @ turned, penalty, wanted)
    else:
        weight = _positive_solve(turned @ known, penalty, turned @ wanted)
    predictions = queries @ weight  # (systems, m, R / systems)
    return torch.cat(list(predictions), dim=1).to(targets.dtype)


def _positive_solve(gram: Tensor, penalty: Tensor, right: Tensor) -> Tensor:
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    # Values that are not finite remain so and the step is skipped; plain Cholesky would raise.
    factor, _ = torch.linalg.cholesky_ex(gram + penalty.clamp_min(1e-12) * identity)
    return torch.cholesky_solve(right, factor)


def _with_one(features: Tensor) -> Tensor:
    return torch.cat([features, torch.ones_like(features[:, :1])], dim=1)

"""Inner training of trajectory matching: a few updates on synthetic windows, and their gradient.

Shapes: M_S synthetic windows, B windows of an update, K clusters, k clusters of a subset, R target
rows, S rows of state (weights and what the inner optimizer keeps of each), P weights, F features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from stemdist.data.windows import Batch
from stemdist.distill.synthesizers.inner_loop import (
    FlatForecaster,
    InnerOptimizer,
    descend,
    pull_back,
    train_inner,
)
from stemdist.distill.synthesizers.subsets import ClusterSubset
from stemdist.distill.synthesizers.trajectories import subset_loss


def path_distance(found: Tensor, target: Tensor, start: Tensor, group: Tensor) -> Tensor:
    """Return the squared distance from the found to the target weights, over that from the start.

    Parameters
    ----------
    found, target, start : Tensor
        (P,) weights after the inner training, and the expert's weights at the target and the start.
    group : Tensor
        (P,) int64, group of each weight. The ratio is taken within each group, and the mean over
        the groups that the expert changed is returned.

    Examples
    --------
    >>> found, target, start = torch.tensor([1.0, 1.0]), torch.tensor([2.0, 0.0]), torch.zeros(2)
    >>> path_distance(found, target, start, torch.tensor([0, 0])).item()
    0.5
    >>> path_distance(found, target, start, torch.tensor([0, 1])).item()  # the second is left out
    0.25
    """
    zeros = found.new_zeros(int(group.max()) + 1)
    left = zeros.index_add(0, group, (found - target) ** 2)
    path = zeros.index_add(0, group, (start - target) ** 2)
    moved = path > 1e-12 * path.sum()
    return (left[moved] / path[moved]).sum() / moved.sum().clamp_min(1)


@dataclass(frozen=True, kw_only=True)
class InnerTraining:
    """A few updates of a surrogate on the synthetic windows, differentiable in the windows.

    Parameters
    ----------
    flat : FlatForecaster
        The surrogate.
    optimizer : InnerOptimizer
        Optimizer of the updates.
    windows : Batch
        x (M_S, L_in, K, F), y and mask (M_S, R, K).
    profile : Tensor
        (K, L_in * F) mean windows, for location encoders.
    log_rate : Tensor
        Logarithm of the step size.
    orders : sequence of Tensor or None
        (B,) windows of each update; None for all of them.
    subsets : sequence of ClusterSubset
        Clusters of each update.
    earlier_updates : int
        Updates that led to the initial state.
    """

    flat: FlatForecaster
    optimizer: InnerOptimizer
    windows: Batch
    profile: Tensor
    log_rate: Tensor
    orders: Sequence[Tensor | None]
    subsets: Sequence[ClusterSubset]
    earlier_updates: int

    def update(self, state: Tensor, number: int) -> Tensor:
        """Return the state (S, P) after update ``number``, differentiable in all tensors."""
        subset = self.subsets[number]
        order = self.orders[number]
        batch = Batch(
            *(
                subset.of(values if order is None else values.index_select(0, order))
                for values in self.windows
            )
        )
        loss = partial(
            subset_loss,
            flat=self.flat,
            batch=batch,
            subset=subset,
            profile=subset.of(self.profile, 0),
        )
        earlier = self.earlier_updates + number
        return descend(loss, state, self.optimizer, self.log_rate.exp(), earlier)

    def matching(
        self, start: Tensor, target: Tensor, group: Tensor
    ) -> tuple[float, list[Tensor] | None]:
        """Return the remaining distance to an expert, and its gradient.

        Parameters
        ----------
        start, target : Tensor
            (S, P) states of the expert.
        group : Tensor
            (P,) as in :func:`path_distance`.

        Returns
        -------
        float
            The distance.
        list of Tensor or None
            Its gradients for ``x``, ``y``, ``profile`` and ``log_rate``; None if the inner
            training diverged.
        """
        states = train_inner(self.update, start, len(self.subsets))
        end = states[-1].requires_grad_()
        distance = path_distance(end[0], target[0], start[0], group)
        value = float(distance.detach())
        if not math.isfinite(value):
            return value, None
        (gradient,) = torch.autograd.grad(distance, end)
        learned = [self.windows.x, self.windows.y, self.profile, self.log_rate]
        return value, pull_back(self.update, states, gradient, learned)[1]


def shuffled_orders(
    n_windows: int,
    batch_windows: int,
    n_updates: int,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> Sequence[Tensor | None]:
    """Return the windows (B,) of each update: every window is used once before any is repeated.

    None means all windows at once. Orders are drawn on the CPU and moved to ``device``.

    Examples
    --------
    >>> orders = shuffled_orders(4, 2, 3, torch.Generator().manual_seed(0))
    >>> len(orders), sorted(torch.cat(orders[:2]).tolist())
    (3, [0, 1, 2, 3])
    >>> shuffled_orders(4, 9, 2, torch.Generator())
    [None, None]
    """
    if batch_windows >= n_windows:
        return [None] * n_updates
    epochs = -(-n_updates * batch_windows // n_windows)
    order = torch.cat([torch.randperm(n_windows, generator=generator) for _ in range(epochs)])
    return list(torch.split(order.to(device), batch_windows))[:n_updates]

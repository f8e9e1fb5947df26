"""Synthetic windows cut from short synthetic series.

Shapes: M_S synthetic windows, L_in lookback, L_out horizon, C targets, K clusters, F_l learned
features (the first C are the targets), T_S steps of all synthetic series.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from stemdist.data.windows import target_rows
from stemdist.distill.parametrisation import Parametrisation
from stemdist.errors import InputError

if TYPE_CHECKING:
    from stemdist.distill.problem import DistillationProblem


class SeriesCuts(Parametrisation):
    """One or several synthetic series, from which overlapping windows are cut.

    Ding et al., CondTSF, NeurIPS 2024: a step of several windows is stored once, also if it is a
    target of one window and an input of another. With consecutive starts, a series of n windows has
    ``n + L_in + L_out - 1`` steps, where free windows have ``n (L_in + L_out)``. A window
    continues the series of the one before it if their inputs agree where they overlap, whatever the
    stride; otherwise it begins a new series.

    The series is initialised with the inputs of the windows, overwritten by the mean of
    overlapping targets. Observed targets are the same numbers; soft labels replace inputs and
    smooth them, so that observed or incremental labels suit this parametrisation better.

    Parameters
    ----------
    problem : DistillationProblem
        The windows of its start must overlap, e.g. chosen with ``selection="contiguous"``.

    Raises
    ------
    InputError
        If no two windows of the start overlap.
    """

    selection: ClassVar[str | None] = "contiguous"

    def __init__(self, problem: DistillationProblem) -> None:
        start, n_series = problem.start, problem.n_series
        x = start.x[..., :n_series]
        self._mask = start.mask
        self._n_targets, self._within = start.n_targets, problem.within
        lookback, span = start.lookback, start.lookback + start.horizon
        strides = _strides(x)  # (M_S - 1,) 0 where a series begins
        if len(x) > 1 and not strides.any():
            raise InputError(
                "the parametrisation 'series' needs windows that overlap, and no two of the "
                f"{len(x)} selected ones do: choose them with selection='contiguous', and a "
                "time_ratio that keeps more than one"
            )
        self._inputs = _rows(strides, lookback)  # (M_S, L_in) rows of the other features
        rows = _rows(strides, span)  # (M_S, L_in + L_out) rows of the targets
        self._before, self._after = rows[:, :lookback], rows[:, lookback:]
        n_targets = self._n_targets
        targets = x.new_zeros(int(rows.max()) + 1, start.n_locations, n_targets)
        targets[self._before] = x[..., :n_targets]
        self.tensors = [targets]
        if n_series > n_targets:
            others = x.new_zeros(
                int(self._inputs.max()) + 1, start.n_locations, n_series - n_targets
            )
            others[self._inputs] = x[..., n_targets:]
            self.tensors.append(others)
        for tensor in self.tensors:
            tensor.requires_grad_()
        self.relabel(start.y)

    def windows(self) -> tuple[Tensor, Tensor]:
        """Cut the windows from the series; masked targets are 0."""
        targets, *others = self.tensors
        parts = [targets[self._before], *(other[self._inputs] for other in others)]
        return torch.cat(parts, dim=-1), target_rows(targets[self._after]) * self._mask

    def relabel(self, y: Tensor) -> None:
        """Write the mean of overlapping targets, without masked ones, into the series."""
        (targets, *_), after = self.tensors, self._after.flatten()
        with torch.no_grad():
            change = (y - target_rows(targets[self._after])) * self._mask
            total, count = torch.zeros_like(targets), torch.zeros_like(targets)
            total.index_add_(0, after, self._by_step(change))
            count.index_add_(0, after, self._by_step(self._mask))
            targets += total / count.clamp_min(1)
        self.project()

    def project(self) -> None:
        """Put every step of the series back into the range of its feature."""
        if self._within is None:
            return
        with torch.no_grad():
            for tensor, first in zip(self.tensors, (0, self._n_targets), strict=False):
                tensor.copy_(self._within.inputs(tensor, first))

    def _by_step(self, rows: Tensor) -> Tensor:
        """Rearrange (M_S, C * L_out, K) to (M_S * L_out, K, C)."""
        each = torch.unflatten(rows, 1, (self._n_targets, -1))  # (M_S, C, L_out, K)
        return each.permute(0, 2, 3, 1).flatten(0, 1)


def _strides(x: Tensor) -> Tensor:
    """Return the steps from each window (M_S, L_in, K, F) to the next.

    Returns
    -------
    Tensor
        (M_S - 1,) int64; 0 where the inputs do not overlap.

    Examples
    --------
    >>> series = torch.arange(10.0)
    >>> x = torch.stack([series[:4], series[1:5], series[3:7], series[6:10] + 50])
    >>> _strides(x[..., None, None])
    tensor([1, 2, 0])
    """
    found = torch.zeros(len(x) - 1, dtype=torch.int64, device=x.device)
    for stride in range(x.shape[1] - 1, 0, -1):  # the smallest one is written last
        same = (x[:-1, stride:] == x[1:, :-stride]).flatten(1).all(1)
        found[same] = stride
    return found


def _rows(strides: Tensor, length: int) -> Tensor:
    """Return the positions of each window's steps in the concatenated series.

    Parameters
    ----------
    strides : Tensor
        (M_S - 1,) steps from each window to the next, 0 where a series begins.
    length : int
        Steps of a window.

    Returns
    -------
    Tensor
        (M_S, length) int64.

    Examples
    --------
    >>> _rows(torch.tensor([1, 0, 2]), 3).tolist()
    [[0, 1, 2], [1, 2, 3], [4, 5, 6], [6, 7, 8]]
    """
    steps = torch.where(strides > 0, strides, length)
    first = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
    return first[:, None] + torch.arange(length, device=first.device)

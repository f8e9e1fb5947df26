"""Inputs of windows as they are stored: each cluster's own, calendars once, static ones once.

Shapes: M_S windows, L_in lookback, K clusters, F features (F_own of each cluster, C of the
calendar, S static), U different calendars of a window.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stemdist.forecast import TaskSettings


class StoredInputs(NamedTuple):
    """The parts of the inputs (M_S, L_in, K, F)."""

    own: Tensor
    """(M_S, L_in, K, F_own): the series, and calendar features that were learned."""
    calendar: Tensor
    """(U, L_in, C) calendars; of the windows (U = M_S) where all clusters have the same times."""
    calendar_of: Tensor | None
    """(M_S, K) the calendar of each window and cluster; None where it is that of the window."""
    static: Tensor
    """(K, S) features that do not change in time."""

    @property
    def n_numbers(self) -> int:
        """How many numbers they are."""
        return sum(part.numel() for part in self if part is not None)


def split_inputs(x: Tensor, settings: TaskSettings) -> StoredInputs:
    """Split inputs into the parts that are stored.

    Windows of own times have few different calendars, which are stored once; where calendars were
    learned nearly all differ, and they stay with the series.

    Parameters
    ----------
    x : Tensor
        (M_S, L_in, K, F).
    settings : TaskSettings
        They say which features are calendar or static ones.

    Examples
    --------
    >>> hours = torch.tensor([[0.0, 6.0, 0.0], [6.0, 0.0, 6.0]])  # of two windows, three clusters
    >>> x = torch.stack([torch.randn(2, 3), hours, hours], -1)[:, None]
    >>> split_inputs(x, TaskSettings(calendar=("time_of_day",))).calendar.flatten().tolist()
    [0.0, 0.0, 6.0, 6.0]
    """
    end = x.shape[-1] - len(settings.static)
    begin = end - len(settings.calendar_names)
    calendar, static = x[..., begin:end], x[0, 0, :, end:]
    if torch.equal(calendar, calendar[:, :, :1].expand_as(calendar)):
        return StoredInputs(x[..., :begin], calendar[:, :, 0], None, static)
    rows = calendar.transpose(1, 2).flatten(2).flatten(0, 1)  # (M_S * K, L_in * C)
    different, place = torch.unique(rows, dim=0, return_inverse=True)
    if different.numel() + len(rows) < rows.numel():
        table = different.view(-1, x.shape[1], end - begin)
        return StoredInputs(x[..., :begin], table, place.view(len(x), -1), static)
    return StoredInputs(x[..., :end], calendar[:, :, 0, :0], None, static)


def join_inputs(stored: StoredInputs) -> Tensor:
    """Return the inputs (M_S, L_in, K, F) whose parts were stored."""
    own, calendar, calendar_of, static = stored
    shape = own.shape[:3]
    if calendar_of is None:
        at_clusters = calendar[:, :, None].expand(*shape, -1)
    else:
        at_clusters = calendar[calendar_of].transpose(1, 2)
    return torch.cat([own, at_clusters, static.expand(*shape, -1)], dim=-1)

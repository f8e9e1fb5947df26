"""Where targets come from: observations, soft labels of experts, or both.

Shapes: M windows, L_out horizon steps (of each target), K clusters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stemdist.data.windows import Batch, gather_cells
from stemdist.data.wrapped_windows import WrappedWindows
from stemdist.errors import InputError, unknown_name

KEPT_ANSWERS = 2**24
"""Soft labels of all training windows are kept where they are no more numbers, 64 MiB."""

EXPERT_SHARE = {"observed": 0.0, "incremental": 0.0, "mixed": 0.5, "expert": 1.0}
"""Share of the soft label in the target at the start, by kind of label.

``incremental`` targets are observed at first and move towards the soft labels while the
synthesizer works (the value term of CondTSF).
"""


@dataclass(frozen=True, kw_only=True)
class RelabelledWindows(WrappedWindows):
    """Windows of another source with targets moved towards soft labels.

    Unobserved targets are filled by the soft label alone.

    Parameters
    ----------
    source : WindowSource
        Inputs, and the observed targets.
    answers : Tensor or callable
        (M, L_out, K) soft labels of all windows of ``source``, scaled units; or what returns
        those of the windows (B,) whose numbers it is given, so that not all need be kept.
    share : float
        Share of the soft label in the target, in (0, 1].
    pointwise : bool
        Whether targets follow from each location's own windows, as in
        :class:`~stemdist.data.windows.WindowSource`.
    """

    answers: Tensor | Callable[[Tensor], Tensor]
    share: float
    pointwise: bool = False

    def __post_init__(self) -> None:
        expected = (len(self.source), self.source.rows, self.source.n_locations)
        shape = expected if callable(self.answers) else tuple(self.answers.shape)
        if shape != expected or not 0 < self.share <= 1:
            raise InputError(
                f"soft labels of shape {shape} with share {self.share}: "
                f"expected (M, L_out, K) = {expected} and a share in (0, 1]"
            )

    def batch(self, index: Tensor, locations: Tensor | None = None) -> Batch:
        """Return inputs, targets and mask of the windows ``index``."""
        x, y, mask = self.source.batch(index, locations)
        answers = self._answers_at(index, locations)
        share = torch.where(mask > 0, self.share, 1.0)
        return Batch(x, y * (1 - share) + answers * share, torch.ones_like(mask))

    def _answers_at(self, index: Tensor, locations: Tensor | None) -> Tensor:
        if callable(self.answers):
            found = self.answers(index)
            return found if locations is None else found[..., locations]
        if locations is None:
            return self.answers[index]
        rows = index[:, None] * self.rows + torch.arange(self.rows)
        return gather_cells(self.answers.flatten(0, 1), rows, locations)  # (B, R, k)


LABELS_IN_WORDS = {
    "observed": "observed targets",
    "incremental": "targets between observed ones and soft labels",
    "mixed": "targets halfway between observed ones and soft labels",
    "expert": "soft labels",
}
"""What the targets are, by kind of label."""


def expert_share(labels: str) -> float:
    """Return the share of soft labels for a kind of label, or raise with the choices."""
    if labels not in EXPERT_SHARE:
        raise unknown_name("labels", labels, EXPERT_SHARE)
    return EXPERT_SHARE[labels]

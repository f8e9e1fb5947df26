"""Synthetic windows as leading frequencies in time and leading modes in space.

Shapes: M_S synthetic windows, L_in lookback, L_out horizon, C targets, R = C * L_out target rows,
K clusters, F_l learned features (the first C are the targets), P frequencies, Q modes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from stemdist.data.windows import WindowSource
from stemdist.distill.parametrisation import Parametrisation
from stemdist.errors import check_ratio

if TYPE_CHECKING:
    from stemdist.distill.problem import DistillationProblem

BLOCK_WINDOWS = 1024


class SpectralWindows(Parametrisation):
    """The lowest frequencies of every window in time, times the leading modes in space.

    Few numbers represent the slow, large-scale part of a window, so that more windows fit into the
    same storage: FreD (Shin et al., NeurIPS 2023) keeps the frequencies of largest variance, here
    the lowest ones of the discrete cosine transform (type II, orthonormal) of ``x`` and of ``y``.
    In space, the modes are the eigenvectors of the second moments between the clusters, over all
    real windows, of each feature separately (empirical orthogonal functions, Lorenz, 1956, without
    subtracting a mean, which would have to be stored too). With both shares 1 every window can be
    represented exactly. Masked targets are initialised with 0, the training mean.

    Parameters
    ----------
    problem : DistillationProblem
        Its start is transformed; its real windows give the modes.
    time_share : float
        Share of the frequencies of ``x`` and of ``y`` to keep, in (0, 1].
    space_share : float
        Share of the K modes to keep, in (0, 1].

    Raises
    ------
    InputError
        If a share is not in (0, 1].
    """

    def __init__(
        self, problem: DistillationProblem, *, time_share: float = 0.5, space_share: float = 0.5
    ) -> None:
        self.check_options(time_share=time_share, space_share=space_share)
        start, self._within = problem.start, problem.within
        self._mask = start.mask
        self._n_targets = start.n_targets
        self._past = cosines(start.lookback, _kept(time_share, start.lookback)).to(start.x)
        self._future = cosines(start.horizon, _kept(time_share, start.horizon)).to(start.x)
        kept = _kept(space_share, start.n_locations)
        self._modes = spatial_modes(problem.real, problem.n_series, kept)  # (F_l, K, Q)
        x = start.x[..., : problem.n_series]
        past = torch.einsum("pl,mlkf,fkq->mpqf", self._past, x, self._modes)
        self.tensors = [past.requires_grad_(), self._transform(start.y).requires_grad_()]

    @classmethod
    def check_options(cls, **options: Any) -> None:
        """Raise unless every share is in (0, 1]."""
        for name, value in options.items():
            check_ratio(name, value)

    @property
    def n_numbers(self) -> int:
        """How many numbers are stored: coefficients and modes; the cosines are known."""
        return sum(part.numel() for part in (*self.tensors, self._modes))

    def windows(self) -> tuple[Tensor, Tensor]:
        """Transform back and cut at the range of the source; masked targets are 0."""
        past, _ = self.tensors
        x = torch.einsum("pl,mpqf,fkq->mlkf", self._past, past, self._modes)
        y = self._targets()
        if self._within is not None:
            x, y = self._within.inputs(x), self._within.targets(y)
        return x, y * self._mask

    def relabel(self, y: Tensor) -> None:
        """Project the targets; masked ones stay as near to their values as possible."""
        with torch.no_grad():
            wanted = torch.where(self._mask > 0, y, self._targets())
            self.tensors[1].copy_(self._transform(wanted))

    def _targets(self) -> Tensor:
        """Return all targets (M_S, R, K)."""
        modes = self._modes[: self._n_targets]
        y = torch.einsum("pl,mcpq,ckq->mclk", self._future, self.tensors[1], modes)
        return y.flatten(1, 2)

    def _transform(self, y: Tensor) -> Tensor:
        """Return the coefficients (M_S, C, P, Q) of targets (M_S, R, K)."""
        each = torch.unflatten(y, 1, (self._n_targets, -1))  # (M_S, C, L_out, K)
        modes = self._modes[: self._n_targets]
        return torch.einsum("pl,mclk,ckq->mcpq", self._future, each, modes)


def cosines(length: int, n_kept: int) -> Tensor:
    """Return the lowest cosines (P, L) of the orthonormal discrete cosine transform, type II.

    Examples
    --------
    >>> cosines(4, 2)
    tensor([[ 0.5000,  0.5000,  0.5000,  0.5000],
            [ 0.6533,  0.2706, -0.2706, -0.6533]])
    """
    transform = scipy.fft.dct(np.eye(length), norm="ortho", axis=0)
    return torch.from_numpy(transform[:n_kept].astype(np.float32))


def spatial_modes(source: WindowSource, n_features: int, n_modes: int) -> Tensor:
    """Return the modes with the largest sums of squares of each feature.

    Parameters
    ----------
    source : WindowSource
        Windows over K locations, of which the last input step is read.
    n_features : int
        Number F_l of leading features, each with its own modes.
    n_modes : int
        Q, at most K.

    Returns
    -------
    Tensor
        (F_l, K, Q) with orthonormal columns, in descending order.
    """
    k = source.n_locations
    device = source.location_weight.device
    moments = torch.zeros(n_features, k, k, dtype=torch.float64, device=device)
    for index in torch.split(torch.arange(len(source)), BLOCK_WINDOWS):
        last = source.inputs(index)[:, -1, :, :n_features].double()  # (B, K, F_l)
        moments += torch.einsum("bkf,bjf->fkj", last, last)
    _, modes = torch.linalg.eigh(moments)  # ascending
    leading: Tensor = modes.flip(-1)[..., :n_modes]
    return leading.float().contiguous()


def _kept(share: float, count: int) -> int:
    return max(1, round(share * count))

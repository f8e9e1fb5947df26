"""Amplitude spectra of windows, for matching in the frequency domain.

Shapes: M windows, L_in lookback, L_out horizon, C targets, R = C * L_out target rows, K clusters,
F features, Q = (L_in + L_out) // 2 + 1 frequencies.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stemdist.data.windows import WindowSource


def mean_amplitudes(x: Tensor, y: Tensor, n_targets: int) -> Tensor:
    """Return the mean amplitude spectrum of windows, each target's past and future joined.

    Parameters
    ----------
    x : Tensor
        (M, L_in, K, F) inputs; the C targets come first.
    y : Tensor
        (M, R, K) targets.
    n_targets : int
        C.

    Returns
    -------
    Tensor
        (C, Q, K), in the units of the inputs times steps.

    Examples
    --------
    >>> mean_amplitudes(torch.ones(5, 3, 1, 1), torch.ones(5, 1, 1), 1).flatten()
    tensor([4., 0., 0.])
    """
    past = x[..., :n_targets].permute(0, 3, 1, 2)  # (M, C, L_in, K)
    future = torch.unflatten(y, 1, (n_targets, -1))  # (M, C, L_out, K)
    waves: Tensor = torch.fft.rfft(torch.cat([past, future], dim=2), dim=2)  # (M, C, Q, K)
    return waves.abs().mean(0)


@torch.no_grad()
def source_amplitudes(source: WindowSource) -> Tensor:
    """Return the mean amplitude spectrum (C, Q, K) of all windows, read in blocks."""
    total = torch.zeros(())
    for index in torch.split(torch.arange(len(source)), 64):
        x, y, _ = source.batch(index)
        total = total + len(index) * mean_amplitudes(x, y, source.n_targets)
    return total / len(source)


def spectrum_distance(wanted: Tensor, found: Tensor) -> Tensor:
    """Return the squared distance of two spectra over the squared norm of the first.

    The frequency matching of TimeDC (Miao et al., PVLDB 2025) on the amplitudes of the series
    themselves, without the paper's decomposition and learned features.

    Examples
    --------
    >>> spectrum_distance(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 9.0])).item()
    1.0
    """
    return ((found - wanted) ** 2).sum() / (wanted**2).sum().clamp_min(1e-12)

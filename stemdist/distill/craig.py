"""Real windows whose gradients stand for those of all: facility location.

Shapes: M training windows, M_S selected ones, N locations, R target rows, P = L_in * F inputs of
a location, D columns of a gradient.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stemdist.data.windows import WindowSource
from stemdist.forecast.closed_form import fit_linear

GRADIENT_COLUMNS = 256
BLOCK_SAMPLES = 2**16
BLOCK_NUMBERS = 2**24
MISSED = 0.01
"""Chance that none of a step's candidates is among the M / M_S windows with the largest gain."""


def craig_windows(source: WindowSource, n_windows: int, seed: int) -> Tensor:
    """Return (M_S,) windows such that the gradient of every window is like that of a chosen one.

    Mirzasoleiman et al., *Coresets for Data-efficient Training of Machine Learning Models*
    (CRAIG), ICML 2020, section 3: greedy facility location on gradients of the last layer. They
    are those of the shared linear forecaster that fits all windows best, and their similarity
    is ``(1 + cosine) / 2``. Each step takes the best of random candidates (Mirzasoleiman et al.,
    *Lazier Than Lazy Greedy*, AAAI 2015), so that 4.6 M columns of similarities are computed
    whatever M_S is; the cost is M x M x D. Each chosen window counts once: the paper's weights, the
    numbers of windows that each stands for, are not kept.

    Examples
    --------
    >>> from stemdist.data import TensorWindows
    >>> x, y = torch.randn(9, 2, 3, 1), torch.randn(9, 1, 3)
    >>> source = TensorWindows(x=x, y=y, mask=torch.ones_like(y), weight=torch.ones(3))
    >>> len(craig_windows(source, 4, seed=0))
    4
    """
    generator = torch.Generator().manual_seed(seed)
    return facility_location(linear_gradients(source, generator), n_windows, generator)


def facility_location(gradients: Tensor, n_rows: int, generator: torch.Generator) -> Tensor:
    """Return (n_rows,) ascending rows of (M, D) that maximise the sum of best similarities."""
    rows = gradients / gradients.norm(dim=1, keepdim=True).clamp_min(1e-12)
    best = torch.zeros(len(rows))  # similarity to the nearest chosen row
    left = torch.arange(len(rows))
    n_candidates = math.ceil(len(rows) / n_rows * math.log(1 / MISSED))
    chosen = []
    for _ in range(n_rows):
        drawn = left[torch.randperm(len(left), generator=generator)[:n_candidates]].sort().values
        gains = [
            (_similarity(rows, rows[block]) - best[:, None]).clamp_min(0).sum(0)
            for block in torch.split(drawn, max(1, BLOCK_NUMBERS // len(rows)))
        ]
        newest = drawn[torch.cat(gains).argmax()]
        best = torch.maximum(best, _similarity(rows, rows[newest][None]).squeeze(1))
        left = left[left != newest]
        chosen.append(newest)
    return torch.stack(chosen).sort().values


def _similarity(rows: Tensor, others: Tensor) -> Tensor:
    return (1 + rows @ others.T) / 2


def linear_gradients(source: WindowSource, generator: torch.Generator) -> Tensor:
    """Return the gradient (M, D) of each window's squared error for a linear forecaster.

    The forecaster is the one of least squared error over all windows, and a gradient of more
    than 256 numbers is projected at random.
    """
    forecaster = fit_linear(source)
    width = source.rows * (source.lookback * source.n_features + 1)
    projection = None
    if width > GRADIENT_COLUMNS:
        projection = torch.randn(width, GRADIENT_COLUMNS, generator=generator)
    made, at_once = [], max(1, BLOCK_SAMPLES // source.n_locations)
    for index in torch.split(torch.arange(len(source)), at_once):
        x, y, mask = source.batch(index)
        with torch.no_grad():
            forecast = forecaster(x, None, source.profile)
        errors = (forecast - y) * mask * source.location_weight  # (B, R, N)
        inputs = x.permute(0, 2, 1, 3).flatten(2)  # (B, N, P)
        inputs = torch.cat([inputs, inputs.new_ones(*inputs.shape[:2], 1)], dim=2)
        gradient = (errors @ inputs).flatten(1)  # (B, R * (P + 1))
        made.append(gradient if projection is None else gradient @ projection)
    return torch.cat(made)

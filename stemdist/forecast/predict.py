"""Forecasts for many windows and locations in bounded memory.

Shapes: M windows, B windows of a block, L_out horizon, O outputs per step, N locations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stemdist.data.scaling import Scaler
from stemdist.data.windows import WindowSource
from stemdist.forecast.base import Forecaster
from stemdist.forecast.device import check_device
from stemdist.forecast.losses import LOSSES, LossFunction

if TYPE_CHECKING:
    from torch_geometric.data import Data

BLOCK_STEPS = 393_216
"""Input steps of windows at locations computed at once: bounds memory whatever M, N, L_in are."""


def series_per_block(source: WindowSource) -> int:
    """Return how many windows at one location are computed at once."""
    return max(1, BLOCK_STEPS // source.lookback)


def windows_per_block(source: WindowSource) -> int:
    """Return how many windows at all locations of a source are computed at once."""
    return max(1, series_per_block(source) // source.n_locations)


@torch.no_grad()
def predict_windows(
    forecaster: Forecaster,
    source: WindowSource,
    graph: Data,
    profile: Tensor | None = None,
    *,
    index: Tensor | None = None,
    device: str | torch.device = "cpu",
    block_series: int | None = None,
) -> Tensor:
    """Forecast the windows of ``source``.

    Parameters
    ----------
    forecaster : Forecaster
        Used in evaluation mode.
    source : WindowSource
        Where inputs come from.
    graph : torch_geometric.data.Data
        Graph between its N locations.
    profile : Tensor, optional
        (N, L_in * F); the source's own by default.
    index : Tensor, optional
        (M,) windows to forecast; all by default.
    device : str or torch.device
        Where the computation runs.
    block_series : int, optional
        Windows at a location computed at once; by default so many that memory stays bounded. The
        result does not depend on it.

    Returns
    -------
    Tensor
        (M, O * L_out, N) in scaled units, on the CPU.
    """
    device = check_device(device)
    index = torch.arange(len(source)) if index is None else index
    profile = (source.profile if profile is None else profile).to(device)
    graph = graph.clone().to(str(device))
    training = forecaster.training
    forecaster.to(device).eval()
    size = series_per_block(source) if block_series is None else block_series
    forecasts = torch.empty(len(index), forecaster.rows, source.n_locations)
    for rows, columns in _blocks(len(index), source.n_locations, forecaster, size):
        locations = None if columns is None else torch.arange(columns.start, columns.stop)
        x = source.inputs(index[rows], locations).to(device)
        part = profile if columns is None else profile[columns]
        forecasts[rows, :, columns or slice(None)] = forecaster(x, graph, part).cpu()
    forecaster.train(training)
    return forecasts


def physical_quantiles(
    forecast: Tensor, scaler: Scaler, n_targets: int, n_quantiles: int
) -> Tensor:
    """Return scaled forecasts in physical units, quantiles as an axis and in ascending order.

    Parameters
    ----------
    forecast : Tensor
        (M, Q * C * L_out, N) as :func:`predict_windows` returns.
    scaler : Scaler
        Of the input features, the C targets first.
    n_targets, n_quantiles : int
        C and Q, where Q is 0 for point forecasts.

    Returns
    -------
    Tensor
        (M, max(Q, 1), C * L_out, N).

    Examples
    --------
    >>> crossed = torch.tensor([[[1.0], [-1.0]]])
    >>> scaler = Scaler(mean=(10.0,), scale=(2.0,))
    >>> physical_quantiles(crossed, scaler, n_targets=1, n_quantiles=2).flatten().tolist()
    [8.0, 12.0]
    """
    levels = torch.unflatten(forecast, 1, (max(1, n_quantiles), -1))
    physical = scaler.inverse_targets(levels, n_targets)
    return physical.sort(dim=1).values if n_quantiles > 1 else physical


def _blocks(
    n_windows: int, n_locations: int, forecaster: Forecaster, block_series: int
) -> Iterator[tuple[slice, slice | None]]:
    """Cut into blocks of windows, and of locations where the forecaster allows it."""
    width = block_series if forecaster.pointwise else n_locations
    columns: list[slice | None] = [None]
    if width < n_locations:
        columns = [slice(b, min(b + width, n_locations)) for b in range(0, n_locations, width)]
    height = max(1, block_series // min(width, n_locations))
    for begin in range(0, n_windows, height):
        for column in columns:
            yield slice(begin, min(begin + height, n_windows)), column


def mean_error(
    forecaster: Forecaster,
    source: WindowSource,
    graph: Data,
    profile: Tensor,
    *,
    index: Tensor,
    loss: LossFunction = LOSSES["mse"],
    device: str | torch.device = "cpu",
) -> float:
    """Return the masked mean of a loss in scaled units over the windows ``index``.

    Parameters
    ----------
    forecaster, source, graph, profile, index, device
        As in :func:`predict_windows`.
    loss : callable
        Elementwise, of forecasts and targets; squared errors by default.
    """
    total = count = 0.0
    for part in torch.split(index, windows_per_block(source)):
        forecast = predict_windows(forecaster, source, graph, profile, index=part, device=device)
        _, y, mask = source.batch(part)
        total += float((loss(forecast, y) * mask).sum(dtype=torch.float64))
        count += float(mask.sum(dtype=torch.float64))
    return total / max(count, 1.0)

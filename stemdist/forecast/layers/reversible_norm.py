"""Instance normalisation of the targets that the forecast undoes.

Shapes: B windows, L_in lookback, L_out horizon, N locations, F features, V targets, O outputs
per location and step (output o forecasts target o % V).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stemdist.errors import InputError, check_count


class Statistics(NamedTuple):
    """Mean and scale of the targets of each window and location, (B, V, N) each."""

    mean: Tensor
    scale: Tensor


class ReversibleNorm(nn.Module):
    """Normalise the targets of every window to mean 0 and variance 1, and undo it in the forecast.

    Kim et al., *Reversible Instance Normalization*, ICLR 2022, section 3.2. Three changes: the
    learned affine map is left out, because the layers between the two steps can learn it; the
    statistics are differentiated through, so that inputs can be learned; and only the targets
    are normalised. Calendar and static features hardly vary in a window, so their information
    is in their level. No parameters.

    Parameters
    ----------
    n_features : int
        F; the V targets are the first of them.
    n_outputs : int
        O, a multiple of V.
    n_targets : int
        V.
    floor : float
        Standard deviation (in scaled units) added in quadrature, so that the noise of a flat
        window is not blown up and its gradients stay bounded.
    scales : bool
        If False, only the mean is removed and restored.

    Raises
    ------
    InputError
        If there are more targets than features, or O is no multiple of V.

    Examples
    --------
    >>> norm = ReversibleNorm(n_features=2)
    >>> normed, statistics = norm.normalise(torch.randn(4, 12, 5, 2))
    >>> normed.shape, norm.restore(torch.zeros(4, 3, 5), statistics).shape
    (torch.Size([4, 12, 5, 2]), torch.Size([4, 3, 5]))
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int = 1,
        n_targets: int = 1,
        floor: float = 0.1,
        scales: bool = True,
    ) -> None:
        super().__init__()
        self.n_targets = check_targets(n_targets, n_features, n_outputs)
        self.n_outputs = n_outputs
        self.floor = floor
        self.scales = scales

    def normalise(self, x: Tensor) -> tuple[Tensor, Statistics]:
        """Return (B, L_in, N, F) with normalised targets, and the removed statistics."""
        targets, others = x[..., : self.n_targets], x[..., self.n_targets :]
        mean = targets.mean(1, keepdim=True)  # (B, 1, N, V)
        centred = targets - mean
        if self.scales:
            scale = (centred.square().mean(1, keepdim=True) + self.floor**2).sqrt()
        else:
            scale = torch.ones_like(mean)
        statistics = Statistics(mean[:, 0].transpose(1, 2), scale[:, 0].transpose(1, 2))
        return torch.cat([centred / scale, others], dim=-1), statistics

    def restore(self, forecast: Tensor, statistics: Statistics) -> Tensor:
        """Return the forecast (B, O * L_out, N) at the level and scale of its targets."""
        b, rows, n = forecast.shape
        steps = forecast.reshape(b, -1, self.n_targets, rows // self.n_outputs, n)
        scale, mean = statistics.scale[:, None, :, None], statistics.mean[:, None, :, None]
        return (steps * scale + mean).reshape(b, rows, n)  # steps: (B, O / V, V, L_out, N)


def normalised(
    norm: ReversibleNorm | None, x: Tensor, forecast: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return the forecast (B, O * L_out, N) of normalised windows, restored; without a norm, as is.

    Parameters
    ----------
    norm : ReversibleNorm, optional
        None leaves windows and forecast as they are.
    x : Tensor
        (B, L_in, N, F).
    forecast : callable
        Maps windows (B, L_in, N, F) to their forecast (B, O * L_out, N).

    Examples
    --------
    >>> x = torch.tensor([4.0, 6.0]).view(1, 2, 1, 1)
    >>> normalised(ReversibleNorm(1), x, lambda windows: 0 * windows[..., 0]).flatten().tolist()
    [5.0, 5.0]
    """
    if norm is None:
        return forecast(x)
    windows, statistics = norm.normalise(x)
    return norm.restore(forecast(windows), statistics)


def target_of_rows(n_targets: int, n_outputs: int, horizon: int) -> list[int]:
    """Return the target that each of the ``n_outputs * horizon`` rows of a forecast belongs to.

    Examples
    --------
    >>> target_of_rows(n_targets=2, n_outputs=4, horizon=1)
    [0, 1, 0, 1]
    """
    return [output % n_targets for output in range(n_outputs) for _ in range(horizon)]


def check_targets(n_targets: int, n_features: int, n_outputs: int) -> int:
    """Return ``n_targets`` if features and outputs can belong to them, else raise."""
    if check_count("n_targets", n_targets) > n_features:
        raise InputError(
            f"n_targets is {n_targets} but there are {n_features} features: the targets are the "
            "first features, so there cannot be more of them"
        )
    if n_outputs % n_targets:
        raise InputError(
            f"n_outputs is {n_outputs}: it must be a multiple of the {n_targets} targets, "
            "e.g. one output per target, or one per target and quantile"
        )
    return n_targets

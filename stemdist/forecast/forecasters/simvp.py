"""SimVP over the images of a regular grid.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, C channels
of a frame (the image of one time step), D hidden channels, H rows and W columns of the grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemdist.errors import InputError, check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.grid import Grid
from stemdist.forecast.layers.image_conv import ImageConv, enlarge
from stemdist.forecast.layers.reversible_norm import check_targets, target_of_rows
from stemdist.forecast.layers.window_linear import WindowLinear

if TYPE_CHECKING:
    from torch_geometric.data import Data

WIDTHS = (3, 5, 7)
"""Widths of the parallel convolutions of the translator."""

GROUPS = 4
"""Groups of channels that each of them convolves apart."""


class _Translator(nn.Module):
    """One map to D channels, then parallel grouped convolutions of several widths, summed."""

    def __init__(self, channels_in: int, hidden: int, channels_out: int) -> None:
        super().__init__()
        self.start = nn.Conv2d(channels_in, hidden, 1)
        self.branches = nn.ModuleList(
            ImageConv(hidden, channels_out, width=width, groups=GROUPS) for width in WIDTHS
        )

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, C_out, H, W) for (B, C_in, H, W)."""
        h = self.start(h)
        return torch.stack([branch(h) for branch in self.branches]).sum(0)


class SimVPForecaster(Forecaster):
    """Encode every frame, translate the frames of the past to those of the future, decode.

    Gao et al., *SimVP*, CVPR 2022, section 3: a convolutional encoder and decoder that see one
    frame at a time with a skip connection between them, and between the two a stack of
    inception modules over the channels of all frames together. Changes, mostly to be light: the
    encoder halves the image twice, the first time in its first convolution, and the last step
    of the decoder makes four finer values of each channel (pixel shuffle); the translator has
    few channels and widths of 3, 5 and 7, and its last module returns L_out frames whatever L_in
    is; every future frame gets the skip connection of the last observed one; and the
    result is added to an affine map of each location's own window, shared by all, which alone
    is the linear forecaster.

    Its hidden state ``latent`` is the image (B, L_out C, H/4, W/4) of all future frames together
    that the translator returns.

    Only for locations on a regular grid. Inputs of missing cells are zero, and a mask channel
    marks them. Grids that cover all longitudes are not treated as periodic. The edges of the
    graph and the profile are not read.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs : int
        O, the numbers forecast per location and step.
    n_targets : int
        Leading features that are targets; output ``o`` belongs to target ``o % n_targets``.
    channels : int
        C, a multiple of 4.
    hidden : int
        D of the translator, a multiple of 4.
    layers : int
        Inception modules of the translator.

    Raises
    ------
    InputError
        If a value is outside its range, or, in ``forward``, the locations are on no grid.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> forecaster = SimVPForecaster(lookback=12, horizon=3, n_features=2)
    >>> graph = Data(num_nodes=6, cell=torch.cartesian_prod(torch.arange(2), torch.arange(3)))
    >>> forecaster(torch.zeros(4, 12, 6, 2), graph, torch.zeros(6, 24)).shape
    torch.Size([4, 3, 6])
    """

    needs_grid = True
    states: ClassVar[Mapping[str, str]] = {"latent": "translate"}

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        n_targets: int = 1,
        channels: int = 16,
        hidden: int = 64,
        layers: int = 2,
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            n_targets=check_targets(n_targets, n_features, n_outputs),
            channels=_check_groups("channels", channels),
            hidden=_check_groups("hidden", hidden),
            layers=check_count("layers", layers),
        )
        self.first = ImageConv(n_features + 1, channels, stride=2)
        self.second = ImageConv(channels, channels, stride=2)
        sizes = [lookback * channels, *[hidden] * (layers - 1), horizon * channels]
        self.translate = nn.Sequential(*(_Translator(a, hidden, b) for a, b in pairwise(sizes)))
        self.decode = ImageConv(channels, channels)
        self.join = ImageConv(2 * channels, channels)
        self.end = nn.Conv2d(channels, 4 * n_outputs, 1)
        start = target_of_rows(n_targets, n_outputs, horizon)
        self.linear = WindowLinear(lookback, n_features, start)

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units."""
        grid, b = Grid.of(graph), x.shape[0]
        fine = self.first(grid.scatter(x.flatten(0, 1)))  # (B L_in, C, H/2, W/2)
        past = self.second(fine)  # (B L_in, C, H/4, W/4)
        h = self.translate(past.reshape(b, -1, *past.shape[2:]))  # (B, L_out C, H/4, W/4)
        h = self.decode(h.reshape(-1, *past.shape[1:]))  # (B L_out, C, H/4, W/4)
        skip = fine[self.lookback - 1 :: self.lookback]  # (B, C, H/2, W/2)
        skip = skip.repeat_interleave(self.horizon, dim=0)
        h = self.end(self.join(torch.cat([enlarge(h, fine), skip], dim=1)))
        frames = functional.pixel_shuffle(h, 2)[..., : grid.height, : grid.width]
        change = grid.gather(frames).view(b, self.horizon, self.n_outputs, -1)
        change = change.transpose(1, 2).flatten(1, 2)  # (B, O * L_out, N)
        own: Tensor = self.linear(x.transpose(1, 2).flatten(2))  # (B, N, O * L_out)
        return own.transpose(1, 2) + change


def _check_groups(name: str, value: int) -> int:
    if check_count(name, value) % GROUPS:
        raise InputError(
            f"{name} is {value}: it must be a multiple of {GROUPS}, one share for each group of "
            "the convolutions"
        )
    return value

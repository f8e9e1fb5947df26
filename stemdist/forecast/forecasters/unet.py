"""U-Net over the images of a regular grid.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, C channels,
H rows and W columns of the grid.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from stemdist.errors import check_count
from stemdist.forecast.forecasters.grid_forecaster import GridForecaster
from stemdist.forecast.layers.image_conv import ImageConv, enlarge
from stemdist.forecast.search_space import NARROW_WIDTHS, Space


class UNetForecaster(GridForecaster):
    """Convolutions at several resolutions of the grid, with all input steps as channels.

    Ronneberger et al., *U-Net*, MICCAI 2015, section 2: two convolutions per level, twice the
    channels at each coarser level, and each decoder level joined with the encoder level of the
    same size. Changes: convolutions are padded with zeros, so no border is lost; halving is part
    of a convolution instead of max pooling, and doubling repeats values; group norm follows
    every convolution; and the network is small. Its result is added to an affine map of each
    location's own window, shared by all, which alone is the linear forecaster.

    Its hidden state ``latent`` is the image at the coarsest level, with ``2**(levels - 1)`` C
    channels.

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
        C at the finest level.
    levels : int
        Resolutions; each has half the rows and columns of the one before.

    Raises
    ------
    InputError
        If a value is outside its range, or, in ``forward``, the locations are on no grid.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> forecaster = UNetForecaster(lookback=12, horizon=3, n_features=2)
    >>> graph = Data(num_nodes=6, cell=torch.cartesian_prod(torch.arange(2), torch.arange(3)))
    >>> forecaster(torch.zeros(4, 12, 6, 2), graph, torch.zeros(6, 24)).shape
    torch.Size([4, 3, 6])
    """

    search_space: ClassVar[Space] = {"channels": NARROW_WIDTHS}

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        n_targets: int = 1,
        channels: int = 16,
        levels: int = 3,
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            n_targets=n_targets,
            channels=check_count("channels", channels),
            levels=check_count("levels", levels),
        )
        sizes = [channels * 2**level for level in range(levels)]
        self.start = _double(self.image_channels, channels)
        self.down = nn.ModuleList(_double(a, b, stride=2) for a, b in pairwise(sizes))
        self.up = nn.ModuleList(_double(a + b, a) for a, b in pairwise(sizes))
        self.end = nn.Conv2d(channels, self.rows, 1)

    @property
    def states(self) -> dict[str, str]:  # type: ignore[override]
        """The image of the coarsest level, the finest where there is one level, is latent."""
        return {"latent": f"down.{len(self.down) - 1}" if self.down else "start"}

    def change(self, images: Tensor) -> Tensor:
        """Return (B, O * L_out, H, W) for images (B, L_in * F + 1, H, W)."""
        levels = [self.start(images)]  # (B, C, H, W), then (B, 2C, H/2, W/2) ...
        for down in self.down:
            levels.append(down(levels[-1]))
        h = levels.pop()
        for up in reversed(self.up):
            fine = levels.pop()
            h = up(torch.cat([fine, enlarge(h, fine)], dim=1))
        joined: Tensor = self.end(h)
        return joined


def _double(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        ImageConv(channels_in, channels_out, stride=stride), ImageConv(channels_out, channels_out)
    )

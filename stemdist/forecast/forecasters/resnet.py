"""Residual convolutions over the images of a regular grid.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, D hidden
channels, H rows and W columns of the grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from stemdist.errors import check_count
from stemdist.forecast.forecasters.grid_forecaster import GridForecaster
from stemdist.forecast.layers.image_conv import ImageConv
from stemdist.forecast.layers.residual_conv import ResidualConv
from stemdist.forecast.search_space import LAYERS, NARROW_WIDTHS, Space


class ResNetForecaster(GridForecaster):
    """Residual blocks of convolutions at half the grid's resolution, all input steps as channels.

    He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016, section 3.3, the
    plain blocks of two convolutions. Changes: one convolution of width 3 that halves the image
    is the way in; all blocks keep its size and channels; group norm and SiLU replace batch
    norm and ReLU; in place of pooling and classes, one 1 x 1 convolution makes the values of
    2 x 2 cells of each pixel (pixel shuffle). Its result is added to an affine map of each
    location's own window, shared by all, which alone is the linear forecaster.

    Its hidden state ``latent`` is the image (B, D, H/2, W/2) after the first half of the blocks,
    which the others decode; odd numbers of rows and columns are rounded up.

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
    hidden : int
        D.
    layers : int
        Residual blocks; each extends the receptive field by 4 cells in every direction.

    Raises
    ------
    InputError
        If a value is outside its range, or, in ``forward``, the locations are on no grid.

    Examples
    --------
    >>> import torch
    >>> from torch_geometric.data import Data
    >>> forecaster = ResNetForecaster(lookback=12, horizon=3, n_features=2)
    >>> graph = Data(num_nodes=6, cell=torch.cartesian_prod(torch.arange(2), torch.arange(3)))
    >>> forecaster(torch.zeros(4, 12, 6, 2), graph, torch.zeros(6, 24)).shape
    torch.Size([4, 3, 6])
    """

    search_space: ClassVar[Space] = {"hidden": NARROW_WIDTHS, "layers": LAYERS}

    states: ClassVar[Mapping[str, str]] = {"latent": "encode"}

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        n_targets: int = 1,
        hidden: int = 32,
        layers: int = 4,
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            n_targets=n_targets,
            hidden=check_count("hidden", hidden),
            layers=check_count("layers", layers),
        )
        self.start = ImageConv(self.image_channels, hidden, stride=2)
        half = -(-layers // 2)
        self.encode = nn.Sequential(*(ResidualConv(hidden) for _ in range(half)))
        self.decode = nn.Sequential(*(ResidualConv(hidden) for _ in range(layers - half)))
        self.end = nn.Conv2d(hidden, 4 * self.rows, 1)

    def change(self, images: Tensor) -> Tensor:
        """Return (B, O * L_out, H, W) for images (B, L_in * F + 1, H, W)."""
        h = self.decode(self.encode(self.start(images)))  # (B, D, H/2, W/2)
        return functional.pixel_shuffle(self.end(h), 2)

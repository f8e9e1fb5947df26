"""Perceptrons that mix the patches of a grid's images and their channels in turn.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, D hidden
channels, H rows and W columns of the grid, h and w of the patches, s rows and columns of
patches in a window of the mixer, P cells of a patch's side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from stemdist.errors import check_count
from stemdist.forecast.forecasters.grid_forecaster import GridForecaster
from stemdist.forecast.layers.attention import FeedForward


class MixerBlock(nn.Module):
    """``h + tokens(norm(h))``, then ``h + channels(norm(h))``, for images of tokens.

    The tokens of each window of s x s are mixed, whatever the size of the image, which counts
    as zero beyond its edges.

    Parameters
    ----------
    hidden, window : int
        D and s.
    shift : int
        Rows and columns, less than s, by which the windows lie before the image.

    Examples
    --------
    >>> import torch
    >>> MixerBlock(8, window=4, shift=2)(torch.zeros(2, 5, 3, 8)).shape
    torch.Size([2, 5, 3, 8])
    """

    def __init__(self, hidden: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.token_norm = nn.LayerNorm(hidden)
        self.tokens = FeedForward(window**2, window**2, dropout=0.0)
        self.channel_norm = nn.LayerNorm(hidden)
        self.channels = FeedForward(hidden, 2 * hidden, dropout=0.0)

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, h, w, D) for (B, h, w, D)."""
        h = h + self._mixed(self.token_norm(h))
        change: Tensor = self.channels(self.channel_norm(h))
        return h + change

    def _mixed(self, h: Tensor) -> Tensor:
        b, height, width, hidden = h.shape
        size, shift = self.window, self.shift
        below, right = (-(length + shift) % size for length in (height, width))
        padded = functional.pad(h, (0, 0, shift, right, shift, below))
        m, n = padded.shape[1] // size, padded.shape[2] // size  # windows in each direction
        tiles = padded.reshape(b, m, size, n, size, hidden).permute(0, 1, 3, 5, 2, 4)
        mixed: Tensor = self.tokens(tiles.flatten(4))  # (B, m, n, D, s * s)
        mixed = mixed.view(b, m, n, hidden, size, size).permute(0, 1, 4, 2, 5, 3)
        mixed = mixed.reshape(padded.shape)
        return mixed[:, shift : shift + height, shift : shift + width]


class _OverTokens(nn.Sequential):
    """Layers that take tokens (B, h, w, D), applied to an image."""

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, D, h, w) for (B, D, h, w)."""
        tokens = h.permute(0, 2, 3, 1)  # (B, h, w, D)
        for layer in self:
            tokens = layer(tokens)
        return tokens.permute(0, 3, 1, 2)


class ImageMixerForecaster(GridForecaster):
    """Mix neighbouring patches of the grid, then the channels of each, several times.

    Tolstikhin et al., *MLP-Mixer: An all-MLP Architecture for Vision*, NeurIPS 2021, section 2:
    linear embedding of patches, here of all input steps, and blocks of two perceptrons between
    layer norms and residuals. In the paper the tokens are all patches of the image, which ties
    the weights to its size. Here they are those of a window of patches, and the windows of
    every other block are moved by half a window, so that information spreads (Liu et al.,
    *Swin Transformer*, ICCV 2021, section 3.2; with zeros beyond the image instead of its other
    end). In place of pooling and classes, one 1 x 1 convolution makes all cells of a patch
    (pixel shuffle). Its result is added to an affine map of each location's own window, shared
    by all, which alone is the linear forecaster.

    Its hidden state ``latent`` is the image (B, D, h, w) of the tokens after the first half of
    the blocks, which the others decode; the last row and column of patches are filled up with
    zeros.

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
        Blocks.
    patch : int
        P in cells.
    window : int
        s in patches; with 1, patches are not mixed.

    Raises
    ------
    InputError
        If a value is outside its range, or, in ``forward``, the locations are on no grid.

    Examples
    --------
    >>> import torch
    >>> from torch_geometric.data import Data
    >>> forecaster = ImageMixerForecaster(lookback=12, horizon=3, n_features=2)
    >>> graph = Data(num_nodes=6, cell=torch.cartesian_prod(torch.arange(2), torch.arange(3)))
    >>> forecaster(torch.zeros(4, 12, 6, 2), graph, torch.zeros(6, 24)).shape
    torch.Size([4, 3, 6])
    """

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
        patch: int = 4,
        window: int = 8,
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            n_targets=n_targets,
            hidden=check_count("hidden", hidden),
            layers=check_count("layers", layers),
            patch=check_count("patch", patch),
            window=check_count("window", window),
        )
        self.patch = patch
        self.embed = nn.Conv2d(self.image_channels, hidden, patch, stride=patch)
        # Windows lie alternately at the image's corner and half a window before it.
        shifts = [window // 2 * (layer % 2) for layer in range(layers)]
        blocks = [MixerBlock(hidden, window, shift) for shift in shifts]
        half = -(-layers // 2)
        self.encode = _OverTokens(*blocks[:half])
        self.decode = _OverTokens(*blocks[half:], nn.LayerNorm(hidden))
        self.end = nn.Conv2d(hidden, patch**2 * self.rows, 1)

    def change(self, images: Tensor) -> Tensor:
        """Return (B, O * L_out, P h, P w) for images (B, L_in * F + 1, H, W)."""
        height, width = images.shape[2:]
        images = functional.pad(images, (0, -width % self.patch, 0, -height % self.patch))
        h = self.decode(self.encode(self.embed(images)))  # (B, D, h, w)
        return functional.pixel_shuffle(self.end(h), self.patch)

"""Convolutions and attention that carry the latent images of a regular grid forward.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, C channels
at the finest level, H rows and W columns of the grid, D channels and h and w rows and columns
of the latent image.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from stemdist.errors import check_count, unknown_name
from stemdist.forecast.forecasters.grid_forecaster import GridForecaster
from stemdist.forecast.layers.attention import EncoderBlock, MultiHeadAttention, check_heads
from stemdist.forecast.layers.image_conv import ImageConv, enlarge
from stemdist.forecast.layers.residual_conv import ResidualConv

MODES = ("parallel", "alternating")
"""How a block's two branches are combined: both read its input, or the second the first."""


class GlobalBranch(nn.Module):
    """Transformer block over all pixels of an image, for low spatial frequencies.

    Attention alone ignores positions. A depthwise convolution of the image is added to its
    tokens first: beyond the edges it reads zeros, and its weights fit any image
    (Chu et al., *Conditional Positional Encodings for Vision Transformers*, ICLR 2023, section
    3.2).

    Parameters
    ----------
    hidden, heads : int
        D, and the heads of the attention, which must divide it.

    Examples
    --------
    >>> GlobalBranch(8, heads=2)(torch.zeros(2, 8, 3, 5)).shape
    torch.Size([2, 8, 3, 5])
    """

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.position = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        attention = MultiHeadAttention(hidden, heads)
        self.encode = EncoderBlock(attention, hidden, 2 * hidden, dropout=0.0)

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, D, h, w) for (B, D, h, w)."""
        placed = h + self.position(h)
        tokens = self.encode(placed.flatten(2).transpose(1, 2))  # (B, h * w, D)
        out: Tensor = tokens.transpose(1, 2).reshape(h.shape)
        return out


class EvolutionBlock(nn.Module):
    """One step of the latent evolution: a branch for high and one for low spatial frequencies.

    ``norm(local(h) + wide(h))`` in parallel, ``norm(wide(local(h)))`` alternating; the weights
    are the same.

    Parameters
    ----------
    hidden, heads : int
        D and the heads of the attention.
    mode : str
        One of :data:`MODES`.

    Examples
    --------
    >>> EvolutionBlock(8, heads=2, mode="parallel")(torch.zeros(2, 8, 3, 5)).shape
    torch.Size([2, 8, 3, 5])
    """

    def __init__(self, hidden: int, heads: int, mode: str) -> None:
        super().__init__()
        self.parallel = mode == "parallel"
        self.local = ResidualConv(hidden)
        self.wide = GlobalBranch(hidden, heads)
        self.norm = nn.GroupNorm(1, hidden)

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, D, h, w) for (B, D, h, w)."""
        local = self.local(h)
        both = local + self.wide(h) if self.parallel else self.wide(local)
        out: Tensor = self.norm(both)
        return out


class SpectralEvolutionForecaster(GridForecaster):
    """Encode the images, carry them forward by convolutions and attention, decode.

    The teacher of Li et al., *Frequency-Aligned Knowledge Distillation for Lightweight
    Spatiotemporal Forecasting* (SDKD), ICCV 2025, section 3: a convolutional encoder, a latent
    evolution whose blocks have convolutions for high spatial frequencies and a Transformer for
    low ones, in parallel or in turn, and a decoder. Changes, mostly to be light and to fit any
    grid: all input steps are channels of one image; positions of the attention's tokens come
    from a convolution; a block's branches are a residual block of two convolutions of width 3
    and one encoder block of a Transformer, and their sum goes through group norm; the decoder
    repeats values where the paper has transposed convolutions, and is joined with the
    encoder's finest image; and the result is added to an affine map of each location's own
    window, shared by all, which alone is the linear forecaster.

    Its hidden state ``latent`` is the image (B, D, h, w) that the evolution returns; at each
    halving odd numbers of rows and columns are rounded up. Time of the attention grows with
    the square of ``h * w``, memory linearly.

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
        C; twice as many at each coarser level before the latent one.
    hidden : int
        D, a multiple of ``heads``.
    layers : int
        Blocks of the latent evolution.
    heads : int
        Heads of the attention.
    levels : int
        Resolutions, at least 2; each has half the rows and columns of the one before, and the
        coarsest is the latent one.
    mode : str
        ``"parallel"`` (both branches of a block read its input and are summed) or
        ``"alternating"`` (the Transformer reads what the convolutions return).

    Raises
    ------
    InputError
        If a value is outside its range, the mode is unknown, or, in ``forward``, the locations
        are on no grid.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> forecaster = SpectralEvolutionForecaster(lookback=12, horizon=3, n_features=2, hidden=8)
    >>> graph = Data(num_nodes=6, cell=torch.cartesian_prod(torch.arange(2), torch.arange(3)))
    >>> forecaster(torch.zeros(4, 12, 6, 2), graph, torch.zeros(6, 24)).shape
    torch.Size([4, 3, 6])
    """

    states: ClassVar[Mapping[str, str]] = {"latent": "evolve"}

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        n_targets: int = 1,
        channels: int = 16,
        hidden: int = 128,
        layers: int = 4,
        heads: int = 4,
        levels: int = 3,
        mode: str = "parallel",
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            n_targets=n_targets,
            channels=check_count("channels", channels),
            hidden=check_count("hidden", hidden),
            layers=check_count("layers", layers),
            heads=check_heads(heads, hidden),
            levels=check_count("levels", levels, minimum=2),
            mode=mode,
        )
        if mode not in MODES:
            raise unknown_name("mode", mode, MODES)
        sizes = [*(channels * 2**level for level in range(levels - 1)), hidden]
        self.start = ImageConv(self.image_channels, channels)
        self.down = nn.ModuleList(ImageConv(a, b, stride=2) for a, b in pairwise(sizes))
        self.evolve = nn.Sequential(*(EvolutionBlock(hidden, heads, mode) for _ in range(layers)))
        self.up = nn.ModuleList(ImageConv(b, a) for a, b in pairwise(sizes))
        self.join = ImageConv(2 * channels, channels)
        self.end = nn.Conv2d(channels, self.rows, 1)

    def change(self, images: Tensor) -> Tensor:
        """Return (B, O * L_out, H, W) for images (B, L_in * F + 1, H, W)."""
        levels = [self.start(images)]  # (B, C, H, W), then (B, 2C, H/2, W/2) ...
        for down in self.down:
            levels.append(down(levels[-1]))
        h = self.evolve(levels.pop())  # (B, D, h, w)
        for up, finer in zip(reversed(self.up), reversed(levels), strict=True):
            # The convolution comes first, where the image is a quarter of the finer one.
            h = enlarge(up(h), finer)
        joined: Tensor = self.end(self.join(torch.cat([levels[0], h], dim=1)))
        return joined

"""Between rows of locations and images of the regular grid they lie on.

Shapes: B windows, N locations, C channels, H rows and W columns of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stemdist.errors import InputError

if TYPE_CHECKING:
    from torch_geometric.data import Data


@dataclass(frozen=True)
class Grid:
    """Where N locations are in an image of H x W cells; make it with :meth:`of`.

    Some cells may have no location: points that were never observed, or all but the locations
    of a subgraph. The image ends at the last row and column that has one. The first and last
    column of a grid that goes round the earth are not joined.

    Attributes
    ----------
    height, width : int
        H and W.
    place : Tensor
        (N,) number of each location's cell, counted along the rows.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> grid = Grid.of(Data(num_nodes=2, cell=torch.tensor([[0, 2], [1, 0]])))
    >>> images = grid.scatter(torch.tensor([[[5.0], [6.0]]]))
    >>> images[0].tolist()
    [[[0.0, 0.0, 5.0], [6.0, 0.0, 0.0]], [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]]
    >>> grid.gather(images)[0].tolist()
    [[5.0, 6.0], [1.0, 1.0]]
    """

    height: int
    width: int
    place: Tensor

    @classmethod
    def of(cls, graph: Data) -> Grid:
        """Return the grid of a location graph.

        Raises
        ------
        InputError
            If its locations have no cells.
        """
        if "cell" not in graph:
            raise InputError(
                "this forecaster needs locations on a regular grid, and these have no rows and "
                "columns: clusters of a distilled set and networks of sensors are no grid. "
                "Choose a forecaster for any locations, e.g. mlp, mtgnn or dcrnn, or train on "
                "the gridded data in full"
            )
        height, width = (graph.cell.amax(0) + 1).tolist()
        place = graph.cell[:, 0] * width + graph.cell[:, 1]  # (N,)
        return cls(height, width, place)

    def scatter(self, rows: Tensor) -> Tensor:
        """Return images (B, C + 1, H, W) of rows (B, N, C).

        Cells without a location are zero, and the last channel is 1 where there is one. The
        memory is in "channels last" order, in which convolutions are faster on CPU.
        """
        b, n, c = rows.shape
        marked = torch.cat([rows, rows.new_ones(b, n, 1)], dim=-1)  # (B, N, C + 1)
        cells = marked.new_zeros(b, self.height * self.width, c + 1)
        cells = cells.index_copy(1, self.place, marked)
        return cells.view(b, self.height, self.width, c + 1).permute(0, 3, 1, 2)

    def gather(self, images: Tensor) -> Tensor:
        """Return (B, C, N), the values of images (B, C, H, W) at the locations."""
        return images.flatten(2).index_select(2, self.place)

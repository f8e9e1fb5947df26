"""Windows of another source, changed or moved.

Shapes: M windows, L_in lookback, L_out horizon, C targets, N locations, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stemdist.data.windows import Batch, WindowSource
from stemdist.errors import InputError


@dataclass(frozen=True, kw_only=True)
class WrappedWindows(WindowSource):
    """Windows of another source, unchanged; a subclass overrides what differs.

    Parameters
    ----------
    source : WindowSource
        The wrapped source.
    """

    source: WindowSource

    @property
    def lookback(self) -> int:  # type: ignore[override]
        """Number of input steps L_in."""
        return self.source.lookback

    @property
    def horizon(self) -> int:  # type: ignore[override]
        """Number of output steps L_out."""
        return self.source.horizon

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """Whether targets follow from each location's own windows."""
        return self.source.pointwise

    def __len__(self) -> int:
        return len(self.source)

    @property
    def n_targets(self) -> int:
        """Number of targets C."""
        return self.source.n_targets

    @property
    def n_locations(self) -> int:
        """Number of locations N."""
        return self.source.n_locations

    @property
    def n_features(self) -> int:
        """Number of input features F."""
        return self.source.n_features

    @property
    def location_weight(self) -> Tensor:
        """(N,) weight of each location in losses."""
        return self.source.location_weight

    def inputs(self, index: Tensor, locations: Tensor | None = None) -> Tensor:
        """Return only the inputs of the windows ``index``."""
        return self.source.inputs(index, locations)

    def batch(self, index: Tensor, locations: Tensor | None = None) -> Batch:
        """Return inputs, targets and mask of the windows ``index``."""
        return self.source.batch(index, locations)

    def mean_window(self) -> Tensor:
        """Return the mean input window of each location, (N, L_in, F)."""
        return self.source.mean_window()


@dataclass(frozen=True, kw_only=True)
class OneLocation(WrappedWindows):
    """Windows of another source at one of its locations.

    Parameters
    ----------
    source : WindowSource
        The wrapped source.
    location : int
        Its number, from 0 to N - 1.

    Examples
    --------
    >>> from stemdist.data.windows import TensorWindows
    >>> x, y = torch.ones(3, 2, 4, 1), torch.ones(3, 1, 4)
    >>> windows = TensorWindows(x=x, y=y, mask=y, weight=torch.ones(4))
    >>> OneLocation(source=windows, location=2).inputs(torch.tensor([0])).shape
    torch.Size([1, 2, 1, 1])
    """

    location: int

    @property
    def n_locations(self) -> int:
        """One."""
        return 1

    @property
    def location_weight(self) -> Tensor:
        """(1,) weight in losses."""
        return self.source.location_weight[self._place]

    def inputs(self, index: Tensor, locations: Tensor | None = None) -> Tensor:
        """Return only the inputs of the windows ``index``."""
        return self.source.inputs(index, self._place)

    def batch(self, index: Tensor, locations: Tensor | None = None) -> Batch:
        """Return inputs, targets and mask of the windows ``index``."""
        return self.source.batch(index, self._place)

    def mean_window(self) -> Tensor:
        """Return the mean input window, (1, L_in, F)."""
        return self.source.mean_window()[self._place]

    @property
    def _place(self) -> Tensor:
        return torch.tensor([self.location])


@dataclass(frozen=True, kw_only=True)
class LatestSteps(WrappedWindows):
    """Windows of another source that begin later: the same targets from fewer input steps.

    Parameters
    ----------
    source : WindowSource
        The wrapped source.
    steps : int
        Input steps to keep, the last ones.

    Raises
    ------
    InputError
        If the source has fewer input steps.

    Examples
    --------
    >>> from stemdist.data.windows import TensorWindows
    >>> x, y = torch.arange(4.0).view(1, 4, 1, 1), torch.ones(1, 1, 1)
    >>> windows = TensorWindows(x=x, y=y, mask=y, weight=torch.ones(1))
    >>> LatestSteps(source=windows, steps=2).inputs(torch.tensor([0])).flatten().tolist()
    [2.0, 3.0]
    """

    steps: int

    def __post_init__(self) -> None:
        if not 0 < self.steps <= self.source.lookback:
            raise InputError(
                f"lookback is {self.steps}: the windows have {self.source.lookback} input steps, "
                "so give a number from 1 to that"
            )

    @property
    def lookback(self) -> int:  # type: ignore[override]
        """Number of input steps that are kept."""
        return self.steps

    def inputs(self, index: Tensor, locations: Tensor | None = None) -> Tensor:
        """Return only the inputs of the windows ``index``."""
        return self.source.inputs(index, locations)[:, -self.steps :]

    def batch(self, index: Tensor, locations: Tensor | None = None) -> Batch:
        """Return inputs, targets and mask of the windows ``index``."""
        batch = self.source.batch(index, locations)
        return batch._replace(x=batch.x[:, -self.steps :])

    def mean_window(self) -> Tensor:
        """Return the mean input window of each location, (N, steps, F)."""
        return self.source.mean_window()[:, -self.steps :]


@dataclass(frozen=True, kw_only=True)
class MovedWindows(WrappedWindows):
    """Windows of another source, each batch of which is moved to a device when it is read.

    Parameters
    ----------
    source : WindowSource
        The wrapped source, which is not moved.
    device : str or torch.device
        Device of batches, weights and profiles. Indices of windows and of locations may be on
        any device.

    Examples
    --------
    >>> from stemdist.data.windows import TensorWindows
    >>> x, y = torch.ones(3, 2, 4, 1), torch.ones(3, 1, 4)
    >>> windows = TensorWindows(x=x, y=y, mask=y, weight=torch.ones(4))
    >>> MovedWindows(source=windows, device="meta").batch(torch.tensor([0, 2])).x
    tensor(..., device='meta', size=(2, 2, 4, 1))
    """

    device: str | torch.device

    @property
    def location_weight(self) -> Tensor:
        """(N,) weight of each location in losses."""
        return self.source.location_weight.to(self.device)

    def inputs(self, index: Tensor, locations: Tensor | None = None) -> Tensor:
        """Return only the inputs of the windows ``index``."""
        return self.source.inputs(*self._known(index, locations)).to(self.device)

    def batch(self, index: Tensor, locations: Tensor | None = None) -> Batch:
        """Return inputs, targets and mask of the windows ``index``."""
        batch = self.source.batch(*self._known(index, locations))
        return Batch(*(part.to(self.device) for part in batch))

    def mean_window(self) -> Tensor:
        """Return the mean input window of each location, (N, L_in, F)."""
        return self.source.mean_window().to(self.device)

    @staticmethod
    def _known(index: Tensor, locations: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Move indices to the CPU, from where sources on any device can be indexed."""
        return index.cpu(), None if locations is None else locations.cpu()

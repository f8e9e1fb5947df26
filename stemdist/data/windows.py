"""Training windows without copying the series.

Shapes: T steps, N locations, C targets, F input features (the first C are the targets), M
windows, B windows of a batch, L_in lookback steps, L_out horizon steps. Targets are rows
(C * L_out): the steps of target 0, then those of target 1, and so on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from stemdist.errors import InputError, check_count


class Batch(NamedTuple):
    """Windows of one update, in scaled units."""

    x: Tensor
    """(B, L_in, N, F) inputs; missing values are filled (see ``fill_forward``)."""
    y: Tensor
    """(B, C * L_out, N) targets; zero where not observed."""
    mask: Tensor
    """(B, C * L_out, N) 1 where the target is observed, else 0."""


class WindowSource(Dataset[Batch], ABC):
    """The windows that training and evaluation read: M windows over N locations.

    Real series, synthetic windows and relabelled windows all offer this interface. Each is a
    map-style :class:`torch.utils.data.Dataset` of single windows, for use in a ``DataLoader``.

    Examples
    --------
    >>> from torch.utils.data import DataLoader
    >>> windows = TensorWindows(
    ...     x=torch.zeros(6, 4, 3, 1), y=torch.zeros(6, 2, 3), mask=torch.ones(6, 2, 3),
    ...     weight=torch.ones(3))
    >>> x, y, mask = next(iter(DataLoader(windows, batch_size=5)))
    >>> x.shape, y.shape
    (torch.Size([5, 4, 3, 1]), torch.Size([5, 2, 3]))
    """

    lookback: int
    horizon: int
    pointwise: bool = False
    """True if the targets of a location follow from its own windows alone, as soft labels
    of pointwise forecasters do: then windows may be permuted independently per location."""

    @property
    def n_targets(self) -> int:
        """Number of targets C."""
        return 1

    @property
    def rows(self) -> int:
        """Number of target values per window and location, C * L_out."""
        return self.n_targets * self.horizon

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of windows M."""

    def __getitem__(self, index: int) -> Batch:
        """Return one window: x (L_in, N, F), y and mask (C * L_out, N)."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Batch]:
        """Return some windows, cut at once."""
        places = range(len(self))
        try:
            chosen = [places[int(index)] for index in indices]  # from the end where negative
        except IndexError as error:
            raise IndexError(f"{indices} are not among {len(self)} windows") from error
        batch = self.batch(torch.tensor(chosen))
        return [Batch(*parts) for parts in zip(*batch, strict=True)]

    @property
    @abstractmethod
    def n_locations(self) -> int:
        """Number of locations N."""

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Number of input features F."""

    @property
    @abstractmethod
    def location_weight(self) -> Tensor:
        """(N,) weight of each location in losses, mean 1."""

    @abstractmethod
    def batch(self, index: Tensor, locations: Tensor | None = None) -> Batch:
        """Return the windows ``index`` (B,), at ``locations`` only where given."""

    @abstractmethod
    def inputs(self, index: Tensor, locations: Tensor | None = None) -> Tensor:
        """Return only the inputs (B, L_in, N, F) of the windows ``index`` (B,)."""

    @abstractmethod
    def mean_window(self) -> Tensor:
        """Return the mean input window of each location, (N, L_in, F)."""

    @cached_property
    def profile(self) -> Tensor:
        """(N, L_in * F) mean window that location encoders read."""
        return self.mean_window().flatten(1)


_OF_SERIES = ("values", "observed", "calendar", "static", "mean")


@dataclass(frozen=True, kw_only=True)
class SeriesWindows(WindowSource):
    """Windows cut on the fly from one scaled series.

    Parameters
    ----------
    values : Tensor
        (T, N, F_series) scaled, missing values filled; the first C features are the targets.
    observed : Tensor
        (T, N, C) bool, True where a target was observed.
    calendar : Tensor
        (T, C) features shared by all locations.
    static : Tensor
        (N, S) features constant in time.
    starts : Tensor
        (M,) int64, first time step of each window.
    lookback, horizon : int
        L_in and L_out, in steps.
    weight : Tensor, optional
        (N,) location weights, mean 1; equal ones by default.
    mean : Tensor, optional
        (N, L_in, F) mean window, where it is known from more than these windows.
    again : callable, optional
        Returns windows over the same series in another process, so that the series itself need
        not be sent there; see :class:`~stemdist.forecast.reopening.Reopening`.
    """

    values: Tensor
    observed: Tensor
    calendar: Tensor
    static: Tensor
    starts: Tensor
    lookback: int
    horizon: int
    weight: Tensor | None = None
    mean: Tensor | None = None
    again: Callable[[], SeriesWindows] | None = None

    def __getstate__(self) -> dict[str, Any]:
        state = {name: part for name, part in self.__dict__.items() if name != "profile"}
        if self.again is not None:
            state = {name: part for name, part in state.items() if name not in _OF_SERIES}
        return state

    def __getattr__(self, name: str) -> Any:
        """Read the series in another process, when it is first used."""
        again = self.__dict__.get("again")
        if name not in _OF_SERIES or again is None:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        series = again()
        self.__dict__.update({part: getattr(series, part) for part in _OF_SERIES})
        return self.__dict__[name]

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def n_targets(self) -> int:
        """Number of targets C."""
        return self.observed.shape[2]

    @property
    def n_locations(self) -> int:
        """Number of locations N."""
        return self.values.shape[1]

    @property
    def n_features(self) -> int:
        """Number of input features F: series, then calendar, then static ones."""
        return self.values.shape[2] + self.calendar.shape[1] + self.static.shape[1]

    @property
    def location_weight(self) -> Tensor:
        """(N,) weight of each location in losses."""
        return self.values.new_ones(self.n_locations) if self.weight is None else self.weight

    def take(self, index: Tensor) -> SeriesWindows:
        """Return only the windows ``index``, sharing the series."""
        return replace(self, starts=self.starts[index])

    def inputs(self, index: Tensor, locations: Tensor | None = None) -> Tensor:
        """Return the inputs (B, L_in, N, F) of the windows ``index``."""
        steps = self.starts[index, None] + torch.arange(self.lookback)  # (B, L_in)
        x = self._at(self.values, steps, locations)
        static = self.static if locations is None else self.static[locations]
        return _with_shared(x, self.calendar[steps], static)

    def batch(self, index: Tensor, locations: Tensor | None = None) -> Batch:
        """Return inputs, targets and mask of the windows ``index``."""
        x = self.inputs(index, locations)
        steps = self.starts[index, None] + self.lookback + torch.arange(self.horizon)
        mask = self._at(self.observed, steps, locations).to(x.dtype)  # (B, L_out, N, C)
        y = self._at(self.values, steps, locations)[..., : self.n_targets] * mask
        return Batch(x, target_rows(y), target_rows(mask))

    def mean_window(self) -> Tensor:
        """Return the mean input window of each location, (N, L_in, F), one lag at a time."""
        if self.mean is not None:
            return self.mean
        lags = []
        for lag in range(self.lookback):
            steps = self.starts + lag
            mean = torch.zeros_like(self.values[0])
            for begin in range(0, len(steps), 256):
                mean += self.values[steps[begin : begin + 256]].sum(0)
            shared = self.calendar[steps].mean(0)
            lags.append(_with_shared(mean[None] / len(steps), shared[None], self.static)[0])
        return torch.stack(lags, dim=1)  # (N, L_in, F)

    @staticmethod
    def _at(values: Tensor, steps: Tensor, locations: Tensor | None) -> Tensor:
        return values[steps] if locations is None else gather_cells(values, steps, locations)


def gather_cells(values: Tensor, rows: Tensor, locations: Tensor) -> Tensor:
    """Return ``values[rows[..., None], locations]`` in a fraction of the time.

    Parameters
    ----------
    values : Tensor
        (T, N) or (T, N, F).
    rows : Tensor
        (...) numbers from 0 to T - 1.
    locations : Tensor
        (n,) numbers from 0 to N - 1.

    Returns
    -------
    Tensor
        (..., n) or (..., n, F).

    Examples
    --------
    >>> gather_cells(torch.arange(6).view(3, 2), torch.tensor([2, 0]), torch.tensor([1]))
    tensor([[5],
            [1]])
    """
    if not values.is_contiguous():  # flattening would copy the whole series
        return values[rows[..., None], locations]
    cells = rows[..., None] * values.shape[1] + locations
    if values.dim() > 2:  # single numbers: gathering short rows takes twice as long
        cells = cells[..., None] * values.shape[2] + torch.arange(values.shape[2])
    return values.flatten().index_select(0, cells.flatten()).view(cells.shape)


def target_rows(y: Tensor) -> Tensor:
    """Put the targets of (B, L_out, N, C) into rows (B, C * L_out, N)."""
    return y.permute(0, 3, 1, 2).flatten(1, 2)


def _with_shared(x: Tensor, calendar: Tensor, static: Tensor) -> Tensor:
    """Append features shared by locations (..., C) and by times (N, S) to x (..., N, F)."""
    if not (calendar.shape[-1] or static.shape[-1]):
        return x
    shared = calendar[..., None, :].expand(*x.shape[:-1], -1)
    return torch.cat([x, shared, static.expand(*x.shape[:-1], -1)], dim=-1)


@dataclass(frozen=True, kw_only=True)
class TensorWindows(WindowSource):
    """Windows given as tensors: synthetic, selected or relabelled ones.

    Parameters
    ----------
    x : Tensor
        (M, L_in, N, F) inputs, scaled.
    y : Tensor
        (M, C * L_out, N) targets, scaled.
    mask : Tensor
        (M, C * L_out, N) 1 where the target counts.
    weight : Tensor
        (N,) location weights, mean 1.
    targets : int
        Number of targets C.
    given_profile : Tensor, optional
        (N, L_in * F) profile to use instead of the mean of these windows, which may be too few
        or too selected to represent their locations.
    pointwise : bool
        As in :class:`WindowSource`.
    """

    x: Tensor
    y: Tensor
    mask: Tensor
    weight: Tensor
    targets: int = 1
    given_profile: Tensor | None = None
    pointwise: bool = False

    def __post_init__(self) -> None:
        m, _, n, _ = self.x.shape
        if self.y.shape != self.mask.shape or self.y.shape[::2] != (m, n) or len(self.weight) != n:
            raise InputError(
                f"windows with x {tuple(self.x.shape)}, y {tuple(self.y.shape)}, mask "
                f"{tuple(self.mask.shape)} and weight {tuple(self.weight.shape)} do not belong "
                "together: expected (M, L_in, N, F), (M, L_out, N), (M, L_out, N) and (N,)"
            )
        if self.y.shape[1] % check_count("targets", self.targets):
            raise InputError(
                f"y has {self.y.shape[1]} rows, which is no multiple of targets={self.targets}: "
                "give the steps of every target"
            )

    @property
    def lookback(self) -> int:  # type: ignore[override]
        """Number of input steps L_in."""
        return self.x.shape[1]

    @property
    def horizon(self) -> int:  # type: ignore[override]
        """Number of output steps L_out."""
        return self.y.shape[1] // self.targets

    @property
    def n_targets(self) -> int:
        """Number of targets C."""
        return self.targets

    def __len__(self) -> int:
        return len(self.x)

    @property
    def n_locations(self) -> int:
        """Number of locations N."""
        return self.x.shape[2]

    @property
    def n_features(self) -> int:
        """Number of input features F."""
        return self.x.shape[3]

    @property
    def location_weight(self) -> Tensor:
        """(N,) weight of each location in losses."""
        return self.weight

    def to(self, device: str | torch.device) -> TensorWindows:
        """Return the windows on a device."""
        tensors = ("x", "y", "mask", "weight", "given_profile")
        named = {name: getattr(self, name) for name in tensors}
        moved = {name: part.to(device) for name, part in named.items() if part is not None}
        return replace(self, **moved)

    def batch(self, index: Tensor, locations: Tensor | None = None) -> Batch:
        """Return inputs, targets and mask of the windows ``index``."""
        index = index.to(self.x.device)  # once, not for every tensor that it indexes
        y, mask = self.y[index], self.mask[index]
        if locations is not None:
            locations = locations.to(self.x.device)
            y, mask = y[:, :, locations], mask[:, :, locations]
        return Batch(self.inputs(index, locations), y, mask)

    def inputs(self, index: Tensor, locations: Tensor | None = None) -> Tensor:
        """Return the inputs (B, L_in, N, F) of the windows ``index``."""
        return self.x[index] if locations is None else self.x[index][:, :, locations]

    def mean_window(self) -> Tensor:
        """Return the mean input window of each location, (N, L_in, F)."""
        if self.given_profile is not None:
            return self.given_profile.reshape(-1, self.lookback, self.n_features)
        return self.x.mean(0).transpose(0, 1)


def materialise(
    source: WindowSource, index: Tensor, locations: Tensor | None = None
) -> TensorWindows:
    """Copy chosen windows at chosen locations out of any source."""
    x, y, mask = source.batch(index, locations)
    weight, profile = source.location_weight, source.profile
    if locations is not None:
        weight, profile = weight[locations], profile[locations]
    return TensorWindows(
        x=x,
        y=y,
        mask=mask,
        weight=weight,
        targets=source.n_targets,
        given_profile=profile,
        pointwise=source.pointwise,
    )


def materialise_own(source: WindowSource, index: Tensor) -> TensorWindows:
    """Copy windows whose times differ between locations out of any source.

    Parameters
    ----------
    source : WindowSource
        Windows over N locations.
    index : Tensor
        (M', N) window numbers, a column for each location.

    Examples
    --------
    >>> x = torch.arange(6.0).view(3, 1, 2, 1)
    >>> y = torch.zeros(3, 1, 2)
    >>> windows = TensorWindows(x=x, y=y, mask=y, weight=torch.ones(2))
    >>> materialise_own(windows, torch.tensor([[2, 0]])).x.flatten().tolist()
    [4.0, 1.0]
    """
    batches = [
        source.batch(own, torch.tensor([location])) for location, own in enumerate(index.unbind(1))
    ]
    x, y, mask = (torch.cat(parts, dim=2) for parts in zip(*batches, strict=True))
    return TensorWindows(
        x=x,
        y=y,
        mask=mask,
        weight=source.location_weight,
        targets=source.n_targets,
        given_profile=source.profile,
        pointwise=source.pointwise,
    )


def evenly_spaced(n_windows: int, at_most: int) -> Tensor:
    """Return at most ``at_most`` evenly spaced window numbers."""
    return torch.linspace(0, n_windows - 1, min(at_most, n_windows)).round().long()

"""Scales and weights of forecast errors: spread of the targets, persistence, areas.

Shapes: B windows of a block, L_out horizon, N locations, T steps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr
from torch import Tensor

from stemdist.data.chunks import time_blocks
from stemdist.errors import InputError, check_count

ArrayLike = Tensor | npt.NDArray[np.floating]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BEAUFORT = (0.3, 1.6, 3.4, 5.5, 8.0, 10.8, 13.9, 17.2, 20.8, 24.5, 28.5, 32.7)
"""Lowest wind speeds of forces 1 to 12, m/s (WMO-No. 306, code table 1100)."""
METRES_PER_SECOND = ("m/s", "m s-1", "m s^-1", "m s**-1", "meter second-1", "metre second-1")
MOST_QUANTILE_VALUES = 1_000_000

_BLOCK_VALUES = 2**21


@dataclass(frozen=True, kw_only=True)
class TargetSummary:
    """Statistics of the targets of a part, to which errors are relative; made by :meth:`of`.

    Parameters
    ----------
    mean : float
        Mean of the part's valid targets, in the target's unit.
    spread : float
        Their standard deviation.
    edges : tuple of float
        Inner edges of the strata, ascending: by default quantiles of the targets.
    """

    mean: float
    spread: float
    edges: tuple[float, ...] = ()

    @classmethod
    def of(
        cls,
        blocks: Iterable[tuple[ArrayLike, ArrayLike]],
        *,
        weight: ArrayLike | None = None,
        quantiles: tuple[float, ...] = QUANTILES,
        edges: tuple[float, ...] = (),
    ) -> TargetSummary:
        """Summarise blocks of targets in one pass.

        Parameters
        ----------
        blocks : iterable of (y, mask)
            (B, L_out, N) targets and 1 where they are valid.
        weight : array, optional
            (N,) location weights.
        quantiles : tuple of float
            Levels of the inner edges of the strata, computed from at most a million evenly spaced
            targets.
        edges : tuple of float
            Inner edges of the strata, ascending, in the target's unit; instead of quantiles.

        Raises
        ------
        InputError
            If no target is valid.

        Examples
        --------
        >>> y = np.array([[[1.0, 2.0, 9.0]]])
        >>> TargetSummary.of([(y, np.array([[[1, 1, 0]]]))], quantiles=(0.5,))
        TargetSummary(mean=1.5, spread=0.5, edges=(1.5,))
        """
        count, mean, squares = 0.0, 0.0, 0.0
        sample = _Sample()
        for given, given_mask in blocks:
            y, mask = double(given), double(given_mask)
            share = mask * per_location("weight", weight, mask.shape[-1], 1.0)
            size = float(share.sum())
            if not size:
                continue
            valid = mask > 0
            centre = float(torch.where(valid, y, 0).mul(share).sum()) / size
            inner = float(torch.where(valid, y - centre, 0).square().mul(share).sum())
            # parallel form of Chan et al., 1983: exact where the mean is far from zero
            squares += inner + (centre - mean) ** 2 * count * size / (count + size)
            mean += (centre - mean) * size / (count + size)
            count += size
            sample.add(y[valid].numpy())
        if not count:
            raise InputError(
                "no target of the evaluated part is observed: errors cannot be measured. Choose "
                "another variable or another --split"
            )
        edges = edges or sample.quantiles(quantiles)
        return cls(mean=mean, spread=math.sqrt(squares / count), edges=edges)


class _Sample:
    """At most ``MOST_QUANTILE_VALUES`` evenly spaced values of a long stream."""

    def __init__(self) -> None:
        self.parts: list[npt.NDArray[np.float64]] = []
        self.stride = 1

    def add(self, values: npt.NDArray[np.float64]) -> None:
        self.parts.append(values[:: self.stride])
        while sum(map(len, self.parts)) > MOST_QUANTILE_VALUES:
            self.parts = [np.concatenate(self.parts)[::2]]
            self.stride *= 2

    def quantiles(self, at: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(map(float, np.quantile(np.concatenate(self.parts), at))) if at else ()


def known_edges(target: xr.DataArray) -> tuple[float, ...]:
    """Return conventional edges of the strata of a target: the Beaufort scale for wind speed.

    Parameters
    ----------
    target : xarray.DataArray
        Recognised by its name and attributes; wind speed must be in m/s.

    Returns
    -------
    tuple of float
        Empty if there is no convention.

    Examples
    --------
    >>> known_edges(xr.DataArray(5.0, name="wind_speed", attrs={"units": "m s-1"}))[:3]
    (0.3, 1.6, 3.4)
    """
    names = [str(target.name), *(str(target.attrs.get(k)) for k in ("standard_name", "long_name"))]
    wind = any(re.search(r"\bwind speed\b", name.lower().replace("_", " ")) for name in names)
    return BEAUFORT if wind and target.attrs.get("units") in METRES_PER_SECOND else ()


def persistence_scale(values: ArrayLike, observed: ArrayLike, season_steps: int = 1) -> Tensor:
    """Return each location's mean absolute in-sample persistence error, the scale of MASE.

    Parameters
    ----------
    values : array
        (T, N) training series in the target's unit.
    observed : array
        (T, N) where it is observed.
    season_steps : int
        Steps between a value and its persistence forecast, e.g. 24 for a day of hours.

    Returns
    -------
    Tensor
        (N,) float64; NaN where a location has no such pair or never changes; it is then
        left out of MASE.

    Examples
    --------
    >>> persistence_scale(np.array([[1.0], [2.0], [5.0]]), np.ones((3, 1)))
    tensor([2.], dtype=torch.float64)
    """
    check_count("season_steps", season_steps)
    series, seen = torch.as_tensor(values), torch.as_tensor(observed)
    total, count = torch.zeros(2, series.shape[1], dtype=torch.float64)
    for block in time_blocks(len(series) - season_steps, series.shape[1], _BLOCK_VALUES):
        later = slice(block.start + season_steps, block.stop + season_steps)
        both = (seen[later] > 0) & (seen[block] > 0)
        change = (series[later].double() - series[block].double()).abs()
        total += torch.where(both, change, 0).sum(0)
        count += both.sum(0)
    scale = ratio(total, count)
    return torch.where(scale > 0, scale, torch.nan)


def area_weights(latitude: ArrayLike) -> Tensor:
    """Return weights proportional to cos(latitude), mean 1, for points of a lat/lon grid.

    Parameters
    ----------
    latitude : array
        (N,) degrees.

    Examples
    --------
    >>> area_weights(np.array([0.0, 60.0])).numpy().round(3).tolist()
    [1.333, 0.667]
    """
    weight = torch.deg2rad(double(latitude)).cos().clamp_min(0)
    return weight / weight.mean()


def double(values: ArrayLike) -> Tensor:
    """Return ``values`` as float64 on the CPU."""
    return torch.as_tensor(values).detach().to(device="cpu", dtype=torch.float64)


def ratio(above: Tensor, below: Tensor) -> Tensor:
    """Return the ratio, NaN where the denominator is 0."""
    return torch.where(below > 0, above / below, torch.nan)


def per_location(name: str, values: ArrayLike | None, n_locations: int, default: float) -> Tensor:
    """Return (N,) float64 numbers, ``default`` everywhere where none are given."""
    if values is None:
        return torch.full((n_locations,), default, dtype=torch.float64)
    tensor = double(values)
    if tensor.shape != (n_locations,):
        raise InputError(
            f"{name} has shape {tuple(tensor.shape)}: one number for each of the {n_locations} "
            "locations is needed"
        )
    return tensor

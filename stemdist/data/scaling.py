"""Standardising features with the statistics of the training part.

Shapes: N locations, F features, C targets, L_out horizon.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from stemdist.errors import InputError

Entry = float | tuple[float, ...]
"""A statistic of one feature: for all locations, or one for each of the N."""


@dataclass(frozen=True, kw_only=True)
class Scaler:
    """Mean and scale of each feature, in the feature's physical unit.

    Parameters
    ----------
    mean, scale : tuple of float or of tuple of float
        One entry per feature (F): a number for all locations, or N numbers, one for each. Every
        scale is above 0.

    Examples
    --------
    >>> scaler = Scaler(mean=(280.0,), scale=(4.0,))
    >>> scaler.inverse(torch.tensor([0.5]), feature=0)
    tensor([282.])
    >>> cold_and_warm = Scaler(mean=((270.0, 290.0),), scale=((4.0, 2.0),))
    >>> cold_and_warm.inverse(torch.tensor([0.5, 0.5]), feature=0)
    tensor([272., 291.])
    """

    mean: tuple[Entry, ...]
    scale: tuple[Entry, ...]

    def __post_init__(self) -> None:
        scales = np.concatenate([np.atleast_1d(entry) for entry in (*self.scale, 1.0)])
        alike = len(self.mean) == len(self.scale) and len(self._counts) < 2
        if not (alike and bool(((scales > 0) & (scales < np.inf)).all())):
            raise InputError(
                f"scaler with mean {self.mean} and scale {self.scale}: one of each per feature, "
                "every scale above 0 and finite"
            )

    @property
    def _counts(self) -> set[int]:
        return {len(entry) for entry in (*self.mean, *self.scale) if isinstance(entry, tuple)}

    @property
    def n_locations(self) -> int | None:
        """The number of locations N that it is for; None if it is for any."""
        return next(iter(self._counts), None)

    @classmethod
    def fit(
        cls,
        values: np.ndarray | Sequence[np.ndarray],
        names: tuple[str, ...],
        centre: Sequence[float] = (),
    ) -> Scaler:
        """Measure mean and standard deviation over observed entries, one pass per feature.

        Parameters
        ----------
        values : numpy.ndarray or sequence of numpy.ndarray
            (T, N, F) training part in physical units, or a (T, N) array of each feature; NaN
            where missing.
        names : tuple of str
            Feature names, for the error messages.
        centre : sequence of float, optional
            (F,) what was subtracted from the values before, which tells rounding from spread.

        Raises
        ------
        InputError
            If a feature is never observed or constant in the training part.
        """
        mean, scale = [], []
        apart = tuple(centre) or (0.0,) * len(names)
        for feature, name in enumerate(names):
            part = values[..., feature] if isinstance(values, np.ndarray) else values[feature]
            observed = np.isfinite(part)
            if not observed.any():
                raise unobserved(name)
            middle = float(part.mean(where=observed, dtype=np.float64))
            spread = _spread(part, middle, int(observed.sum()))
            exact = 1e-14 * abs(apart[feature])  # of the double precision it was centred in
            if spread <= max(1e-7 * max(abs(middle), 1e-30), exact):
                raise constant(name, middle + apart[feature])
            mean.append(middle)
            scale.append(spread)
        return cls(mean=tuple(mean), scale=tuple(scale))

    @classmethod
    def from_json(cls, content: Mapping[str, Sequence[float | Sequence[float]]]) -> Scaler:
        """Rebuild a scaler from its fields as JSON types."""
        mean, scale = (
            tuple(tuple(e) if isinstance(e, list | tuple) else float(e) for e in content[name])  # type: ignore[arg-type]
            for name in ("mean", "scale")
        )
        return cls(mean=mean, scale=scale)

    def per_location(self, values: Sequence[np.ndarray]) -> Scaler:
        """Return mean and standard deviation of every location instead of those of all.

        A location without an observed value of a feature keeps the statistics of all; one where
        the feature is constant keeps their scale.

        Parameters
        ----------
        values : sequence of numpy.ndarray
            (T, N) training part of each feature, from which this scaler was measured.

        Examples
        --------
        >>> values = np.array([[1.0, 10.0], [3.0, 10.0]])
        >>> Scaler(mean=(6.0,), scale=(4.0,)).per_location([values])
        Scaler(mean=((2.0, 10.0),), scale=((1.0, 4.0),))
        """
        found = [
            _of_locations(part, float(mean), float(scale))  # type: ignore[arg-type]
            for part, mean, scale in zip(values, self.mean, self.scale, strict=True)
        ]
        return Scaler(mean=tuple(m for m, _ in found), scale=tuple(s for _, s in found))

    def moved(self, centre: Sequence[float]) -> Scaler:
        """Return the scaler of values from which ``centre`` (F,) was subtracted before.

        Examples
        --------
        >>> Scaler(mean=(1e9 + 1,), scale=(2.0,)).moved((1e9,)).mean
        (1.0,)
        """
        mean = tuple(_less(entry, by) for entry, by in zip(self.mean, centre, strict=True))
        return Scaler(mean=mean, scale=self.scale)

    def reduced(self, reduce: Callable[[Tensor], Tensor]) -> Scaler:
        """Return the scaler of chosen locations, or of groups of them.

        Parameters
        ----------
        reduce : callable
            Maps the statistics (F, N) of all locations to those of the others, (F, n).

        Examples
        --------
        >>> both = Scaler(mean=((1.0, 2.0), 0.0), scale=((1.0, 4.0), 1.0))
        >>> both.reduced(lambda each: each[:, [1]])
        Scaler(mean=((2.0,), 0.0), scale=((4.0,), 1.0))
        """
        if self.n_locations is None:
            return self

        def entries(given: tuple[Entry, ...]) -> tuple[Entry, ...]:
            several = [entry for entry in given if isinstance(entry, tuple)]
            made = iter(reduce(torch.tensor(several, dtype=torch.float64)).tolist())
            return tuple(tuple(next(made)) if isinstance(e, tuple) else e for e in given)

        return Scaler(mean=entries(self.mean), scale=entries(self.scale))

    def at(self, locations: np.ndarray | Tensor) -> Scaler:
        """Return the scaler of chosen locations: their numbers, or a mask (N,)."""
        index = torch.as_tensor(locations)
        return self.reduced(lambda each: each[:, index])

    def with_locations_of(self, other: Scaler) -> Scaler:
        """Return the numbers for all locations of this scaler, those of single ones of another.

        Examples
        --------
        >>> one = Scaler(mean=((1.0, 2.0), 5.0), scale=((1.0, 1.0), 6.0))
        >>> one.with_locations_of(Scaler(mean=((3.0,), 0.0), scale=((4.0,), 1.0)))
        Scaler(mean=((3.0,), 5.0), scale=((4.0,), 6.0))
        """
        mean, scale = (
            tuple(b if isinstance(b, tuple) else a for a, b in zip(ours, theirs, strict=True))
            for ours, theirs in ((self.mean, other.mean), (self.scale, other.scale))
        )
        return Scaler(mean=mean, scale=scale)

    def equals(self, other: Scaler, rtol: float = 0.0) -> bool:
        """Return whether two scalers have the same numbers, up to a relative difference."""
        pairs = list(zip(self._columns, other._columns, strict=True))
        return all(a.shape == b.shape and torch.allclose(a, b, rtol=rtol) for a, b in pairs)

    @cached_property
    def _columns(self) -> tuple[Tensor, Tensor]:
        """Mean and scale (F,), or (N, F) where there are those of locations; double precision."""
        shape = () if self.n_locations is None else (self.n_locations,)
        mean, scale = torch.empty(2, *shape, len(self.mean), dtype=torch.float64)
        for column, entries in ((mean, self.mean), (scale, self.scale)):
            for feature, entry in enumerate(entries):
                column[..., feature] = torch.tensor(entry, dtype=torch.float64)
        return mean, scale

    def columns(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scale, (F,) or (N, F), with the type and device of ``like``."""
        mean, scale = self._columns
        return mean.to(like), scale.to(like)

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Scale (..., F) values, or (..., N, F) of its N locations; NaN stays NaN."""
        mean, scale = (part.numpy().astype(values.dtype) for part in self._columns)
        scaled: np.ndarray = (values - mean) / scale
        return scaled

    def inverse(self, values: Tensor, feature: int = 0) -> Tensor:
        """Return ``values`` of one feature in physical units: any shape, or (..., N)."""
        mean, scale = (part[..., feature] for part in self.columns(values))
        return values * scale + mean

    def inverse_features(self, values: Tensor) -> Tensor:
        """Return (..., F) values, or (..., N, F) of its N locations, in physical units."""
        mean, scale = self.columns(values)
        return values * scale + mean

    def scale_features(self, values: Tensor) -> Tensor:
        """Return (..., F) physical values in scaled units; see :meth:`inverse_features`."""
        mean, scale = self.columns(values)
        return (values - mean) / scale

    def inverse_targets(self, rows: Tensor, n_targets: int = 1) -> Tensor:
        """Return (..., C * L_out, N) forecasts or targets in physical units.

        Parameters
        ----------
        rows : Tensor
            Scaled; the steps of target 0, then those of target 1, and so on.
        n_targets : int
            C.

        Examples
        --------
        >>> scaler = Scaler(mean=(10.0, 0.0), scale=(2.0, 1.0))
        >>> scaler.inverse_targets(torch.ones(4, 1), n_targets=2).flatten().tolist()
        [12.0, 12.0, 1.0, 1.0]
        """
        mean, scale = self._of_rows(rows, n_targets)
        return rows * scale + mean

    def scale_targets(self, rows: Tensor, n_targets: int = 1) -> Tensor:
        """Return (..., C * L_out, N) physical targets in scaled units."""
        mean, scale = self._of_rows(rows, n_targets)
        return (rows - mean) / scale

    def of_targets(self, n_targets: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and scale of the targets, (C, 1), or (C, N) of locations."""
        mean, scale = (part[..., :n_targets] for part in self.columns(like))
        if self.n_locations is None:
            return mean[:, None], scale[:, None]
        return mean.T, scale.T

    def _of_rows(self, rows: Tensor, n_targets: int) -> tuple[Tensor, Tensor]:
        """Return the mean and scale of every row, (C * L_out, 1) or (C * L_out, N)."""
        each = rows.shape[-2] // n_targets
        mean, scale = self.of_targets(n_targets, rows)
        return mean.repeat_interleave(each, dim=0), scale.repeat_interleave(each, dim=0)


def _less(entry: Entry, by: float) -> Entry:
    return tuple(one - by for one in entry) if isinstance(entry, tuple) else entry - by


def _of_locations(
    part: np.ndarray, mean: float, scale: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and spread (N,) of a (T, N) training part, where there are any, else those given.

    In blocks of time and double precision.
    """
    count, total, squares = (np.zeros(part.shape[1]) for _ in range(3))
    blocks = [part[begin : begin + 256] for begin in range(0, len(part), 256)]
    for block in blocks:
        count += np.isfinite(block).sum(axis=0)
        total += np.nansum(block, axis=0, dtype=np.float64)
    own = np.where(count > 0, total / np.maximum(count, 1), mean)
    for block in blocks:
        squares += np.nansum((block - own) ** 2, axis=0)
    spread = np.sqrt(squares / np.maximum(count, 1))
    spread = np.where(spread > 1e-7 * np.maximum(np.abs(own), scale), spread, scale)
    return tuple(own.tolist()), tuple(spread.tolist())


def unobserved(name: str) -> InputError:
    """Return the error of a variable without a value in the training part."""
    return InputError(
        f"variable {name!r} has no observed value in the training part: all of it is missing. "
        "Choose another variable, or a split that covers data"
    )


def constant(name: str, value: float) -> InputError:
    """Return the error of a variable that is ``value`` everywhere in the training part."""
    return InputError(
        f"variable {name!r} is constant ({value:g}) in the training part: there is nothing to "
        "forecast. Choose another variable, or a longer training split"
    )


def _spread(part: np.ndarray, centre: float, count: int) -> float:
    """Return the standard deviation of the observed entries, block by block in double precision.

    Squares of column densities (1e19 molecules/cm2 and more) overflow in single precision.
    """
    squares = 0.0
    for begin in range(0, len(part), 256):
        deviation = part[begin : begin + 256].astype(np.float64) - centre
        squares += float(np.square(deviation).sum(where=np.isfinite(deviation)))
    return math.sqrt(squares / count)

"""Standardising features with the statistics of the training part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stemdist.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Scaler:
    """Mean and scale of each feature, in the feature's physical unit.

    Parameters
    ----------
    mean, scale : tuple of float
        One entry per feature (F); every scale is above 0.

    Examples
    --------
    >>> scaler = Scaler(mean=(280.0,), scale=(4.0,))
    >>> scaler.inverse(torch.tensor([0.5]), feature=0)
    tensor([282.])
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.scale) or not all(0 < s < np.inf for s in self.scale):
            raise InputError(
                f"scaler with mean {self.mean} and scale {self.scale}: one of each per feature, "
                "every scale above 0 and finite"
            )

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

    def moved(self, centre: Sequence[float]) -> Scaler:
        """Return the scaler of values from which ``centre`` (F,) was subtracted before.

        Examples
        --------
        >>> Scaler(mean=(1e9 + 1,), scale=(2.0,)).moved((1e9,)).mean
        (1.0,)
        """
        mean = tuple(mean - moved for mean, moved in zip(self.mean, centre, strict=True))
        return Scaler(mean=mean, scale=self.scale)

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Scale (..., F) values; NaN stays NaN."""
        mean = np.asarray(self.mean, dtype=values.dtype)
        scaled: np.ndarray = (values - mean) / np.asarray(self.scale, dtype=values.dtype)
        return scaled

    def inverse(self, values: Tensor, feature: int = 0) -> Tensor:
        """Return ``values`` of one feature, any shape, in physical units."""
        return values * self.scale[feature] + self.mean[feature]

    def inverse_features(self, values: Tensor) -> Tensor:
        """Return (..., F) values in physical units."""
        return values * values.new_tensor(self.scale) + values.new_tensor(self.mean)

    def scale_features(self, values: Tensor) -> Tensor:
        """Return (..., F) physical values in scaled units; see :meth:`inverse_features`."""
        return (values - values.new_tensor(self.mean)) / torch.as_tensor(self.scale).to(values)

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

    def _of_rows(self, rows: Tensor, n_targets: int) -> tuple[Tensor, Tensor]:
        """Return the mean and scale of every row as columns (C * L_out, 1)."""
        each = rows.shape[-2] // n_targets
        mean, scale = (
            rows.new_tensor(part[:n_targets]).repeat_interleave(each)[:, None]
            for part in (self.mean, self.scale)
        )
        return mean, scale


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

"""Masked forecast errors in physical units, gathered block by block.

Shapes: M windows, B windows of a block, Q quantiles, L_out horizon, N locations, S strata.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from stemdist.errors import InputError, check_count
from stemdist.evaluate.metrics.targets import ArrayLike, TargetSummary, double, per_location, ratio
from stemdist.forecast.losses import quantile_score

NEAR_ZERO = 0.1
"""Targets smaller than this many standard deviations are left out of MAPE."""

_TERMS = (
    "count",
    "error",
    "absolute",
    "square",
    "crps",
    "percentage",
    "percentage_count",
    "spread_absolute",
    "target",
    "target_square",
    "forecast",
    "forecast_square",
    "product",
)


class ErrorSums:
    """Sums from which every metric is computed, so that forecasts need not be in memory together.

    Parameters
    ----------
    summary : TargetSummary
        Of the same targets.
    horizon, n_locations : int
        L_out and N.
    weight : array, optional
        (N,) location weights, e.g. ``area_weights(latitude)``; equal ones by default.
    scale : array, optional
        (N,) scale of MASE, from ``persistence_scale(...)``; without it MASE is NaN.
    near_zero : float, optional
        Targets smaller than this are left out of MAPE, in the target's unit; a tenth of the
        targets' standard deviation by default.
    quantiles : tuple of float
        Levels of quantile forecasts; none for point forecasts.

    Examples
    --------
    >>> y = torch.tensor([[[1.0, 3.0]]])
    >>> mask = torch.ones_like(y)
    >>> sums = ErrorSums(TargetSummary.of([(y, mask)]), horizon=1, n_locations=2)
    >>> sums.add(y + torch.tensor([0.0, 1.0]), y, mask).metrics()["mae"]
    0.5
    """

    def __init__(
        self,
        summary: TargetSummary,
        *,
        horizon: int,
        n_locations: int,
        weight: ArrayLike | None = None,
        scale: ArrayLike | None = None,
        deviation: ArrayLike | None = None,
        near_zero: float | None = None,
        quantiles: tuple[float, ...] = (),
    ) -> None:
        shape = (check_count("horizon", horizon), check_count("n_locations", n_locations))
        self.summary, self.quantiles = summary, quantiles
        distance = [abs(level - 0.5) for level in quantiles or (0.5,)]
        self._middle = distance.index(min(distance))  # the point forecast
        self.near_zero = NEAR_ZERO * summary.spread if near_zero is None else near_zero
        self.weight = per_location("weight", weight, n_locations, 1.0)
        self.scale = per_location("scale", scale, n_locations, math.nan)
        self.deviation = per_location("deviation", deviation, n_locations, math.nan)
        self.sums = {term: torch.zeros(shape, dtype=torch.float64) for term in _TERMS}
        self._edges = torch.tensor(summary.edges, dtype=torch.float64)
        n_strata = len(summary.edges) + 1
        self.strata = torch.zeros(4, n_strata, dtype=torch.float64)  # count, error, abs., square

    def add(self, forecast: ArrayLike, y: ArrayLike, mask: ArrayLike) -> ErrorSums:
        """Add a block; masked entries are ignored, also if they are NaN.

        Parameters
        ----------
        forecast, y : array
            (B, L_out, N) forecasts and targets in physical units; quantile forecasts are
            (B, Q, L_out, N), of which the one nearest to the median is the point forecast.
        mask : array
            (B, L_out, N) 1 where the target is valid.

        Returns
        -------
        ErrorSums
            This object.

        Raises
        ------
        InputError
            If the shapes do not match, or a valid forecast is not finite.
        """
        levels = forecast if self.quantiles else forecast[:, None]
        forecast = levels[:, self._middle]
        shapes = {tuple(part.shape) for part in (forecast, y, mask)}
        expected = tuple(self.sums["count"].shape)
        if len(shapes) > 1 or next(iter(shapes))[1:] != expected:
            raise InputError(
                f"forecast, y and mask have shapes {sorted(shapes)}: all three must be "
                f"(windows, {expected[0]}, {expected[1]})"
            )
        valid = double(mask) > 0
        guess, target = (torch.where(valid, double(part), 0) for part in (forecast, y))
        if not bool(torch.isfinite(guess).all()):
            bad = int((~torch.isfinite(guess)).sum())
            raise InputError(
                f"{bad} of {int(valid.sum())} forecasts are NaN or infinite: the forecaster "
                "diverged. Train it with a lower learning rate"
            )
        crps = quantile_score(double(levels), target, self.quantiles or (0.5,))
        self._add_terms(guess, target, valid, torch.where(valid, crps, 0))
        self._add_strata(guess, target, valid)
        return self

    def _add_terms(self, guess: Tensor, target: Tensor, valid: Tensor, crps: Tensor) -> None:
        share, error = valid.double(), guess - target
        # sums of deviations from the mean keep precision where the mean is large, e.g. 290 K
        deviation = (target - self.summary.mean) * share
        guessed = (guess - self.summary.mean) * share
        away = valid & (target.abs() >= self.near_zero) & (target != 0)
        terms = {
            "count": share,
            "error": error,
            "absolute": error.abs(),
            "square": error.square(),
            "crps": crps,
            "percentage": torch.where(away, error / torch.where(away, target, 1), 0).abs(),
            "percentage_count": away.double(),
            "spread_absolute": deviation.abs(),
            "target": deviation,
            "target_square": deviation.square(),
            "forecast": guessed,
            "forecast_square": guessed.square(),
            "product": deviation * guessed,
        }
        for name, term in terms.items():
            self.sums[name] += term.sum(0)

    def _add_strata(self, guess: Tensor, target: Tensor, valid: Tensor) -> None:
        share = (valid * self.weight)[valid]
        error = (guess - target)[valid]
        stratum = torch.bucketize(target[valid], self._edges, right=True)
        for row, term in zip(
            self.strata, (share, error * share, error.abs() * share, error**2 * share), strict=True
        ):
            row.index_add_(0, stratum, term)

    def metrics(self) -> dict[str, float]:
        """Return every metric, pooled over windows, horizon steps and locations.

        ``mae``, ``rmse``, ``bias`` (unit of the target), ``crps`` (twice the mean pinball loss
        of the quantiles; the MAE of a point forecast), ``mape`` (a share),
        ``relative_rmse`` (sqrt(sum (yhat-y)^2 / sum (mean(y)-y)^2), as STemDist; equal to
        sqrt(1-R^2)), ``relative_mae`` (the same with absolute values), ``mase`` (Hyndman &
        Koehler 2006: errors over each location's own in-sample persistence error),
        ``standardised_mse`` and ``standardised_mae`` (of errors over the standard deviations by
        which the task scales its targets, as most long-horizon results are reported) and
        ``correlation``. One that is not defined (no valid target, no spread) is NaN.
        """
        return {name: float(value) for name, value in self._evaluate((0, 1)).items()}

    def by_horizon(self) -> pd.DataFrame:
        """Return the metrics of each horizon step (1 to L_out), relative to the pooled mean."""
        table = pd.DataFrame({n: v.numpy() for n, v in self._evaluate((1,)).items()})
        return table.set_index(pd.RangeIndex(1, len(table) + 1, name="horizon"))

    def by_location(self) -> pd.DataFrame:
        """Return the metrics of each location, in the order of the locations."""
        table = pd.DataFrame({n: v.numpy() for n, v in self._evaluate((0,)).items()})
        return table.rename_axis("location")

    def by_stratum(self) -> pd.DataFrame:
        """Return count, bias, mae and rmse for each range [from, to) of the target."""
        count, error, absolute, square = self.strata
        bounds = [-math.inf, *self.summary.edges, math.inf]
        return pd.DataFrame(
            {
                "from": bounds[:-1],
                "to": bounds[1:],
                "count": count.numpy(),
                "bias": ratio(error, count).numpy(),
                "mae": ratio(absolute, count).numpy(),
                "rmse": ratio(square, count).sqrt().numpy(),
            }
        ).rename_axis("stratum")

    def _evaluate(self, dims: tuple[int, ...]) -> dict[str, Tensor]:
        scaled = {**self.sums, "scaled": torch.nan_to_num(self.sums["absolute"] / self.scale)}
        scaled["scaled_count"] = self.sums["count"] * torch.isfinite(self.scale)
        scaled["standardised"] = self.sums["absolute"] / self.deviation
        scaled["standardised_square"] = self.sums["square"] / self.deviation**2
        sums = {name: (term * self.weight).sum(dims) for name, term in scaled.items()}
        return {name: metric(sums) for name, metric in METRICS.items()}


Sums = dict[str, Tensor]


def _correlation(s: Sums) -> Tensor:
    count = s["count"]
    covariance = s["product"] * count - s["target"] * s["forecast"]
    of_target = s["target_square"] * count - s["target"].square()
    of_forecast = s["forecast_square"] * count - s["forecast"].square()
    return ratio(covariance, (of_target.clamp_min(0) * of_forecast.clamp_min(0)).sqrt())


METRICS: dict[str, Callable[[Sums], Tensor]] = {
    "mae": lambda s: ratio(s["absolute"], s["count"]),
    "rmse": lambda s: ratio(s["square"], s["count"]).sqrt(),
    "bias": lambda s: ratio(s["error"], s["count"]),
    "crps": lambda s: ratio(s["crps"], s["count"]),
    "mape": lambda s: ratio(s["percentage"], s["percentage_count"]),
    "relative_rmse": lambda s: ratio(s["square"], s["target_square"]).sqrt(),
    "relative_mae": lambda s: ratio(s["absolute"], s["spread_absolute"]),
    "mase": lambda s: ratio(s["scaled"], s["scaled_count"]),
    "standardised_mse": lambda s: ratio(s["standardised_square"], s["count"]),
    "standardised_mae": lambda s: ratio(s["standardised"], s["count"]),
    "correlation": _correlation,
}


def forecast_errors(
    forecast: ArrayLike,
    y: ArrayLike,
    mask: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    near_zero: float | None = None,
    quantiles: tuple[float, ...] = (),
) -> ErrorSums:
    """Return the errors of forecasts in memory; see :class:`ErrorSums` for the parameters.

    Examples
    --------
    >>> y = torch.tensor([[[1.0, 3.0]]])
    >>> forecast_errors(y, y, torch.ones_like(y)).metrics()["relative_rmse"]
    0.0
    """
    summary = TargetSummary.of([(y, mask)], weight=weight)
    sums = ErrorSums(
        summary,
        horizon=y.shape[1],
        n_locations=y.shape[2],
        weight=weight,
        scale=scale,
        near_zero=near_zero,
        quantiles=quantiles,
    )
    return sums.add(forecast, y, mask)


def skill(error: float, reference_error: float) -> float:
    """Return 1 - error / reference error: 1 is perfect, 0 no better than the reference.

    Examples
    --------
    >>> skill(0.5, 2.0)
    0.75
    """
    return 1 - error / reference_error if reference_error > 0 else math.nan

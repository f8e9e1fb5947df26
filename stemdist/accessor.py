"""The xarray accessor ``ds.stemdist``, a thin wrapper of the functions of the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import xarray as xr

if TYPE_CHECKING:
    from stemdist.distill import DistilledSet
    from stemdist.evaluate import Evaluation
    from stemdist.forecast import FittedForecaster
    from stemdist.options import DistillOptions, EvaluateOptions, TeachOptions, TrainOptions


@xr.register_dataset_accessor("stemdist")  # type: ignore[no-untyped-call]
class StemdistAccessor:
    """Distil, train and evaluate straight from a dataset.

    Examples
    --------
    >>> import stemdist
    >>> ds = stemdist.simulate("weather-sim", days=8, n_lat=5, n_lon=6)
    >>> tiny = ds.stemdist.distill(
    ...     variable="t2m", labels="observed", synthesizer="selection", space_ratio=0.2)
    >>> tiny.n_clusters
    6
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def series(self, variable: str | Sequence[str] | None = None, **options: Any) -> xr.Dataset:
        """Return the canonical (time, location) series; see :func:`stemdist.open_series`."""
        from stemdist.data import open_series

        variables = [variable] if isinstance(variable, str) else variable
        return open_series(self._dataset, variables=variables, **options)

    def distill(
        self, variable: str | Sequence[str] | None = None, **options: Unpack[DistillOptions]
    ) -> DistilledSet:
        """Distil the dataset; see :func:`stemdist.distill_series`."""
        from stemdist.api import distill_series

        return distill_series(self._with_static(variable, options), **options)

    def train(
        self,
        forecaster: str = "mlp",
        variable: str | Sequence[str] | None = None,
        **options: Unpack[TrainOptions],
    ) -> FittedForecaster:
        """Train on the dataset in full; see :func:`stemdist.train`."""
        from stemdist.api import train

        return train(self._with_static(variable, options), forecaster, **options)

    def teach(
        self,
        teachers: Any = (),
        variable: str | Sequence[str] | None = None,
        **options: Unpack[TeachOptions],
    ) -> FittedForecaster:
        """Train a student on the dataset and its teachers; see :func:`stemdist.teach`."""
        from stemdist.api import teach

        return teach(self._with_static(variable, options), teachers, **options)

    def evaluate(self, distilled: DistilledSet, **options: Unpack[EvaluateOptions]) -> Evaluation:
        """Evaluate a distilled set on this dataset; see :func:`stemdist.evaluate_distilled`."""
        from stemdist.api import evaluate_distilled

        return evaluate_distilled(distilled, self._dataset, **options)

    def _with_static(
        self, variable: str | Sequence[str] | None, options: Mapping[str, Any]
    ) -> xr.Dataset:
        """Return the series with the static features that ``options`` ask for."""
        return self.series(variable, static=options.get("static", ()))

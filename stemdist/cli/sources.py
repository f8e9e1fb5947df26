"""From options to a series, a task, or a distilled set: the same in every command."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from stemdist.cli.parser import option_text
from stemdist.data import OpenOptions, dataset_recipe, list_datasets, open_raw, open_series
from stemdist.data.downloads import is_downloaded, local_copy
from stemdist.data.origin import recalled
from stemdist.data.readers.addresses import is_store
from stemdist.data.readers.base import is_address
from stemdist.errors import InputError, StemdistError
from stemdist.forecast import TaskOptions, TaskSettings, settings_for

if TYPE_CHECKING:
    from stemdist.distill import DistilledSet
    from stemdist.forecast import FittedForecaster, ForecastTask


def raw_of(source: str, opening: OpenOptions) -> xr.Dataset:
    """Open a data source as it is, lazily."""
    with _recipe_hint(source, opening):
        return open_raw(source, opening)


def series_of(source: str, opening: OpenOptions) -> xr.Dataset:
    """Open a canonical series, lazily."""
    given = {f.name: getattr(opening, f.name) for f in dataclasses.fields(opening)}
    with _recipe_hint(source, opening):
        return open_series(source, **given)


@contextmanager
def _recipe_hint(source: str, opening: OpenOptions) -> Iterator[None]:
    """Add to an error the recipe whose file has the name of ``source``."""
    try:
        yield
    except InputError as error:
        hint = "" if opening.recipe else _recipe_of_file(source)
        raise InputError(f"{error}{hint}") from error


def _recipe_of_file(source: str) -> str:
    for name in list_datasets():
        known = dataset_recipe(name).source
        if known is not None and known.file_name == Path(source).name and Path(source).exists():
            return f". It may be the data set {name!r}: try --recipe {name}"
    return ""


def task_of(source: str, opening: OpenOptions, task: TaskOptions) -> ForecastTask:
    """Open a data source and make its forecasting task, with its recipe's settings."""
    from stemdist.forecast import ForecastTask

    series, settings = series_and_settings(source, opening, task)
    return travelling(ForecastTask.from_series(series, settings), source, opening, series)


def travelling(
    task: ForecastTask, source: str, opening: OpenOptions, series: xr.Dataset
) -> ForecastTask:
    """Return a task that workers of a cluster read themselves, where there is a cluster."""
    from stemdist.scheduling import away

    if not away():
        return task
    chosen = dataclasses.replace(
        opening, variables=tuple(map(str, series.data_vars)), static=task.settings.static
    )
    return task.by_reference(Opener(_everywhere(source), chosen, series.sizes["time"]))


@dataclasses.dataclass(frozen=True)
class Opener:
    """Opens a series in another process.

    Parameters
    ----------
    source : str
        An absolute path, an address, or a name of the catalogue.
    opening : OpenOptions
        How it is opened.
    n_steps : int
        Leading steps that are used.
    """

    source: str
    opening: OpenOptions
    n_steps: int

    def __call__(self) -> xr.Dataset:
        """Return the series."""
        return series_of(self.source, self.opening).isel(time=slice(self.n_steps))


def _everywhere(source: str) -> str:
    """Return a source as another working directory needs it."""
    local = Path(source).exists() or (glob.has_magic(source) and not is_address(source))
    return str(Path(source).absolute()) if local else source


def series_and_settings(
    source: str, opening: OpenOptions, task: TaskOptions
) -> tuple[xr.Dataset, TaskSettings]:
    """Open a data source, lazily, and return its series and the settings of its task."""
    if opening.variables is None and "targets" in task:
        variables = (*task["targets"], *task.get("future", ()))
        opening = dataclasses.replace(opening, variables=variables)
    series = series_of(source, opening)
    return series, settings_for(series, {**task, "static": opening.static})


def matching_task(source: str, opening: OpenOptions, distilled: DistilledSet) -> ForecastTask:
    """Open the real data of a distilled set with the distilled set's own settings."""
    from stemdist.forecast import ForecastTask

    chosen = _as_distilled(source, opening, distilled)
    series = series_of(source, chosen)
    task = ForecastTask.from_series(series, distilled.settings)
    distilled.check_features(task)
    return task


def matching_sample(
    source: str,
    opening: OpenOptions,
    distilled: DistilledSet,
    memory: str | None,
    *,
    progress: bool | None,
) -> tuple[ForecastTask, DistilledSet]:
    """Open the real data of a distilled set, or a sample of what does not fit into memory."""
    from stemdist.distill.material import sampled_with

    chosen = _as_distilled(source, opening, distilled)
    series = series_of(source, chosen)
    task, matching = sampled_with(distilled, series, memory=memory, progress=progress)
    distilled.check_features(task)
    if task.bounds is None:
        task = travelling(task, source, chosen, series)
    return task, matching


def _as_distilled(source: str, opening: OpenOptions, distilled: DistilledSet) -> OpenOptions:
    """Return opening options with those of a distilled set."""
    return dataclasses.replace(
        recalled(opening, distilled.record, source),
        variables=distilled.variables,
        static=distilled.settings.static,
    )


def series_for(fitted: FittedForecaster, source: str, opening: OpenOptions) -> xr.Dataset:
    """Open a data source as a forecaster's training data were opened."""
    chosen = dataclasses.replace(
        recalled(opening, fitted.record, source),
        variables=fitted.variables,
        static=fitted.settings.static,
    )
    return series_of(source, chosen)


def is_distilled(source: str) -> bool:
    """Say whether ``source`` is a distilled set, from its attributes only.

    A file at an address is downloaded for that, as it will be used in any case; whoever uses it
    says what went wrong if it cannot be.
    """
    from stemdist.distill.dataset import FORMAT

    path = Path(source)
    if is_downloaded(source) and not is_store(source):
        try:
            path = local_copy(source)
        except StemdistError:
            return False
    if not path.exists() or path.suffix not in (".nc", ".zarr"):
        return False
    try:
        how: dict[str, Any] = {"engine": "netcdf4"}
        if path.is_dir():  # the attributes are the same with and without consolidated metadata
            how = {"engine": "zarr", "consolidated": False, "chunks": None}
        with xr.open_dataset(path, **how) as stored:
            return str(stored.attrs.get("stemdist_format", "")).startswith(
                FORMAT.rstrip("0123456789")
            )
    except (OSError, ValueError, RuntimeError):
        return False


def distilled_values(distilled: DistilledSet) -> dict[str, Any]:
    """Return what is known of a distilled set, for programs."""
    return {
        "windows": distilled.n_windows,
        "clusters": distilled.n_clusters,
        "locations": len(distilled.locations),
        "variables": distilled.variables,
        "features": distilled.feature_names,
        "units": distilled.units,
        "y_kind": distilled.y_kind,
        "content_hash": distilled.content_hash,
        "task": distilled.settings.to_json(),
        "record": distilled.record,
    }


def refuse(given: Iterable[str], group: Any, reason: str) -> None:
    """Raise if an option of a group was given that has no meaning here."""
    found = sorted(set(group.__annotations__) & set(given))
    if found:
        options = ", ".join(map(option_text, found))
        raise InputError(f"{options}: no use here, because {reason}: leave it out")

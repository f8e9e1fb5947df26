"""From options to a series, a task, or a distilled set: the same in every command."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from stemdist.cli.arguments import option_text
from stemdist.data import (
    OpenOptions,
    Split,
    dataset_recipe,
    graph_recipe,
    list_datasets,
    list_graphs,
    open_raw,
    open_series,
)
from stemdist.data.fetch import cache_folder
from stemdist.data.recipe import DatasetRecipe
from stemdist.data.source import find_recipe
from stemdist.distill import DistilledSet
from stemdist.distill.distilled import FORMAT
from stemdist.errors import InputError, unknown_name
from stemdist.forecast import ForecastTask, TaskSettings
from stemdist.graph import GRAPH_METHODS, GraphSettings


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """What is forecast from what. Without an option the recipe decides, else the default.

    Parameters
    ----------
    lookback : int, optional
        Input steps of one window (default 12).
    horizon : int, optional
        Steps to forecast (default 12).
    split : tuple of float, optional
        Shares of the time axis for training, validation and test, in that order
        (default 0.6,0.2,0.2).
    calendar : tuple of str, optional
        Calendar features added to the inputs: time_of_day, day_of_week, day_of_year.
    calendar_harmonics : int, optional
        Waves per calendar feature, e.g. 4 for sharp rush hours (default 1).
    targets : tuple of str, optional
        Variables to forecast together; by default the first.
    future : tuple of str, optional
        Variables known ahead of time, whose values over the horizon are inputs.
    neighbour_context : bool, optional
        Add the mean of the target over each location's neighbours to the inputs (default).
    graph : str, optional
        How locations are connected: auto, grid, knn, distance, correlation or adjacency, or
        the name of a graph recipe.
    neighbours : int, optional
        Neighbours per location, for knn, correlation and grid.
    cutoff_km : float, optional
        Longest edge in kilometres, for knn and distance.
    sigma_km : float, optional
        Length of the distance kernel in kilometres, for knn and distance.
    graph_file : str, optional
        File with the adjacency (CSV or npz), or with distances for the graph distance.
    """

    lookback: int | None = None
    horizon: int | None = None
    split: tuple[float, float, float] | None = None
    calendar: tuple[str, ...] | None = None
    calendar_harmonics: int | None = None
    targets: tuple[str, ...] | None = None
    future: tuple[str, ...] | None = None
    neighbour_context: bool | None = None
    graph: str | None = None
    neighbours: int | None = None
    cutoff_km: float | None = None
    sigma_km: float | None = None
    graph_file: str | None = None

    def settings(
        self, source: str, recipe: DatasetRecipe | None, static: Iterable[str] = ()
    ) -> TaskSettings:
        """Return the task settings for a data source."""
        base = TaskSettings.from_recipe(recipe)
        plain = {
            name: getattr(self, name)
            for name in (
                "lookback",
                "horizon",
                "calendar",
                "calendar_harmonics",
                "targets",
                "future",
                "neighbour_context",
            )
            if getattr(self, name) is not None
        }
        split = base.split
        if self.split is not None:
            train, validation, test = self.split
            split = Split(train=train, validation=validation, test=test)
        graph = self._graph(base.graph, source, recipe)
        return dataclasses.replace(base, **plain, split=split, graph=graph, static=tuple(static))

    def _graph(
        self, base: GraphSettings, source: str, recipe: DatasetRecipe | None
    ) -> GraphSettings:
        if self.graph_file is not None:
            base = GraphSettings()
        elif self.graph is not None:
            base = _named_graph(self.graph, source)
        elif base.file is not None and recipe is not None:
            base = dataclasses.replace(base, file=_beside(source, base.file, recipe.name))
        given: dict[str, Any] = {
            "method": self.graph if self.graph_file is not None else None,
            "neighbours": self.neighbours,
            "cutoff_km": self.cutoff_km,
            "sigma_km": self.sigma_km,
            "file": None if self.graph_file is None else str(Path(self.graph_file).resolve()),
        }
        return dataclasses.replace(base, **{k: v for k, v in given.items() if v is not None})


def _named_graph(name: str, source: str) -> GraphSettings:
    methods = ["auto", *GRAPH_METHODS.names()]
    if name in methods:
        return GraphSettings(method=name)
    if name not in list_graphs():
        raise unknown_name("graph", name, {*methods, *list_graphs()})
    settings = GraphSettings(**graph_recipe(name).settings())
    if settings.file is None:
        return settings
    return dataclasses.replace(settings, file=_beside(source, settings.file, name))


def _beside(source: str, file: str, recipe: str) -> str:
    """Return the graph file a recipe names; it lies in the folder of the data."""
    path = Path(source)
    folder = path.resolve().parent if path.exists() else cache_folder()
    if not (folder / file).is_file():
        raise InputError(
            f"the recipe {recipe!r} reads the graph from {file!r}, which is not in {str(folder)!r} "
            "beside the data: put it there, name it with --graph-file, or choose another graph, "
            "e.g. --graph correlation"
        )
    return str(folder / file)


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


def task_of(source: str, opening: OpenOptions, options: TaskOptions) -> ForecastTask:
    """Open a data source and make its forecasting task, with its recipe's settings."""
    return ForecastTask.from_series(*series_and_settings(source, opening, options))


def series_and_settings(
    source: str, opening: OpenOptions, options: TaskOptions
) -> tuple[xr.Dataset, TaskSettings]:
    """Open a data source, lazily, and return its series and the settings of its task."""
    recipe = find_recipe(source, opening.recipe)
    settings = options.settings(source, recipe, opening.static)
    if opening.variables is None:
        opening = dataclasses.replace(opening, variables=settings.variables)
    return series_of(source, opening), settings


def matching_task(source: str, opening: OpenOptions, distilled: DistilledSet) -> ForecastTask:
    """Open the real data of a distilled set with the distilled set's own settings."""
    chosen = dataclasses.replace(
        opening, variables=distilled.variables, static=distilled.settings.static
    )
    return ForecastTask.from_series(series_of(source, chosen), distilled.settings)


def is_distilled(source: str) -> bool:
    """Say whether ``source`` is a distilled set, from its attributes only."""
    path = Path(source)
    if not path.exists() or path.suffix not in (".nc", ".zarr"):
        return False
    try:
        with xr.open_dataset(path, engine="zarr" if path.is_dir() else "netcdf4") as stored:
            return str(stored.attrs.get("stemdist_format", "")).startswith(
                FORMAT.rstrip("0123456789")
            )
    except (OSError, ValueError, RuntimeError):
        return False


def refuse(given: Iterable[str], group: Any, reason: str) -> None:
    """Raise if an option of a group was given that has no meaning here."""
    names = {field.name for field in dataclasses.fields(group)}
    found = sorted(names & set(given))
    if found:
        options = ", ".join(map(option_text, found))
        raise InputError(f"{options}: no use here, because {reason}: leave it out")

"""What is forecast from what, as far as a user says so; recipe and defaults decide the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import xarray as xr

from stemdist.data.calendar import AUTO
from stemdist.data.catalogue import recipe_of
from stemdist.data.recipe import DatasetRecipe
from stemdist.data.split import PARTS, Split
from stemdist.errors import InputError, unknown_name
from stemdist.forecast.task_settings import TaskSettings
from stemdist.graph.named import named_graph, recipe_graph
from stemdist.graph.settings import GraphSettings
from stemdist.types import CalendarFeature, GraphName, Scaling

_OF_GRAPH = ("graph", "neighbours", "cutoff_km", "sigma_km", "graph_file")
_OF_RECIPE = (
    "lookback", "horizon", "split", "reach_back", "scaling", "calendar", "neighbour_context"
)  # fmt: skip


class TaskOptions(TypedDict, total=False):
    """What is forecast from what. Without an option the recipe decides, else the default.

    Parameters
    ----------
    lookback : int
        Input steps of one window (default 12).
    horizon : int
        Steps to forecast (default 12).
    split : Split or tuple of float
        Shares of the time axis for training, validation and test (default 0.6,0.2,0.2), or
        their numbers of steps.
    reach_back : bool
        Let the inputs of validation and test windows begin in the part before, as in most
        published long-horizon results.
    scaling : str
        What is standardised together: a variable at all locations, or at each by itself
        (default global).
    calendar : tuple of str
        Calendar features (default auto: those that help).
    calendar_harmonics : int
        Sine and cosine pairs per calendar feature, e.g. 4 for sharp rush hours (default 1).
    targets : tuple of str
        Variables to forecast together; by default the first.
    future : tuple of str
        Variables known ahead of time, whose values over the horizon are inputs.
    static : tuple of str
        Numeric coordinates of the locations that are inputs, e.g. elevation.
    neighbour_context : bool
        Add the mean of the target over each location's neighbours to the inputs (default).
    graph : str or GraphSettings
        How locations are connected: a method, or the name of a graph recipe.
    neighbours : int
        Neighbours per location, for knn, correlation and grid.
    cutoff_km : float
        Longest edge in kilometres, for knn and distance.
    sigma_km : float
        Length of the distance kernel in kilometres, for knn and distance.
    graph_file : str
        File with the adjacency (CSV or npz), or with distances for the graph distance.
    """

    lookback: int
    horizon: int
    split: Split | tuple[float, float, float]
    reach_back: bool
    scaling: Scaling
    calendar: Sequence[CalendarFeature]
    calendar_harmonics: int
    targets: Sequence[str]
    future: Sequence[str]
    static: Sequence[str]
    neighbour_context: bool
    graph: GraphSettings | GraphName
    neighbours: int
    cutoff_km: float
    sigma_km: float
    graph_file: str | Path


def settings_for(series: xr.Dataset, options: Mapping[str, Any] | None = None) -> TaskSettings:
    """Return the task settings of a series: options, then those of its recipe, then defaults.

    Parameters
    ----------
    series : xarray.Dataset
        Canonical series; the attribute ``recipe`` names the recipe it was opened with.
    options : mapping, optional
        What the user chose, see :class:`TaskOptions`.

    Raises
    ------
    InputError
        If an option is unknown or its value cannot be used.

    Examples
    --------
    >>> from stemdist.data import open_series
    >>> settings = settings_for(open_series("traffic-sim"), {"horizon": 6})
    >>> settings.horizon, settings.calendar
    (6, ('time_of_day', 'day_of_week'))
    """
    given: dict[str, Any] = dict(options or {})
    for name in given:
        if name not in TaskOptions.__annotations__:
            raise unknown_name("option of a task", name, TaskOptions.__annotations__)
    recipe = recipe_of(series)
    graph = _graph(series, recipe, {name: given.pop(name, None) for name in _OF_GRAPH})
    chosen = _of_recipe(recipe) | given
    return TaskSettings(**{**chosen, "split": _split(chosen.get("split", Split()))}, graph=graph)


def _of_recipe(recipe: DatasetRecipe | None) -> dict[str, Any]:
    if recipe is None:
        return {"calendar": AUTO}
    return {name: getattr(recipe, name) for name in _OF_RECIPE}


def _split(given: Split | Sequence[float]) -> Split:
    if isinstance(given, Split):
        return given
    if len(given) != len(PARTS):
        raise InputError(f"split is {given!r}: give three shares, e.g. (0.6, 0.2, 0.2)")
    return Split(**dict(zip(PARTS, given, strict=True)))


def _graph(
    series: xr.Dataset, recipe: DatasetRecipe | None, given: dict[str, Any]
) -> GraphSettings:
    """Return the requested graph, else the recipe's, with the given parameters."""
    graph, file = given.pop("graph"), given.pop("graph_file")
    if isinstance(graph, GraphSettings):
        base = graph
    elif file is not None:
        base = GraphSettings() if graph is None else GraphSettings(method=graph, file=str(file))
    elif graph is not None:
        base = named_graph(graph, series)
    elif recipe is not None:
        base = recipe_graph(recipe.graph, series)
    else:
        base = GraphSettings()
    given["file"] = None if file is None else str(Path(file).resolve())
    return dataclasses.replace(base, **{k: v for k, v in given.items() if v is not None})

"""From the name of a graph to its settings: a method, or a recipe of the catalogue."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import xarray as xr

from stemdist.data.catalogue import graph_recipe, list_graphs
from stemdist.data.fetch import cache_folder
from stemdist.errors import InputError, unknown_name
from stemdist.graph.settings import GRAPH_METHODS, GraphSettings


def named_graph(name: str, series: xr.Dataset) -> GraphSettings:
    """Return the settings of a graph that is named.

    Parameters
    ----------
    name : str
        A method, e.g. ``"knn"``, or a recipe of the catalogue, e.g. ``"correlation-8"``.
    series : xarray.Dataset
        The series it is for; a file that the recipe names is sought beside the series' own
        file, or in the cache if the series has none.

    Raises
    ------
    InputError
        If the name is unknown, or the recipe's file is not there.

    Examples
    --------
    >>> named_graph("correlation-8", xr.Dataset()).neighbours
    8
    """
    methods = ["auto", *GRAPH_METHODS.names()]
    if name in methods:
        return GraphSettings(method=name)
    if name not in list_graphs():
        raise unknown_name("graph", name, {*methods, *list_graphs()})
    return recipe_graph(name, series)


def recipe_graph(name: str, series: xr.Dataset) -> GraphSettings:
    """Return the settings of a graph recipe, with the full path of its file.

    Parameters
    ----------
    name, series
        As in :func:`named_graph`.
    """
    settings = GraphSettings(**graph_recipe(name).settings())
    if settings.file is None:
        return settings
    source = Path(str(series.encoding.get("source", "")))
    folder = source.parent if source.is_absolute() else cache_folder()
    if not (folder / settings.file).is_file():
        raise InputError(
            f"the graph recipe {name!r} reads {settings.file!r}, which is not in {str(folder)!r} "
            "beside the data: put it there, name it with graph_file (--graph-file), or choose "
            "another graph, e.g. correlation"
        )
    return dataclasses.replace(settings, file=str(folder / settings.file))

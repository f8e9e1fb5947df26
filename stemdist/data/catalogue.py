"""The catalogues: every recipe that can be named, found in folders of YAML files.

A catalogue is a folder with the two sub-folders ``datasets`` and ``graphs``, nested as one
likes. The built-in one comes with the package; the environment variable
``STEMDIST_CATALOGUE`` lists further ones.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import xarray as xr
import yaml

from stemdist.data.recipe import DatasetRecipe, GraphRecipe, RecipeT
from stemdist.errors import CatalogueError, InputError, unknown_name

log = logging.getLogger(__name__)

CATALOGUE_VARIABLE = "STEMDIST_CATALOGUE"

_PACKAGE = Path(__file__).resolve().parents[1]


def list_datasets() -> list[str]:
    """Return the name of every data set in the catalogues, sorted.

    Examples
    --------
    >>> "traffic-sim" in list_datasets()
    True
    """
    return sorted(_recipe_files("datasets"))


def list_graphs() -> list[str]:
    """Return the name of every graph in the catalogues, sorted.

    Examples
    --------
    >>> "los-loop" in list_graphs()
    True
    """
    return sorted(_recipe_files("graphs"))


def dataset_recipe(name: str) -> DatasetRecipe:
    """Return the data set recipe called ``name``.

    Parameters
    ----------
    name : str
        A name that :func:`list_datasets` lists.

    Raises
    ------
    InputError
        If there is no such data set; the message lists the choices.
    CatalogueError
        If the recipe is wrong; the message lists all its faults.

    Examples
    --------
    >>> dataset_recipe("los-loop").units
    'mile/h'
    """
    return read_recipe(_find("datasets", "data set", name), DatasetRecipe)


def recipe_of(series: xr.Dataset) -> DatasetRecipe | None:
    """Return the recipe that a series was opened with, or None.

    Parameters
    ----------
    series : xarray.Dataset
        Its attribute ``recipe``, set by :func:`~stemdist.data.open_series`, names the recipe. A
        recipe that is not in the catalogue any more is reported and counts as none.

    Examples
    --------
    >>> from stemdist.data import open_series
    >>> recipe_of(open_series("traffic-sim")).graph
    'correlation-8'
    """
    name = series.attrs.get("recipe")
    if name is None:
        return None
    if name not in list_datasets():
        log.warning(
            "the series was opened with the recipe %r, which is not in the catalogue: default "
            "settings are used",
            name,
        )
        return None
    return dataset_recipe(name)


def graph_recipe(name: str) -> GraphRecipe:
    """Return the graph recipe called ``name``.

    Parameters
    ----------
    name : str
        A name that :func:`list_graphs` lists.

    Raises
    ------
    InputError
        If there is no such graph; the message lists the choices.
    CatalogueError
        If the recipe is wrong; the message lists all its faults.

    Examples
    --------
    >>> graph_recipe("los-loop").settings()
    {'method': 'adjacency', 'file': 'los_adj.csv'}
    """
    return read_recipe(_find("graphs", "graph", name), GraphRecipe)


def read_recipe(path: str | Path, kind: type[RecipeT]) -> RecipeT:
    """Read and check one recipe file.

    Parameters
    ----------
    path : str or Path
        A YAML file named after the recipe: ``metr-la.yaml`` holds ``name: metr-la``.
    kind : type
        :class:`DatasetRecipe` or :class:`GraphRecipe`.

    Raises
    ------
    CatalogueError
        If the file is not readable YAML or the recipe is wrong, with the file's path.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CatalogueError(f"cannot read the recipe {str(path)!r}: {error}") from error
    if not isinstance(content, Mapping):
        raise CatalogueError(
            f"cannot read the recipe {str(path)!r}: it must be lines of 'key: value', "
            f"and it is {type(content).__name__}"
        )
    try:
        recipe = kind.from_mapping(content)
    except CatalogueError as error:
        raise CatalogueError(f"{path}: {error}") from error
    if content["name"] != path.stem:
        raise CatalogueError(
            f"{path}: the recipe's name is {content['name']!r}: rename the file to "
            f"{content['name']}{path.suffix}, or set name: {path.stem}"
        )
    return recipe


def _builtin_folder() -> Path:
    """Return the catalogue inside an installed package, else that of a source checkout."""
    installed = _PACKAGE / "catalogue"
    return installed if installed.is_dir() else _PACKAGE.parent


def _catalogue_folders() -> list[Path]:
    listed = [part for part in os.environ.get(CATALOGUE_VARIABLE, "").split(os.pathsep) if part]
    for part in listed:
        if not any((Path(part) / kind).is_dir() for kind in ("datasets", "graphs")):
            raise InputError(
                f"{CATALOGUE_VARIABLE} lists {part!r}, which is no catalogue: it must be a folder "
                "with a sub-folder 'datasets' or 'graphs' of YAML recipes"
            )
    return [_builtin_folder(), *map(Path, listed)]


def _recipe_files(kind: str) -> dict[str, Path]:
    """Map the name of every recipe in the sub-folders ``kind`` to its file."""
    found: dict[str, Path] = {}
    for folder in _catalogue_folders():
        for path in sorted((folder / kind).rglob("*.yaml")):
            if path.stem in found:
                raise CatalogueError(
                    f"two recipes are named {path.stem!r}: {found[path.stem]} and {path}; "
                    "rename one of them"
                )
            found[path.stem] = path
    return found


def _find(kind: str, title: str, name: str) -> Path:
    files = _recipe_files(kind)
    if name not in files:
        hint = f"Add a recipe of your own in a folder listed in {CATALOGUE_VARIABLE}"
        raise unknown_name(title, name, files, hint)
    return files[name]

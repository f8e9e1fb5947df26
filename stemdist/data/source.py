"""One way in: a file, a catalogue name or an xarray object becomes a canonical series."""

from __future__ import annotations

import dataclasses
import glob
import json
import os
from pathlib import Path
from typing import Any

import xarray as xr

from stemdist.data.catalogue import dataset_recipe, list_datasets
from stemdist.data.conventions.understood import understood
from stemdist.data.fetch import fetch
from stemdist.data.opening import OPENING, OpenOptions
from stemdist.data.readers import read
from stemdist.data.readers.base import is_address
from stemdist.data.recipe import DatasetRecipe
from stemdist.data.series import canonical_series
from stemdist.data.simulate import simulate
from stemdist.errors import InputError, unknown_name


def find_recipe(source: object, recipe: str | None = None) -> DatasetRecipe | None:
    """Return the recipe named, else the one ``source`` names unless it is a file, else None."""
    if recipe is not None:
        return dataset_recipe(recipe)
    named = isinstance(source, str | Path) and str(source) in list_datasets()
    if named and not Path(str(source)).exists():
        return dataset_recipe(str(source))
    return None


def open_raw(source: str | Path | xr.Dataset | xr.DataArray, options: OpenOptions) -> xr.Dataset:
    """Open ``source`` as it is, lazily, before the canonical form.

    Raises
    ------
    InputError
        If ``source`` is neither a readable file nor in the catalogue, or an option about
        reading a file is given for a source that is none.
    """
    recipe = find_recipe(source, options.recipe)
    return understood(_open_raw(source, options.filled_from(recipe), recipe))


def _open_raw(
    source: str | Path | xr.Dataset | xr.DataArray,
    options: OpenOptions,
    recipe: DatasetRecipe | None,
) -> xr.Dataset:
    """Open with options that the recipe has filled."""
    if isinstance(source, xr.Dataset | xr.DataArray):
        _refuse_reader_options(options, "an xarray object")
        if isinstance(source, xr.Dataset):
            return source
        return source.to_dataset(name=source.name or "value")
    if not isinstance(source, str | Path):
        raise InputError(
            f"the source is {type(source).__name__}: give a file, the name of a data set, an "
            "xarray.Dataset or an xarray.DataArray"
        )
    named = recipe is not None and str(source) == recipe.name and not Path(source).exists()
    if named and recipe is not None and recipe.simulator is not None:
        _refuse_reader_options(options, "simulated")
        return simulate(recipe.simulator, **recipe.settings)
    if named and recipe is not None:
        return read(fetch(recipe.name), options.reader, options.reader_options())
    text = os.fspath(source)
    if is_address(text):
        from stemdist.data.readers.addresses import open_address

        return open_address(text, options.reader, options.reader_options())
    if glob.has_magic(text) and not Path(text).exists():
        return _open_pattern(text, options)
    if not Path(text).exists() and not Path(text).suffix and "/" not in text:
        hint = "A data file needs its full name; `stemdist catalogue list` shows the data sets"
        raise unknown_name("file or data set", text, list_datasets(), hint)
    return read(source, options.reader, options.reader_options())


def _open_pattern(pattern: str, options: OpenOptions) -> xr.Dataset:
    """Open the files that a pattern such as ``era5-*.nc`` stands for."""
    paths = [Path(name) for name in sorted(glob.glob(pattern))]  # noqa: PTH207 (any folder)
    if not paths:
        raise InputError(f"no file has a name like {pattern!r}")
    if len(paths) == 1:
        return read(paths[0], options.reader, options.reader_options())
    from stemdist.data.readers.netcdf import open_files

    return open_files(paths, options.reader_options())


def _refuse_reader_options(options: OpenOptions, kind: str) -> None:
    given = ["reader"] * (options.reader is not None) + options.reader_options().given()
    if given:
        raise InputError(f"{', '.join(given)} cannot be used: the source is {kind}, not a file")


def open_series(source: str | Path | xr.Dataset | xr.DataArray, **options: Any) -> xr.Dataset:
    """Open a data set as a canonical (time, location) series, lazily.

    Parameters
    ----------
    source : str, Path, xarray.Dataset or xarray.DataArray
        A file or folder, a pattern such as ``era5-*.nc``, the address of a file or Zarr store
        (``https://``, ``s3://``), the name of a data set in the catalogue (simulated or
        fetched), or an xarray object.
    **options
        The fields of :class:`OpenOptions`, e.g. ``variables=["t2m"]``.

    Returns
    -------
    xarray.Dataset
        See :func:`~stemdist.data.series.canonical_series`.

    Raises
    ------
    InputError
        If the source or an option cannot be used; the message says what to do.

    Examples
    --------
    >>> series = open_series("weather-sim")
    >>> dict(series.sizes), series.attrs["target"]
    ({'time': 1440, 'location': 768}, 't2m')
    """
    names = [field.name for field in dataclasses.fields(OpenOptions)]
    for key in options:
        if key not in names:
            raise unknown_name("option of open_series", key, names)
    given = OpenOptions(**options)
    recipe = find_recipe(source, given.recipe)
    chosen = given.filled_from(recipe)
    raw = _open_raw(source, chosen, recipe)
    series = canonical_series(
        raw,
        variables=chosen.variables,
        static=chosen.static,
        select=chosen.select,
        null_value=chosen.null_value,
        time_name=chosen.time_name,
        repair=chosen.repair,
    )
    if recipe is not None and recipe.units is not None:
        series[series.attrs["target"]].attrs.setdefault("units", recipe.units)
    series = series.assign_attrs(_provenance(source, recipe))
    opening = given.stored()
    if chosen.null_value is not None:
        opening["null_value"] = chosen.null_value  # of the recipe too: values are told by it
    if opening:
        series.attrs[OPENING] = json.dumps(opening)
    if isinstance(source, str | Path) and Path(source).exists():
        series.encoding["source"] = str(Path(source).resolve())  # as xarray itself does
    return series


def _provenance(source: object, recipe: DatasetRecipe | None) -> dict[str, str]:
    given = {"source_name": Path(source).name} if isinstance(source, str | Path) else {}
    if recipe is None:
        return given
    return {**given, "recipe": recipe.name, "license": recipe.licence, "citation": recipe.citation}

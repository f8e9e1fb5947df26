"""One way in: a file, a catalogue name or an xarray object becomes a canonical series."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from stemdist.data.catalogue import dataset_recipe, list_datasets
from stemdist.data.fetch import fetch
from stemdist.data.readers import ReaderOptions, read
from stemdist.data.recipe import DatasetRecipe
from stemdist.data.series import canonical_series
from stemdist.data.simulate import simulate
from stemdist.errors import InputError, unknown_name
from stemdist.types import CsvColumns, ReaderName


@dataclass(frozen=True, kw_only=True)
class OpenOptions:
    """How a source is opened and which part of it is used.

    Parameters
    ----------
    recipe : str, optional
        Data set recipe of the catalogue whose settings apply where none is given here.
    reader : str, optional
        File format, where it cannot be recognised.
    start : str, optional
        First time (ISO 8601), for a file without a time axis.
    step_minutes : float, optional
        Minutes between steps, for a file without a time axis.
    feature_names : sequence of str, optional
        Names of the variables, for a file that does not name them.
    columns : str, optional
        What the columns of a CSV file are: one variable at many sensors (the default), or
        many variables at one place.
    chunks : mapping of str to int, or "auto", optional
        Steps and locations read at a time, e.g. ``{"time": 1000}``, or ``auto``.
    variables : sequence of str, optional
        Variables to use; the first is the target, the others are input features.
    static : sequence of str, optional
        Variables or coordinates without time, used as features of the locations.
    select : mapping, optional
        Value to take along any further dimension, e.g. ``{"level": 850, "number": 0}``.
    null_value : float, optional
        Number that means "missing", in the unit of the target.
    time_name : str, optional
        Name of the time axis, where it cannot be recognised.
    repair : bool, default False
        Sort unsorted times and keep the first of duplicates instead of raising.
    """

    recipe: str | None = None
    reader: ReaderName | None = None
    start: str | None = None
    step_minutes: float | None = None
    feature_names: Sequence[str] = ()
    columns: CsvColumns | None = None
    chunks: Mapping[str, int] | str | None = None
    variables: Sequence[str] | None = None
    static: Sequence[str] = ()
    select: Mapping[str, Any] | None = None
    null_value: float | None = None
    time_name: str | None = None
    repair: bool = False

    def filled_from(self, recipe: DatasetRecipe | None) -> OpenOptions:
        """Return these options with the recipe's values where none was given."""
        if recipe is None:
            return self
        known = {
            "reader": recipe.reader,
            "variables": recipe.variables or None,
            "select": dict(recipe.select) or None,
            "null_value": recipe.null_value,
            **recipe.reader_options,
        }
        blank = OpenOptions()
        missing = {k: v for k, v in known.items() if getattr(self, k) == getattr(blank, k)}
        return dataclasses.replace(self, **missing)

    def reader_options(self) -> ReaderOptions:
        """Return the part that concerns the reader."""
        names = (field.name for field in dataclasses.fields(ReaderOptions))
        return ReaderOptions(**{name: getattr(self, name) for name in names})


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
    return _open_raw(source, options.filled_from(recipe), recipe)


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
    text = str(source)
    if not Path(text).exists() and not Path(text).suffix and "/" not in text:
        hint = "A data file needs its full name; `stemdist catalogue list` shows the data sets"
        raise unknown_name("file or data set", text, list_datasets(), hint)
    return read(source, options.reader, options.reader_options())


def _refuse_reader_options(options: OpenOptions, kind: str) -> None:
    given = ["reader"] * (options.reader is not None) + options.reader_options().given()
    if given:
        raise InputError(f"{', '.join(given)} cannot be used: the source is {kind}, not a file")


def open_series(source: str | Path | xr.Dataset | xr.DataArray, **options: Any) -> xr.Dataset:
    """Open a data set as a canonical (time, location) series, lazily.

    Parameters
    ----------
    source : str, Path, xarray.Dataset or xarray.DataArray
        A file or folder, the name of a data set in the catalogue (simulated or fetched), or
        an xarray object.
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
    chosen = OpenOptions(**options)
    recipe = find_recipe(source, chosen.recipe)
    chosen = chosen.filled_from(recipe)
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
    if isinstance(source, str | Path) and Path(source).exists():
        series.encoding["source"] = str(Path(source).resolve())  # as xarray itself does
    return series


def _provenance(source: object, recipe: DatasetRecipe | None) -> dict[str, str]:
    given = {"source_name": Path(source).name} if isinstance(source, str | Path) else {}
    if recipe is None:
        return given
    return {**given, "recipe": recipe.name, "license": recipe.licence, "citation": recipe.citation}

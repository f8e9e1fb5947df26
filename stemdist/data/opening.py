"""How a source is opened: options, which artefacts remember."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import xarray as xr

from stemdist.data.readers import ReaderOptions
from stemdist.data.recipe import DatasetRecipe
from stemdist.errors import InputError, unknown_name
from stemdist.types import Acceptable, CsvColumns, ReaderName

OPENING = "opening"
"""Attribute of a series: the options it was opened with, as JSON text."""

ACCEPTABLE: tuple[str, ...] = get_args(Acceptable)
_OF_VALUES = ("null_value", "select")
_NOT_STORED = ("chunks", "storage_options")


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
    group : str, optional
        Group of a NetCDF file or Zarr store that holds the variables, e.g. Grid.
    storage_options : mapping, optional
        How an address is reached, for fsspec: e.g. ``{"anon": True}`` for a public S3 bucket.
        They are not stored in artefacts.
    repair : bool, default False
        Sort unsorted times and keep the first of duplicates instead of raising.
    accept : sequence of str, optional
        What the checks would stop for and is meant: extremes (values far from all others),
        units (another unit than in training), step (another time step than in training).
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
    group: str | None = None
    storage_options: Mapping[str, Any] | None = None
    repair: bool = False
    accept: Sequence[Acceptable] = ()

    def __post_init__(self) -> None:
        for name in self.accept:
            if name not in ACCEPTABLE:
                raise unknown_name("thing to accept", name, ACCEPTABLE)

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

    def stored(self) -> dict[str, Any]:
        """Return the options that were given, in JSON types, as artefacts keep them."""
        blank = OpenOptions()
        given = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in _NOT_STORED
            and getattr(self, field.name) != getattr(blank, field.name)
        }
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}
        found: dict[str, Any] = json.loads(json.dumps(plain, default=str))
        return found

    def recalling(self, stored: Mapping[str, Any], *, same_file: bool) -> OpenOptions:
        """Return these options with those an artefact was made with where none was given.

        Parameters
        ----------
        stored : mapping
            What :meth:`stored` returned then.
        same_file : bool
            Whether the source has the name of the one it was made from: the first time, the
            repair and the layout of another file are its own.

        Raises
        ------
        InputError
            If an option that decides what values mean contradicts the stored one.
        """
        blank, changes = OpenOptions(), {}
        for name, value in stored.items():
            if not hasattr(blank, name) or name == "accept":
                continue
            mine = getattr(self, name)
            if mine == getattr(blank, name):
                if same_file or name in _OF_VALUES:
                    changes[name] = value
            elif name in _OF_VALUES and json.loads(json.dumps(mine, default=str)) != value:
                raise InputError(
                    f"{name} is {mine!r}, but the artefact was made from data opened with {value!r}"
                    ": leave it out (it is remembered), or make the artefact again"
                )
        return dataclasses.replace(self, **changes)


def opened_with(series: xr.Dataset) -> OpenOptions:
    """Return the options that a series was opened with; the defaults where it does not say.

    Examples
    --------
    >>> opened_with(xr.Dataset(attrs={"opening": '{"null_value": 0.0}'})).null_value
    0.0
    """
    return OpenOptions(**json.loads(series.attrs.get(OPENING, "{}")))

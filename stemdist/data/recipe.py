"""Recipes: what a catalogue says about one public data set or one location graph.

A recipe is a YAML file whose keys are the fields of one of the classes below. Each class
checks itself when it is made and reports all faults together.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any, ClassVar, TypeVar, get_args
from urllib.parse import unquote, urlsplit

from stemdist.data.calendar import CALENDAR_FEATURES
from stemdist.data.recipe_checks import (
    Check,
    is_count,
    is_flag,
    is_mapping,
    is_name,
    is_number,
    is_positive,
    is_sha256,
    is_share,
    is_split,
    is_text,
    is_url,
    one_of,
    texts,
)
from stemdist.errors import CatalogueError
from stemdist.types import Scaling

RecipeT = TypeVar("RecipeT", bound="Recipe")


def _is_source(value: Any) -> str | None:
    return None if isinstance(value, Source) else "a mapping with url, size_bytes and sha256"


_SOURCE = {"check": _is_source, "may_be_none": True}


def _required(check: Check) -> Any:
    return field(metadata={"check": check, "may_be_none": False})


def _optional(check: Check, default: Any = None) -> Any:
    """Make a field that may be left out; a ``None`` default means "not stated"."""
    metadata = {"check": check, "may_be_none": default is None}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the kinds of recipe share: building from a mapping, and checks of every field."""

    kind_of_recipe: ClassVar[str] = "recipe"

    def __post_init__(self) -> None:
        """Raise :class:`~stemdist.errors.CatalogueError` naming every fault at once."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        faults = [fault for item in fields(self) for fault in _faults(item, values[item.name])]
        self._raise(values, [*faults, *self._joint_faults(values)])

    @classmethod
    def from_mapping(cls: type[RecipeT], content: Mapping[str, Any]) -> RecipeT:
        """Build a recipe from parsed YAML.

        Parameters
        ----------
        content : mapping
            Keys are field names. Lists become tuples and dates become ISO texts.

        Returns
        -------
        Recipe
            A recipe of the class this is called on.

        Raises
        ------
        CatalogueError
            Naming all faults together: unknown and missing keys, wrong types and values.

        Examples
        --------
        >>> recipe = GraphRecipe.from_mapping({"name": "near", "title": "Near", "method": "knn"})
        >>> recipe.method
        'knn'
        """
        values, faults = cls._read(content)
        cls._raise(values, faults)
        return cls(**values)

    @classmethod
    def _read(cls, content: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the value of every field, defaults included, and every fault."""
        known = {item.name: item for item in fields(cls)}
        faults = [_unknown_key(key, known) for key in content if key not in known]
        values: dict[str, Any] = {}
        for key, item in known.items():
            if key in content:
                values[key], found = _parsed(item, content[key])
            else:
                values[key], found = _default(item)
            faults += found
        return values, faults + cls._joint_faults(values)

    @classmethod
    def _joint_faults(cls, values: Mapping[str, Any]) -> list[str]:
        """Return the faults that concern more than one field."""
        return []

    @classmethod
    def _raise(cls, values: Mapping[str, Any], faults: list[str]) -> None:
        if not faults:
            return
        name = f" {values['name']!r}" if isinstance(values.get("name"), str) else ""
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        listing = "".join(f"\n  - {fault}" for fault in faults)
        raise CatalogueError(f"the {cls.kind_of_recipe}{name} has {count}:{listing}")


def _faults(item: Field[Any], value: Any) -> list[str]:
    if value is None and item.metadata["may_be_none"]:
        return []
    wanted = item.metadata["check"](value)
    return [f"{item.name} is {value!r}: it must be {wanted}"] if wanted else []


def _default(item: Field[Any]) -> tuple[Any, list[str]]:
    if item.default is not MISSING:
        return item.default, []
    if item.default_factory is not MISSING:
        return item.default_factory(), []
    return None, [f"{item.name} is missing: it must be {item.metadata['check'](None)}"]


def _parsed(item: Field[Any], content: Any) -> tuple[Any, list[str]]:
    if item.metadata["check"] is _is_source and isinstance(content, Mapping):
        values, faults = Source._read(content)
        if faults:
            return content, [f"{item.name}: {fault}" for fault in faults]
        return Source(**values), []
    value = _plain(content)
    return value, _faults(item, value)


def _plain(value: Any) -> Any:
    """Turn YAML's lists into tuples and its dates into ISO texts, at any depth."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_plain(item) for item in value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def _unknown_key(key: Any, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(str(key), names, n=1, cutoff=0.5)
    question = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown key {key!r}: {question}Choose from: {', '.join(names)}"


@dataclass(frozen=True, kw_only=True)
class Source(Recipe):
    """Where one file can be downloaded, and how to know that it is the right one.

    Parameters
    ----------
    url : str
        HTTP(S) address of the file itself.
    size_bytes : int
        Size of the file in bytes.
    sha256 : str
        SHA-256 of the file's content, 64 hexadecimal digits.

    Examples
    --------
    >>> Source(url="https://example.org/a/b.nc", size_bytes=10, sha256="0" * 64).file_name
    'b.nc'
    """

    kind_of_recipe: ClassVar[str] = "source"

    url: str = _required(is_url)
    size_bytes: int = _required(is_count)
    sha256: str = _required(is_sha256)

    @property
    def file_name(self) -> str:
        """Name the file has on disk: the last part of the address."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).name


@dataclass(frozen=True, kw_only=True)
class DatasetRecipe(Recipe):
    """One data set: where it comes from, how to open it, what to forecast.

    Parameters
    ----------
    name, title, summary : str
        Catalogue name (also the file's name), title, and one or two sentences.
    kind : {"file", "simulator"}
        Whether a file is opened or the data are simulated.
    licence, citation : str
        Terms of use and the reference to cite; ``"see source"`` where not known.
    source : Source, optional
        Download address, where one is known for certain.
    instructions : str, optional
        How the user gets the file where it cannot be downloaded.
    homepage : str, optional
        Where the data set is described.
    simulator, settings : str and mapping, optional
        Simulator name and its keyword arguments, for ``kind="simulator"``.
    reader, reader_options : str and mapping, optional
        Reader name and its keyword arguments, for ``kind="file"``; without a reader the file
        itself decides.
    variables : tuple of str
        Variables to use; the first is the target.
    units : str, optional
        Physical units of the target.
    null_value : float, optional
        Value that means "missing" in the file, in the units of the target.
    select : mapping
        Label to choose along each further dimension, e.g. ``{"level": 500}``.
    frequency_minutes : float, optional
        Time between two steps, in minutes.
    lookback, horizon : int
        Input and output steps of one window.
    split : tuple of float
        Shares of the time axis for training, validation and test, in that order, or their numbers
        of steps.
    reach_back : bool
        Whether inputs of validation and test windows may begin in the part before.
    scaling : {"global", "location"}
        Whether a variable is standardised over all locations together, or at each by itself.
    neighbour_context : bool
        Whether the mean of the target over each location's neighbours is an input.
    calendar : tuple of str
        Calendar features: ``time_of_day``, ``day_of_week``, ``day_of_year``.
    graph : str
        Name of the graph recipe in ``graphs/``.
    time_ratio, space_ratio : float, optional
        Recommended share of windows and of locations to keep.

    Raises
    ------
    CatalogueError
        Naming all faults together.

    Examples
    --------
    >>> recipe = DatasetRecipe(name="demo", title="Demo", summary="A demo.", kind="simulator",
    ...     licence="CC0-1.0", citation="none", simulator="traffic-sim", graph="auto")
    >>> recipe.horizon
    12
    """

    kind_of_recipe: ClassVar[str] = "data set recipe"

    name: str = _required(is_name)
    title: str = _required(is_text)
    summary: str = _required(is_text)
    kind: str = _required(one_of(("file", "simulator")))
    licence: str = _required(is_text)
    citation: str = _required(is_text)
    source: Source | None = field(default=None, metadata=_SOURCE)
    instructions: str | None = _optional(is_text)
    homepage: str | None = _optional(is_url)
    simulator: str | None = _optional(is_name)
    settings: Mapping[str, Any] = _optional(is_mapping, {})
    reader: str | None = _optional(is_text)
    reader_options: Mapping[str, Any] = _optional(is_mapping, {})
    variables: tuple[str, ...] = _optional(texts(), ())
    units: str | None = _optional(is_text)
    null_value: float | None = _optional(is_number)
    select: Mapping[str, Any] = _optional(is_mapping, {})
    frequency_minutes: float | None = _optional(is_positive)
    lookback: int = _optional(is_count, 12)
    horizon: int = _optional(is_count, 12)
    split: tuple[float, float, float] = _optional(is_split, (0.6, 0.2, 0.2))
    reach_back: bool = _optional(is_flag, False)
    scaling: str = _optional(one_of(get_args(Scaling)), "global")
    neighbour_context: bool = _optional(is_flag, True)
    calendar: tuple[str, ...] = _optional(texts(CALENDAR_FEATURES), ())
    graph: str = _required(is_name)
    time_ratio: float | None = _optional(is_share)
    space_ratio: float | None = _optional(is_share)

    @classmethod
    def _joint_faults(cls, values: Mapping[str, Any]) -> list[str]:
        of_files = ("source", "instructions", "reader", "reader_options", "null_value")
        of_simulators = ("simulator", "settings")
        simulated = values["kind"] == "simulator"
        faults = [
            f"{name} has no meaning for kind {values['kind']}: leave it out"
            for name in (of_files if simulated else of_simulators)
            if values[name] not in (None, {})
        ]
        if simulated and values["simulator"] is None:
            faults.append("simulator is missing: name the simulator to run")
        if not simulated and values["source"] is None and values["instructions"] is None:
            faults.append("source and instructions are both missing: say how to get the file")
        return faults


@dataclass(frozen=True, kw_only=True)
class GraphRecipe(Recipe):
    """One location graph: how its edges are made, and with which parameters.

    Parameters
    ----------
    name, title : str
        Catalogue name (also the file's name) and title.
    method : str
        How edges are made: a graph method, built in or of a plug-in.
    neighbours : int, optional
        Edges per location.
    cutoff_km, sigma_km : float, optional
        Longest edge, and width of the distance kernel, in kilometres.
    file : str, optional
        File name of a given adjacency or of road distances.
    units : str, optional
        What the numbers in ``file`` mean.
    source : Source, optional
        Download address of ``file``.
    instructions, homepage, citation : str, optional
        How to get ``file`` where it cannot be downloaded; where it is described; what to cite.

    Raises
    ------
    CatalogueError
        Naming all faults together.

    Examples
    --------
    >>> GraphRecipe(name="near", title="Near", method="knn", neighbours=8).settings()
    {'method': 'knn', 'neighbours': 8}
    """

    kind_of_recipe: ClassVar[str] = "graph recipe"

    name: str = _required(is_name)
    title: str = _required(is_text)
    method: str = _required(is_name)
    neighbours: int | None = _optional(is_count)
    cutoff_km: float | None = _optional(is_positive)
    sigma_km: float | None = _optional(is_positive)
    file: str | None = _optional(is_text)
    units: str | None = _optional(is_text)
    source: Source | None = field(default=None, metadata=_SOURCE)
    instructions: str | None = _optional(is_text)
    homepage: str | None = _optional(is_url)
    citation: str | None = _optional(is_text)

    @classmethod
    def _joint_faults(cls, values: Mapping[str, Any]) -> list[str]:
        faults = []
        if values["method"] == "adjacency" and values["file"] is None:
            faults.append("file is missing: method adjacency reads its edges from a file")
        source = values["source"]
        if isinstance(source, Source) and values["file"] != source.file_name:
            faults.append(
                f"file is {values['file']!r}: it must be {source.file_name!r}, the name that the "
                "source's url ends in"
            )
        return faults

    def settings(self) -> dict[str, Any]:
        """Return the parameters that are stated, as keyword arguments of a graph builder."""
        names = ("method", "neighbours", "cutoff_km", "sigma_km", "file")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

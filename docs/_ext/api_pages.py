"""The pages of the public names: what ``__all__`` lists, and what the registries name."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any, is_typeddict

from rst import directive, escape, heading, page, table, toctree

from stemdist.distill.parametrisation import PARAMETRISATIONS
from stemdist.registry import Registry

PACKAGES = tuple(
    f"stemdist{part}"
    for part in (
        "",
        ".data",
        ".graph",
        ".forecast",
        ".distill",
        ".students",
        ".search",
        ".evaluate",
        ".sharing",
    )
)

# Names that plug-ins and notebooks use and that no __all__ of a package lists.
MORE = {
    "base-classes": (
        "Base classes of plug-ins",
        "What :doc:`plug-ins </plugins>` subclass, beside :class:`stemdist.Forecaster`, "
        ":class:`stemdist.Synthesizer` and :class:`stemdist.Teacher`.",
        (
            "stemdist.data.readers.Reader",
            "stemdist.data.readers.ReaderOptions",
            "stemdist.data.simulate.base.Simulation",
            "stemdist.data.simulate.base.ClockSimulation",
            "stemdist.distill.parametrisation.Parametrisation",
            "stemdist.evaluate.Reference",
            "stemdist.students.teachers.series.SeriesTeacher",
            "stemdist.registry.Registry",
        ),
    ),
    "accessor": (
        "The accessor of xarray",
        "``import stemdist`` adds ``ds.stemdist`` to every :class:`xarray.Dataset`.",
        ("stemdist.accessor.StemdistAccessor",),
    ),
    "errors": (
        "Errors",
        "Every error raised on purpose is one of these.",
        tuple(
            f"stemdist.errors.{name}"
            for name in (
                "StemdistError",
                "InputError",
                "DamagedError",
                "MissingDependencyError",
                "OutputError",
                "CatalogueError",
            )
        ),
    ),
}


def named(path: str) -> Any:
    """Return the object of a dotted name."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def public_names() -> dict[str, dict[str, Any]]:
    """Return the objects of ``__all__`` of every package, by package and name."""
    return {
        package: {name: named(f"{package}.{name}") for name in import_module(package).__all__}
        for package in PACKAGES
    }


def package_page(package: str, objects: Mapping[str, Any]) -> str:
    """Return the page of a package."""
    at_top = {id(item): name for name, item in public_names()["stemdist"].items()}
    if package == "stemdist":
        at_top = {}
    groups: dict[str, list[str]] = {"Functions": [], "Classes": [], "Settings": []}
    tables, elsewhere = [], []
    for name, item in objects.items():
        kind = _kind(item)
        if kind == "Names":
            tables.append(_named_choices(f"{package}.{name}", item))
        elif id(item) in at_top:
            elsewhere.append(f"stemdist.{at_top[id(item)]}")
        else:
            groups[kind].append(f"{package}.{name}")
    summary = inspect.getdoc(import_module(package)) or ""
    return page(
        heading(package),
        summary.partition("\n")[0],
        *(
            f"{heading(title, '-')}\n\n{_listing(names)}"
            for title, names in groups.items()
            if names
        ),
        heading("Names", "-") if tables else "",
        *tables,
        heading("Also in stemdist itself", "-") if elsewhere else "",
        directive("autosummary", body="\n".join(elsewhere), nosignatures="") if elsewhere else "",
    )


def registries() -> dict[str, Registry[Any]]:
    """Return every registry by the word that its page is called after."""
    found = {
        item.group.rpartition(".")[2]: item
        for objects in public_names().values()
        for item in objects.values()
        if isinstance(item, Registry)
    }
    return found | {"parametrisations": PARAMETRISATIONS}


def registry_page(word: str, registry: Registry[Any]) -> str:
    """Return the page of a registry: each name with the class or function behind it."""
    parts = []
    for name in registry.names():
        item = registry.get(name)
        path = f"{item.__module__}.{item.__qualname__}"
        how = "autoclass" if inspect.isclass(item) else "autofunction"
        parts += [heading(name, "-"), directive(how, path)]
    return page(
        ":tocdepth: 2",  # names beside the page, without the class below each
        heading(word.capitalize()),
        f"Built-in names. Other packages add theirs through the entry point "
        f"``{registry.group}`` (:doc:`/plugins`).",
        *parts,
    )


def api_pages() -> dict[str, str]:
    """Return all these pages by file."""
    pages = {
        f"api/{package}.rst": package_page(package, objects)
        for package, objects in public_names().items()
    }
    for name, (title, text, paths) in MORE.items():
        pages[f"api/{name}.rst"] = page(heading(title), text, _listing(paths))
    found = registries()
    pages |= {f"registries/{word}.rst": registry_page(word, item) for word, item in found.items()}
    rows = [
        (
            f":doc:`/reference/registries/{word}`",
            f"``{item.group}``",
            ", ".join(f"``{name}``" for name in item.names()),
        )
        for word, item in found.items()
    ]
    pages["registries/index.rst"] = page(
        heading("Names and entry points"),
        "What can be chosen by name on the command line and in Python. Each kind has an entry "
        "point, through which :doc:`other packages </plugins>` add names.",
        table(("kind", "entry point", "built-in names"), rows),
        toctree(*(f"/reference/registries/{word}" for word in found), hidden=""),
    )
    return pages


def _kind(item: Any) -> str:
    if isinstance(item, Registry | Mapping):
        return "Names"
    if not inspect.isclass(item) or is_typeddict(item):
        return "Settings" if is_typeddict(item) else "Functions"
    settings = dataclasses.is_dataclass(item) and item.__name__.endswith(("Settings", "Options"))
    return "Settings" if settings else "Classes"


def _listing(names: Any) -> str:
    return directive("autosummary", body="\n".join(names), toctree="names", nosignatures="")


def _named_choices(path: str, item: Any) -> str:
    """Describe a registry or a table of names."""
    is_registry = isinstance(item, Registry)
    where = (
        f" (:doc:`/reference/registries/{item.group.rpartition('.')[2]}`)" if is_registry else ""
    )
    names = item.names() if is_registry else sorted(item)
    kind = escape(item.kind) if is_registry else "choice"
    listed = ", ".join(f"``{name}``" for name in names)
    return directive("py:data", path, f"Every {kind} by name{where}: {listed}.")

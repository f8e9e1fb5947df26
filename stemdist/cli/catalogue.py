"""``stemdist catalogue list | show | fetch``: the data sets known by name."""

from __future__ import annotations

import dataclasses

from stemdist.cli.answer import Result
from stemdist.cli.console import Console, bytes_text, print_fields, print_next
from stemdist.data import dataset_recipe, fetch, graph_recipe, list_datasets

_SHOWN_OTHERWISE = ("name", "title", "summary", "source", "graph")


def list_recipes(*, console: Console) -> Result:
    """List the data sets that can be named instead of a file.

    Examples
    --------
      stemdist catalogue list

    More are read from the folders listed in the environment variable STEMDIST_CATALOGUE.
    """
    names = list_datasets()
    width = max(map(len, names))
    rows = [
        {"name": name, "how": _how(name), "title": dataset_recipe(name).title} for name in names
    ]
    for row in rows:
        print(f"{row['name']:{width}}  {row['how']:10}  {row['title']}")
    console.note("stemdist catalogue show NAME tells more")
    return Result(values={"datasets": rows})


def show(name: str, *, console: Console) -> Result:
    """Show one data set: what it is, where it comes from, and the settings it recommends.

    Parameters
    ----------
    name : str
        A name that stemdist catalogue list shows.

    Examples
    --------
      stemdist catalogue show metr-la
    """
    recipe = dataset_recipe(name)
    print(f"{recipe.title}\n{recipe.summary}\n")
    fields = []
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if field.name in _SHOWN_OTHERWISE or value in (None, (), {}):
            continue
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else value
        fields.append((field.name.replace("_", " "), str(shown).strip()))
    if recipe.source is not None:
        source = recipe.source
        fields.append(("download", f"{source.url} ({bytes_text(source.size_bytes)})"))
    graph = graph_recipe(recipe.graph)
    settings = ", ".join(f"{key} {value}" for key, value in graph.settings().items())
    fields.append(("graph", f"{recipe.graph}: {graph.title} ({settings})"))
    print_fields(name, fields)
    own_file = recipe.kind == "file" and recipe.source is None
    fetched = [f"stemdist catalogue fetch {name}"] if _how(name) == "download" else []
    data = f"FILE --recipe {name}" if own_file else name
    print_next([*fetched, f"stemdist distill {data}"])
    if own_file:
        console.note("FILE is the file you bring; see instructions")
    return Result(values={"recipe": recipe, "how": _how(name), "graph": graph})


def fetch_files(name: str, *, folder: str | None = None, console: Console) -> Result:
    """Download the file of a data set, and that of its graph, checked by SHA-256.

    Parameters
    ----------
    name : str
        A name that stemdist catalogue list shows.
    folder : str, optional
        Where to put the files; by default the folder in STEMDIST_CACHE or the user's cache,
        where other commands find them by the data set's name.

    Examples
    --------
      stemdist catalogue fetch los-loop
    """
    path = fetch(name, folder, progress=console.progress)
    print(path)
    return Result(values={"path": path, "bytes": path.stat().st_size}, written=[path])


def _how(name: str) -> str:
    """Say in one word how the data come."""
    recipe = dataset_recipe(name)
    if recipe.kind == "simulator":
        return "simulated"
    return "own file" if recipe.source is None else "download"

"""The page of the catalogue, from its recipes."""

from __future__ import annotations

from rst import escape, heading, page

from stemdist.data import dataset_recipe, graph_recipe, list_datasets, list_graphs
from stemdist.data.recipe import DatasetRecipe


def catalogue_page() -> str:
    """Return one section for each data set, and the list of graphs."""
    recipes = [dataset_recipe(name) for name in list_datasets()]
    graphs = [graph_recipe(name) for name in list_graphs()]
    return page(
        heading("Catalogue"),
        "Data sets that commands and :func:`stemdist.open_series` know by name. "
        ":doc:`/data` says how recipes are written; ``stemdist catalogue show NAME`` prints one.",
        heading("Data sets", "-"),
        *(_section(recipe) for recipe in recipes),
        heading("Graphs", "-"),
        *(f"``{graph.name}``\n   {escape(graph.title)}" for graph in graphs),
    )


def _section(recipe: DatasetRecipe) -> str:
    source = recipe.source
    facts = {
        "source": f"{source.url} ({source.size_bytes / 2**20:.1f} MiB)" if source else "",
        "how to get it": recipe.instructions or "",
        "licence": recipe.licence or "",
        "cite": recipe.citation or "",
        "unit": recipe.units or "",
        "step": f"{recipe.frequency_minutes:g} min" if recipe.frequency_minutes else "",
        "graph": recipe.graph or "",
    }
    listed = "\n".join(
        f"- **{name}**: {' '.join(escape(text).split())}" for name, text in facts.items() if text
    )
    summary = f"{escape(recipe.title)}. {escape(recipe.summary)}"
    return page(heading(recipe.name, "^"), summary, listed)

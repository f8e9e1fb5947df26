"""The maps of a comparison's report: clusters, errors and learned graphs.

Shapes: N locations.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import xarray as xr

from stemdist.distill.cluster_figures import MOST_EDGES
from stemdist.distill.distilled import DistilledSet
from stemdist.evaluate.comparison.evaluation import Evaluation
from stemdist.evaluate.comparison.figures import method_title
from stemdist.evaluate.comparison.statistics import records
from stemdist.evaluate.report import figures
from stemdist.forecast import ForecastTask
from stemdist.forecast.locations import Locations
from stemdist.graph.location_map import positions
from stemdist.page.elements import Image, Images, Paragraph, Part, Section


def maps_section(
    evaluation: Evaluation, distilled: DistilledSet | None, task: ForecastTask | None, column: str
) -> Section:
    """Return the maps for which positions are known, of a comparison at one budget."""
    images: list[Image] = []
    if distilled is not None:
        images += _cluster_maps(distilled)
    known = Locations.of_task(task) if distilled is None and task is not None else None
    place = distilled.locations if distilled is not None else known
    coords = None if place is None else place.coords
    parts: list[Part] = []
    if evaluation.facts.get("held_out_locations"):
        parts.append(Paragraph(text="Errors at held-out locations are not drawn on a map."))
    elif coords is None or positions(coords) is None:
        parts.append(
            Paragraph(
                text="Positions are not known, or do not tell locations apart: "
                "errors are not drawn on a map."
            )
        )
    else:
        images += _error_maps(evaluation, coords, column)
        images += _graph_maps(evaluation, coords)
    if images:
        parts.append(Images(figures=images))
    return Section(title="Maps", parts=parts)


def _cluster_maps(distilled: DistilledSet) -> list[Image]:
    """Clusters, and the graph between them beside it."""
    located = positions(distilled.locations.coords) is not None
    shown = "Map of the locations" if located else "Mean window of each location"
    images = [
        Image(
            figure=figures.plot_clusters(distilled),
            alt=f"{shown}, coloured by cluster, with the medoid of each cluster.",
            caption=f"{len(distilled.locations):,} locations in {distilled.n_clusters:,} clusters.",
        )
    ]
    graph = figures.plot_cluster_graph(distilled)
    if graph is not None:
        ends = distilled.cluster_graph.edge_index
        edges = int((ends[0] != ends[1]).sum())
        some = f" The {MOST_EDGES:,} strongest are drawn." if edges > MOST_EDGES else ""
        images.append(
            Image(
                figure=graph,
                alt="Map of the medoids of the clusters and the edges between them, wider where "
                "they are stronger.",
                caption=f"{edges:,} directed edges between {distilled.n_clusters:,} clusters; "
                f"wider is stronger.{some}",
            )
        )
    return images


def _error_maps(evaluation: Evaluation, coords: xr.Dataset, column: str) -> list[Image]:
    """Error at each location of the set under test, and its difference from full data."""
    metric = column if column in evaluation.by_location else "rmse"
    methods = evaluation.facts["settings"]["references"]
    shown = _shown(evaluation)
    summary = records(evaluation.summary(column))
    mine = {name: row["mean"] for (method, name), row in summary.items() if method == shown}
    best = min(mine, key=lambda name: mine[name])
    n_locations, units = coords.sizes["location"], evaluation.facts["units"] or "no unit"
    error = _by_location(evaluation.by_location, shown, best, metric, n_locations)
    maps = [
        (error, f"{metric} ({units})", False, f"{best} trained on {method_title(shown)}"),
    ]
    if shown != "full" and "full" in methods:
        full = _by_location(evaluation.by_location, "full", best, metric, n_locations)
        text = f"{best}: {method_title(shown)} less full data; orange is worse than full data"
        maps.append((error - full, f"difference of {metric} ({units})", True, text))
    images = []
    for values, label, diverging, caption in maps:
        figure = figures.plot_location_values(coords, values, label, diverging=diverging)
        if figure is not None:
            alt = f"Map of the {label} at each location; {caption}."
            text = f"{caption}; test part, mean over seeds."
            images.append(Image(figure=figure, alt=alt, caption=text))
    return images


def _graph_maps(evaluation: Evaluation, coords: xr.Dataset) -> list[Image]:
    """Influence of each location in the graphs that forecasters have learned."""
    table, settings = evaluation.by_location, evaluation.facts["settings"]
    if "influence" not in table:
        return []
    pair = dict.fromkeys([_shown(evaluation), "full"])
    methods = [method for method in pair if method in settings["references"]]
    images = []
    for name in settings["forecasters"]:
        maps = {
            method: _by_location(table, method, name, "influence", coords.sizes["location"])
            for method in methods
        }
        for method, values in maps.items():
            figure = figures.plot_location_values(
                coords, values, "influence (mean 1)", diverging=False
            )
            if figure is None:
                continue  # this forecaster learns no graph
            graph = f"{name} trained on {method_title(method)}: its learned graph"
            alt = f"Map of the influence of each location on others; {graph}."
            text = f"{graph}, mean over seeds. Bright locations influence many others"
            if method != "full" and "full" in maps:
                with np.errstate(invalid="ignore"):  # not defined without any influence
                    same = np.corrcoef(values, maps["full"])[0, 1]
                alike = f"{same:.2f}" if math.isfinite(same) else "not defined"
                text += f"; correlation with the graph learned from full data {alike}"
            images.append(Image(figure=figure, alt=alt, caption=f"{text}."))
    return images


def _shown(evaluation: Evaluation) -> str:
    """Return the reference whose maps are drawn."""
    methods: list[str] = list(evaluation.facts["settings"]["references"])
    return "distilled" if "distilled" in methods else methods[0]


def _by_location(
    table: pd.DataFrame, method: str, forecaster: str, metric: str, n_locations: int
) -> np.ndarray:
    """Return the (N,) mean over seeds."""
    own = table[(table["method"] == method) & (table["forecaster"] == forecaster)]
    seeds = own[metric].to_numpy(float).reshape(-1, n_locations)
    return pd.DataFrame(seeds).mean().to_numpy()

"""Figures of the clusters of a distilled set, and of the graph between them.

Shapes: N locations, K clusters, L_in lookback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from stemdist.distill.dataset import SetContents
from stemdist.figures import SERIES
from stemdist.graph.location_map import draw_values, positions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of the largest clusters, whose windows are shown; distinguishable with colour blindness.
HIGHLIGHTS = ("#D55E00", "#000000", "#CC79A7")
MOST_PROFILES = 400
MOST_EDGES = 2000
"""Most edges of the cluster graph that are drawn, the strongest first."""


def highlights(distilled: SetContents) -> dict[int, str]:
    """Return the largest clusters, whose windows are shown, and their colours."""
    shown = distilled.cluster_sizes.argsort(descending=True, stable=True)[: len(HIGHLIGHTS)]
    return dict(zip(shown.tolist(), HIGHLIGHTS, strict=False))


def draw_clusters(axes: Axes, distilled: SetContents, highlights: Mapping[int, str]) -> None:
    """Draw the locations, coloured by cluster, and the medoids.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw: a grid as an image, positions as points, else mean windows as lines.
    distilled : SetContents
        Its N locations and K clusters.
    highlights : mapping
        Colours of clusters that are shown in other panels; their medoids are labelled.
    """
    import matplotlib

    means = _profiles(distilled).mean(axis=1)[distilled.medoids.numpy()]  # (K,)
    rank = means.argsort().argsort()  # (K,): every cluster gets a colour of its own
    colours = matplotlib.colormaps["viridis"].resampled(distilled.n_clusters)
    names = positions(distilled.locations.coords)
    if names is None:
        _draw_profiles(axes, distilled, colours(rank), highlights)
    else:
        _draw_map(axes, distilled, rank, colours, names)
        _draw_medoids(axes, distilled, names, highlights)
    _draw_scale(axes, distilled, colours, np.sort(means))


def draw_cluster_graph(axes: Axes, distilled: SetContents) -> int:
    """Draw the edges between the medoids of clusters on a map, wider where the weight is larger.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    distilled : DistilledSet
        Locations whose positions are known.

    Returns
    -------
    int
        Number of edges that are drawn, the strongest of them: 0 where there are none, or no map.
    """
    from matplotlib.collections import LineCollection

    coords = distilled.locations.coords
    names = positions(coords)
    if names is None:
        return 0
    graph, medoids = distilled.cluster_graph, distilled.medoids.numpy()
    source, target = graph.edge_index.numpy()
    weight = graph.edge_weight.numpy()
    kept = np.nonzero(source != target)[0]
    kept = kept[np.argsort(-weight[kept], kind="stable")][:MOST_EDGES]
    if not len(kept):
        return 0
    draw_values(axes, coords, np.zeros(len(distilled.locations)), names, cmap="Greys", alpha=0.25,
                vmin=-1, vmax=1)  # fmt: skip
    places = np.stack([coords[name].values[medoids] for name in names], axis=1)
    ends = np.stack([places[source[kept]], places[target[kept]]], axis=1)  # (edges, 2, 2)
    share = weight[kept] / weight[kept].max()
    lines = LineCollection(
        list(ends), colors=SERIES[0], linewidths=0.8 + 2.4 * share, alpha=0.8, zorder=0.8,
        label="edge, wider where stronger",
    )  # fmt: skip
    axes.add_collection(lines)
    size = float(np.clip(1000 / len(medoids), 5, 60))
    axes.scatter(places[:, 0], places[:, 1], s=size, c="black", lw=0, label="medoid")
    axes.set_title("Graph of the clusters")
    _legend(axes)
    return len(kept)


def _profiles(distilled: SetContents) -> Any:
    """Return the mean window of the target at each location, (N, L_in), in physical units."""
    profile = distilled.locations.profile
    target = profile.reshape(len(profile), distilled.settings.lookback, -1)[..., 0]
    return distilled.scaler.inverse(target.T).T.numpy()


def _draw_map(
    axes: Axes, distilled: SetContents, rank: np.ndarray, colours: Any, names: tuple[str, str]
) -> None:
    value = rank[distilled.cluster_of_location.numpy()].astype(float)  # (N,)
    shown = {"cmap": colours, "vmin": -0.5, "vmax": distilled.n_clusters - 0.5}
    draw_values(axes, distilled.locations.coords, value, names, borders=True, **shown)
    axes.set_title("Locations by cluster")


def _draw_medoids(
    axes: Axes, distilled: SetContents, names: tuple[str, str], highlights: Mapping[int, str]
) -> None:
    medoids = distilled.medoids.numpy()
    across, up = (distilled.locations.coords[name].values[medoids] for name in names)
    size = np.clip(1000 / len(medoids), 5, 80)
    axes.scatter(
        across,
        up,
        s=size,
        marker="o",
        facecolors="none",
        edgecolors="black",
        lw=0.9,
        label="medoid",
    )
    for cluster, colour in highlights.items():
        axes.scatter(
            across[cluster], up[cluster], s=110, marker="*", c=colour, edgecolors="white", lw=0.8,
            label=f"medoid of cluster {cluster}", zorder=3,
        )  # fmt: skip
    _legend(axes)


def _draw_profiles(
    axes: Axes, distilled: SetContents, colours: np.ndarray, highlights: Mapping[int, str]
) -> None:
    values = _profiles(distilled)
    lags = np.arange(1 - values.shape[1], 1)
    for row in values[:: max(1, len(values) // MOST_PROFILES)]:
        axes.plot(lags, row, color="0.8", lw=0.6)
    for row, colour in zip(values[distilled.medoids.numpy()], colours, strict=True):
        axes.plot(lags, row, color=colour, lw=1.6)
    axes.plot([], [], color="0.8", label="location")
    axes.plot([], [], color=colours[len(colours) // 2], label="medoid")
    for cluster, colour in highlights.items():
        end = values[distilled.medoids[cluster], -1]
        axes.plot(
            0, end, "*", ms=11, mec="white", color=colour, label=f"medoid of cluster {cluster}"
        )
    axes.set(
        title="Mean window of each location",
        xlabel="time from the last input (steps)",
        ylabel=f"{distilled.variables[0]} ({distilled.units or 'no unit'})",
    )
    _legend(axes)


def _legend(axes: Axes) -> None:
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2,
                columnspacing=1, handletextpad=0.3)  # fmt: skip


def _draw_scale(axes: Axes, distilled: SetContents, colours: Any, means: np.ndarray) -> None:
    """Draw the colour bar of the clusters, in order of the mean values at their medoids."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    limits = Normalize(-0.5, len(means) - 0.5)
    ticks = np.unique(np.linspace(0, len(means) - 1, min(6, len(means))).round().astype(int))
    name, unit = distilled.variables[0], distilled.units or "no unit"
    bar = axes.figure.colorbar(
        ScalarMappable(limits, colours), ax=axes, ticks=ticks, pad=0.02, shrink=0.9
    )
    bar.set_ticklabels([f"{means[tick]:.4g}" for tick in ticks])
    bar.set_label(f"{len(means)} clusters in order of mean {name} ({unit})")

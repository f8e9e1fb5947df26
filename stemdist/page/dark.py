"""The same figure on a dark page: greys are mirrored, colours stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = 0.086
"""Grey of a dark page, #161616, on which white becomes this and black becomes nearly white."""
INK = 0.93
GREY = 0.02
"""Largest difference of red, green and blue in what is a grey."""


def darken(figure: Figure) -> None:
    """Turn the black ink and white paper of a figure into light ink on dark paper, in place.

    Values on colour maps, and images, stay as they are.
    """
    from matplotlib.collections import Collection
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Text

    parts = {
        Text: ("color",),
        Line2D: ("color", "markerfacecolor", "markeredgecolor"),
        Patch: ("edgecolor", "facecolor"),
        Collection: ("edgecolor", "facecolor"),
    }
    for artist in figure.findobj(lambda one: isinstance(one, tuple(parts))):
        _mirror(artist, next(names for kind, names in parts.items() if isinstance(artist, kind)))
    ink, grid = mirrored(["black", "0.92"])
    for axes in figure.axes:  # ticks are made anew when they are drawn
        axes.tick_params(which="both", colors=tuple(ink), grid_color=tuple(grid))


def mirrored(colours: Any) -> np.ndarray:
    """Return colours (n, 4) with greys mirrored.

    Examples
    --------
    >>> mirrored(["white", "black", "#0072B2"]).round(2)[:, 0].tolist()
    [0.09, 0.93, 0.0]
    """
    from matplotlib.colors import to_rgba_array

    rgba = to_rgba_array(colours)
    grey = np.ptp(rgba[:, :3], axis=1) <= GREY
    rgba[grey, :3] = INK - (INK - PAPER) * rgba[grey, :3]
    return rgba


def _mirror(artist: Any, names: Sequence[str]) -> None:
    """Mirror the colours of these names of an artist, unless they are values of a colour map."""
    several = hasattr(artist, "get_array")
    if several and artist.get_array() is not None:
        return
    found = {name: getattr(artist, f"get_{name}")() for name in names}  # one may follow another
    for name, colour in found.items():
        if not (isinstance(colour, str) and colour in ("none", "auto")):
            new = mirrored(colour)
            if len(new):
                getattr(artist, f"set_{name}")(new if several else tuple(new[0]))
